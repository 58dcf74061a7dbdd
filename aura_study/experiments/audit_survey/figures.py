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
MARKS = ("zero", "tiny", "none", "omit", "mask", "nan", "empty", "sentinel", "shorter")
MARK_LABELS = ("0", "1e-8", "None", "left out", "mask", "NaN", "empty", "-1", "shorter list")


@style()
def matrix(table: pd.DataFrame) -> Plate:
    """Verdict of every weighting under every mark that it accepts, with the growth factor where the weight moved."""
    known = table[table["absence"].notna()]
    names = list(dict.fromkeys(known["weighting"]))
    figure, axes = subplots(figsize=(8.6, 0.34 * len(names) + 1.3))
    for row in known.to_dict("records"):
        place = (MARKS.index(row["absence"]), names.index(row["weighting"]))
        words = _moved(row["growth"]) or row["verdict"]
        tile(axes, *place, VERDICT_COLOURS[row["verdict"]], words, (0.96, 0.88), fontsize=8.5)
    name_rows(axes, names)
    axes.set_xlim(-0.5, len(MARKS) - 0.5)
    axes.set_xticks(range(len(MARKS)), MARK_LABELS)
    axes.xaxis.tick_top()
    bare(axes)
    colour_key(figure, {name: colour for name, colour in VERDICT_COLOURS.items() if name in set(known["verdict"])})
    return Plate(
        figure,
        "The audit's verdict on each weighting, for each way of marking a task absent that it accepts; an empty place "
        "means that it does not. Numbers: the factor by which the absent task's weight moved.",
        "A table of coloured tiles, weightings by marks of absence.",
    )


def _moved(growth: float) -> str:
    """The factor on a weight in words; none for a weight that stands still or is gone."""
    if not (0 < growth < math.inf) or abs(math.log(growth)) <= 1e-3:
        return ""
    return f"× {growth:.2g}" if growth < 1000 else f"× {growth:.0e}"
