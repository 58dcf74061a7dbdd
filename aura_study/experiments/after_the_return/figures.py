"""Figures of what follows the return of an absent task."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes

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
)
from aura_study.figures.style import COLOURS, DOTTED, policy_line, style

ABSENCE_COLOURS = {"long": "#D55E00", "short": "#0072B2"}
CLIP_COLOURS = {False: "#D55E00", True: "#009E73"}
CLIP_LABELS = {False: "without clipping", True: "with clipping"}
LAYERS_COLOUR = "#CC79A7"
OPTIMIZER_COLOURS = {"SGD": "#D55E00", "Adam": "#0072B2"}
FAINT = {"alpha": 0.3, "linewidth": 0.9}


@style()
def four_arms(runs: pd.DataFrame, absent: str, absent_steps: int) -> Plate:
    """Weight of the absent task, and its gradient into the encoder, by arm: V10.1, V10.2 and theory, all seeds."""
    shown = runs[(runs["stretch"] == "long") & (runs["since"] >= -1.5 * absent_steps)]
    figure, panels = subplots(2, 4, sharex=True, sharey="row", figsize=(10.5, 5.4))
    for column, (arm, rows) in zip(panels.T, shown.groupby("arm", sort=False), strict=True):
        for axes in column:
            shade_absence(axes, -absent_steps, 0)
        policy_lines(column[0], rows, "since", "weight", **FAINT)
        policy_lines(column[1], rows[rows["since"] >= 0], "since", "pull_norm", **FAINT)
        first = rows[(rows["seed"] == rows["seed"].min()) & (rows["policy"] == "unmasked")]
        theory = {**DOTTED, "linewidth": 1.4, "label": "theory, first seed"}
        column[0].plot(first["since"], first["predicted_weight"], **theory)
        column[0].set_title(str(arm))
        column[1].set_xlabel("steps since the return")
    panels[0, 0].set(ylabel=f"weight of {absent}", yscale="log", ylim=(1e-6, 3 * shown["weight"].max()))
    panels[1, 0].set(ylabel=f"encoder gradient norm\nof {absent}, unclipped", yscale="log")
    panels[1, 0].set_ylim(1e-4, 3 * shown["pull_norm"].max())
    legend_below(figure, panels[0, 0], ncols=4)
    return Plate(
        figure,
        f"The return of {absent}, every seed, the first in full, in four arms. Above: its weight; shaded, it is "
        "absent. Below: the norm of the gradient that it sends into the encoder, before clipping. Dotted: theory, from "
        "V10.2's losses alone.",
        "Eight panels, two for each of four arms: the weight of the absent task on a log axis, unmasked, masked and "
        "predicted, through its absence and after; and the norm of its gradient into the encoder since its return.",
    )


@style()
def whiplash_and_hysteresis(runs: pd.DataFrame, thrown: pd.DataFrame, ways: pd.DataFrame) -> Plate:
    """SGD's throw over the steps and against theory; AdamW's way back in units of the absence."""
    free = runs[(runs["policy"] == "unmasked") & ~runs["clipped"] & (runs["since"] >= 0)]
    numbers = dict(ways.groupby("absence")["phantom_number"].first())
    figure, (left, middle, right) = subplots(1, 3, width_ratios=(1.2, 0.9, 1.2), figsize=(10.5, 3.7))
    for absence, colour in ABSENCE_COLOURS.items():
        chosen = free[free["stretch"] == absence]
        length = ways.loc[ways["absence"] == absence, "absent_steps"].iloc[0]
        for (optimizer, seed), run in chosen.groupby(["optimizer", "seed"], sort=False):
            if optimizer == "sgd":
                axes, since = left, run["since"]
                measured, predicted = run["theta"] - run["proper_theta"], run["predicted_theta"] - run["twin_theta"]
            else:
                axes, since = right, run["since"] / length
                measured, predicted = run["weight"] / run["proper_weight"], run["predicted_weight"] / run["twin_weight"]
            if seed == chosen["seed"].min():
                axes.plot(since, measured, color=colour, label=rf"$\Lambda$ = {numbers[absence]:.2g}")
                axes.plot(since, predicted, **DOTTED, linewidth=1.2, zorder=3, label="theory")
            else:
                axes.plot(since, measured, color=colour, alpha=0.35, linewidth=0.9)
    _landings(middle, thrown)
    left.axhline(0, color="#555555", linewidth=0.8)
    left.set(xlabel="steps since the return", ylabel=r"$\log\sigma$ above the mask's", title="SGD: whiplash")
    left.legend(*labels_once(left))
    right.axhspan(0.5, 2, color="#999999", alpha=0.25, linewidth=0, label="within a factor 2")
    right.axvline(1, color="#555555", linewidth=0.8)
    longest = float((ways["seen"] / ways["absent_steps"])[ways["absence"] == "long"].max())
    right.set(yscale="log", xlim=(0, longest), title="AdamW: hysteresis")
    right.set(xlabel="steps since the return / steps absent", ylabel="weight over the mask's")
    right.legend(*labels_once(right), loc="upper right")
    return Plate(
        figure,
        "Without clipping, V10.1 after a long and a short absence, against what the mask would have made of the same "
        "losses; dotted, theory from V10.2's losses (first seed). Left: log sigma under SGD. Middle: where SGD's first "
        "step lands, all seeds, with and without clipping. Right: the weight under AdamW, in units of the absence; "
        "grey, within a factor 2; left of the line the way back was quicker than the absence.",
        "Three panels. Left: log sigma above the mask's over the steps since the return, after a long and a short "
        "absence. Middle: measured against predicted landing, with the diagonal. Right: the weight over the mask's on "
        "a log axis, over the steps since the return in units of the absence.",
    )


def _landings(axes: Axes, thrown: pd.DataFrame) -> None:
    """Measured against predicted landing of SGD's first step."""
    diagonal(axes, thrown["landing"].min() - 1, 1.2 * thrown["landing"].max())
    for (absence, arm), rows in thrown.groupby(["absence", "arm"], sort=False):
        marks: Any = {"marker": "s", "fillstyle": "none"} if "clipped" in str(arm) else {"marker": "o"}
        look = {"color": ABSENCE_COLOURS[str(absence)], "label": str(arm) if absence == "long" else None, **marks}
        axes.plot(rows["landing"], rows["landed"], linestyle="none", **look)
    for set_scale, set_ticks in ((axes.set_xscale, axes.set_xticks), (axes.set_yscale, axes.set_yticks)):
        set_scale("symlog", linthresh=1)
        set_ticks([-1, 0, 1, 10], ["\N{MINUS SIGN}1", "0", "1", "10"])
    axes.set(xlabel=r"$\log\sigma$ after it, predicted", ylabel="measured", title="SGD's first step")
    axes.legend()


