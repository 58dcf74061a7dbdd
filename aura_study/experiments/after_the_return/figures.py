"""Figures of what follows the return of an absent task."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aura_study.figures.style import ABSENT_COLOUR, POLICY_LABELS, POLICY_STYLES, THEORY_COLOUR, Plate, style

POLICY_COLOURS: dict[Any, str] = {"unmasked": "#D55E00", "masked": "#0072B2"}
ABSENCE_COLOURS = {"long": "#D55E00", "short": "#0072B2"}
CLIP_COLOURS = {False: "#D55E00", True: "#009E73"}
LAYERS_COLOUR = "#CC79A7"
CLIP_LABELS = {False: "without clipping", True: "with clipping"}


def four_arms(runs: pd.DataFrame, absent: str, absent_steps: int) -> Plate:
    """Weight of the absent task, and its gradient into the encoder, by arm: V10.1, V10.2 and theory, all seeds."""
    shown = runs[(runs["stretch"] == "long") & (runs["since"] >= -1.5 * absent_steps)]
    with style():
        figure = Figure(figsize=(10.5, 5.4))
        panels = figure.subplots(2, 4, sharex=True, sharey="row")
        for column, (arm, rows) in zip(panels.T, shown.groupby("arm", sort=False), strict=True):
            for axes in column:
                axes.axvspan(-absent_steps, 0, color=ABSENT_COLOUR, alpha=0.25, linewidth=0)
            _by_policy(column[0], rows, "weight")
            _by_policy(column[1], rows[rows["since"] >= 0], "pull_norm")
            first = rows[(rows["seed"] == rows["seed"].min()) & (rows["policy"] == "unmasked")]
            column[0].plot(
                first["since"],
                first["predicted_weight"],
                color=THEORY_COLOUR,
                linestyle=":",
                linewidth=1.4,
                label="theory, first seed",
            )
            column[0].set_title(str(arm))
            column[1].set_xlabel("steps since the return")
        strongest = shown["weight"].max()
        panels[0, 0].set(yscale="log", ylabel=f"weight of {absent}", ylim=(1e-6, 3 * strongest))
        panels[1, 0].set(yscale="log", ylabel=f"encoder gradient norm\nof {absent}, unclipped")
        panels[1, 0].set_ylim(1e-4, 3 * shown["pull_norm"].max())
        figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return Plate(
        figure,
        f"The return of {absent}, every seed, in four arms. Above: its weight; shaded, it is absent. Below: the norm "
        "of the gradient that it sends into the encoder, before clipping. Dotted: theory, from V10.2's losses alone. "
        "Under AdamW the weight comes down slowly; under SGD one step throws it out of the picture.",
        "Eight panels. In all four arms the unmasked weight climbs through the absence on the dotted line. Under AdamW "
        "it then falls slowly towards the masked one; under SGD it drops by many orders of magnitude in one step. The "
        "gradient norms do the same.",
    )


def _by_policy(axes: Axes, rows: pd.DataFrame, column: str) -> None:
    first = rows["seed"].min()
    for (policy, seed), run in rows.groupby(["policy", "seed"], sort=False):
        axes.plot(
            run["since"],
            run[column],
            color=POLICY_COLOURS[policy],
            linestyle=POLICY_STYLES[str(policy)],
            alpha=1 if seed == first else 0.3,
            linewidth=1.6 if seed == first else 0.9,
            label=POLICY_LABELS[str(policy)] if seed == first else None,
        )


def whiplash_and_hysteresis(runs: pd.DataFrame, thrown: pd.DataFrame, ways: pd.DataFrame) -> Plate:
    """SGD's throw over the steps and against theory; AdamW's way back in units of the absence."""
    free = runs[(runs["policy"] == "unmasked") & ~runs["clipped"] & (runs["since"] >= 0)]
    numbers = dict(ways.groupby("absence")["phantom_number"].first())
    with style():
        figure = Figure(figsize=(10.5, 3.7))
        left, middle, right = figure.subplots(1, 3, width_ratios=(1.2, 0.9, 1.2))
        for absence, colour in ABSENCE_COLOURS.items():
            chosen = free[free["stretch"] == absence]
            first = chosen["seed"].min()
            for (optimizer, seed), run in chosen.groupby(["optimizer", "seed"], sort=False):
                bold = {"alpha": 1.0 if seed == first else 0.35, "linewidth": 1.6 if seed == first else 0.9}
                label = rf"$\Lambda$ = {numbers[absence]:.2g}" if seed == first else None
                theory = {"color": THEORY_COLOUR, "linestyle": ":", "linewidth": 1.2, "zorder": 3}
                if optimizer == "sgd":
                    left.plot(run["since"], run["theta"] - run["twin_theta"], color=colour, label=label, **bold)
                    if seed == first:
                        left.plot(run["since"], run["predicted_theta"] - run["twin_theta"], **theory)
                else:
                    length = ways.loc[ways["absence"] == absence, "absent_steps"].iloc[0]
                    right.plot(
                        run["since"] / length, run["weight"] / run["twin_weight"], color=colour, label=label, **bold
                    )
                    if seed == first:
                        right.plot(run["since"] / length, run["predicted_weight"] / run["twin_weight"], **theory)
        _landings(middle, thrown)
        left.axhline(0, color="#555555", linewidth=0.8)
        left.set(xlabel="steps since the return", ylabel=r"$\log\sigma$ above the mask's", title="SGD: whiplash")
        left.legend()
        right.axhspan(0.5, 2, color="#999999", alpha=0.25, linewidth=0)
        right.axvline(1, color="#555555", linewidth=0.8)
        longest = float((ways["seen"] / ways["absent_steps"])[ways["absence"] == "long"].max())
        right.set(yscale="log", xlim=(0, longest), title="AdamW: hysteresis")
        right.set(xlabel="steps since the return / steps absent", ylabel="weight over the mask's")
        right.legend(loc="upper right")
    return Plate(
        figure,
        "Without clipping, V10.1 after a long and a short absence; dotted, theory from V10.2's losses (first seed). "
        "Left: SGD throws log sigma above its place in one step, and it comes back at the learning rate a step. "
        "Middle: where that step lands, all seeds, SGD with and without clipping. Right: AdamW, in units of the "
        "absence; grey, within a factor 2; left of the line the way back was quicker than the absence.",
        "Left: after the long absence log sigma jumps far up and then falls in a straight line; after the short one it "
        "stays near zero. Middle: points on the diagonal of measured against predicted landing. Right: the weight "
        "ratio falls into the grey band late after the long absence, early after the short one.",
    )


def _landings(axes: Axes, thrown: pd.DataFrame) -> None:
    """Measured against predicted landing of SGD's first step."""
    low, high = thrown["predicted"].min() - 1, 1.2 * thrown["predicted"].max()
    axes.plot([low, high], [low, high], color=THEORY_COLOUR, linestyle=":")
    for (absence, arm), rows in thrown.groupby(["absence", "arm"], sort=False):
        marker = "s" if "clipped" in str(arm) else "o"
        axes.plot(
            rows["predicted"],
            rows["landed"],
            marker,
            color=ABSENCE_COLOURS[str(absence)],
            markerfacecolor="none" if marker == "s" else None,
            label=str(arm) if absence == "long" else None,
        )
    axes.set_xscale("symlog", linthresh=1)
    axes.set_yscale("symlog", linthresh=1)
    axes.set(xlabel="predicted landing", ylabel="measured landing", title="The first step")
    axes.legend()


