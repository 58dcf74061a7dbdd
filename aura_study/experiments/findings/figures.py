"""What it costs, and the map of verdicts: every claim of the study at one glance."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch, Patch

from aura_study.figures import Plate
from aura_study.figures.lines import legend_below, subplots
from aura_study.figures.rows import bare, forest, name_rows
from aura_study.figures.style import COLOURS, THEORY_COLOUR, style

LOOKS = {
    "confirmed": ("#009E73", "white"),
    "confirmed within limits": ("#9ad9c3", "#1a1a1a"),
    "refuted": ("#D55E00", "white"),
    "inconclusive": ("#d9d9d9", "#1a1a1a"),
    "void": ("#f5f5f5", "#4d4d4d"),
}
BLANK = ("white", "#767676")
CLIPPED, BARE = "AdamW, clipped", "AdamW"
"""Ways to optimise, as notebook 12 names them."""
ALONE = "alone"
SOON = 10
"""Steps after the return at which the price is read, beside the last."""


@style()
def price(
    doses: pd.DataFrame, policies: pd.DataFrame, shares: pd.DataFrame, absent: str, whose: str, interest: float
) -> Plate:
    """What it costs a model that has learned: after one long absence, by how far sigma fell; at the end, by presence.

    Args:
        doses, policies, shares, absent, whose: as in `tables.Price`.
        interest: smallest difference of interest, in nats and in area under the ROC curve.
    """
    figure, (left, right) = subplots(1, 2, figsize=(10.4, 3.9), width_ratios=(1.25, 1))
    _by_fall(left, doses, absent, interest)
    often = shares.query("policy == 'unmasked' and task == @absent").set_index("regime")["presence"]
    often = often.map("in {:.0%} of the steps".format).where(often.index != "stretch", "away once, for long")
    names = [f"{regime}\n{absent} {often[regime]}" for regime in policies["regime"]]
    forest(right, policies, names, [THEORY_COLOUR] * len(names), interest)
    reach = 3 * interest  # two seeds of one regime reach much farther than any difference that was found
    right.set(xlim=(-reach, reach), xlabel="area under the ROC curve,\nunmasked minus masked")
    right.set_title("At the end of training, mean of all tasks", fontsize=10)
    legend_below(figure, left, ncols=3)
    seeds = pd.concat([doses["seeds"], policies["seeds"]])
    told = f"{seeds.min()} to {seeds.max()}"
    return Plate(
        figure,
        f"What it costs a model that has learned. Left: {absent} was away and returns with log sigma lowered "
        "by hand by so much; this much more development loss the other tasks then have than in the masked run of the "
        "same seed, "
        f"{SOON} steps after the return and at the end, the gradient clipped or not; at the right, {absent}'s rows "
        f"alone and no spike. We had predicted a cost above the grey {SOON} steps after a fall of 3, clipped (P6b). "
        f"Right: the score at the end of training without the mask, by how {absent} comes and goes. Means and 95 % "
        f"intervals over seeds ({told} seeds; an interval that leaves its panel goes on). Grey: less than "
        f"{interest:g}, a point of area. Of {whose}.",
        "Left, the other tasks' extra loss over the fall of log sigma, clipped and not. Right, the difference of "
        f"scores, with intervals, in {len(names)} regimes of absence.",
    )


def _by_fall(axes: Axes, costs: pd.DataFrame, absent: str, interest: float) -> None:
    falls = pd.to_numeric(costs["arm"], errors="coerce")
    beyond = 1.2 * falls.max()
    rows = costs.assign(fall=falls.where(costs["arm"] != ALONE, beyond)).dropna(subset="fall").sort_values("fall")
    last = int(rows["since"].max())
    axes.axhspan(-interest, interest, color="#888888", alpha=0.15, linewidth=0)
    axes.axhline(0, color="#555555", linewidth=0.8)
    lines = ((CLIPPED, SOON, COLOURS[0]), (CLIPPED, last, "#767676"), (BARE, SOON, COLOURS[1]))
    for place, (way, since, colour) in enumerate(lines):
        moment = rows[(rows["way"] == way) & (rows["since"] == since)]
        alone = moment["arm"] == ALONE
        label = f"{since} steps after the return, {'clipped' if way == CLIPPED else 'not clipped'}"
        for chosen, form, said in ((moment[~alone], "o-", label), (moment[alone], "D", None)):
            around = [chosen["difference"] - chosen["low"], chosen["high"] - chosen["difference"]]
            look: Any = {"color": colour, "label": said, "capsize": 2, "markersize": 4, "elinewidth": 1.2}
            axes.errorbar(chosen["fall"] + 0.07 * (place - 1), chosen["difference"], around, fmt=form, **look)
    ticks = sorted(falls.dropna().unique())
    axes.set_xticks([*ticks, beyond], [*(f"{tick:g}" for tick in ticks), f"{absent}\nalone"])
    reach = 1.6 * rows.loc[rows["since"].isin([SOON, last]) & rows["way"].isin([CLIPPED, BARE]), "difference"].max()
    if reach > 0:  # an interval over two seeds reaches much farther than any difference that was found
        axes.set_ylim(-reach / 2, reach)
    axes.set(xlabel=r"$\log\sigma$ lowered at the return by", ylabel="nats more than masked")
    axes.set_title("After one long absence, loss of the other tasks", fontsize=10)


@style()
def verdict_map(table: pd.DataFrame) -> Plate:
    """A row of tiles per question, a tile per claim, coloured by verdict; columns question, claim, verdict."""
    questions = list(table["question"].unique())
    longest = int(table.groupby("question")["claim"].size().max())
    figure, axes = subplots(figsize=(10.4, 0.42 * len(questions) + 0.7))
    for place, question in enumerate(questions):
        rows = table[table["question"] == question]
        for column, (claim, verdict) in enumerate(zip(rows["claim"], rows["verdict"], strict=True)):
            fill, ink = LOOKS.get(verdict, BLANK)
            tile = FancyBboxPatch(
                (column + 0.05, place - 0.38),
                0.9,
                0.76,
                boxstyle="round,pad=0,rounding_size=0.12",
                facecolor=fill,
                edgecolor="#767676" if (fill, ink) == BLANK else fill,
                linestyle=":" if (fill, ink) == BLANK else "-",
            )
            axes.add_patch(tile)
            size = 8.5 if len(claim) < 4 else 8  # within its tile
            axes.text(column + 0.5, place, claim, ha="center", va="center", color=ink, fontsize=size)
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
