"""Figures of a task that comes and goes: inflated precision, its meaning, and where the theory ends."""

import numpy as np
import pandas as pd
from matplotlib import colormaps

from aura_study.figures import Plate
from aura_study.figures.lines import edge_labels, labels_once, legend_below, subplots
from aura_study.figures.style import (
    DOTTED,
    THEORY_COLOUR,
    form_label,
    form_marks,
    policy_line,
    policy_marks,
    style,
)


@style()
def inflation(summary: pd.DataFrame) -> Plate:
    """Measured inflation over the presence with its theory, and the ratio of the two."""
    figure, panels = subplots(2, 2, sharex="col", height_ratios=(2, 1), figsize=(9.2, 5.4))
    for column, (optimizer, rows) in enumerate(summary.groupby("optimizer", sort=False)):
        top, bottom = panels[:, column]
        for place, (form, group) in enumerate(rows.groupby("parameterization", sort=False)):
            x = group["presence"].to_numpy() * 1.06 ** (place - 2)  # side by side; above, nested where they meet
            top.plot(group["presence"], group["predicted"], color=THEORY_COLOUR, linewidth=0.9, label="theory")
            top.plot(group["presence"], group["inflation"], **form_marks(form), markersize=max(8 - 2 * place, 4.5))
            errors = np.abs(group[["low", "high"]].to_numpy().T - group["ratio"].to_numpy())
            bottom.errorbar(x, group["ratio"], yerr=errors, elinewidth=1, **form_marks(form), markersize=5)
            plain = group["predicted"] / group["plain"]
            bottom.plot(group["presence"], 1 / plain, color="#888888", linewidth=0.8, linestyle=":")
        top.set(yscale="log", title=optimizer)
        bottom.axhspan(0.98, 1.02, color="#bbbbbb", alpha=0.35, linewidth=0)
        bottom.set(xscale="log", xlabel="presence p", ylim=(0.92, 1.05))
        bottom.invert_xaxis()
    panels[0, 0].set_ylabel("precision, unmasked / masked")
    panels[1, 0].set_ylabel("measured / theory")
    panels[0, 0].legend(*labels_once(panels[0, 0]), title="learned parameter", loc="upper left")
    return Plate(
        figure,
        "A task present with probability p: unmasked over masked precision. Marks: measured, above one on another "
        "where they meet, below side by side with 95 % intervals; lines: theory. Grey band: 2 %. Dotted below Adam: "
        "where its marks would lie were its fixed point SGD's, so that plain 1/p or 1/sqrt(p) held.",
        "Two columns, SGD and Adam. Above, measured inflation rises along theory lines from 1 to 100 for three forms, "
        "to 10 for AURA's softplus. Below, all ratios to theory lie within two per cent of 1.",
    )


@style()
def effective_weight(shares: pd.DataFrame) -> Plate:
    """Time-averaged weight of the task, absent steps counting as 0, over the presence; as `tables.shares` gives it."""
    figure, panels = subplots(1, 2, sharey=True, figsize=(9.2, 3.8))
    for axes, form in zip(panels, ("log_sigma", "aura_softplus"), strict=True):
        rows = shares[shares["parameterization"] == form]
        for policy in ("unmasked", "masked"):
            said = rows[f"predicted_{policy}_share"]
            axes.plot(rows["presence"], said, color=THEORY_COLOUR, linewidth=0.9, label="theory")
            axes.plot(rows["presence"], rows[f"{policy}_share"], **policy_marks(policy))
        axes.set(xscale="log", yscale="log", title=form_label(form))
        axes.invert_xaxis()
    edge_labels(panels, "presence p", "time-averaged weight of the task")
    panels[0].legend(*labels_once(panels[0]), loc="lower left")
    return Plate(
        figure,
        "Weight of the task averaged over all steps, those without it counting as 0. Marks: measured, SGD; lines: "
        "theory. Unmasked on log sigma, a rare task weighs as much as if it were always there: an undeclared "
        "reweighting by inverse frequency. With AURA's softplus it is half of that, on a logarithmic scale.",
        "Two panels on log axes. In the left one the unmasked weight is flat over p while the masked one falls in "
        "proportion to p. In the right one, AURA's softplus, the unmasked weight falls as the square root of p.",
    )


