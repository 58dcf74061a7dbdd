"""Figures of the pre-training and of what fine-tuning leaves of it."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from aura_study.figures import Plate
from aura_study.figures.lines import band, coloured, legend_below, shade_absence, subplots
from aura_study.figures.style import ABSENT_COLOUR, COLOURS, THEORY_COLOUR, policy_line, style

ARM_LINES = {
    "alone": {"color": "#777777", "linestyle": "-.", "label": "that task alone"},
    **{policy: policy_line(policy) for policy in ("masked", "unmasked")},
}
FIRST_STEPS_LINES: dict[str, Any] = {
    "unmasked": {"linestyle": "-"},
    "masked": {"linestyle": ":", "linewidth": 0.9, "alpha": 0.6},
}
REGIME_TITLES: dict[Any, str] = {
    "clipped": "AdamW, clipped (AURA)",
    "unclipped": "AdamW, no clipping",
    "sgd": "SGD, no clipping",
    "own_rate": r"AURA's rate for $\sigma$",
}


@style()
def learning_curve(curve: pd.DataFrame) -> Plate:
    """Test loss of the masked language model through its pre-training, against what counting reaches."""
    figure, axes = subplots(figsize=(6, 3.6))
    axes.plot(curve["step"], curve["mlm_loss"], color=COLOURS[0], marker="o", markersize=3, label="RoBERTa")
    for name, line in (("unigram", "--"), ("bigram", ":")):
        axes.plot(curve["step"], curve[name], color=THEORY_COLOUR, linestyle=line, linewidth=1.2, label=name)
    axes.set(xlabel="optimiser step of the pre-training", ylabel="loss on hidden tokens (nats)")
    axes.legend()
    return Plate(
        figure,
        "Mean loss on the same hidden tokens of the development texts. Dashed: each token's share of the training "
        "texts; dotted: its share after the left neighbour.",
        "The loss of the RoBERTa over the steps, as a falling curve, against two level lines.",
    )


@style()
def forgetting(bands: pd.DataFrame, stretch: Sequence[int]) -> Plate:
    """Masked-language loss and CKA through fine-tuning, every arm against the mask, one column per regime.

    Args:
        bands: measure (mlm_loss or cka), regime, policy, step, mean, low, high over seeds.
        stretch: first step of the absence, and of the return.
    """
    regimes = [regime for regime in REGIME_TITLES if regime in set(bands["regime"])]
    figure, panels = subplots(2, len(regimes), sharex=True, squeeze=False, figsize=(3 * len(regimes), 5.6))
    for column, regime in zip(panels.T, regimes, strict=True):
        for axes, measure in zip(column, ("mlm_loss", "cka"), strict=True):
            shade_absence(axes, *stretch)
            rows = bands[(bands["regime"] == regime) & (bands["measure"] == measure)]
            for policy, look in ARM_LINES.items():
                if not (arm := rows[rows["policy"] == policy]).empty:
                    band(axes, arm, "step", 0.12, **look)
        column[0].set_title(REGIME_TITLES[regime])
        column[1].set_xlabel("optimiser step")
    panels[0, 0].set_ylabel("loss on hidden tokens (nats)")
    panels[1, 0].set_ylabel("CKA to the pre-trained states")
    legend_below(figure, panels[0, 0], ncols=4)
    return Plate(
        figure,
        "What is left of the pre-training while it is fine-tuned: mean over seeds, bands from the lowest to the "
        "highest seed. Shaded: a task is absent; until its return the arms are one model. Above, the loss of the kept "
        "language-model head (higher is more forgotten); below, the likeness of the hidden states (1: unchanged). Each "
        "column has axes of its own.",
        "Two rows of panels, one column per way of optimising, with one curve for all arms up to the end of the shaded "
        "stretch, and a curve for each after it.",
    )


@style()
def warm_up(bands: pd.DataFrame) -> Plate:
    """Masked-language loss and CKA through fine-tunings without an absence, by warm-up.

    Args:
        bands: as for `forgetting`; regime is the warm-up's share of the steps.
    """
    figure, panels = subplots(1, 2, figsize=(9.5, 3.6))
    labels = {"mlm_loss": "loss on hidden tokens (nats)", "cka": "CKA to the pre-trained states"}
    for axes, (measure, label) in zip(panels, labels.items(), strict=True):
        for colour, share, rows in coloured(bands[bands["measure"] == measure], "regime"):
            band(
                axes,
                rows,
                "step",
                0.12,
                color=colour,
                label=f"{100 * float(share):g} % warm-up" if float(share) else "no warm-up",
            )
        axes.set(xlabel="optimiser step", ylabel=label)
    legend_below(figure, panels[0], ncols=3)
    return Plate(
        figure,
        "What is left of the pre-training while it is fine-tuned with no task absent, by how long the rate rises "
        "before it falls to 0: mean over seeds, bands from the lowest to the highest seed. All rates have the same "
        "peak and add up to the same at the last step, but not before it.",
        "Two panels, loss and CKA, each with a curve for every warm-up.",
    )


@style()
def first_steps(steps: pd.DataFrame) -> Plate:
    """Gradient and update of the encoder around the return, unmasked against masked, by regime."""
    figure, (left, right) = subplots(1, 2, figsize=(9.5, 3.8))
    for colour, regime, rows in coloured(steps, "regime", sort=False):
        for policy, look in FIRST_STEPS_LINES.items():
            arm = rows[rows["policy"] == policy]
            label = REGIME_TITLES[regime] if policy == "unmasked" else None
            left.plot(arm["since"], arm["gradient"], color=colour, label=label, **look)
            right.plot(arm["since"], arm["update"], color=colour, **look)
    bound = steps.dropna(subset=["bound"]).drop_duplicates("since")
    right.plot(bound["since"], bound["bound"], color=THEORY_COLOUR, linestyle="--", label="Adam, after a jump from 0")
    left.set(ylabel="encoder gradient norm, before clipping")
    right.set(ylabel="encoder update, r.m.s. (learning rates)")
    for axes in (left, right):
        axes.set(yscale="log", xlabel="steps since the return")
        axes.axvline(0, color=ABSENT_COLOUR, linewidth=2, zorder=0)
    right.legend()
    legend_below(figure, left, ncols=4)
    return Plate(
        figure,
        "Around the return, mean over seeds; solid: unmasked, dotted: masked. Left, the gradient that reaches the "
        "encoder. Right, how far a parameter moves in a step, against what Adam does after a jump to a constant "
        "gradient beside which all before were nothing (dashed).",
        "Two panels, gradient norm and update on logarithmic axes, with a solid and a dotted curve for every way of "
        "optimising, and a dashed one for Adam's bound on the right.",
    )
