"""Figures of focal loss on the toxicity task: who gets the effort, what alpha and gamma do, wrong labels."""

from collections.abc import Iterator, Sequence
from itertools import cycle
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from aura_study.figures import Plate
from aura_study.figures.lines import band, coloured, legend_below, subplots
from aura_study.figures.style import COLOURS, DOTTED, THEORY_COLOUR, style

PROGRESS = "training done (share of the steps)"


@style()
def effort(bands: pd.DataFrame, losses: Sequence[float]) -> Plate:
    """Shares over training: the hardest 5 % in the loss and in the encoder's gradient, the toxic ones on the logits.

    Args:
        bands: condition, group, measure, gamma, progress, mean, low, high (interval over seeds), predicted.
        losses: gammas of cross-entropy and focal loss.
    """
    wanted = {
        "Hardest 5 %: loss": ("hardest 5 %", "loss"),
        "Hardest 5 %: encoder's gradient": ("hardest 5 %", "encoder"),
        "Toxic: gradient on the logits": ("toxic", "logits"),
    }
    conditions = list(dict.fromkeys(bands["condition"]))
    size = (9.5, 1 + 2.3 * len(conditions))
    figure, grid = subplots(len(conditions), 3, sharex=True, sharey=True, squeeze=False, figsize=size)
    for panels, condition in zip(grid, conditions, strict=True):
        for axes, (title, (group, measure)) in zip(panels, wanted.items(), strict=True):
            chosen = _group(bands[bands["condition"] == condition], group, measure)
            if chosen.empty:
                axes.text(0.5, 0.5, "not measured", ha="center", color="#666666", fontsize=9)
            for gamma, look in _loss_lines(losses):
                curve = chosen[chosen["gamma"] == gamma].sort_values("progress")
                _band(axes, curve, "progress", look)
                axes.plot(curve["progress"], curve["predicted"], ".", color=THEORY_COLOUR, markersize=3, zorder=3)
            axes.axhline(0.5 if group == "toxic" else 0.9, **DOTTED, linewidth=0.8)
            axes.set(ylim=(-0.02, 1.02), xlim=(-0.03, 1.03))
            if condition == conditions[0]:
                axes.set_title(title)
        panels[0].set_ylabel(f"share of the whole\n({condition})")
    for axes in grid[-1]:
        axes.set_xlabel(PROGRESS, fontsize=9)
    grid[0, 0].text(0.0, 0.92, "the guide: 90 %", fontsize=8)
    grid[0, 2].text(1.0, 0.94, "dotted: output bias at rest", fontsize=8, ha="right")
    legend_below(figure, grid[0, 0], ncols=2)
    return Plate(
        figure,
        "Share of the effort, mean and 95 % interval over seeds; a row for each training set. Dashed: cross-entropy; "
        "solid: focal loss; black dots: closed form on the measured probabilities.",
        "A grid of panels over the progress of training, two curves each. The hardest comments' share of the loss and "
        "of the encoder's gradient starts near five per cent; a dotted line stands at 90 per cent; the "
        "toxic comments' share of the gradient on the logits has a dotted line at one half.",
    )