@style()
def poisoning(bands: pd.DataFrame, proper: pd.DataFrame, kept: float) -> Plate:
    """What is left of the other tasks' encoder updates: through v, in all, and of the whole update.

    Args:
        bands: measure (columns of `tables.shrinkages`), clipped, since, mean, low, high over seeds.
        proper: share of the update with the mask: since, mean.
        kept: what clipping leaves at the first step back, over what it would leave of a proper gradient.
    """
    figure, panels = subplots(1, 3, figsize=(10.5, 3.9))
    for axes, measure in zip(panels, ("left_by_v", "left", "share"), strict=True):
        for clipped, rows in bands[bands["measure"] == measure].groupby("clipped"):
            band(axes, rows, "since", 0.2, color=CLIP_COLOURS[bool(clipped)], label=CLIP_LABELS[bool(clipped)])
        axes.axhline(1, color="#555555", linewidth=0.8)
    free = dict(iter(bands[~bands["clipped"]].groupby("measure")))
    band(panels[0], free["left_in_layers"], "since", 0.2, color=LAYERS_COLOUR, label="without clipping, layers only")
    for measure in ("predicted", "predicted_in_layers"):
        panels[0].plot(free[measure]["since"], free[measure]["mean"], **DOTTED, label="theory")
    panels[0].set(title="Through v alone", yscale="log")
    panels[1].set(title="Through v and clipping", ylim=(0, None))
    panels[2].plot(proper["since"], proper["mean"], **policy_line("masked"))
    panels[2].set(title="Share of the whole update", ylim=(0, 1.1))
    edge_labels(panels, "steps since the return", "others' update over the proper one")
    legend_below(figure, *panels, ncols=5)
    return Plate(
        figure,
        "The other tasks' part of AdamW's encoder update after the return, V10.1, mean and range over seeds. Left: "
        "over what the same gradients would move with the v of a properly weighted return, for the whole encoder and "
        "without its embeddings; dotted, the closed form. "
        "Middle: over their proper update. Right: of the whole update. At the first step back clipping leaves "
        f"{kept:.2g} of what it would leave of a properly weighted gradient (median).",
        "Three panels over the steps since the return, with and without clipping: what v alone leaves of the others' "
        "update, on a log axis, with the closed form; what v and clipping leave; and the others' share of the whole.",
    )


