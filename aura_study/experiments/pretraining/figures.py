"""Figures of the pre-training and of what fine-tuning leaves of it."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aura_study.figures.style import ABSENT_COLOUR, COLOURS, POLICY_LABELS, POLICY_STYLES, THEORY_COLOUR, Plate, style

ARM_COLOURS: dict[Any, str] = {
    "control": "#777777",
    "frozen": "#009E73",
    "masked": "#0072B2",
    "unmasked": "#D55E00",
}
ARM_LABELS: dict[Any, str] = {"control": "control (no absence)", **POLICY_LABELS}
ARM_STYLES: dict[Any, Any] = {"control": "-.", **POLICY_STYLES}
REGIME_TITLES: dict[Any, str] = {
    "clipped": "AdamW, clipped (AURA)",
    "unclipped": "AdamW, no clipping",
    "sgd": "SGD, no clipping",
    "own_rate": r"AURA's rate for $\sigma$",
}


def learning_curve(curve: pd.DataFrame) -> Plate:
    """Test loss of the masked language model through its pre-training, against what counting reaches."""
    with style():
        figure = Figure(figsize=(6, 3.6))
        axes = figure.subplots()
        axes.plot(curve["step"], curve["mlm_loss"], color=COLOURS[0], marker="o", markersize=3, label="RoBERTa")
        for name, line in (("unigram", "--"), ("bigram", ":")):
            axes.plot(curve["step"], curve[name], color=THEORY_COLOUR, linestyle=line, linewidth=1.2, label=name)
        axes.set(xlabel="optimiser step of the pre-training", ylabel="loss on hidden tokens (nats)")
        axes.legend()
    return Plate(
        figure,
        "Mean loss on the same hidden tokens of the development texts. Dashed: each token's share of the training "
        "texts; dotted: its share after the left neighbour.",
        "The loss of the RoBERTa falls over the steps, from above the level line of the unigram to below it.",
    )


def forgetting(runs: pd.DataFrame, stretch: Sequence[int]) -> Plate:
    """Masked-language loss and CKA through fine-tuning, every arm against its control, one column per regime."""
    tested = runs.dropna(subset=["mlm_loss"])
    regimes = list(dict.fromkeys(tested["regime"]))
    with style():
        figure = Figure(figsize=(3 * len(regimes), 5.6))
        panels = figure.subplots(2, len(regimes), sharex=True, squeeze=False)
        for column, regime in zip(panels.T, regimes, strict=True):
            rows = tested[tested["regime"] == regime]
            for axes, quantity in zip(column, ("mlm_loss", "cka"), strict=True):
                _arms(axes, rows, quantity, stretch)
            column[0].set_title(REGIME_TITLES[regime])
            column[1].set_xlabel("optimiser step")
        panels[0, 0].set_ylabel("loss on hidden tokens (nats)")
        panels[1, 0].set_ylabel("CKA to the pre-trained states")
        figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return Plate(
        figure,
        "What is left of the pre-training while it is fine-tuned: mean over seeds, bands from the lowest to the "
        "highest seed (frozen: perhaps one seed alone). Shaded: a task is absent. Above, the loss of the kept "
        "language-model head (higher is more forgotten); below, the likeness of the hidden states (1: unchanged). Each "
        "column has axes of its own.",
        "Two rows of panels, one column per way of optimising. With AdamW the unmasked curve stays near the control's; "
        "with SGD it jumps at the return of the task.",
    )


def _arms(axes: Axes, rows: pd.DataFrame, quantity: str, stretch: Sequence[int]) -> None:
    axes.axvspan(*stretch, color=ABSENT_COLOUR, alpha=0.25, linewidth=0)
    for policy, colour in ARM_COLOURS.items():
        if (arm := rows[rows["policy"] == policy]).empty:
            continue
        by_step = arm.groupby("step")[quantity]
        axes.plot(by_step.mean(), color=colour, linestyle=ARM_STYLES[policy], label=ARM_LABELS[policy])
        steps = by_step.min().index
        axes.fill_between(steps, by_step.min(), by_step.max(), color=colour, alpha=0.12, linewidth=0)


def first_steps(steps: pd.DataFrame) -> Plate:
    """Gradient and update of the encoder around the return, unmasked against control, by regime."""
    with style():
        figure = Figure(figsize=(9.5, 3.8))
        left, right = figure.subplots(1, 2)
        for colour, (regime, rows) in zip(COLOURS, steps.groupby("regime", sort=False), strict=False):
            for policy, line in (("unmasked", "-"), ("control", ":")):
                arm = rows[rows["policy"] == policy]
                label = REGIME_TITLES[regime] if policy == "unmasked" else None
                look: dict[str, Any] = {
                    "color": colour,
                    "linestyle": line,
                    "linewidth": 1.6 if label else 0.9,
                    "alpha": 1 if label else 0.6,
                }
                left.plot(arm["since"], arm["gradient"], label=label, **look)
                right.plot(arm["since"], arm["update"], **look)
        bound = steps.dropna(subset=["bound"]).drop_duplicates("since")
        right.plot(
            bound["since"], bound["bound"], color=THEORY_COLOUR, linestyle="--", label="Adam, after a jump from 0"
        )
        left.set(ylabel="encoder gradient norm, before clipping")
        right.set(ylabel="encoder update, r.m.s. (learning rates)")
        for axes in (left, right):
            axes.set(yscale="log", xlabel="steps since the return")
            axes.axvline(0, color=ABSENT_COLOUR, linewidth=2, zorder=0)
        right.legend()
        figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return Plate(
        figure,
        "Around the return, mean over seeds; solid: unmasked, dotted: control. Left, the gradient that reaches the "
        "encoder. Right, how far a parameter moves in a step, against what Adam does after a jump to a constant "
        "gradient beside which all before were nothing (dashed).",
        "Left: the unmasked gradient jumps by orders of magnitude in all regimes but that at AURA's own "
        "rate. Right: the update jumps as much under SGD, and by a small factor at most under AdamW.",
    )
