"""The survey as one picture: weightings by marks of absence, coloured by verdict."""

import math

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from aura_study.figures.style import Plate, style

VERDICT_COLOURS = {
    "safe": "#9bd3c2",
    "phantom": "#f0b48a",
    "unstable": "#D55E00",
    "inert": "#b9a5d6",
    "unregularised": "#f0e442",
}
MARKS = ("zero", "tiny", "none", "omit", "mask", "nan")
MARK_LABELS = ("0", "1e-8", "None", "left out", "mask", "NaN")


def matrix(table: pd.DataFrame) -> Plate:
    """Verdict of every weighting under every mark that it accepts, with the growth factor where the weight moved."""
    known = table[table["absence"].notna()]
    names = list(dict.fromkeys(known["weighting"]))
    with style():
        figure = Figure(figsize=(8.6, 0.34 * len(names) + 1.3))
        axes = figure.subplots()
        for row in known.to_dict("records"):
            place = (MARKS.index(row["absence"]), names.index(row["weighting"]))
            _cell(axes, place, row["verdict"], row["growth"])
        axes.set(xlim=(-0.5, len(MARKS) - 0.5), ylim=(len(names) - 0.5, -0.5))
        axes.set_xticks(range(len(MARKS)), MARK_LABELS)
        axes.set_yticks(range(len(names)), names)
        axes.xaxis.tick_top()
        axes.tick_params(length=0)
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        found = [verdict for verdict in VERDICT_COLOURS if verdict in set(known["verdict"])]
        handles = [Patch(color=VERDICT_COLOURS[verdict], label=verdict) for verdict in found]
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return Plate(
        figure,
        "The audit's verdict on each weighting, for each way of marking a task absent that it accepts; an empty place "
        "means that it does not. Numbers: the factor by which the absent task's weight moved. The same weighting can "
        "be safe under one mark and not under another.",
        "A table of weightings by marks of absence. A loss of zero or nearly zero is phantom for most; keys left out "
        "and masks are safe where the whole term goes; NaN is unstable for most.",
    )


def _cell(axes: Axes, place: tuple[int, int], verdict: str, growth: float) -> None:
    column, row = place
    axes.add_patch(Rectangle((column - 0.48, row - 0.44), 0.96, 0.88, color=VERDICT_COLOURS[verdict], linewidth=0))
    moved = math.isfinite(growth) and abs(math.log(growth)) > 1e-3 if growth > 0 else False
    text = (f"× {growth:.2g}" if growth < 1000 else f"× {growth:.0e}") if moved else verdict
    axes.text(column, row, text, ha="center", va="center", fontsize=8.5)