@style()
def large_steps(sweep: pd.DataFrame) -> Plate:
    """Inflation over plain theory against eta / p: where the stationary picture ends."""
    figure, panels = subplots(2, 2, sharex=True, sharey=True, figsize=(9.2, 6.0))
    for row, form in enumerate(("log_sigma", "aura_softplus")):
        for column, optimizer in enumerate(("SGD", "Adam")):
            axes = panels[row, column]
            rows = sweep[(sweep["parameterization"] == form) & (sweep["optimizer"] == optimizer)]
            shades = colormaps["viridis"](np.linspace(0, 0.9, rows["presence"].nunique()))
            for shade, (presence, group) in zip(shades, rows.groupby("presence"), strict=True):
                x, label = group["rate"] / group["presence"], f"p = {presence:.2g}"
                axes.plot(x, group["typical"], color=shade, marker="o", markersize=3, label=label)
                axes.plot(x, group["mean"], color=shade, linestyle="--", linewidth=1)
            axes.axhline(1, color=THEORY_COLOUR, linewidth=0.9, label="plain theory")
            axes.axvline(0.05, color="#888888", linewidth=0.9, linestyle=":", label=r"$\eta$ = p/20")
            axes.set(xscale="log", yscale="log", ylim=(1e-3, 1e3), title=f"{form_label(form)}, {optimizer}")
    edge_labels(panels, r"learning rate over presence, $\eta / p$", "inflation / plain theory")
    panels[0, 0].plot([], [], color="#555555", marker="o", markersize=3, label="typical weight")
    panels[0, 0].plot([], [], color="#555555", linestyle="--", linewidth=1, label="time average")
    legend_below(figure, panels[0, 0], ncols=6)
    return Plate(
        figure,
        "Inflation of the precision over plain theory (1/p; 1/sqrt(p) for AURA's code) as the steps grow. Marks: "
        "typical weight, at the mean parameter; dashed: time average. On log sigma under SGD the average keeps "
        "to theory longer than the typical weight, which dies; under Adam it explodes. AURA's bounded softplus form "
        "bears larger steps.",
        "Four panels over the ratio of learning rate to presence. All curves start at 1. Under SGD the typical weight "
        "drops by orders of magnitude once the ratio passes about one half; under Adam it rises or falls beyond one.",
    )


@style()
def coming_and_going(paths: pd.DataFrame) -> Plate:
    """Weight over time of one task, masked and unmasked, at small and at large steps."""
    figure, panels = subplots(1, 2, sharey=True, figsize=(9.2, 3.8))
    for axes, (rate, rows) in zip(panels, paths.groupby("rate"), strict=True):
        presence, loss = rows["presence"].iloc[0], rows["loss"].iloc[0]
        for policy in ("unmasked", "masked"):
            path = rows[rows["policy"] == policy]
            axes.plot(path["step"], path["weight"], **policy_line(policy), linewidth=1.1)
        for level in (0.5 / loss, 0.5 / loss / presence):
            axes.axhline(level, **DOTTED, linewidth=0.9, label="fixed points")
        axes.set(yscale="log", ylim=(1e-4, 1e3), title=rf"$\eta$ = {rate:g}, p = {presence:g}")
    edge_labels(panels, "step", "weight of the task")
    panels[0].legend(*labels_once(panels[0]), loc="lower right")
    return Plate(
        figure,
        "One task that is there in one step of ten, SGD on log sigma, same steps for both policies. Dotted: the fixed "
        "points 1/(2L) and 1/(2pL). At small steps the unmasked weight settles ten times too high; at large steps it "
        "drifts up in every gap, is thrown down by the next presence, and is off for long stretches.",
        "Two panels of weight against step. Left: a masked line at one half and an unmasked one that climbs to five. "
        "Right: the unmasked weight jumps over many orders of magnitude.",
    )
