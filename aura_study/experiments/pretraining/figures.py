"""Figures of the pre-training and of what fine-tuning leaves of it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullLocator

from aura_study.figures import Plate
from aura_study.figures.lines import band, coloured, legend_below, shade_absence, subplots
from aura_study.figures.style import ABSENT_COLOUR, COLOURS, THEORY_COLOUR, policy_line, style

ARM_LINES = {
    "alone": {"color": "#777777", "linestyle": "-.", "label": "that task alone"},
    **{policy: policy_line(policy) for policy in ("masked", "unmasked")},
}
FIRST_STEPS_LINES: dict[str, Any] = {
    "unmasked": {"linestyle": "-", "linewidth": 1.1},
    "masked": {"linestyle": ":", "linewidth": 1.1},
}
MEASURE_TITLES: dict[Any, str] = {
    "mlm_loss": "hidden words (small RoBERTa)",
    "probe": "probe (MiniLM)",
    "retrieval": "retrieval (MiniLM)",
}
REGIME_TITLES: dict[Any, str] = {
    "clipped": "AdamW, clipped (AURA)",
    "unclipped": "AdamW, no clipping",
    "sgd": "SGD, no clipping",
    "own_rate": r"AURA's rate for $\sigma$",
}
REGIME_COLOURS: dict[Any, str] = dict(zip(REGIME_TITLES, COLOURS, strict=False))


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
    legend_below(figure, panels[0, 0], ncols=5)
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
def harm(table: pd.DataFrame, moment: str, ruined: float, unharmed: float) -> Plate:
    """What the spike takes of the pre-training, by the sum of sigma's rates over the absence, one panel a measure.

    Args:
        table: `aura_study.experiments.pretraining.harm.harm_table`.
        moment: of it that is shown.
        ruined, unharmed: from where on it is a ruin, and within which there is no harm.
    """
    table = table[(table["moment"] == moment) & (table["policy"] == "unmasked")]
    measures = [measure for measure in MEASURE_TITLES if measure in set(table["measure"])]
    figure, panels = subplots(1, len(measures), sharey=True, squeeze=False, figsize=(2.4 + 3.2 * len(measures), 4))
    for axes, measure in zip(panels[0], measures, strict=True):
        _bounds(axes, ruined, unharmed)
        for regime, rows in table[table["measure"] == measure].groupby("regime", sort=False):
            look = {"color": REGIME_COLOURS[regime], "label": REGIME_TITLES[regime]}
            _points(axes, rows.sort_values("rates"), "rates", **look)
        axes.set(xscale="log", title=MEASURE_TITLES[measure], xlabel=r"$\Lambda$, sum of $\sigma$'s rates")
    panels[0, 0].set_ylabel("taken by the spike, of what was learned")
    legend_below(figure, *panels[0], ncols=3)
    return Plate(
        figure,
        "What an arm has lost beyond the masked one, in parts of what the pre-training had brought, by how long and "
        "how fast sigma moved while its task was absent; mean and 95 % interval over seeds. Shaded: no harm; dotted: a "
        "ruin begins, and beyond it the axis is logarithmic. Left, hidden words; where there are more panels, the "
        "probe of a task and the retrieval of texts that the encoder is not trained on.",
        "A panel for each measure, with points and error bars over the dose on a logarithmic axis, a shaded strip "
        "around 0 and a dotted line at a half.",
    )


@style()
def healing(table: pd.DataFrame, returns: pd.DataFrame, ruined: float, unharmed: float) -> Plate:
    """What the spike has taken by the steps since the return, and by the number of returns.

    Args:
        table: measure, regime, since, mean, low, high over seeds.
        returns: rows of `aura_study.experiments.pretraining.harm.harm_table` with several returns; may be empty.
        ruined, unharmed: as for `harm`.
    """
    figure, panels = subplots(1, 2, figsize=(9.5, 4), width_ratios=(2, 1), sharey=True)
    for axes in panels:
        _bounds(axes, ruined, unharmed)
    for colour, (measure, regime), rows in coloured(table, ["measure", "regime"], sort=False):
        label = f"{MEASURE_TITLES[measure]}: {REGIME_TITLES[regime]}"
        band(panels[0], rows, "since", 0.12, color=colour, marker="o", markersize=3, label=label)
    if not returns.empty:
        several = returns.assign(number=returns["moment"].str.split().str[0].astype(int))
        _points(panels[1], several, "number", color=COLOURS[0], label=None)
        panels[1].set_xticks(several["number"])
    panels[0].set(xlabel="steps since the return", ylabel="taken by the spike, of what was learned")
    panels[1].set(xlabel="returns, each after an absence", xlim=(0.5, None))
    legend_below(figure, panels[0], ncols=2)
    return Plate(
        figure,
        "What an arm has lost beyond the masked one, in parts of what the pre-training had brought. Shaded: no harm; "
        "dotted: a ruin begins. Left, from the return on, mean over seeds in a band from the lowest to the highest. "
        "Right, of hidden words under clipped AdamW, after as many absences and returns: mean and 95 % interval.",
        "Two panels over one axis: curves over the steps since the return, and points over the number of returns.",
    )


@style()
def layers(table: pd.DataFrame) -> Plate:
    """CKA to the pre-trained states by layer of the probed encoder, a curve for each arm.

    Args:
        table: arm (in words), layer, mean, low, high over seeds.
    """
    figure, axes = subplots(figsize=(6.5, 4))
    for colour, arm, rows in coloured(table, "arm", sort=False):
        band(axes, rows, "layer", 0.12, color=colour, marker="o", markersize=3, label=arm)
    axes.set(xlabel="layer", ylabel="CKA to the pre-trained states", ylim=(None, 1.01))
    axes.set_xticks(sorted(set(table["layer"])))
    legend_below(figure, axes, ncols=2)
    return Plate(
        figure,
        "How alike the states of texts that the encoder is not trained on still are to the pre-trained ones, layer by "
        "layer, after the return; mean over seeds in a band from the lowest to the highest. 1: unchanged.",
        "A curve for every arm over the six layers.",
    )


def _bounds(axes: Axes, ruined: float, unharmed: float) -> None:
    axes.axhspan(-unharmed, unharmed, color="#888888", alpha=0.15, linewidth=0, label="no harm")
    axes.axhline(ruined, color=THEORY_COLOUR, linestyle=":", linewidth=1.2, label="a ruin from here on")
    axes.set_yscale("symlog", linthresh=ruined)  # a ruin may be many times what was learned
    axes.yaxis.set_major_locator(FixedLocator([-1, -0.5, -0.25, 0, 0.25, 0.5, 1, 2, 5, 10]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter("{x:g}")


def _points(axes: Axes, rows: pd.DataFrame, x: str, **look: Any) -> None:
    """Means of the harm joined by a line, with bars from low to high."""
    bars = [(rows["harm"] - rows["low"]).where(np.isfinite), (rows["high"] - rows["harm"]).where(np.isfinite)]
    axes.errorbar(rows[x], rows["harm"], bars, marker="o", markersize=4, capsize=3, **look)


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
    """Gradient and update of the encoder around the return, unmasked against masked, a column by regime."""
    regimes = [regime for regime in REGIME_TITLES if regime in set(steps["regime"])]
    figure, panels = subplots(
        2, len(regimes), sharex=True, sharey="row", squeeze=False, figsize=(1.4 + 2.1 * len(regimes), 5)
    )
    for column, regime in zip(panels.T, regimes, strict=True):
        rows = steps[steps["regime"] == regime]
        for axes, measure in zip(column, ("gradient", "update"), strict=True):
            for policy, look in FIRST_STEPS_LINES.items():
                arm = rows[rows["policy"] == policy]
                axes.plot(arm["since"], arm[measure], **policy_line(policy) | look)
            axes.axvline(0, color=ABSENT_COLOUR, linewidth=2, zorder=0, label="the return")
            axes.set_yscale("log")
        bound = rows.dropna(subset=["bound"]).drop_duplicates("since")
        if not bound.empty:
            look = {"color": THEORY_COLOUR, "linestyle": "--", "label": "Adam, after a jump from 0"}
            column[1].plot(bound["since"], bound["bound"], **look)
        column[0].set_title(REGIME_TITLES[regime], fontsize=9)
        column[1].set_xlabel("steps since the return")
    panels[0, 0].set_ylabel("encoder gradient norm,\nbefore clipping")
    panels[1, 0].set_ylabel("encoder update, r.m.s.\n(learning rates)")
    legend_below(figure, *panels[1], ncols=4)
    return Plate(
        figure,
        "Around the return, mean over seeds; solid: unmasked, dotted: masked; a column for each way of optimising. "
        "Above, the gradient that reaches the encoder. Below, how far a parameter moves in a step, against what Adam "
        "does after a jump to a constant gradient beside which all before were nothing (dashed).",
        "Two rows of panels, gradient norm above update on logarithmic axes, a column for every way of optimising, "
        "with a solid and a dotted curve each, and a dashed one for Adam's bound below.",
    )
