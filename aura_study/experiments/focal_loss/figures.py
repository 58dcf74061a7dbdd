"""Figures of focal loss."""

import pandas as pd
from matplotlib.figure import Figure

from aura_study.figures.style import COLOURS, THEORY_COLOUR, Plate, style


def modulation(table: pd.DataFrame, guide: pd.DataFrame) -> Plate:
    """Loss and modulating factor over p_t for each gamma, with the guide's two numbers marked."""
    with style():
        figure = Figure(figsize=(8, 3.6))
        left, right = figure.subplots(1, 2)
        for place, (gamma, curve) in enumerate(table.groupby("gamma")):
            colour = COLOURS[place % len(COLOURS)]
            left.plot(curve["p_true"], curve["loss"], color=colour, label=rf"$\gamma$ = {gamma:g}")
            right.plot(curve["p_true"], curve["factor"], color=colour)
            right.plot(curve["p_true"], curve["predicted"], color=THEORY_COLOUR, linewidth=0.8, linestyle=":")
        left.set(xlabel="probability of the true class, $p_t$", ylabel="loss (nats)", ylim=(0, 5), title="Loss")
        right.set(
            xlabel="probability of the true class, $p_t$", ylabel="focal loss / cross-entropy", title="Share kept"
        )
        for row in guide.itertuples():
            right.plot(row.p_true, row.measured, "o", color=THEORY_COLOUR, markersize=5)
            right.annotate(
                f"{row.measured:.2f}",
                (row.p_true, row.measured),
                xytext=(0, 8),
                textcoords="offset points",
                ha="center",
            )
        left.legend()
    return Plate(
        figure,
        "Focal loss over the probability of the true class. Dots: the guide's two numbers at gamma = 2; dotted: "
        "(1 - p_t)^gamma. Easy samples (right end) all but vanish, hard ones (left end) keep their loss.",
        "Two panels of curves over p_t, one curve for each gamma: the loss falls faster for larger gamma, and the "
        "share of the cross-entropy that is kept falls from one to zero.",
    )


def gradient_share(table: pd.DataFrame) -> Plate:
    """What focal loss does to the gradient, which is what training feels."""
    with style():
        figure = Figure(figsize=(6, 3.4))
        axes = figure.subplots()
        for place, (gamma, curve) in enumerate(table.groupby("gamma")):
            axes.plot(
                curve["p_true"],
                curve["gradient_factor"],
                color=COLOURS[place % len(COLOURS)],
                label=rf"$\gamma$ = {gamma:g}",
            )
        axes.axhline(1, color=THEORY_COLOUR, linewidth=0.8, linestyle=":")
        axes.set(xlabel="probability of the true class, $p_t$", ylabel="gradient / cross-entropy's gradient")
        axes.legend()
    return Plate(
        figure,
        "The gradient on the logit, relative to cross-entropy's. For small p_t it exceeds 1: focal loss does "
        "not only mute the easy samples, it pushes harder on the uncertain ones.",
        "Curves over p_t, one for each gamma; for gamma above zero they rise above one at small p_t and fall to zero "
        "at p_t of one.",
    )


def hazards(table: pd.DataFrame) -> Plate:
    """Loss relative to the plain focal loss: what the published p_t makes of it, beside what was asked for."""
    with style():
        figure = Figure(figsize=(8, 3.7))
        left, right = figure.subplots(1, 2)
        weighted = table[table["asked"].notna()]
        for place, (setting, curve) in enumerate(weighted.groupby("setting")):
            colour = COLOURS[place % len(COLOURS)]
            left.plot(curve["p_true"], curve["published"], color=colour, label=setting)
            left.plot(curve["p_true"], curve["ours"], color=colour, linestyle="--", linewidth=1)
        for setting, curve in table[table["asked"].isna()].groupby("setting"):
            right.plot(curve["p_true"], curve["published"], color=COLOURS[3], label=f"{setting}: published $p_t$")
            right.plot(
                curve["p_true"], curve["ours"], color=COLOURS[3], linestyle="--", linewidth=1, label="clean $p_t$"
            )
        label = "loss / plain focal loss"
        left.set(yscale="log", xlabel="probability of the true class, $p_t$", ylabel=label, title="Class weights")
        right.set(yscale="log", xlabel="probability of the true class, $p_t$", ylabel=label, title="Label smoothing")
        left.legend()
        right.legend()
    return Plate(
        figure,
        "A sample's loss over that of the plain focal loss. Dashed: p_t is the model's probability, and a class weight "
        "scales the loss by itself. Solid: p_t = exp(-CE) taken from the weighted or smoothed cross-entropy; on easy "
        "samples (right end) the weight acts a second and a third time.",
        "Two panels over p_t with logarithmic axes. Left: dashed lines are flat at the class weights, solid curves "
        "leave them in the direction of the weight as p_t grows. Right: under smoothing the solid curve climbs far "
        "above the dashed one at large p_t.",
    )