@style()
def alpha_gamma(given: pd.DataFrame, trained: pd.DataFrame) -> Plate:
    """Toxic comments' share over alpha, and the hardest 5 %'s over gamma: one given model, and models trained so.

    Args:
        given: group, measure, alpha, gamma, share, predicted; means over seeds.
        trained: group, measure, alpha, gamma, share; means over seeds.
    """
    figure, (left, right) = subplots(1, 2, figsize=(9, 4))
    panels = (
        (left, "toxic", "logits", "alpha", "gamma", r"\gamma"),
        (right, "hardest 5 %", "loss", "gamma", "alpha", r"\alpha"),
    )
    for axes, group, measure, over, by, symbol in panels:
        chosen, points = _group(given, group, measure), _group(trained, group, measure)
        for marker, (colour, value, curve) in zip(cycle("os^Dv"), coloured(chosen.sort_values(over), by), strict=False):
            axes.plot(curve[over], curve["share"], "-", color=colour, label=rf"given model, ${symbol}$ = {value:g}")
            axes.plot(curve[over], curve["predicted"], ".", color=THEORY_COLOUR, markersize=4)
            ends = points[points[by] == value]
            axes.plot(ends[over], ends["share"], marker, color=colour, markerfacecolor="white", markersize=7)
        axes.set(ylim=(-0.02, 1.02))
        axes.legend()
    left.axhline(0.5, **DOTTED, linewidth=0.8)
    left.set(xlabel=r"$\alpha$ (weight of the toxic class)", ylabel="share of the gradient on the logits")
    left.set_title("Toxic comments")
    right.set(xlabel=r"$\gamma$", ylabel="share of the loss", title="Hardest 5 % of the comments")
    return Plate(
        figure,
        "Lines: shares in one given model, trained half-way with cross-entropy; dots: predicted. Open marks: models at "
        "the end of a training with that alpha and gamma. Dotted: one half, where an "
        "output bias at rest puts both classes.",
        "Two panels. Left: the toxic comments' share rises with alpha along predicted curves, open marks stand for "
        "trained models. Right: the hardest comments' share of the loss rises with gamma, one curve for each alpha.",
    )


@style()
def noise(bands: pd.DataFrame, losses: Sequence[float]) -> Plate:
    """Wrong labels: memorised and pulling over training at the largest noise; memorised and macro-F1 over the noise.

    Args:
        bands: noise, gamma, progress, measure, mean, low, high; intervals over seeds.
        losses: gammas of cross-entropy and focal loss.
    """
    figure, grid = subplots(2, 2, figsize=(8.5, 6.4))
    most = bands["noise"].max()
    panels = (
        ("memorised", "progress", f"Wrong labels memorised, noise {100 * most:g} %"),
        ("memorised", "noise", "Wrong labels memorised, end of training"),
        ("wrong labels' gradient", "progress", f"Wrong labels' share of the gradient, {100 * most:g} %"),
        ("macro_f1", "noise", "Clean development macro-F1, end of training"),
    )
    for axes, (measure, over, title) in zip(grid.flat, panels, strict=True):
        chosen = bands[bands["measure"] == measure]
        chosen = chosen[chosen["noise"] == most] if over == "progress" else chosen[chosen["progress"] == 1]
        for gamma, look in _loss_lines(losses):
            _band(axes, chosen[chosen["gamma"] == gamma].sort_values(over), over, look)
        label = PROGRESS if over == "progress" else "training labels flipped (share)"
        axes.set(xlabel=label, ylabel="share" if measure != "macro_f1" else "macro-F1", title=title)
        axes.set(ylim=(-0.02, 1.02), xlim=(-0.03, 1.03 if over == "progress" else most + 0.03))
    grid[1, 0].axhline(most, **DOTTED, linewidth=0.8)
    grid[1, 0].text(1.0, 0.94, "dotted: their share of the comments", fontsize=8, ha="right")
    grid[0, 0].legend()
    return Plate(
        figure,
        "Cross-entropy (dashed) against focal loss (solid) on few comments for many epochs, some labels flipped; mean "
        "and 95 % interval over seeds. Memorised: the model predicts the wrong label that it was given.",
        "Four panels with two curves each. Memorised wrong labels over training and over the noise, the wrong labels' "
        "share of the gradient over training, and the clean macro-F1 over the noise.",
    )


def _group(table: pd.DataFrame, group: str, measure: str) -> pd.DataFrame:
    return table[(table["group"] == group) & (table["measure"] == measure)]


def _loss_lines(losses: Sequence[float]) -> Iterator[tuple[float, dict[str, Any]]]:
    """Gamma and line of cross-entropy and of focal loss."""
    for gamma, colour, line in zip(losses, COLOURS, ("--", "-"), strict=False):
        label = "cross-entropy" if gamma == 0 else rf"focal loss, $\gamma$ = {gamma:g}"
        yield gamma, {"color": colour, "linestyle": line, "label": label}


def _band(axes: Axes, curve: pd.DataFrame, over: str, look: dict[str, Any]) -> None:
    band(axes, curve, over, 0.15, **look, marker=".")
    axes.vlines(curve[over], curve["low"], curve["high"], color=look["color"], alpha=0.4, linewidth=0.8)
