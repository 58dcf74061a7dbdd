"""Figures of focal loss on the toxicity task: who gets the effort, what alpha and gamma do, wrong labels."""

from collections.abc import Iterator, Sequence
from itertools import cycle
from typing import Any

import pandas as pd

from aura_study.figures import Plate
from aura_study.figures.lines import band, coloured, legend_below, subplots
from aura_study.figures.style import COLOURS, DOTTED, THEORY_COLOUR, style

EPOCHS = "epochs"


@style()
def effort(table: pd.DataFrame, losses: Sequence[float]) -> Plate:
    """Shares over training, a line for each seed up to the end: the hardest 5 %'s loss, the toxic ones' gradient.

    Args:
        table: condition, gamma, alpha, seed, epochs, step, end, held_out, group, measure, share.
        losses: gammas of cross-entropy and focal loss.
    """
    wanted = {
        "Hardest 5 %: loss": ("hardest 5 %", "loss", False),
        "The same, held-out comments": ("hardest 5 %", "loss", True),
        "Toxic: gradient on the logits": ("toxic", "logits", False),
    }
    plain = table[(table["alpha"] == 0.5) & (table["step"] <= table["end"])]
    conditions = list(dict.fromkeys(plain["condition"]))
    size = (9.5, 1 + 2.3 * len(conditions))
    figure, grid = subplots(len(conditions), 3, sharex="row", sharey=True, squeeze=False, figsize=size)
    for panels, condition in zip(grid, conditions, strict=True):
        for axes, (title, (group, measure, held_out)) in zip(panels, wanted.items(), strict=True):
            chosen = _group(plain[plain["condition"] == condition], group, measure)
            chosen = chosen[chosen["held_out"] == held_out]
            for gamma, look in _loss_lines(losses):
                for place, (_, run) in enumerate(chosen[chosen["gamma"] == gamma].groupby("seed")):
                    line = look if not place else {**look, "label": None}
                    axes.plot(run["epochs"], run["share"], **line, linewidth=0.8, alpha=0.8)
                    axes.plot(*run[["epochs", "share"]].iloc[-1], "o", color=look["color"], markersize=4)
            axes.axhline(0.5 if group == "toxic" else 0.9, **DOTTED, linewidth=0.8)
            axes.set(ylim=(-0.02, 1.02))
            if condition == conditions[0]:
                axes.set_title(title)
        panels[0].set_ylabel(f"share of the whole\n({condition})")
    for axes in grid[-1]:
        axes.set_xlabel(EPOCHS, fontsize=9)
    for axes, words in ((grid[0, 0], "the guide's 90 %"), (grid[0, 2], "output bias at rest")):
        axes.text(0.98, 0.93, f"dotted: {words}", fontsize=8, ha="right", transform=axes.transAxes)
    legend_below(figure, grid[0, 0], ncols=2)
    return Plate(
        figure,
        "Share of the effort over training, a line for each seed; a row for each training set. Dashed: cross-entropy; "
        "solid: focal loss. A dot ends each line where the loss of held-out comments is smallest.",
        "A grid of panels over epochs, a line for each seed and loss, each ending in a dot. Left and middle: the "
        "hardest comments' share of the loss, of training and of held-out comments, with a dotted line at 90 per cent. "
        "Right: the toxic comments' share of the gradient on the logits, with a dotted line at one half.",
    )


