"""Figures of learning-rate schedules."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from aura_study.figures import Plate
from aura_study.figures.lines import diagonal, labels_once, subplots, task_lines
from aura_study.figures.style import COLOURS, DOTTED, TASK_COLOURS, THEORY_COLOUR, style

SCHEDULE_LABELS = {"onecycle": "OneCycleLR", "linear": "linear warm-up (V10)", "constant": "constant"}
SCHEDULE_COLOURS = dict(zip(SCHEDULE_LABELS, COLOURS, strict=False))
PATH_STYLES = {"onecycle": "-", "constant": ":"}


@style()
def shapes(table: pd.DataFrame) -> Plate:
    """Rate and beta1 over the run, longest run of each schedule."""
    figure, (left, right) = subplots(1, 2, figsize=(8, 3.4))
    longest = table[table["steps"] == table["steps"].max()]
    for width, (name, label) in zip((1.6, 4.8, 1.6), SCHEDULE_LABELS.items(), strict=True):
        rows = longest[longest["schedule"] == name]
        left.plot(100 * rows["share"], rows["rate"], color=SCHEDULE_COLOURS[name], label=label)
        right.plot(100 * rows["share"], rows["beta1"], color=SCHEDULE_COLOURS[name], linewidth=width)
    left.axvline(50, **DOTTED, linewidth=0.9)
    left.annotate("the guide's peak", (50, 0.03), xytext=(3, 0), textcoords="offset points", fontsize=9)
    left.set(xlabel="share of the steps (%)", ylabel="learning rate / peak", ylim=(0, 1.5))
    right.set(xlabel="share of the steps (%)", ylabel=r"Adam's $\beta_1$")
    left.legend(loc="upper right", fontsize=8)
    return Plate(
        figure,
        "Read off PyTorch's own schedulers. OneCycleLR peaks at 30 % of the steps, not midway, and moves Adam's beta1 "
        "against the rate; the linear warm-up of AURA's V10 code peaks at 10 % and, as the constant rate, "
        "leaves beta1 alone (a wide line beneath a narrow one).",
        "Left: three rate curves over the run; OneCycleLR peaks at 30 percent, linear warm-up at 10 percent. Right: "
        "beta1 dips from 0.95 to 0.85 and back under OneCycleLR and stays at 0.9 otherwise.",
    )


@style()
def movement(paths: pd.DataFrame, targets: pd.DataFrame, shares: pd.DataFrame) -> Plate:
    """Where log sigma moves and ends under OneCycleLR and a constant rate, and the movement's share of each phase.

    Args:
        paths: ``s`` by schedule, budget, seed, step and task.
        targets: of log sigma at the end, by seed and task.
        shares: of the movement, by schedule, budget, phase and seed.
    """
    budgets = sorted(paths["budget"].unique())
    figure, panels = subplots(2, 2, figsize=(8, 6.4))
    first, last = paths["seed"].min(), paths["step"].max()
    for row, budget in zip(panels, budgets, strict=True):
        for name, look in PATH_STYLES.items():
            chosen = (paths["budget"] == budget) & (paths["schedule"] == name) & (paths["seed"] == first)
            task_lines(row[0], paths[chosen], "step", "s", linestyle=look)
        for task, target in targets[targets["seed"] == first].set_index("task")["target"].items():
            row[0].hlines(target, 0.7 * last, last, color=TASK_COLOURS[str(task)], linewidth=5, alpha=0.35)
        row[0].set(xlabel="step", ylabel=r"$s = \log\sigma$", title=rf"rates sum up to {budget:.2g}")
        _bars(row[1], shares[shares["budget"] == budget])
        row[1].set_title("share of the movement")
    for name, look in PATH_STYLES.items():
        panels[0, 0].plot([], [], color="#555555", linestyle=look, label=SCHEDULE_LABELS[name])
    panels[0, 0].plot([], [], color="#555555", linewidth=5, alpha=0.35, label="fixed point")
    panels[0, 0].legend(*labels_once(panels[0, 0]), fontsize=8)
    panels[0, 1].legend(*labels_once(panels[0, 1]), fontsize=8)
    return Plate(
        figure,
        "Left: log sigma of the four tasks beside the same network (one seed), under OneCycleLR (lines) and a constant "
        "rate of the same sum (dotted); wide bars: the fixed points of the last 30 % of the steps. Right: how much of "
        "the path lies in each phase, mean over seeds; black marks: the phase's share of the rates' sum. The "
        "titles say what sigma's rates sum up to.",
        "Four panels. Left, log sigma of four tasks over the steps, a solid and a dotted line each, and wide bars at "
        "the right end for the fixed points. Right, bars of the share of the movement in three phases, for three "
        "schedules, each with a mark for its prediction.",
    )


def _bars(axes: Axes, shares: pd.DataFrame) -> None:
    mean = shares.groupby(["schedule", "phase"])[["share", "predicted"]].mean()
    phases = list(dict.fromkeys(shares["phase"]))
    for place, (name, label) in enumerate(SCHEDULE_LABELS.items()):
        at = np.arange(len(phases)) + 0.27 * (place - 1)
        rows = mean.loc[name].loc[phases]
        axes.bar(at, rows["share"], width=0.25, color=SCHEDULE_COLOURS[name], label=label)
        axes.plot(at, rows["predicted"], "_", color=THEORY_COLOUR, markersize=12, label="share of the rates' sum")
    axes.set_xticks(range(len(phases)), phases)
    axes.set_ylabel("share of the path")


@style()
def absences(table: pd.DataFrame) -> Plate:
    """Displacement over an absence under OneCycleLR against Lambda, and against the exact prediction."""
    figure, (left, right) = subplots(1, 2, figsize=(8, 3.6))
    marks = {"SGD": "o", "Adam": "s", "Adam, cycled beta1": "^"}
    sizes = (10, 6.5, 4)  # nested where they meet
    for colour, size, (name, mark) in zip(COLOURS, sizes, marks.items(), strict=False):
        rows = table[table["optimizer"] == name]
        look = {"marker": mark, "color": colour, "linestyle": "none", "markersize": size}
        left.plot(rows["phantom"], rows["measured"], label=name, **look)
        right.plot(rows["phantom"], 100 * (rows["over_phantom"] - 1), **look)
        said = 100 * (rows["predicted"] / rows["phantom"] - 1)
        right.plot(rows["phantom"], said, "_", color=THEORY_COLOUR, markersize=12, label="predicted")
    ends = table["phantom"].min(), table["phantom"].max()
    diagonal(left, *ends, linestyle="-", linewidth=0.8, label=r"fall = $\Lambda$")
    left.set(yscale="log", ylabel=r"fall of $\log\sigma$")
    right.set_ylabel(r"fall of $\log\sigma$ over $\Lambda$, minus 1 (%)")
    for axes in (left, right):
        axes.set(xscale="log", xlabel=r"$\Lambda$ over the absence")
    left.legend()
    right.legend(*labels_once(right))
    return Plate(
        figure,
        "Each point an absence in a OneCycleLR run: start, middle, end or all of it. The fall of log sigma is Lambda; "
        "right, magnified: only the cycling of Adam's beta1 leaves a trace, as predicted (black marks), in short runs.",
        "Left: points on the diagonal of equal displacement and Lambda over two decades. Right: all differences are "
        "zero but those with cycled beta1, a few percent, each on its predicted mark.",
    )
