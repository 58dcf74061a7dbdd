"""The survey as one picture: weightings by marks of absence, coloured by verdict."""

import math

import pandas as pd

from aura_study.figures import Plate
from aura_study.figures.lines import subplots
from aura_study.figures.rows import bare, colour_key, name_rows, tile
from aura_study.figures.style import style

VERDICT_COLOURS = {
    "safe": "#9bd3c2",
    "phantom": "#f0b48a",
    "unstable": "#D55E00",
    "inert": "#b9a5d6",
    "unregularised": "#f0e442",
}
MEASURE_COLOURS = {"precision": "#0072B2", "recall": "#009E73"}
ASKED = {"precision": 0.9, "recall": 0.8}
MARKS = {
    "zero": "0",
    "tiny": "1e-8",
    "none": "None",
    "omit": "left out",
    "mask": "mask",
    "nan": "NaN",
    "empty": "empty",
    "sentinel": "-1",
    "shorter": "shorter list",
}


@style()
def matrix(table: pd.DataFrame) -> Plate:
    """Verdict of every weighting under every mark that it accepts, with the growth factor where the weight moved."""
    known = table[table["absence"].notna()]
    names = list(dict.fromkeys(known["weighting"]))
    marks = [mark for mark in MARKS if mark in set(known["absence"])]
    figure, axes = subplots(figsize=(2.5 + 0.77 * len(marks), 0.42 * len(names) + 1.3))
    filled = set()
    for row in known.to_dict("records"):
        place = (marks.index(row["absence"]), names.index(row["weighting"]))
        filled.add(place)
        words = "\n".join(filter(None, [row["verdict"], _moved(row["growth"])]))
        tile(axes, *place, VERDICT_COLOURS[row["verdict"]], words, (0.96, 0.88), fontsize=8, linespacing=1.05)
    empty = [(x, y) for x in range(len(marks)) for y in range(len(names)) if (x, y) not in filled]
    axes.plot(*zip(*empty, strict=True), ".", color="#bbbbbb", markersize=3)
    name_rows(axes, names)
    axes.set_xlim(-0.5, len(marks) - 0.5)
    axes.set_xticks(range(len(marks)), [MARKS[mark] for mark in marks])
    axes.xaxis.tick_top()
    bare(axes)
    colour_key(figure, {name: colour for name, colour in VERDICT_COLOURS.items() if name in set(known["verdict"])})
    return Plate(
        figure,
        "The audit's verdict on each weighting, for each way of marking a task absent that it accepts; a small dot "
        "means that it does not, and a way that none accepts is not shown. Numbers: the factor by which the absent "
        "task's weight moved.",
        "A table of coloured tiles, weightings by marks of absence.",
    )


def _moved(growth: float) -> str:
    """The factor on a weight in words; none for a weight that stands still or is gone."""
    if not (0 < growth < math.inf) or abs(math.log(growth)) <= 1e-3:
        return ""
    if 0.1 < growth < 100:
        return f"× {growth:.2g}"
    mantissa, _, power = f"{growth:.0e}".partition("e")
    return rf"× {mantissa} $\cdot$ 10$^{{{int(power)}}}$"


@style()
def scan(rates: pd.DataFrame) -> Plate:
    """Precision and recall of the scan with Wilson's intervals, by half; the dashed lines are what was asked."""
    figure, axes = subplots(figsize=(6.4, 2.6))
    labels = [f"{row.measure}, {row.half} ({row.of})" for row in rates.itertuples()]
    for place, row in enumerate(rates.to_dict("records")):
        colour = MEASURE_COLOURS[row["measure"]]
        axes.plot([row["low"], row["high"]], [place, place], color=colour, linewidth=2.2, solid_capstyle="butt")
        axes.plot([row["share"]], [place], "o", color=colour, markersize=5)
    for measure, asked in ASKED.items():
        places = [place for place, name in enumerate(rates["measure"]) if name == measure]
        axes.vlines(asked, min(places) - 0.4, max(places) + 0.4, color="#555555", linestyle="--", linewidth=0.9)
        axes.text(asked - 0.006, max(places) + 0.36, f"asked: {asked:g}", ha="right", va="bottom", fontsize=7.5)
    name_rows(axes, labels)
    axes.set_xlim(0.6, 1.005)
    axes.set_xlabel("share of repositories")
    return Plate(
        figure,
        "Precision (of the repositories in which the scan lists a place, those that have one) and recall (of those "
        "that have one, those in which it lists the file that a reader found), with Wilson's intervals; in brackets "
        "how many repositories.",
        "A chart of six shares with intervals, three of precision and three of recall.",
    )
