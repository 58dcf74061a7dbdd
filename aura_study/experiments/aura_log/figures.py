"""Figures of AURA's own run: logged weights, predicted weights, and what V10.1 would have done."""

import numpy as np
import pandas as pd

from aura_study.figures import Plate
from aura_study.figures.lines import band, subplots
from aura_study.figures.style import (
    DOTTED,
    POLICY_COLOURS,
    POLICY_LABELS,
    TASK_COLOURS,
    THEORY_COLOUR,
    policy_line,
    policy_marks,
    style,
)


@style()
def weights(predictions: pd.DataFrame) -> Plate:
    """Logged weights of reporting and toxicity with what each policy predicts."""
    figure, panels = subplots(1, 2, figsize=(9.2, 4.0))
    for axes, task in zip(panels, ("reporting", "toxicity"), strict=True):
        rows = predictions[predictions["task"] == task]
        for policy in POLICY_LABELS:
            path = rows[rows["policy"] == policy]
            band(axes, path.rename(columns={"predicted": "mean"}), "epoch", 0.2, **policy_line(policy))
        axes.plot(path["epoch"], path["logged"], "o", color=THEORY_COLOUR, markersize=4.5, label="AURA's log", zorder=3)
        axes.set(xlabel="epoch", ylabel="Kendall weight", title=task, yscale="log")
        axes.yaxis.set_major_formatter("{x:.2f}")
        axes.yaxis.set_minor_formatter("{x:.2f}")
    panels[0].legend()
    return Plate(
        figure,
        "Weight printed by AURA's V10.2 run (dots) and predicted from its logged losses, without training, under each "
        "loss; bands: 95 % of the draws of the batches. Reporting, absent from three micro-batches of four, tells the "
        "losses apart: the run was masked. Toxicity, present in nearly all, does not.",
        "Two panels over 14 epochs. Reporting: dots rise along the masked curve while the unmasked curve rises much "
        "faster. Toxicity: dots and all curves fall together.",
    )


@style()
def misses(table: pd.DataFrame) -> Plate:
    """Largest deviation from the log under every combination of the free assumptions."""
    figure, panels = subplots(1, 2, sharey=True, figsize=(9.2, 3.8))
    for axes, task in zip(panels, ("reporting", "toxicity"), strict=True):
        rows = table[table["task"] == task].sort_values(["noise", "shape", "order"], ascending=[True, False, True])
        names = [
            f"noise {noise:g}, {shape}" + (", scheduler first" if order == "before" else "")
            for noise, shape, order in zip(rows["noise"], rows["shape"], rows["order"], strict=True)
        ]
        places = np.arange(len(rows))
        for policy in ("unmasked", "masked"):
            axes.plot(100 * rows[policy], places, **policy_marks(policy))
        axes.axvline(2, color="#888888", linewidth=0.9, linestyle=":")
        axes.set_yticks(places, names)
        axes.set(xlabel="largest deviation over 14 epochs (%)", xlim=(0, None), title=task)
    panels[0].invert_yaxis()
    panels[0].legend()
    return Plate(
        figure,
        "What the log leaves open, varied: the noise of a sample's loss, its course within an epoch (constant steps or "
        "smooth), the order of scheduler and optimiser. Dotted: 2 %. For reporting no assumption brings the unmasked "
        "prediction near the log.",
        "Two dot plots. For reporting the masked deviations lie close to zero and the unmasked ones several times "
        "further out. For toxicity both lie together.",
    )


@style()
def total(bands: pd.DataFrame, fits: pd.DataFrame) -> Plate:
    """Inferred losses of emotion and sentiment, and the logged total against its parts.

    Args:
        bands: total rebuilt over total logged: policy, epoch, mean, low, high over the assumed noise.
        fits: task, noise, mean_loss, first_epoch, last_epoch.
    """
    figure, (left, right) = subplots(1, 2, figsize=(9.2, 3.8))
    for task, rows in fits.groupby("task", sort=False):
        colour = TASK_COLOURS[str(task)]
        ends = np.sort(rows[["first_epoch", "last_epoch"]], axis=1).T
        left.plot(rows["noise"], rows["mean_loss"], "o-", color=colour, label=f"{task}: mean of the run")
        left.vlines(rows["noise"], *ends, color=colour, alpha=0.5, linewidth=4)
    left.set(xlabel="assumed noise of one sample's loss", ylabel="loss that the weights imply", ylim=(0, None))
    left.legend(loc="center left", bbox_to_anchor=(0, 0.48))
    right.plot(bands["epoch"].unique(), np.ones(bands["epoch"].nunique()), color=THEORY_COLOUR, linewidth=0.9)
    for policy in ("unmasked", "masked"):
        look = {"color": POLICY_COLOURS[policy], "label": POLICY_LABELS[policy]}
        band(right, bands[bands["policy"] == policy], "epoch", 0.3, **look)
    right.set(xlabel="epoch", ylabel="total rebuilt / total logged")
    right.legend()
    return Plate(
        figure,
        "Left: losses of emotion and sentiment that their 14 weights imply; bars from the first to the last epoch. "
        "Right: total loss rebuilt from its parts, over the logged one; bands over the assumed noise.",
        "Left: emotion's implied loss rises with the assumed noise, sentiment's is close to zero. Right: the masked "
        "band reaches up to one, the unmasked band lies above it, ever further in the late epochs.",
    )


@style()
def counterfactual(summary: pd.DataFrame) -> Plate:
    """Growth of every task's precision under V10.1's loss, for three data sets and two forms."""
    figure, panels = subplots(1, 2, sharey=True, figsize=(9.2, 4.0))
    titles = {"aura_softplus": "AURA's softplus", "log_sigma": "the guide's formula"}
    data = list(dict.fromkeys(summary["data"]))
    for axes, (form, title) in zip(panels, titles.items(), strict=True):
        rows = summary[summary["parameterization"] == form]
        for place, (task, colour) in enumerate(TASK_COLOURS.items()):
            chosen = rows[rows["task"] == task].set_index("data").loc[data]
            at = np.arange(len(data)) + 0.19 * (place - 1.5)
            axes.bar(at, chosen["growth"] - 1, width=0.18, bottom=1, color=colour, label=task)
        for place, bound in enumerate(rows.groupby("data", sort=False)["bound"].first()):
            axes.hlines(bound, place - 0.4, place + 0.4, **DOTTED, linewidth=1)
        axes.set_yscale("log")
        axes.set_yticks([1, 2, 3, 4, 10], ["1", "2", "3", "4", "10"])
        axes.minorticks_off()
        axes.axhline(10, color="#888888", linewidth=0.9)
        axes.set_xticks(range(len(data)), [name.replace(", ", ",\n") for name in data])
        axes.set(title=title, ylim=(0.97, 12))
    panels[0].set_ylabel("final precision, unmasked / masked")
    panels[0].legend(ncols=2)
    panels[0].annotate("collapse: tenfold", (-0.4, 10), xytext=(0, -11), textcoords="offset points", color="#666666")
    return Plate(
        figure,
        "Had V10.1's loss run: each task's final precision over that under V10.2's mask; rows are those of reporting. "
        "Dotted: the bound exp(2 Lambda) that the run's learning rates allow. Reporting would have been inflated, most "
        "of all with its first 101 rows; nothing collapses.",
        "Bars on a log axis. All tasks stay near 1 but reporting, which grows more in the guide's formula than in "
        "AURA's code, and most with the fewest rows, below the dotted bounds and far below the line at 10.",
    )
