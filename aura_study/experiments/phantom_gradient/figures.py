"""Figures of the phantom gradient and of the collapse that it causes."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from aura_study.figures import Plate
from aura_study.figures.lines import edge_labels, legend_below, subplots
from aura_study.figures.style import DOTTED, THEORY_COLOUR, form_line, form_marks, style

CLOSED: dict[str, Any] = {**DOTTED, "linewidth": 1.3}


@style()
def gradient(table: pd.DataFrame) -> Plate:
    """The gradient that an absent task's parameter feels, over sigma, measured and in closed form."""
    figure, axes = subplots(figsize=(6.4, 3.8))
    for form, rows in table.groupby("parameterization", sort=False):
        axes.plot(rows["sigma"], rows["closed_form"], color=THEORY_COLOUR, linewidth=0.8)
        axes.plot(rows["sigma"], rows["autograd"], **form_marks(form), markersize=4.5)
    axes.axhline(0, color="#888888", linewidth=1.2, linestyle="--")
    axes.annotate("masked: exactly 0", (0.1, 0), xytext=(0, -12), textcoords="offset points", color="#555555")
    axes.set(xscale="log", ylim=(-0.35, 3), xlabel=r"$\sigma$", ylabel="gradient on the parameter at L = 0")
    axes.legend(title="learned parameter")
    return Plate(
        figure,
        "Gradient on the parameter of a task that is not in the batch. Marks: autograd; lines: closed form. It is "
        "positive everywhere, so that descent lowers sigma. On sigma itself it grows as sigma falls.",
        "Five curves over sigma: one falls as one over sigma, two are constant at one and one half, and two rise from "
        "zero. A dashed line at zero marks the masked loss.",
    )


@style()
def collapse(runs: pd.DataFrame, aura: pd.DataFrame, lr: float) -> Plate:
    """Sigma over the phantom number for every form, SGD and Adam, and the same picture at AURA's own rates."""
    figure, panels = subplots(1, 3, sharey=True, figsize=(10, 3.8))
    for axes, optimizer in zip(panels, ("SGD", "Adam"), strict=False):
        _sigma_paths(axes, runs[runs["optimizer"] == optimizer])
        axes.set_title(rf"{optimizer}, $\eta$ = {lr:g}, $\Lambda$ = {runs['phantom_number'].max():.2g}")
    _sigma_paths(panels[2], aura)
    panels[2].set_title(rf"Adam at AURA's rates, $\Lambda$ = {aura['phantom_number'].max():.2g}")
    panels[0].set(yscale="log", ylim=(1e-3, 2))
    edge_labels(panels, r"phantom number $\Lambda$ so far", r"$\sigma$ / start")
    legend_below(figure, panels[0], ncols=6)
    return Plate(
        figure,
        "Sigma of a task that never appears, over the accumulated learning rate. Colours: the real loss module under "
        "the real optimiser, a wide line beneath a narrower one where they meet; dotted black: closed form; "
        "a cross: from there on NaN. At a demonstration rate sigma collapses; at AURA's own rates, "
        "over its whole run, it does not.",
        "Three panels of falling sigma curves on a log axis. Under SGD and Adam at a high rate several forms fall by "
        "orders of magnitude, the sigma form ends in NaN; at AURA's rates the curves fall by less than a third.",
    )


def _sigma_paths(axes: Axes, runs: pd.DataFrame) -> None:
    forms = list(runs.groupby("parameterization", sort=False))
    for place, (form, run) in enumerate(forms):
        start, look = run["sigma"].iloc[0], form_line(form)
        positive = np.where(run["sigma"] > 0, run["sigma"], np.nan) / start
        axes.plot(run["phantom_number"], positive, **look, linewidth=5 - 0.9 * place)  # wider beneath narrower
        axes.plot(run["phantom_number"], run["predicted_sigma"] / start, **CLOSED)
        if not run["sigma"].iloc[-1] > 0:
            last = np.flatnonzero(run["sigma"] > 0)[-1]
            end = (run["phantom_number"].iloc[last], positive[last])
            axes.plot(*end, "x", color=look["color"], markersize=7)
            axes.annotate("NaN", end, xytext=(0, -12), textcoords="offset points", color=look["color"], ha="center")
    axes.plot([], [], **CLOSED, label="closed form")
