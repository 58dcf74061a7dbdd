"""Figures of AURA's own run: logged weights, predicted weights, and what V10.1 would have done."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from aura_study.figures import Plate
from aura_study.figures.lines import band, legend_below, subplots
from aura_study.figures.style import (
    COLOURS,
    DOTTED,
    POLICY_COLOURS,
    POLICY_LABELS,
    TASK_COLOURS,
    THEORY_COLOUR,
    policy_line,
    policy_marks,
    style,
)

FORM_TITLES = {"aura_softplus": "AURA's code", "log_sigma": "the guide's formula"}


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
        "loss; bands: 95 % of the draws of the batches. Reporting is absent from three micro-batches of four and can "
        "tell the losses apart; toxicity, present in nearly all, cannot.",
        "Two panels over 14 epochs, reporting and toxicity: dots for the printed weights and a curve with its band for "
        "each policy.",
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
        axes.axvline(2, color="#888888", linewidth=0.9, linestyle=":", label="2 %")
        axes.set_yticks(places, names)
        axes.set(xlabel="largest deviation over 14 epochs (%)", xlim=(0, None), title=task)
    panels[0].invert_yaxis()
    panels[0].legend()
    return Plate(
        figure,
        "What the log leaves open, varied: the noise of a sample's loss, its course within an epoch (constant steps or "
        "smooth), the order of scheduler and optimiser. Dotted: 2 %.",
        "Two dot plots, for reporting and toxicity: a row for each set of assumptions, with both deviations.",
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
        left.plot(rows["noise"], rows["mean_loss"], "o-", color=colour, label=f"{task}, mean of the run")
        left.vlines(rows["noise"], *ends, color=colour, alpha=0.5, linewidth=4)
    left.set(xlabel="assumed noise of one sample's loss", ylabel="loss that the weights imply", ylim=(0, None))
    left.set_xticks(fits["noise"].unique())
    left.legend(loc="center left", bbox_to_anchor=(0, 0.45))  # between the two
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
        "Left: the implied loss of two tasks against the assumed noise. Right: two bands over the epochs, masked and "
        "unmasked, and a line at one.",
    )


@style()
def schedules(shares: pd.DataFrame) -> Plate:
    """In which epochs the weights move: printed, and as predicted under each schedule.

    Args:
        shares: of the way that falls into an epoch: schedule, task, epoch, logged, mean, low, high.
    """
    figure, panels = subplots(1, 2, figsize=(9.2, 4.0))
    for axes, task in zip(panels, ("reporting", "toxicity"), strict=True):
        rows = shares[shares["task"] == task]
        for colour, (name, path) in zip(COLOURS, rows.groupby("schedule", sort=False), strict=False):
            band(axes, path, "epoch", 0.2, color=colour, label=str(name))
        axes.plot(path["epoch"], path["logged"], "o", color=THEORY_COLOUR, markersize=4.5, label="AURA's log", zorder=3)
        axes.set(xlabel="epoch", ylabel="share of the way of the log weight", title=task)
    legend_below(figure, panels[1], ncols=3)
    return Plate(
        figure,
        "How much of the way that a weight goes in the run falls into each epoch: as AURA's V10.2 printed it (dots), "
        "as masked dynamics have it under a linear warm-up and under OneCycleLR with three places of its peak, all "
        "with the same peak rate; bands: 95 % of the draws of the batches.",
        "Two panels over 14 epochs, for reporting and toxicity. Dots, and four curves that peak in different epochs.",
    )


@style()
def counterfactual(summary: pd.DataFrame) -> Plate:
    """Growth of every task's weight under V10.1's loss, for four data sets and plans and two forms."""
    figure, panels = subplots(1, 2, sharey=True, figsize=(9.6, 4.2))
    data = list(dict.fromkeys(summary["data"]))
    for axes, (form, title) in zip(panels, FORM_TITLES.items(), strict=True):
        rows = summary[summary["parameterization"] == form]
        for place, (task, colour) in enumerate(TASK_COLOURS.items()):
            chosen = rows[rows["task"] == task].set_index("data").loc[data]
            at = np.arange(len(data)) + 0.19 * (place - 1.5)
            axes.vlines(at, 1, chosen["growth"], color=colour, linewidth=2)
            axes.plot(at, chosen["growth"], "o", color=colour, markersize=6, label=task)
        for place, bound in enumerate(rows.groupby("data", sort=False)["bound"].first()):
            axes.hlines(bound, place - 0.4, place + 0.4, **DOTTED, linewidth=1, label=None if place else "bound")
        axes.set_xticks(range(len(data)), [_in_lines(name) for name in data], fontsize=8)
        axes.set_title(title)
        _growth_axis(axes)
    panels[0].set_ylabel("final weight, unmasked / masked")
    legend_below(figure, panels[0], ncols=6)
    return Plate(
        figure,
        "Had V10.1's loss run: each task's final weight over that under V10.2's mask; rows are those of reporting, "
        "losses those of the V10.2 run. Dotted: what the sum of the run's learning rates allows. From the line at "
        "10 on this study speaks of collapse.",
        "Dots on stems from 1 on a log axis up to 12, four tasks in four groups, for AURA's code and for the guide's "
        "formula; a dotted bound over each group and a line at 10.",
    )


@style()
def whatever_the_losses(summary: pd.DataFrame) -> Plate:
    """Largest weight of reporting over its masked twin's in the course of V10.1's run, by the loss that it had."""
    figure, panels = subplots(1, 2, sharey=True, figsize=(9.2, 4.0))
    losses, data = (list(dict.fromkeys(summary[name])) for name in ("loss", "data"))
    for axes, (form, title) in zip(panels, FORM_TITLES.items(), strict=True):
        rows = summary[summary["parameterization"] == form]
        for colour, name in zip(COLOURS, data, strict=False):
            part = rows[rows["data"] == name]
            worst = part.groupby("loss", sort=False)["growth"].max().loc[losses]
            axes.plot(range(len(losses)), worst, "o", color=colour, label=name)
            axes.axhline(part["bound"].iloc[0], color=colour, linestyle=":", linewidth=1)
        axes.set_xticks(range(len(losses)), [_in_lines(name) for name in losses])
        axes.set(xlabel="loss of reporting throughout the run", title=title)
        _growth_axis(axes)
    panels[0].plot([], [], color="#555555", linestyle=":", linewidth=1, label="bound, in its run's colour")
    panels[0].set_ylabel("largest weight, unmasked / masked")
    legend_below(figure, panels[0], ncols=3)
    return Plate(
        figure,
        "V10.1's losses are not known: the largest weight of reporting over its masked twin's, for a loss that is "
        "the same throughout, or what V10.2 printed; the greater of the two assumed noises. Dotted: what the sum of "
        "each run's learning rates allows a twin that stands still. The line at 10 is where this study calls an "
        "uncertainty absurd.",
        "Dots on a log axis up to 12 for six losses and three runs, for AURA's code and for the guide's formula, with "
        "dotted bounds and a line at 10.",
    )


def _in_lines(name: str) -> str:
    return name.replace(": ", "\n").replace(", ", "\n").replace("as printed", "as\nprinted")


def _growth_axis(axes: Axes) -> None:
    axes.set(yscale="log", ylim=(0.97, 12))
    axes.set_yticks([1, 2, 3, 4, 10], ["1", "2", "3", "4", "10"])
    axes.minorticks_off()
    axes.axhline(10, color="#888888", linewidth=0.9, label="collapse")


@style()
def diagnosis(readings: pd.DataFrame, real: pd.DataFrame, tell: float) -> Plate:
    """What the reading said of every simulated log and of V10.2's, and by how much."""
    figure, panels = subplots(1, 2, sharey=True, figsize=(9.6, 3.9))
    data = list(readings["data"].drop_duplicates().sort_values())
    for axes, (rates, title) in zip(panels, ((True, "learning rates told"), (False, "not told")), strict=True):
        rows = readings[readings["rates"] == rates]
        for policy, offset in (("masked", 0.15), ("unmasked", -0.15)):
            one = rows[rows["policy"] == policy]
            side = np.where(one["verdict"] == "masked", 1, np.where(one["verdict"] == "phantom", -1, 0))
            places = [data.index(name) + offset for name in one["data"]]
            axes.plot(
                side * one["margin"].fillna(0),
                places,
                "o",
                color=POLICY_COLOURS[policy],
                alpha=0.45,
                markersize=4.5,
                label=f"simulated {policy}",
            )
        if not rates:
            margin = float(real.loc[real["log"] == "V10.2", "margin"].iloc[0])
            axes.plot(margin, data.index(next(name for name in data if "V10.2" in name)), "*", color=THEORY_COLOUR,
                      markersize=12, label="AURA's V10.2 log")  # fmt: skip
        axes.axvspan(-tell, tell, color="#888888", alpha=0.15, linewidth=0, label="cannot tell")
        axes.set_xscale("symlog", linthresh=tell)
        axes.set_xticks([-1000, -100, -10, 0, 10, 100, 1000], ["1000", "100", "10", "", "10", "100", "1000"])
        axes.set(title=title, xlabel="phantom \N{LEFTWARDS ARROW}   times further off   \N{RIGHTWARDS ARROW} masked")
    panels[0].set_yticks(range(len(data)), data)
    legend_below(figure, panels[1], ncols=4)
    return Plate(
        figure,
        "Simulated logs of AURA's runs, read back: how many times further off the worse of the two explanations lies, "
        "to the right where the reading says masked, to the left where it says phantom. Colours are what was "
        "simulated, so that a dot on the other colour's side is a mistake; in the shaded strip the log is left open.",
        "Two panels, with the learning rates told and without: dots of two colours in rows of data sets, on either "
        "side of a grey strip.",
    )