def _over_seeds(axes: Axes, rows: pd.DataFrame, column: str, colour: str, label: str) -> None:
    """Mean and range of a column over seeds, by step since the return."""
    steps = rows.groupby("since")[column]
    axes.plot(steps.mean(), color=colour, label=label)
    axes.fill_between(steps.min().index, steps.min(), steps.max(), color=colour, alpha=0.2, linewidth=0)


def poisoning(table: pd.DataFrame, clippings: pd.DataFrame, runs: pd.DataFrame) -> Plate:
    """What is left of the other tasks' encoder updates: through v, in all, of the whole update, and by clipping."""
    kept = clippings.loc[clippings["arm"] == "AdamW, clipped", "measured"].median()
    with style():
        figure = Figure(figsize=(10.5, 3.9))
        panels = figure.subplots(1, 3)
        for axes, column in zip(panels, ("left_by_v", "left", "share"), strict=True):
            for clipped, rows in table.groupby("clipped"):
                _over_seeds(axes, rows, column, CLIP_COLOURS[bool(clipped)], CLIP_LABELS[bool(clipped)])
            axes.axhline(1, color="#555555", linewidth=0.8)
            axes.set_xlabel("steps since the return")
        free = table[~table["clipped"]]
        _over_seeds(panels[0], free, "left_in_layers", LAYERS_COLOUR, "without clipping, layers only")
        for column in ("predicted", "predicted_in_layers"):
            label = "theory" if column == "predicted" else None
            panels[0].plot(free.groupby("since")[column].mean(), color=THEORY_COLOUR, linestyle=":", label=label)
        panels[0].set(title="Through v alone", ylabel="others' update over the proper one", yscale="log")
        panels[1].set(title="Through v and clipping", ylim=(0, None))
        proper = runs[(runs["policy"] == "masked") & (runs["optimizer"] == "adamw") & (runs["stretch"] == "long")]
        panels[2].plot(
            proper[proper["since"] >= 0].groupby("since")["others_share"].mean(),
            color=POLICY_COLOURS["masked"],
            linestyle=POLICY_STYLES["masked"],
            label=POLICY_LABELS["masked"],
        )
        panels[2].set(title="Share of the whole update", ylim=(0, 1.1))
        lines = {label: line for axes in panels for line, label in zip(*axes.get_legend_handles_labels(), strict=True)}
        figure.legend(lines.values(), lines.keys(), loc="outside lower center", ncols=5)
    return Plate(
        figure,
        "The other tasks' part of AdamW's encoder update after the return, V10.1, mean and range over seeds. Left: "
        "over what the same gradients would move with the v of a properly weighted return, for the whole encoder and "
        "without its embeddings; dotted, the closed form. "
        "Middle: over their proper update. Right: of the whole update. At the first step back clipping leaves "
        f"{kept:.2g} of what it would leave of a properly weighted gradient (median).",
        "Three panels over steps. Without clipping the part left by v falls to well below one, near the dotted line, "
        "and stays there, lower still in the layers; with clipping it stays near one, but the whole falls for as "
        "long as the weight is inflated. The share of the update drops to a few per cent in both and recovers.",
    )
