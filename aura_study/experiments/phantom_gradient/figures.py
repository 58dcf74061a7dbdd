"""Figures of the phantom gradient and of the collapse that it causes."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aura_study.figures.labels import FORM_LABELS, form_label, form_marker
from aura_study.figures.style import COLOURS, THEORY_COLOUR, Plate, style


def gradient(table: pd.DataFrame) -> Plate:
    """The gradient that an absent task's parameter feels, over sigma, measured and in closed form."""
    with style():
        figure = Figure(figsize=(6.4, 3.8))
        axes = figure.subplots()
        for place, (form, rows) in enumerate(table.groupby("parameterization", sort=False)):
            axes.plot(rows["sigma"], rows["closed_form"], color=THEORY_COLOUR, linewidth=0.8)
            axes.plot(
                rows["sigma"],
                rows["autograd"],
                color=COLOURS[place],
                marker=form_marker(form),
                markersize=4.5,
                linestyle="none",
                label=form_label(form),
            )
        axes.axhline(0, color="#888888", linewidth=1.2, linestyle="--")
        axes.annotate("masked: exactly 0", (0.1, 0), xytext=(0, -11), textcoords="offset points", color="#555555")
        axes.set(xscale="log", ylim=(-0.15, 3), xlabel=r"$\sigma$", ylabel="gradient on the parameter at L = 0")
        axes.legend(title="learned parameter")
    return Plate(
        figure,
        "Gradient on the parameter of a task that is not in the batch. Marks: autograd; lines: closed form. It is "
        "positive everywhere, so that descent lowers sigma. On sigma itself it grows as sigma falls.",
        "Five curves over sigma: one falls as one over sigma, two are constant at one and one half, and two rise from "
        "zero. A dashed line at zero marks the masked loss.",
    )


def collapse(runs: pd.DataFrame, aura: pd.DataFrame, lr: float) -> Plate:
    """Sigma over the phantom number for every form, SGD and Adam, and the same picture at AURA's own rates."""
    with style():
        figure = Figure(figsize=(10, 3.8))
        panels = figure.subplots(1, 3, sharey=True)
        for axes, optimizer in zip(panels, ("SGD", "Adam"), strict=False):
            chosen = runs[runs["optimizer"] == optimizer]
            for place, (form, run) in enumerate(chosen.groupby("parameterization", sort=False)):
                _sigma_path(axes, run, COLOURS[place], form_label(form))
            axes.set_title(rf"{optimizer}, $\eta$ = {lr:g}, $\Lambda$ = {runs['phantom_number'].max():.2g}")
        order = list(FORM_LABELS)
        for form, run in aura.groupby("parameterization", sort=False):
            _sigma_path(panels[2], run, COLOURS[order.index(form)], form_label(form))
        panels[2].set_title(rf"Adam at AURA's rates, $\Lambda$ = {aura['phantom_number'].max():.2g}")
        panels[0].set(ylabel=r"$\sigma$ / start", yscale="log", ylim=(1e-3, 2))
        for axes in panels:
            axes.set_xlabel(r"phantom number $\Lambda$ so far")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=5)
    return Plate(
        figure,
        "Sigma of a task that never appears, over the accumulated learning rate. Colours: the real loss module under "
        "the real optimiser; dotted black: closed form. At a demonstration rate sigma collapses; at AURA's own rates, "
        "over its whole run, it does not.",
        "Three panels of falling sigma curves on a log axis. Under SGD and Adam at a high rate several forms fall by "
        "orders of magnitude, the sigma form drops to zero; at AURA's rates the curves fall by less than a third.",
    )


def _sigma_path(axes: Axes, run: pd.DataFrame, colour: str, label: str) -> None:
    start = run["sigma"].iloc[0]
    positive = np.where(run["sigma"] > 0, run["sigma"], np.nan)
    axes.plot(run["phantom_number"], positive / start, color=colour, label=label, linewidth=2.2, alpha=0.8)
    axes.plot(run["phantom_number"], run["predicted_sigma"] / start, color=THEORY_COLOUR, linewidth=0.9, linestyle=":")
    if not run["sigma"].iloc[-1] > 0:
        last = run["phantom_number"][run["sigma"] > 0].iloc[-1]
        axes.annotate("NaN", (last, 1.5e-3), color=colour, ha="center")
