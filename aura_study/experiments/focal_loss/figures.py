"""Figures of focal loss."""

from typing import Any

import pandas as pd

from aura_study.figures import Plate
from aura_study.figures.lines import coloured, subplots
from aura_study.figures.style import COLOURS, DOTTED, THEORY_COLOUR, style

PROBABILITY = "probability of the true class, $p_t$"
CLEAN = {"linestyle": "--", "linewidth": 1}


@style()
def modulation(table: pd.DataFrame, guide: pd.DataFrame) -> Plate:
    """Loss and modulating factor over p_t for each gamma, with the guide's two numbers marked."""
    figure, (left, right) = subplots(1, 2, figsize=(8, 3.6))
    for colour, gamma, curve in coloured(table, "gamma"):
        left.plot(curve["p_true"], curve["loss"], color=colour, label=rf"$\gamma$ = {gamma:g}")
        right.plot(curve["p_true"], curve["factor"], color=colour)
        right.plot(curve["p_true"], curve["predicted"], **DOTTED, linewidth=0.8)
    left.set(xlabel=PROBABILITY, ylabel="loss (nats)", ylim=(0, 5), title="Loss")
    right.set(xlabel=PROBABILITY, ylabel="focal loss / cross-entropy", title="Share kept")
    for p_true, measured in zip(guide["p_true"], guide["measured"], strict=True):
        place = (p_true, measured)
        right.plot(*place, "o", color=THEORY_COLOUR, markersize=5)
        look: Any = {"textcoords": "offset points", "arrowprops": {"arrowstyle": "-", "linewidth": 0.7}}
        aside = (64, 18) if measured > 0.5 else (0, 95)  # beyond the curves
        right.annotate(f"{measured:.2f}", place, xytext=aside, ha="center", **look)
    left.legend()
    return Plate(
        figure,
        "Focal loss over the probability of the true class. Dots: the guide's two numbers at gamma = 2; dotted: "
        "(1 - p_t)^gamma. Easy samples stand at the right end, hard ones at the left.",
        "Two panels of curves over p_t, one curve for each gamma: the loss falls faster for larger gamma, and the "
        "share of the cross-entropy that is kept falls from one to zero.",
    )


@style()
def gradient_share(table: pd.DataFrame) -> Plate:
    """What focal loss does to the gradient, which is what training feels."""
    figure, axes = subplots(figsize=(6, 3.4))
    for colour, gamma, curve in coloured(table, "gamma"):
        axes.plot(curve["p_true"], curve["gradient_factor"], color=colour, label=rf"$\gamma$ = {gamma:g}")
    axes.axhline(1, **DOTTED, linewidth=0.8)
    axes.set(xlabel=PROBABILITY, ylabel="gradient / cross-entropy's gradient")
    axes.legend()
    return Plate(
        figure,
        "The gradient on the logit, relative to cross-entropy's. Dotted: where both push alike; above it focal loss "
        "pushes harder.",
        "Curves over p_t, one for each gamma; for gamma above zero they rise above one at small p_t and fall to zero "
        "at p_t of one.",
    )


@style()
def hazards(table: pd.DataFrame) -> Plate:
    """Loss relative to the plain focal loss: what the published p_t makes of it, beside what was asked for."""
    figure, (left, right) = subplots(1, 2, figsize=(8, 3.7))
    for colour, setting, curve in coloured(table[table["asked"].notna()], "setting"):
        left.plot(curve["p_true"], curve["published"], color=colour, label=setting)
        left.plot(curve["p_true"], curve["clean"], color=colour, **CLEAN)
    for setting, curve in table[table["asked"].isna()].groupby("setting"):
        right.plot(curve["p_true"], curve["published"], color=COLOURS[3], label=f"{setting!s}: published $p_t$")
        right.plot(curve["p_true"], curve["clean"], color=COLOURS[3], label="clean $p_t$", **CLEAN)
    for axes, title in ((left, "Class weights"), (right, "Label smoothing")):
        axes.set(yscale="log", xlabel=PROBABILITY, ylabel="loss / plain focal loss", title=title)
        axes.legend()
    return Plate(
        figure,
        "A sample's loss over that of the plain focal loss. Dashed: p_t is the model's probability, and a class weight "
        "scales the loss by itself. Solid: p_t = exp(-CE) taken from the weighted or smoothed cross-entropy.",
        "Two panels over p_t with logarithmic axes. Left: dashed lines are flat at the class weights, solid curves "
        "leave them in the direction of the weight as p_t grows. Right: under smoothing the solid curve climbs far "
        "above the dashed one at large p_t.",
    )
