"""Figures of the balancers on the AURA model: encoder updates through a stretch, what is learnt, and scores."""

import pandas as pd

from aura_study.figures import Plate
from aura_study.figures.lines import edge_labels, legend_below, shade_absence, subplots
from aura_study.figures.style import COLOURS, TASK_COLOURS, THEORY_COLOUR, style

ARM_COLOURS = {"PresentOnly": COLOURS[0], "zero": COLOURS[1]}
FLOOR = 1e-8
TICKS = (-10, -1, -0.1, 0, 0.1, 1)


@style()
def updates(steps: pd.DataFrame, away: tuple[int, int]) -> Plate:
    """Length of the encoder's gradient through the stretch, zero-filled and cured, a line per seed."""
    stretch = steps[steps["regime"] == "stretch"]
    each = stretch.drop_duplicates(["balancer", "arm", "seed", "step"])
    figure, grid = subplots(2, 3, sharex=True, sharey=True, figsize=(10.5, 5.2))
    for axes, (name, part) in zip(grid.ravel(), each.groupby("balancer", sort=False), strict=True):
        shade_absence(axes, away[0] - 0.5, away[1] - 0.5)
        for arm, colour in ARM_COLOURS.items():
            for _, run in part[part["arm"] == arm].groupby("seed"):
                axes.plot(run["step"], run["update"].clip(FLOOR), color=colour, label=arm, linewidth=1.1)
                if run["step"].max() < each["step"].max():
                    axes.plot(run["step"].iloc[-1], run["update"].iloc[-1], "x", color=THEORY_COLOUR, markersize=8)
        axes.set(yscale="log", title=name)
    edge_labels(grid, "step", "encoder gradient norm")
    legend_below(figure, grid[0, 0], ncols=2)
    return Plate(
        figure,
        f"Six balancers train the AURA model through an absence of reporting (yellow), a line per seed: norm of the "
        f"encoder's combined gradient, before clipping. A cross is where the total became NaN and training stopped; "
        f"the lower edge, {FLOOR:g}, also stands for 0.",
        "Six panels. In the absence the orange zero-filled lines of the geometric mean, FAMO and MGDA fall by many "
        "orders of magnitude and come back afterwards, DWA's end in a cross, UPGrad's run a little below the blue "
        "lines, and UW's coincide with them until the return, where they lie above.",
    )


@style()
def outcome(lost: pd.DataFrame, scores: pd.DataFrame) -> Plate:
    """What is learnt during the absence in both arms, and what the cure gains in every task's score by the end."""
    regimes = list(dict.fromkeys(scores["regime"]))
    names = list(dict.fromkeys(scores["balancer"]))
    places = {name: place for place, name in enumerate(names)}
    figure, (left, *others) = subplots(1, 1 + len(regimes), sharey=True, figsize=(4.2 + 3.2 * len(regimes), 4.2))
    for shift, (arm, colour) in zip((-0.14, 0.14), ARM_COLOURS.items(), strict=True):
        heights = lost["balancer"].map(places) + shift
        left.plot(lost[f"learnt with {arm}"], heights, "o", color=colour, alpha=0.7, label=f"with {arm}")
    left.axvline(0, color=THEORY_COLOUR, linewidth=0.8)
    left.set(xlabel="fall of the loss while away", title="learnt by the tasks that stay")
    left.set_xscale("symlog", linthresh=0.1)
    left.set_xticks(TICKS, [f"{tick:g}" for tick in TICKS])
    left.margins(x=0.08)
    left.set_yticks(range(len(names)), names)
    left.invert_yaxis()
    left.set_xlim(max(left.get_xlim()[0], TICKS[0]), min(left.get_xlim()[1], TICKS[-1]))
    widest = min(1.0, max(0.05, 1.05 * float(scores[["low", "high"]].abs().to_numpy().max())))
    for axes, regime in zip(others, regimes, strict=True):
        chosen = scores[scores["regime"] == regime]
        for shift, (task, part) in enumerate(chosen.groupby("task", sort=False)):
            heights = part["balancer"].map(places) + 0.18 * (shift - 1.5)
            errors = [part["gain"] - part["low"], part["high"] - part["gain"]]
            colour = TASK_COLOURS[str(task)]
            axes.errorbar(part["gain"], heights, xerr=errors, fmt="o", color=colour, label=task, markersize=4)
        axes.axvline(0, color=THEORY_COLOUR, linewidth=0.8)
        axes.set(xlim=(-widest, widest), xlabel="macro-F1, PresentOnly - zero", title=f"scores, {regime}")
    legend_below(figure, left, others[0], ncols=3)
    return Plate(
        figure,
        "Left: how far the summed development loss of toxicity, emotion and sentiment falls while reporting is away, a "
        "dot per seed; left of 0 they got worse. Right: what the cure gains in development macro-F1 by the end of the "
        "run, paired over seeds, with 95 % intervals; right of 0 the cure is better.",
        "Rows of balancers. On the left two rows of dots for each, blue for the cured and orange for the zero-filled "
        "one, around a line at 0. On the right a dot with an error bar for each task, around a line at 0.",
    )
