"""The map of verdicts: every claim of the study at one glance."""

import pandas as pd
from matplotlib.patches import FancyBboxPatch, Patch

from aura_study.figures import Plate
from aura_study.figures.lines import subplots
from aura_study.figures.rows import bare, name_rows
from aura_study.figures.style import style

LOOKS = {
    "confirmed": ("#009E73", "white"),
    "confirmed within limits": ("#9ad9c3", "#1a1a1a"),
    "refuted": ("#D55E00", "white"),
    "inconclusive": ("#d9d9d9", "#1a1a1a"),
    "void": ("#f5f5f5", "#4d4d4d"),
}
BLANK = ("white", "#767676")


@style()
def verdict_map(table: pd.DataFrame) -> Plate:
    """A row of tiles per question, a tile per claim, coloured by verdict; columns question, claim, verdict."""
    questions = list(table["question"].unique())
    longest = int(table.groupby("question")["claim"].size().max())
    figure, axes = subplots(figsize=(9.2, 0.42 * len(questions) + 0.7))
    for place, question in enumerate(questions):
        rows = table[table["question"] == question]
        for column, (claim, verdict) in enumerate(zip(rows["claim"], rows["verdict"], strict=True)):
            fill, ink = LOOKS.get(verdict, BLANK)
            tile = FancyBboxPatch(
                (column + 0.07, place - 0.38),
                0.86,
                0.76,
                boxstyle="round,pad=0,rounding_size=0.12",
                facecolor=fill,
                edgecolor="#767676" if (fill, ink) == BLANK else fill,
                linestyle=":" if (fill, ink) == BLANK else "-",
            )
            axes.add_patch(tile)
            axes.text(column + 0.5, place, claim, ha="center", va="center", color=ink, fontsize=8.5)
    name_rows(axes, questions)
    axes.set(xlim=(0, longest), ylim=(len(questions) - 0.45, -0.55), xticks=[])
    bare(axes)
    shown = [(name, look) for name, look in LOOKS.items() if name in set(table["verdict"])]
    handles = [Patch(facecolor=fill, label=name) for name, (fill, _) in shown]
    if not set(table["verdict"]) <= set(LOOKS):
        handles.append(Patch(facecolor="white", edgecolor="#767676", linestyle=":", label="not decided"))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    counts = table["verdict"].value_counts()
    told = ", ".join(f"{count} {name}" for name, count in counts.items())
    return Plate(
        figure,
        "Every claim of the study by the question it answers, coloured by the verdict of this run. Letters after a "
        "number are parts of a claim, or claims that the guide's sentence suggests.",
        f"Rows of tiles, one row per question and one tile per claim: {told}.",
    )