@style()
def alpha_gamma(given: pd.DataFrame, trained: pd.DataFrame) -> Plate:
    """Toxic comments' share over alpha, and the hardest 5 %'s over gamma: one given model, and models trained so.

    Args:
        given: group, measure, alpha, gamma, share, predicted; means over seeds.
        trained: group, measure, alpha, gamma, mean, low, high; intervals over seeds.
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
            axes.vlines(ends[over], ends["low"], ends["high"], color=colour, linewidth=1)
            axes.plot(ends[over], ends["mean"], marker, color=colour, markerfacecolor="white", markersize=7)
        axes.plot([], [], ".", color=THEORY_COLOUR, markersize=4, label="predicted")
        axes.plot([], [], "o", color="#555555", markerfacecolor="white", markersize=7, label="trained so")
        axes.set(ylim=(-0.02, 1.02))
        axes.legend()
    left.axhline(0.5, **DOTTED, linewidth=0.8)
    left.set(xlabel=r"$\alpha$ (weight of the toxic class)", ylabel="share of the gradient on the logits")
    left.set_title("Toxic comments")
    right.set(xlabel=r"$\gamma$", ylabel="share of the loss", title="Hardest 5 % of the comments")
    return Plate(
        figure,
        "Lines: shares in one given model, trained with cross-entropy; dots: predicted. Open marks: models trained "
        "with that alpha and gamma (left over the second half of training, right at its end), with 95 % intervals over "
        "seeds. Dotted: one half, where an output bias at rest puts both classes.",
        "Two panels. Left: the toxic comments' share rises with alpha along predicted curves, open marks stand for "
        "trained models. Right: the hardest comments' share of the loss rises with gamma, one curve for each alpha.",
    )


@style()
def noise(bands: pd.DataFrame, losses: Sequence[float]) -> Plate:
    """Wrong labels over training at the largest noise: memorised, their loss, their gradient, and clean held-out AUC.

    Args:
        bands: noise, gamma, epochs, measure, mean, low, high; intervals over seeds.
        losses: gammas of cross-entropy and focal loss.
    """
    figure, grid = subplots(2, 2, sharex=True, figsize=(8.5, 6.4))
    most = bands["noise"].max()
    panels = {
        "memorised": ("Wrong labels memorised", "share", (-0.02, 1.02)),
        "wrong labels' loss": ("Wrong labels' cross-entropy", "nats", None),
        "wrong labels' gradient": ("Wrong labels' share of the gradient", "share", (-0.02, 1.02)),
        "auc": ("Clean held-out comments", "area under the ROC curve", None),
    }
    for axes, (measure, (title, label, limits)) in zip(grid.flat, panels.items(), strict=True):
        chosen = bands[(bands["measure"] == measure) & (bands["noise"] == most)]
        for gamma, look in _loss_lines(losses):
            band(axes, chosen[chosen["gamma"] == gamma].sort_values("epochs"), "epochs", 0.15, **look, marker=".")
        axes.set(title=title, ylabel=label)
        if limits:
            axes.set_ylim(*limits)
    for axes in grid[-1]:
        axes.set_xlabel(EPOCHS)
    grid[1, 0].axhline(most, **DOTTED, linewidth=0.8)
    grid[1, 0].text(
        0.98, 0.93, "dotted: their share of the comments", fontsize=8, ha="right", transform=grid[1, 0].transAxes
    )
    grid[0, 0].legend()
    return Plate(
        figure,
        f"Cross-entropy (dashed) against focal loss (solid), {100 * most:g} % of the labels flipped; mean and 95 % "
        "interval over seeds. Memorised: the model predicts the wrong label that it was given.",
        "Four panels over epochs with two curves each: wrong labels memorised, their cross-entropy, their share of the "
        "gradient, and the area under the ROC curve of clean held-out comments.",
    )


def _group(table: pd.DataFrame, group: str, measure: str) -> pd.DataFrame:
    return table[(table["group"] == group) & (table["measure"] == measure)]


def _loss_lines(losses: Sequence[float]) -> Iterator[tuple[float, dict[str, Any]]]:
    """Gamma and line of cross-entropy and of focal loss."""
    for gamma, colour, line in zip(losses, COLOURS, ("--", "-"), strict=False):
        label = "cross-entropy" if gamma == 0 else rf"focal loss, $\gamma$ = {gamma:g}"
        yield gamma, {"color": colour, "linestyle": line, "label": label}