@style()
def which_is_sooner(ways: pd.DataFrame, horizon: int) -> Plate:
    """Steps back of sigma alone under SGD and Adam over the phantom number, by rate and noise of the loss.

    Args:
        ways: `alone.ways_back`.
        horizon: steps that were watched.
    """
    rates, noises = sorted(ways["rate"].unique()), sorted(ways["noise"].unique())
    figure, panels = subplots(
        len(noises), len(rates), sharex=True, sharey=True, squeeze=False, figsize=(2.6 * len(rates) + 1.6, 5.2)
    )
    end = 1.05 * ways["phantom"].max()
    for (noise, rate), rows in ways.groupby(["noise", "rate"]):
        axes = panels[noises.index(noise), rates.index(rate)]
        for optimizer, colour in OPTIMIZER_COLOURS.items():
            seen = rows.assign(steps=rows[optimizer].fillna(horizon)).groupby("phantom")["steps"].median()
            said = rows.groupby("phantom")[f"{optimizer}_predicted"].first()
            axes.plot(seen.index, seen.clip(lower=0.7), "o", color=colour, markersize=4, label=optimizer)
            axes.plot(said.index, said.clip(lower=0.7), color=colour, linestyle=":", linewidth=1.4)
        above = rows.loc[rows["strength"] >= 1, "phantom"]
        if len(above):
            axes.axvspan(
                above.min(), end, color="#999999", alpha=0.2, linewidth=0, label="above the whiplash threshold"
            )
        axes.axhline(horizon, color="#555555", linewidth=0.8, label=f"not back in {horizon:,} steps")
        axes.set(xlim=(None, end), yscale="log", title=rf"$\eta$ = {rate:.2g}, c = {noise:g}")
    edge_labels(panels, r"phantom number $\Lambda$", "steps back")
    panels[0, 0].plot([], [], color="#555555", linestyle=":", linewidth=1.4, label="theory")
    legend_below(figure, *panels.flat, ncols=5)
    return Plate(
        figure,
        "Sigma alone, log sigma after an absence: steps until the weight is within a factor 2 of its fixed point "
        "again, SGD and Adam, by rate and by the loss's coefficient of variation c. Dots: median of the runs, on the "
        "line where most were watched in vain, at the lower end where the weight was never out. Dotted: theory. "
        "Shaded: above the whiplash threshold.",
        "A panel for each rate and noise. Steps back on a log axis over the phantom number, for SGD and Adam, with "
        "dotted theory and the range above the whiplash threshold shaded.",
    )


ALONE = "#777777"


@style()
def what_it_costs(costs: pd.DataFrame, spikes: pd.DataFrame, absent: str, way: str, interest: float) -> Plate:
    """The answer: the spike, the other tasks' loss, the returned task's, and the mean area under the curve, by dose.

    Args:
        costs: `costs.cost_table`.
        spikes: `costs.spike_table`.
        absent: the task that returns.
        way: the way to optimise that is shown.
        interest: smallest difference of interest, in nats and in area under the ROC curve.
    """
    chosen = costs[(costs["way"] == way) & (costs["since"] > 0)]
    figure, panels = subplots(1, 4, figsize=(13, 3.9))
    spike = spikes[spikes["way"] == way]
    own = spike["arm"] == "unmasked"
    for rows, mark, label in ((spike[~own], "o", None), (spike[own], "s", "V10.1's own fall")):
        look: Any = {"fmt": mark, "color": "#555555", "label": label}
        panels[0].errorbar(rows["dose"], rows["ratio"], _bars(rows, "ratio"), **look)
    law = spike.sort_values("dose")
    panels[0].plot(law["dose"], law["law"], **DOTTED, label=r"$e^{2\,\mathrm{fall}}$")
    panels[0].set(yscale="log", title=f"First gradient of {absent}", ylabel="over the masked run's")
    panels[0].legend()
    shown = (("the others", "log_loss", "Loss of the other tasks"), (absent, "log_loss", f"Loss of {absent}"))
    for axes, (task, measure, title) in zip(
        panels[1:], (*shown, ("all tasks", "auc", "Area under ROC, all tasks")), strict=True
    ):
        _by_dose(axes, chosen[(chosen["task"] == task) & (chosen["measure"] == measure)], interest)
        axes.set(title=title, ylabel="nats more than masked" if measure == "log_loss" else "more than masked")
    for axes in panels:
        axes.set_xlabel(r"fall of $\log\sigma$")
    legend_below(figure, panels[1], ncols=6)
    return Plate(
        figure,
        f"What the return of {absent} costs a model that has learned, by how far sigma fell while it was away: {way}, "
        "development texts, difference to the masked run of the same seed, mean and 95 % interval over seeds. From "
        f"the left: the first gradient that {absent} sends into the encoder, with the law (dotted); the other tasks' "
        "loss; its own; the mean area under the ROC curve. Colours: steps since the return; diamonds at the right end, "
        f"{absent}'s rows alone and no spike. Grey: differences smaller than {interest:g}.",
        "Four panels over the fall of log sigma: the gradient ratio on a log axis along a dotted line; the loss of "
        f"the other tasks and of {absent}, and the mean area under the curve, with a line for each number of steps "
        "since the return.",
    )


