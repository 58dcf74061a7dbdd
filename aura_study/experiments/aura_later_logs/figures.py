"""Figures of notebook 16: floor, presence, scales and pulls, GradNorm's ways, the lineage, sigma beside both."""

import pandas as pd

from aura_study.figures import Plate
from aura_study.figures.lines import band, coloured, edge_labels, legend_below, subplots, task_lines
from aura_study.figures.rows import bare, colour_key, tile
from aura_study.figures.style import COLOURS, DOTTED, TASK_COLOURS, THEORY_COLOUR, style

VERDICT_COLOURS = {"safe": "#9bd3c2", "phantom": "#f0b48a"}
MARKS = {"omit": "left out", "zero": "a zero", "mask": "masked"}
MOST = 1e6
"""Growth of a weight up to which bars are drawn; what lies beyond is written."""
VERSION_COLOURS = {"V11.5": COLOURS[1], "V11.6": COLOURS[0]}


@style()
def floor(ratios: pd.DataFrame, bottom: float, top: float) -> Plate:
    """V11.5's reported loss over reporting's weight, and where single precision has no gradient."""
    figure, axes = subplots(figsize=(7.2, 3.6))
    axes.axhspan(bottom, top, color="#888888", alpha=0.15, linewidth=0)
    axes.axhline(bottom, **DOTTED)
    axes.plot(ratios["epoch"], ratios["ratio"], "o", color=TASK_COLOURS["reporting"])
    axes.annotate("ln 1e-8, the clamp's floor", (ratios["epoch"].max(), bottom), xytext=(0, -13),
                  textcoords="offset points", ha="right")  # fmt: skip
    axes.annotate("no gradient in single precision", (ratios["epoch"].max(), top), xytext=(0, -13),
                  textcoords="offset points", ha="right", color="#666666")  # fmt: skip
    axes.set(xlabel="epoch", ylabel="train loss / weight of reporting", ylim=(bottom - 0.3, top + 0.1))
    return Plate(
        figure,
        "Loss that V11.5 reports, divided by its weight of reporting (dots), and the logarithm of the clamp (dotted). "
        "Band: log losses above the clamp at which a positive row's gradient is 0 in single precision.",
        "Dots over nine epochs against a dotted line at the bottom of a grey band.",
    )


@style()
def presence(bounds: pd.DataFrame, known: pd.DataFrame) -> Plate:
    """Least presence of reporting that V11.6's mean weights allow, against that of the rows in notes and table."""
    figure, axes = subplots(figsize=(7.2, 3.6))
    axes.plot(bounds["epoch"], bounds["presence"], "^", color=TASK_COLOURS["reporting"], markersize=7)
    for row in known.to_dict("records"):
        axes.axhline(row["presence"], **DOTTED)
        axes.annotate(f"{row['rows']:,} rows", (bounds["epoch"].min(), row["presence"]), xytext=(0, 4),
                      textcoords="offset points")  # fmt: skip
    axes.set(xlabel="epoch", ylabel="share of batches with reporting", ylim=(0, 0.65))
    return Plate(
        figure,
        "The least share of batches with a row of reporting that V11.6's mean weight of an epoch allows (triangles: "
        "(weight - 1) / 4), and the share that the rows of AURA's notes and of its training table give (dotted).",
        "Triangles over eight epochs and two dotted horizontal lines.",
    )


@style()
def scales(epochs: pd.DataFrame) -> Plate:
    """Mean scale of reporting, and what of it reaches the shared representation, in the simulated trainings."""
    figure, panels = subplots(1, 2, figsize=(9.2, 3.7))
    for axes, column in zip(panels, ("scale", "pull"), strict=True):
        for version, colour in VERSION_COLOURS.items():
            rows = epochs[epochs["version"] == version].groupby("epoch")[column].agg(["mean", "min", "max"])
            rows = rows.rename(columns={"min": "low", "max": "high"}).reset_index()
            band(axes, rows, "epoch", 0.2, color=colour, label=version)
        axes.set_xlabel("epoch")
    panels[0].set_yscale("log")
    panels[0].set_ylabel("mean scale of reporting")
    panels[1].set_ylabel("mean norm of its scaled gradient")
    panels[0].legend()
    return Plate(
        figure,
        "Small model with a solved task, scaled as V11.5 does; V11.6's scales at the same states. Left: the weight as "
        "AURA logs it. Right: what reaches the shared representation. Lines: means over seeds; bands: their range.",
        "Two panels over the epochs. Left: scales of two versions, on a log axis. Right: norms of scaled gradients.",
    )


