"""Figures of V10.1 and V10.2 on the AURA model."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter

from aura_study.figures import Plate
from aura_study.figures.lines import (
    band,
    diagonal,
    edge_labels,
    labels_once,
    legend_below,
    policy_lines,
    shade_absence,
    subplots,
    task_lines,
)
from aura_study.figures.style import DOTTED, POLICY_COLOURS, POLICY_LABELS, policy_line, style


@style()
def sigma_trajectories(
    runs: pd.DataFrame,
    predicted: pd.DataFrame,
    at_aura_rate: pd.DataFrame,
    absent: str,
    stretch: Sequence[int],
    lr: float,
) -> Plate:
    """Sigma of all tasks through the absence of one, V10.1 beside V10.2, and V10.1 at AURA's own rate."""
    first = runs[runs["seed"] == runs["seed"].min()]
    figure, panels = subplots(1, 3, sharey=True, figsize=(10, 3.9))
    for axes, policy in zip(panels, ("unmasked", "masked"), strict=False):
        _sigmas(axes, first[first["policy"] == policy], stretch)
        theory = predicted[(predicted["policy"] == policy) & (predicted["seed"] == first["seed"].iloc[0])]
        axes.plot(theory["step"], theory["sigma"], **DOTTED, label="theory")
        axes.set_title(f"{POLICY_LABELS[policy]}, $\\Lambda$ = {_phantom(first, policy, absent):.2g}")
    slow = at_aura_rate[at_aura_rate["policy"] == "unmasked"]
    _sigmas(panels[2], slow, stretch)
    panels[2].set_title(f"V10.1 at AURA's rate, $\\Lambda$ = {_phantom(slow, 'unmasked', absent):.2g}")
    panels[0].set_yscale("log")
    edge_labels(panels, "optimiser step", r"uncertainty $\sigma$")
    legend_below(figure, panels[0], ncols=6)
    return Plate(
        figure,
        f"Sigma of the four tasks, one seed. Shaded: {absent} is absent. Unmasked, its sigma falls along the predicted "
        "line (dotted); masked, it all but stands still. Right: the same absence with sigma at AURA's own rate "
        f"instead of {lr:g}, where the four all but coincide.",
        f"Three panels of four sigma curves on a log axis. In the first, the curve of {absent} falls steeply through "
        "the shaded absence and recovers after it; in the second and third it stays level.",
    )


def _sigmas(axes: Axes, run: pd.DataFrame, stretch: Sequence[int]) -> None:
    shade_absence(axes, *stretch)
    task_lines(axes, run, "step", "sigma")


def _phantom(run: pd.DataFrame, policy: str, absent: str) -> float:
    rows = run[(run["policy"] == policy) & (run["task"] == absent)]
    return float(rows.loc[~rows["present"], "lr"].sum())


@style()
def precision(runs: pd.DataFrame, predicted: pd.DataFrame, absent: str, stretch: Sequence[int]) -> Plate:
    """Weight of the absent task under the three policies, all seeds, with theory."""
    figure, axes = subplots(figsize=(7, 3.8))
    shade_absence(axes, *stretch)
    policy_lines(axes, runs[runs["task"] == absent], "step", "weight", alpha=0.35)
    for _, path in predicted[predicted["policy"] == "unmasked"].groupby("seed"):
        axes.plot(path["step"], path["weight"], **DOTTED, linewidth=1.2)
    axes.set(yscale="log", xlabel="optimiser step", ylabel=rf"weight of {absent}, $1/(2\sigma^2)$")
    axes.legend()
    return Plate(
        figure,
        f"Precision of {absent} through its absence (shaded), every seed. Dotted: the weight that theory predicts for "
        "V10.1 from the optimiser's memory at the start of the absence.",
        "Weights over steps on a log axis: the unmasked policy climbs in a straight line through the absence and falls "
        "back after it; the masked and frozen policies stay level.",
    )


@style()
def return_spike(bands: pd.DataFrame, table: pd.DataFrame, absent: str, stretch: Sequence[int]) -> Plate:
    """Gradient norm that the absent task sends into the encoder before its absence and after its return.

    Args:
        bands: policy, step, mean, low, high over seeds, near the absence.
        table: predicted_ratio and gradient_ratio by seed, as `tables.returns` gives them.
        absent: the task.
        stretch: first step of its absence, and of its return.
    """
    start, stop = stretch
    figure, (left, right) = subplots(1, 2, width_ratios=(2, 1), figsize=(9.5, 3.6))
    shade_absence(left, start, stop)
    for policy in POLICY_LABELS:
        rows = bands[bands["policy"] == policy]
        for side in (rows[rows["step"] < start], rows[rows["step"] >= stop]):
            band(left, side, "step", 0.15, **policy_line(policy))
    place = {"ha": "center", "va": "center", "transform": left.get_xaxis_transform()}
    left.text((start + stop) / 2, 0.5, "absent:\nno gradient", color="#555555", **place)
    left.set(yscale="log", xlabel="optimiser step", ylabel=f"encoder gradient norm of {absent}")
    left.legend(*labels_once(left), loc="upper left")
    diagonal(right, 0.8 * table["predicted_ratio"].min(), 1.25 * table["predicted_ratio"].max())
    right.plot(table["predicted_ratio"], table["gradient_ratio"], "o", color=POLICY_COLOURS["unmasked"])
    right.set(xscale="log", yscale="log", xlabel="precision ratio predicted", ylabel="gradient ratio measured")
    for axis in (right.xaxis, right.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))  # three at least, in whatever half of a decade
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter(NullFormatter())
    right.set_title("First step back, by seed")
    return Plate(
        figure,
        f"Left: norm of the gradient that {absent} sends into the encoder (mean and range over seeds, unclipped), "
        "up to its absence and from its return. Right: V10.1's over V10.2's at the first step back, against the "
        "predicted precision ratio.",
        "Left: before the absence the policies agree; at the return the unmasked gradient norm stands orders of "
        "magnitude above the masked one. Right: one point per seed on the diagonal of measured against predicted.",
    )


@style()
def mixed(runs: pd.DataFrame, absent: str) -> Plate:
    """Weights under AURA's i.i.d. mixing, V10.1 against V10.2."""
    figure, panels = subplots(1, 2, sharey=True, figsize=(9, 3.6))
    for axes, policy in zip(panels, ("unmasked", "masked"), strict=True):
        task_lines(axes, runs[runs["policy"] == policy], "step", "weight")
        axes.set_title(POLICY_LABELS[policy])
    panels[0].set_yscale("log")
    edge_labels(panels, "optimiser step", r"weight $1/(2\sigma^2)$")
    legend_below(figure, panels[0], ncols=4)
    return Plate(
        figure,
        f"Weights under AURA's own mixing, where {absent} is missing from many batches. Unmasked, its weight settles "
        "higher, as theory's 1/p says: inflated, not collapsed.",
        "Two panels of four weight curves on a log axis; the reporting curve ends higher in the unmasked panel.",
    )