def _bars(rows: pd.DataFrame, mean: str) -> Any:
    """Lengths of error bars, below and above; none for a single seed."""
    return (
        [(rows[mean] - rows["low"]).clip(upper=1e9), (rows["high"] - rows[mean]).clip(upper=1e9)]
        if rows["seeds"].min() > 1
        else None
    )


def _by_dose(axes: Axes, rows: pd.DataFrame, interest: float) -> None:
    """A line per moment over the doses, and a mark beyond them for the task alone; side by side, to be told apart."""
    axes.axhspan(-interest, interest, color="#999999", alpha=0.25, linewidth=0)
    axes.axhline(0, color="#555555", linewidth=0.8)
    numbers = pd.to_numeric(rows["arm"], errors="coerce")
    rows = rows.assign(dose=numbers.where(rows["arm"] != "alone", 1.25 * numbers.max())).dropna(subset="dose")
    moments = sorted(rows.loc[rows["arm"] == "alone", "since"].unique())
    for place, (colour, since) in enumerate(zip(COLOURS, moments, strict=False)):
        moment = rows[rows["since"] == since].sort_values("dose")
        doses, alone = moment[moment["arm"] != "alone"], moment[moment["arm"] == "alone"]
        look: Any = {"markersize": 3, "elinewidth": 1, "color": colour}
        label = f"{since} step{'s' if since > 1 else ''} since the return"
        for chosen, form in ((doses, "o-"), (alone, "D")):
            at = chosen["dose"] + 0.07 * (place - (len(moments) - 1) / 2)
            axes.errorbar(at, chosen["difference"], _bars(chosen, "difference"), fmt=form, label=label, **look)
            label = ""
    ticks = [0, 1, 2, 3, 5]
    axes.set_xticks([*ticks, rows["dose"].max()], [*map(str, ticks), "alone"])


@style()
def costs_over_time(costs: pd.DataFrame, cycle_ends: list[int]) -> Plate:
    """The other tasks' loss over the steps since the return, by way to optimise, and through three absences."""
    chosen = costs[(costs["task"] == "the others") & (costs["measure"] == "log_loss") & (costs["since"] >= 0)]
    ways = [str(way) for way in chosen["way"].unique()]
    colours = dict(zip((arm for arm in chosen["arm"].unique() if arm[0].isdigit()), COLOURS, strict=False))
    cycles = chosen[chosen["arm"].str.startswith("cycles") & chosen["since"].isin(cycle_ends)]
    columns = len(ways) + (not cycles.empty)
    figure, panels = subplots(1, columns, squeeze=False, figsize=(3.4 * columns + 1, 3.8))
    panels = panels[0]
    for axes, way in zip(panels, ways, strict=False):
        rows = chosen[(chosen["way"] == way) & ~chosen["arm"].str.startswith("cycles")]
        doses = [arm for arm in rows["arm"].unique() if arm in colours]
        for arm in doses:
            _over_time(axes, rows[rows["arm"] == arm], color=colours[arm], label=f"fall of {arm}")
        for arm, line in (("frozen", ":"), ("alone", "-.")):
            if (rows["arm"] == arm).any():
                _over_time(axes, rows[rows["arm"] == arm], color=ALONE, linestyle=line, label=f"{arm}, no spike")
        axes.set(title=way, xscale="symlog", xlabel="steps since the return")
    if not cycles.empty:
        _over_time(panels[-1], cycles, color=ALONE, marker="o", label="after each of three")
        panels[-1].set(title="Three absences", xlabel="steps since the first return")
    panels[0].set_ylabel("loss of the other tasks\n(nats more than masked)")
    legend_below(figure, *panels, ncols=5)
    return Plate(
        figure,
        "The other tasks' development loss since the return, over that of the masked run of the same seed, by the way "
        "to optimise and the fall of log sigma: mean and 95 % interval over seeds (without one where there is a single "
        "seed). Last, where there are cycles: unmasked less masked after each of three absences.",
        "A panel for each way to optimise, with a line for every fall over the steps since the return, and "
        "one with the three returns.",
    )


def _over_time(axes: Axes, rows: pd.DataFrame, **look: Any) -> None:
    rows = rows.rename(columns={"difference": "mean"}).sort_values("since")
    if rows["seeds"].min() > 1:
        band(axes, rows, "since", 0.15, **look)
    else:
        axes.plot(rows["since"], rows["mean"], **look)
