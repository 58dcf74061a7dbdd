"""Figures of notebook 15: balancers by effect, shrinkage on its formula, stretches step by step, before and after."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from aura_study.figures import Plate
from aura_study.figures.lines import edge_labels, legend_below, shade_absence, subplots
from aura_study.figures.rows import bare, colour_key, tile
from aura_study.figures.style import COLOURS, DOTTED, THEORY_COLOUR, style

EFFECT_COLOURS = {
    "untouched": "#cfe8f7",
    "shrunk": "#f7e6a2",
    "changed": "#f0b48a",
    "returns too weak": "#d9c8ee",
    "returns too strong": "#b18fd6",
    "stops everyone": "#D55E00",
    "NaN": "#333333",
    "raises an error": "#bdbdbd",
    "-": "#ffffff",
}
BROKEN_COLOURS = {
    "unbroken": "#cfe8f7",
    "left behind": "#b18fd6",
    "blows up": "#e8c547",
    "stops the others": "#D55E00",
    "NaN": "#333333",
}
FLOOR = 0.05
DARK = ("stops everyone", "stops the others", "NaN")
GROUPS = {
    "loss or gradient 0": ("zero, away", "zero, back"),
    "NaN": ("NaN, away", "NaN, back"),
    "left out by hand": ("left out, away", "left out, back"),
}


@style()
def effects(table: pd.DataFrame) -> Plate:
    """Balancers by what an absent task does to the others' update and leaves behind, for three fills and the cure."""
    columns = [column for group in GROUPS.values() for column in group]
    figure, axes = subplots(figsize=(11.5, 0.31 * len(table) + 1.7))
    for place, row in enumerate(table.to_dict("records")):
        for column, name in enumerate(columns):
            _cell(axes, (column + 0.25 * (column // 2), place), row[name], _number(row, name))
        _cell(axes, (6.75, place), row["PresentOnly"], "")
    for middle, title in zip((0.5, 2.75, 5.0, 6.75), (*GROUPS, "PresentOnly"), strict=True):
        axes.text(middle, -1.6, title, ha="center", fontweight="bold")
    for column in range(6):
        words = "on return" if column % 2 else "while away"
        axes.text(column + 0.25 * (column // 2), -0.75, words, ha="center")
    axes.text(6.75, -0.75, "both", ha="center")
    axes.set(xlim=(-0.55, 7.3), ylim=(len(table) - 0.4, -2.2))
    axes.set_xticks([])
    axes.set_yticks(range(len(table)), table["balancer"])
    bare(axes)
    found = set(table[columns].to_numpy().ravel())
    colour_key(figure, {effect: colour for effect, colour in EFFECT_COLOURS.items() if effect in found})
    return Plate(
        figure,
        "What one absent task does to each balancer. While away: the update of the present tasks against the same "
        "balancer on them alone, at the worst step. On return: what the absence left behind. Three ways to fill the "
        "gap, and the cure. Numbers: the factor on the update's length, or on the returning task's share of weights.",
        f"A table of coloured tiles, a row per balancer, the gravest at the bottom. With a zero, while away: "
        f"{_tally(table['zero, away'])}; on return: {_tally(table['zero, back'])}. With NaN, while away: "
        f"{_tally(table['NaN, away'])}. Left out by hand, while away: {_tally(table['left out, away'])}. PresentOnly: "
        f"{_tally(table['PresentOnly'])}.",
    )


def _tally(effects: pd.Series) -> str:
    return ", ".join(f"{effect} {count}" for effect, count in effects.value_counts().items())


def _number(row: dict[Any, Any], column: str) -> str:
    effect = row[column]
    if column == "zero, away" and effect == "shrunk":
        return f"shrunk × {row['length']:.2g}"
    if column == "zero, back" and effect.startswith("returns"):
        return f"too {effect.split()[-1]} × {row['growth']:.2g}"
    return ""


def _cell(axes: Axes, place: tuple[float, float], effect: str, text: str) -> None:
    words = text or effect.replace("returns ", "").replace("raises an error", "error")
    ink = "white" if effect in DARK else "black"
    tile(axes, *place, EFFECT_COLOURS[effect], words, (0.98, 0.88), fontsize=8.5, color=ink)


@style()
def solved(table: pd.DataFrame, depths: Sequence[float]) -> Plate:
    """Balancers by how a present, solved task breaks them, for what is left of its loss and gradient."""
    columns = [f"{depth:g}" for depth in depths]
    figure, axes = subplots(figsize=(9.2, 0.29 * len(table) + 1.5))
    for place, row in enumerate(table.to_dict("records")):
        for column, name in enumerate(columns):
            effect = row[name]
            colour = {"color": "white"} if effect in DARK else {}
            tile(axes, column, place, BROKEN_COLOURS[effect], "" if effect == "unbroken" else effect, (0.94, 0.86),
                 fontsize=9, **colour)  # fmt: skip
    for column, name in enumerate(columns):
        axes.text(column, -0.75, "exactly 0" if name == "0" else name, ha="center")
    axes.text((len(columns) - 1) / 2, -1.6, "left of its loss and gradient", ha="center", fontweight="bold")
    axes.set(xlim=(-0.55, len(columns) - 0.45), ylim=(len(table) - 0.4, -2.2))
    axes.set_xticks([])
    axes.set_yticks(range(len(table)), table["balancer"])
    bare(axes)
    found = set(table[columns].to_numpy().ravel())
    colour_key(figure, {effect: colour for effect, colour in BROKEN_COLOURS.items() if effect in found})
    return Plate(
        figure,
        "How a task that is present and solved breaks each balancer: while it is solved, against the same balancer "
        "told that it is away, and once its loss is back. By what is left of its loss and gradient.",
        "A table of coloured tiles, a row per balancer, the gravest at the bottom. "
        + "; ".join(f"At {name}: {_tally(table[name])}" for name in columns)
        + ".",
    )


@style()
def shrinkage(random: pd.DataFrame) -> Plate:
    """Length of the zero-filled update against the share of tasks that are present, with k/m and its square."""
    marks = {"Mean": "o", "UPGrad": "s", "DualProj": "^", "Aligned-MTL": "D", "Random": "x", "STCH": "v"}
    figure, axes = subplots(figsize=(6.4, 4.2))
    share = np.linspace(0.8 * (1 - random["absent"] / random["tasks"]).min(), 1, 200)
    axes.plot(share, share, ":", color=THEORY_COLOUR, label="k/m")
    axes.plot(share, share**2, "--", color=THEORY_COLOUR, linewidth=1, label="(k/m)²")
    for colour, (name, mark) in zip(COLOURS, marks.items(), strict=True):
        rows = random[random["balancer"] == name]
        present = 1 - rows["absent"] / rows["tasks"]
        axes.plot(present, rows["median_ratio"], mark, color=colour, fillstyle="none", markersize=7, label=name)
    axes.set(xscale="log", yscale="log", xlabel="share of tasks present, k/m", ylabel="length over present-only length")
    axes.legend()
    return Plate(
        figure,
        "How far a zero shrinks the update, on random gradients of many sizes, against the share of tasks present. "
        "Lines: the formulas, k/m of a mean over all tasks, and its square for STCH, which divides by their number "
        "twice.",
        "Both axes logarithmic; marks of six balancers beside a dotted diagonal and a dashed line twice as steep.",
    )


@style()
def paths(steps: pd.DataFrame, names: tuple[str, ...]) -> Plate:
    """Update length and weight share of the absent task, zero-filled over cured, through a stretch."""
    figure, grid = subplots(
        math.ceil(len(names) / 4),
        4,
        sharex=True,
        sharey=True,
        squeeze=False,
        figsize=(10.5, 2.3 * math.ceil(len(names) / 4)),
    )
    for axes, name in zip(grid.ravel(), names, strict=False):
        zero = steps[(steps["balancer"] == name) & (steps["fill"] == "zero")]
        away = zero[zero["phase"] == "away"]["step"]
        shade_absence(axes, away.min() - 0.5, away.max() + 0.5)
        axes.axhline(1, **DOTTED, linewidth=0.8, label="undisturbed")
        for _, part in zero.groupby("seed"):
            axes.plot(part["step"], part["ratio"].clip(FLOOR), color=COLOURS[0], label="length")
            below = part[part["ratio"] < FLOOR]
            axes.plot(below["step"], [FLOOR] * len(below), "v", color=COLOURS[0], markersize=4, label="below the axis")
            back = part[part["phase"] != "away"]
            axes.plot(back["step"], back["share"] / back["share_cured"], ".", color=COLOURS[1], label="share")
        if zero["ratio"].isna().any():
            axes.text(away.mean(), 0.25, "NaN", ha="center", color=COLOURS[0])
        axes.set(yscale="log", title=name, ylim=(0.8 * FLOOR, 12))
    edge_labels(grid, "step", "zero-filled / cured")
    legend_below(figure, *grid.ravel(), ncols=5)
    return Plate(
        figure,
        "One stretch on a shared layer that is really trained (yellow: one task of four is away). Blue: length of the "
        "zero-filled update over that of the same balancer on the present tasks alone. Orange: the returning task's "
        "share of the weights over what it would have been. At 1 nothing is disturbed; triangles at the lower edge "
        "stand for everything below it.",
        f"Panels over the steps, one per balancer: {', '.join(names)}; in each a line for the length, dots for the "
        f"share from the return on, and a dotted line at 1.",
    )


@style()
def cure(table: pd.DataFrame) -> Plate:
    """Largest difference from the balancer on the present tasks alone, zero-filled and cured; 0 at the left edge."""
    exact, endless = 1e-18, 1e3
    places = np.arange(len(table))
    figure, axes = subplots(figsize=(7.6, 0.26 * len(table) + 1.2))
    for name, colour, mark in (("zero-filled", COLOURS[1], "s"), ("PresentOnly", COLOURS[0], "o")):
        shown = table[name].replace(0.0, exact).clip(upper=endless)
        axes.plot(shown, places, mark, color=colour, label=name, markersize=6)
    axes.axvspan(2e-17, 1e-12, color="#888888", alpha=0.15, linewidth=0, label="rounding")
    axes.set(xscale="log", xlim=(exact / 5, endless * 5), ylim=(len(table) - 0.4, -0.6))
    axes.set_xlabel("largest |difference| / |update| from the balancer on the present tasks alone")
    axes.set_xticks(
        [exact, 1e-15, 1e-12, 1e-8, 1e-4, 1, endless], ["0", *(f"1e-{n}" for n in (15, 12, 8, 4)), "1", "NaN"]
    )
    axes.set_yticks(places, table["balancer"])
    figure.legend(loc="outside upper center", ncols=3)
    return Plate(
        figure,
        "Before and after the cure. Squares: the zero-filled balancer's worst difference from the same balancer on the "
        "present tasks alone. Dots: the cured balancer's, against twins that never knew the absent tasks; 0 stands at "
        "the left edge, NaN at the right.",
        f"A row per balancer. Blue dots: {int((table['PresentOnly'] == 0).sum())} of {len(table)} at exactly 0, the "
        f"largest at {table['PresentOnly'].max():.1g}. Orange squares: {int((table['zero-filled'] > 0.01).sum())} "
        f"beyond one percent.",
    )
