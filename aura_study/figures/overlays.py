"""Trajectories of several runs over each other, a panel for each: the colour is the task, the line's style the run."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from aura_study.figures.plate import Plate
from aura_study.figures.style import COLOURS, TASK_COLOURS, style

RUN_STYLES: tuple[Any, ...] = ("-", "--", ":", "-.", (0, (1, 3)), (0, (6, 2, 1, 2, 1, 2)))
ACROSS = 2


@dataclass(frozen=True)
class Panel:
    """One trajectory: its title, its quantity, and per line run, group, steps and values, ``None`` where undefined."""

    title: str
    quantity: str
    lines: Sequence[tuple[int, str, Sequence[int], Sequence[float | None]]]


@style()
def overlaid(panels: Sequence[Panel], names: Sequence[str]) -> Plate:
    """The panels; ``names`` of the runs."""
    across = min(ACROSS, len(panels))
    down = -(-len(panels) // across)
    figure = Figure(figsize=(4.6 * across, 2.5 * down + 0.5))
    axes = figure.subplots(down, across, squeeze=False).flat
    for axis, panel in zip(axes, panels, strict=False):
        groups = list(dict.fromkeys(group for _, group, _, _ in panel.lines))
        for run, group, steps, values in panel.lines:
            colour = TASK_COLOURS.get(group, COLOURS[groups.index(group) % len(COLOURS)])
            drawn = np.array(values, float)
            axis.plot(steps, drawn, color=colour, linestyle=RUN_STYLES[run % len(RUN_STYLES)], linewidth=1.4)
        axis.set(title=panel.title, xlabel="step", ylabel=panel.quantity)
        if len(groups) > 1:
            colours = [TASK_COLOURS.get(group, COLOURS[place % len(COLOURS)]) for place, group in enumerate(groups)]
            axis.legend([Line2D([], [], color=colour) for colour in colours], groups, fontsize=7, ncols=2)
    for axis in list(figure.axes)[len(panels) :]:
        axis.set_visible(False)
    styles = [RUN_STYLES[place % len(RUN_STYLES)] for place in range(len(names))]
    handles = [Line2D([], [], color="black", linestyle=one) for one in styles]
    figure.legend(handles, list(names), loc="outside upper center", ncols=min(len(names), 3))
    titles = ", ".join(f"{panel.quantity} of {panel.title}" for panel in panels)
    return Plate(
        figure,
        f"Trajectories of {', '.join(names)} over each other: the line's style is the run.",
        f"lines over the steps of {', '.join(names)}: {titles}",
    )