@style()
def gradnorm(logged: pd.DataFrame, runs: pd.DataFrame, alphas: dict[str, float]) -> Plate:
    """Weights of GradNorm as AURA logged them and in the small model, by alpha."""
    figure, grid = subplots(2, 2, sharex=True, sharey=True, figsize=(9.2, 6.4))
    for row, (version, alpha) in zip(grid, alphas.items(), strict=True):
        for axes, table, name in zip(row, (logged, runs), ("logged", "small model"), strict=True):
            mean = table[table["version"] == version].groupby(["task", "epoch"], sort=False)["weight"].mean()
            task_lines(axes, mean.reset_index(), "epoch", "weight")
            axes.axhline(1, color=THEORY_COLOUR, linewidth=0.7)
            axes.set(title=f"{version}, alpha {alpha:g}: {name}", yscale="log")
            axes.set_yticks([0.1, 0.2, 0.5, 1, 2, 4], ["0.1", "0.2", "0.5", "1", "2", "4"])
            axes.minorticks_off()
    edge_labels(grid, "epoch", "weight")
    legend_below(figure, grid[0, 0], ncols=4)
    return Plate(
        figure,
        "Weights of GradNorm after each epoch. Left: AURA's logs. Right: mean over the seeds of a small model in which "
        "reporting can be solved exactly, with AURA's proportions, clamp and alpha.",
        "Four panels on log axes, two logs and two simulations, a line for each task.",
    )


@style()
def lineage(table: pd.DataFrame) -> Plate:
    """The versions in order: how each marks an absent task, and what the audit says of it."""
    figure, axes = subplots(figsize=(9.2, 2.3))
    for place, row in enumerate(table.to_dict("records")):
        words = f"{MARKS[row['absence']]}\n{row['verdict']}"
        words += f"\n× {row['growth']:.2g}" if row["verdict"] != "safe" else ""
        tile(axes, place, 0, VERDICT_COLOURS.get(row["verdict"], "#bdbdbd"), words, (0.92, 0.9), fontsize=10)
        if place:
            axes.annotate("", (place - 0.46, 0), xytext=(place - 0.54, 0), arrowprops={"arrowstyle": "->"})
    axes.set(xlim=(-0.5, len(table) - 0.5), ylim=(-0.55, 0.55))
    axes.set_xticks(range(len(table)), table["version"])
    axes.set_yticks([])
    axes.xaxis.tick_top()
    bare(axes)
    colour_key(figure, {name: colour for name, colour in VERDICT_COLOURS.items() if name in set(table["verdict"])})
    return Plate(
        figure,
        "AURA's versions in order: what stands for a task that a batch does not hold, and the audit's verdict. "
        "Numbers: the factor on the absent task's weight at phantom number 1.",
        "A row of six coloured tiles, one a version.",
    )


@style()
def solved(paths: pd.DataFrame) -> Plate:
    """Sigma beside a solved task's loss and beside an absent task's, and the weighted loss that tells them apart."""
    figure, (left, right) = subplots(1, 2, figsize=(9.2, 3.8))
    for colour, _, pair in coloured(paths, ["rate", "logit_rate"], sort=False):
        rate, logit_rate = float(pair["rate"].iloc[0]), float(pair["logit_rate"].iloc[0])
        name = f"{rate:g}, {logit_rate:g}"
        own, absent = (pair[pair["task"] == task] for task in ("solved", "absent"))
        dose = own["step"] * rate
        left.plot(dose, own["s"], color=colour, label=name)
        left.plot(dose, own["theory"], **DOTTED | {"linewidth": 1})
        right.plot(dose, own["ratio"], color=colour, label=name)
        left.plot(absent["step"] * rate, absent["s"], color="#888888", linewidth=1)
    words = {"xytext": (-6, 0), "textcoords": "offset points", "ha": "right", "color": "#666666"}
    left.annotate("absent, unmasked", (8, -8), **words)
    left.set(xlabel="sum of the learning rates of s", ylabel=r"$s = \log\sigma$", xlim=(0, 20), ylim=(-12, 0.5))
    right.set(xlabel="sum of the learning rates of s", ylabel="loss / variance", xlim=(0, 20), ylim=(0, None))
    right.legend(title="rates of s and of the logit", loc="center right", bbox_to_anchor=(1, 0.32))
    return Plate(
        figure,
        "Kendall's term on the cross-entropy of a row that is being solved. Left: s, with the flow for a loss exp(-z) "
        "(dotted), and an absent, unmasked task's (grey). Right: the loss over the variance.",
        "Two panels over the dose. Left: falling lines, the grey one steepest. Right: lines that level off.",
    )


