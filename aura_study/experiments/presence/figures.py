"""Figures of a task that comes and goes: inflated precision, its meaning, and where the theory ends."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from aura_study.figures.labels import form_label, form_marker
from aura_study.figures.style import COLOURS, POLICY_LABELS, POLICY_STYLES, THEORY_COLOUR, Plate, style


def inflation(summary: pd.DataFrame) -> Plate:
    """Measured inflation over the presence with its theory, and the ratio of the two."""
    with style():
        figure = Figure(figsize=(9.2, 5.4))
        panels = figure.subplots(2, 2, sharex="col", height_ratios=(2, 1))
        for column, (optimizer, rows) in enumerate(summary.groupby("optimizer", sort=False)):
            top, bottom = panels[:, column]
            for place, (form, group) in enumerate(rows.groupby("parameterization", sort=False)):
                x = group["presence"].to_numpy() * 1.06 ** (place - 2)  # side by side where values coincide
                look = {"color": COLOURS[place], "marker": form_marker(form), "markersize": 5, "linestyle": "none"}
                top.plot(group["presence"], group["predicted"], color=THEORY_COLOUR, linewidth=0.9)
                top.plot(x, group["inflation"], label=form_label(form), **look)
                errors = np.abs(group[["low", "high"]].to_numpy().T - group["ratio"].to_numpy())
                bottom.errorbar(x, group["ratio"], yerr=errors, elinewidth=1, **look)
                plain = group["predicted"] / group["plain"]
                bottom.plot(group["presence"], 1 / plain, color="#888888", linewidth=0.8, linestyle=":")
            top.set(yscale="log", title=optimizer)
            bottom.axhspan(0.98, 1.02, color="#bbbbbb", alpha=0.35, linewidth=0)
            bottom.set(xscale="log", xlabel="presence p", ylim=(0.92, 1.05))
        panels[0, 0].invert_xaxis()
        panels[0, 1].invert_xaxis()
        panels[0, 0].set_ylabel("precision, unmasked / masked")
        panels[1, 0].set_ylabel("measured / theory")
        panels[0, 0].legend(title="learned parameter", loc="upper left")
    return Plate(
        figure,
        "A task present with probability p: unmasked over masked precision. Marks: measured, with 95 % intervals "
        "below; lines: theory. Grey band: 2 %. Dotted below Adam: where its marks would lie were its fixed point "
        "SGD's, so that plain 1/p or 1/sqrt(p) held.",
        "Two columns, SGD and Adam. Above, measured inflation rises along theory lines from 1 to 100 for three forms, "
        "to 10 for AURA's softplus. Below, all ratios to theory lie within two per cent of 1.",
    )


def effective_weight(runs: pd.DataFrame) -> Plate:
    """Time-averaged weight of the task, absent steps counting as 0, over the presence."""
    with style():
        figure = Figure(figsize=(9.2, 3.8))
        panels = figure.subplots(1, 2, sharey=True)
        chosen = runs[runs["optimizer"] == "SGD"]
        for axes, form in zip(panels, ("log_sigma", "aura_softplus"), strict=True):
            means = chosen[chosen["parameterization"] == form].groupby("presence").mean(numeric_only=True).reset_index()
            for place, policy in enumerate(("unmasked", "masked")):
                axes.plot(means["presence"], means[f"predicted_{policy}_share"], color=THEORY_COLOUR, linewidth=0.9)
                axes.plot(
                    means["presence"],
                    means[f"{policy}_share"],
                    marker="os"[place],
                    linestyle="none",
                    color=COLOURS[place],
                    label=POLICY_LABELS[policy],
                )
            axes.set(xscale="log", yscale="log", xlabel="presence p", title=form_label(form))
            axes.invert_xaxis()
        panels[0].set_ylabel("time-averaged weight of the task")
        panels[0].legend(loc="lower left")
    return Plate(
        figure,
        "Weight of the task averaged over all steps, those without it counting as 0. Marks: measured, SGD; lines: "
        "theory. Unmasked on log sigma, a rare task weighs as much as if it were always there: an undeclared "
        "reweighting by inverse frequency. With AURA's softplus it is half of that, on a logarithmic scale.",
        "Two panels on log axes. In the left one the unmasked weight is flat over p while the masked one falls in "
        "proportion to p. In the right one, AURA's softplus, the unmasked weight falls as the square root of p.",
    )


def large_steps(sweep: pd.DataFrame) -> Plate:
    """Inflation over plain theory against eta / p: where the stationary picture ends."""
    with style():
        figure = Figure(figsize=(9.2, 6.0))
        panels = figure.subplots(2, 2, sharex=True, sharey=True)
        for row, form in enumerate(("log_sigma", "aura_softplus")):
            for column, optimizer in enumerate(("SGD", "Adam")):
                axes = panels[row, column]
                rows = sweep[(sweep["parameterization"] == form) & (sweep["optimizer"] == optimizer)]
                shades = np.linspace(0.35, 1.0, rows["presence"].nunique())
                for shade, presence in zip(shades, sorted(rows["presence"].unique()), strict=True):
                    group = rows[rows["presence"] == presence]
                    x = group["rate"] / presence
                    label = f"p = {presence:.2g}" if (row, column) == (0, 0) else None
                    axes.plot(x, group["typical"], color=COLOURS[0], alpha=shade, marker="o", markersize=3, label=label)
                    axes.plot(x, group["mean"], color=COLOURS[1], alpha=shade, linestyle="--", linewidth=1)
                axes.axhline(1, color=THEORY_COLOUR, linewidth=0.9)
                axes.axvline(0.05, color="#888888", linewidth=0.9, linestyle=":")
                axes.set(xscale="log", yscale="log", ylim=(1e-3, 1e3), title=f"{form_label(form)}, {optimizer}")
        for axes in panels[1]:
            axes.set_xlabel(r"learning rate over presence, $\eta / p$")
        for axes in panels[:, 0]:
            axes.set_ylabel("inflation / plain theory")
        figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=8)
    return Plate(
        figure,
        "Inflation of the precision over plain theory (1/p; 1/sqrt(p) for AURA's code) as the steps grow. Blue: "
        "typical weight, at the mean parameter; orange dashed: time average. On log sigma under SGD the average keeps "
        "to theory longer than the typical weight, which dies; under Adam it explodes. AURA's bounded softplus form "
        "bears larger steps.",
        "Four panels over the ratio of learning rate to presence. All curves start at 1. Under SGD the typical weight "
        "drops by orders of magnitude once the ratio passes about one half; under Adam it rises or falls beyond one.",
    )


def coming_and_going(paths: pd.DataFrame) -> Plate:
    """Weight over time of one task, masked and unmasked, at small and at large steps."""
    with style():
        figure = Figure(figsize=(9.2, 3.8))
        panels = figure.subplots(1, 2, sharey=True)
        for axes, (rate, rows) in zip(panels, paths.groupby("rate"), strict=True):
            presence, loss = rows["presence"].iloc[0], rows["loss"].iloc[0]
            for place, policy in enumerate(("unmasked", "masked")):
                path = rows[rows["policy"] == policy]
                axes.plot(
                    path["step"],
                    path["weight"],
                    color=COLOURS[place],
                    linestyle=POLICY_STYLES[policy],
                    linewidth=1.1,
                    label=POLICY_LABELS[policy],
                )
            for level in (0.5 / loss, 0.5 / loss / presence):
                axes.axhline(level, color=THEORY_COLOUR, linewidth=0.9, linestyle=":")
            axes.set(yscale="log", ylim=(1e-4, 1e3), xlabel="step", title=rf"$\eta$ = {rate:g}, p = {presence:g}")
        panels[0].set_ylabel("weight of the task")
        panels[0].legend(loc="lower right")
    return Plate(
        figure,
        "One task that is there in one step of ten, SGD on log sigma, same steps for both policies. Dotted: the fixed "
        "points 1/(2L) and 1/(2pL). At small steps the unmasked weight settles ten times too high; at large steps it "
        "drifts up in every gap, is thrown down by the next presence, and is off for long stretches.",
        "Two panels of weight against step. Left: a masked line at one half and an unmasked one that climbs to five. "
        "Right: the unmasked weight jumps over many orders of magnitude.",
    )
