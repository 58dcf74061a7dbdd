"""Panels, and the lines, bands and legends in them that the study's figures share."""

from collections.abc import Iterator
from itertools import cycle
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import same_color
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from aura_study.figures.style import ABSENT_COLOUR, COLOURS, DOTTED, TASK_COLOURS, THEORY_COLOUR, policy_line


def subplots(rows: int = 1, columns: int = 1, *, figsize: tuple[float, float], **shared: Any) -> tuple[Figure, Any]:
    """A figure and its panels, as ``pyplot.subplots`` gives them, without pyplot's register of open figures."""
    figure = Figure(figsize=figsize)
    return figure, figure.subplots(rows, columns, **shared)


def coloured(table: pd.DataFrame, by: Any, sort: bool = True) -> Iterator[tuple[str, Any, pd.DataFrame]]:
    """Colour, key and rows of each group of ``table``; the palette's colours in turn."""
    for colour, (key, rows) in zip(cycle(COLOURS), table.groupby(by, sort=sort), strict=False):
        yield colour, key, rows


def task_lines(axes: Axes, run: pd.DataFrame, x: str, y: str, **look: Any) -> None:
    """A line for each task of a run, in its colour and with its name."""
    for task, rows in run.groupby("task", sort=False):
        axes.plot(rows[x], rows[y], color=TASK_COLOURS[str(task)], label=str(task), **look)


def policy_lines(axes: Axes, runs: pd.DataFrame, x: str, y: str, **faint: Any) -> None:
    """A line for each policy and seed: the first seed's with the policy's label, the others ``faint``."""
    first = runs["seed"].min()
    for (policy, seed), run in runs.groupby(["policy", "seed"], sort=False):
        other = {} if seed == first else {"label": None, **faint}
        axes.plot(run[x], run[y], **policy_line(policy) | other)


def band(axes: Axes, rows: pd.DataFrame, x: str, alpha: float, **look: Any) -> None:
    """A line through the column mean of ``rows``, in a pale band of its colour from low to high."""
    axes.plot(rows[x], rows["mean"], **look)
    axes.fill_between(rows[x], rows["low"], rows["high"], color=look["color"], alpha=alpha, linewidth=0)


def shade_absence(axes: Axes, start: float, stop: float) -> None:
    """Mark the steps in which a task is absent."""
    axes.axvspan(start, stop, color=ABSENT_COLOUR, alpha=0.25, linewidth=0, label="task absent")


def diagonal(axes: Axes, low: float, high: float, **look: Any) -> None:
    """The line on which what is measured equals what is predicted."""
    axes.plot([low, high], [low, high], **DOTTED | look)


def edge_labels(grid: np.ndarray, x: str, y: str, **words: Any) -> None:
    """Label the x axes of the lowest row and the y axes of the first column of a row or ``grid`` of panels."""
    for axes in np.atleast_2d(grid)[-1]:
        axes.set_xlabel(x, **words)
    for axes in np.atleast_2d(grid)[:, 0]:
        axes.set_ylabel(y)


def labels_once(*panels: Axes) -> tuple[list[Any], list[str]]:
    """Handles and labels for one legend of several panels, each label once; lines in theory's colour come last."""
    entries: dict[str, Any] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    labels = sorted(entries, key=lambda label: _is_theory(entries[label]))
    return [entries[label] for label in labels], labels


def _is_theory(handle: Any) -> bool:
    return isinstance(handle, Line2D) and same_color(handle.get_color(), THEORY_COLOUR)


def legend_below(figure: Figure, *panels: Axes, ncols: int) -> None:
    """One legend for the whole figure, beneath it, with the labels of ``panels``."""
    figure.legend(*labels_once(*panels), loc="outside lower center", ncols=ncols)