@style()
def falling(paths: pd.DataFrame, paces: pd.DataFrame) -> Plate:
    """Sigma beside a loss that falls by itself, slowly and fast, and its speed against the lesser of the two bounds."""
    figure, (left, right) = subplots(1, 2, figsize=(9.2, 3.8))
    shown = paths[(paths["optimizer"] == "SGD") & (paths["noise"] == 0) & (paths["rate"] == paths["rate"].max())]
    for colour, pace, path in coloured(shown, "pace", sort=False):
        dose = path["step"] * path["rate"]
        left.plot(dose, path["s"], color=colour, label=f"{pace:g}")
        left.plot(dose, path["theory"], **DOTTED | {"linewidth": 1})
    left.set(xlabel="sum of the learning rates of s", ylabel=r"$s = \log\sigma$", xlim=(0, 20), ylim=(-20, 0.5))
    left.legend(title="pace of the loss", loc="lower left")
    for (name, marker), colour in zip({"SGD": "o", "Adam": "x"}.items(), (COLOURS[0], COLOURS[1]), strict=True):
        rows = paces[paces["optimizer"] == name]
        right.plot(rows["pace"], rows["of_phantom"], marker, color=colour, label=name, markersize=6)
    most = paces["pace"].max()
    right.plot([0, 1, most], [0, 1, 1], **DOTTED)
    right.set(xlabel="pace: fall of log loss over twice the rate of s", ylabel="fall of s over an absent task's",
              xlim=(0, most * 1.04), ylim=(0, 1.2))  # fmt: skip
    right.legend(loc="lower right")
    return Plate(
        figure,
        "Kendall's sigma beside a present task's loss that falls by a constant factor a step. Left: s under SGD by the "
        "pace of the loss, with the closed form (dotted). Right: how fast s falls in the end, of what an absent, "
        "unmasked task's does, with and without noise; dotted: the pace, and at most 1.",
        "Left: falling lines, those of a pace above 1 alike. Right: points on a line that rises to 1 and stays there.",
    )


@style()
def floors(table: pd.DataFrame) -> Plate:
    """What a solved stretch leaves of the weight, and how long it takes to come back, for the ways to bound it."""
    figure, (left, right) = subplots(1, 2, figsize=(9.2, 3.4), sharey=True)
    ways = list(dict.fromkeys(table["way"]))
    watched = int(table["stretch"].max())
    for place, (colour, _, rows) in enumerate(coloured(table, "stretch")):
        at = [ways.index(way) + 0.2 * (2 * place - 1) for way in rows["way"]]
        words = f"{int(rows['stretch'].iloc[0]):,} solved steps"
        left.barh(at, rows["weight"].clip(upper=MOST), 0.36, color=colour, label=words)
        right.barh(at, rows["back"].clip(upper=watched), 0.36, color=colour)
        for y, weight, back in zip(at, rows["weight"], rows["back"], strict=True):
            if weight > MOST:
                left.annotate(f"× {weight:.0e}", (MOST, y), xytext=(-5, 0), textcoords="offset points",
                              ha="right", va="center", color="white", fontsize=9)  # fmt: skip
            if back > watched:
                right.annotate("not in the steps watched", (watched, y), xytext=(-5, 0), textcoords="offset points",
                               ha="right", va="center", color="white", fontsize=9)  # fmt: skip
    for axes, label in ((left, "weight after the stretch, over before"), (right, "steps until it is back")):
        axes.set(xscale="log", xlabel=label)
        axes.set_xlim(left=1)
    left.set_yticks(range(len(ways)), ways)
    left.invert_yaxis()
    legend_below(figure, left, ncols=2)
    return Plate(
        figure,
        "A task under Adam whose loss is 1, then 0 for a stretch, then 1 again, without and with a bound on its "
        "weight. Left: the weight at the stretch's end. Right: steps until it stays within a factor of two of what a "
        "loss of 1 asks for; watched for as many as the longer stretch has.",
        "Two bar charts on log axes, two bars to each of four ways.",
    )
