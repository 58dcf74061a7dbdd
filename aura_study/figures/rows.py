"""Charts with a name to each row, from the top down: forest plots and tables of coloured tiles."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle


def forest(axes: Axes, rows: pd.DataFrame, labels: Sequence[str], colours: Sequence[str], interest: float) -> None:
    """Draw differences with their intervals, one below the other; a band covers what is too small to matter.

    An infinite interval, which a single seed has, is drawn as the point alone.

    Args:
        axes: where to.
        rows: columns difference, low, high.
        labels: a name per row.
        colours: a colour per row.
        interest: the smallest difference that matters.
    """
    axes.axvspan(-interest, interest, color="#888888", alpha=0.15, linewidth=0)
    axes.axvline(0, color="#555555", linewidth=0.8)
    places = np.arange(len(rows))
    bounds = rows[["low", "high"]].to_numpy(float)
    for place, (low, high), middle, colour in zip(places, bounds, rows["difference"], colours, strict=True):
        if np.isfinite([low, high]).all():
            axes.plot([low, high], [place, place], color=colour, linewidth=2.2, solid_capstyle="butt")
        axes.plot([middle], [place], "o", color=colour, markersize=5)
    name_rows(axes, labels)


def name_rows(axes: Axes, names: Sequence[str]) -> None:
    """Rows at 0, 1, 2, ... from the top down, with their names and without lines between them."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)


def tile(axes: Axes, x: float, y: float, colour: str, words: str, size: tuple[float, float], **font: Any) -> None:
    """A coloured rectangle around a place, with ``words`` in its middle."""
    width, height = size
    axes.add_patch(Rectangle((x - width / 2, y - height / 2), width, height, color=colour, linewidth=0))
    axes.text(x, y, words, ha="center", va="center", **font)


def bare(axes: Axes) -> None:
    """Leave of the axes their names alone, for a table of tiles."""
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)


def colour_key(figure: Figure, colours: Mapping[str, str], *lines: Artist, edge: str | None = None) -> None:
    """Say beneath the figure what each colour means, and then each line; patches with an ``edge`` show pale colours."""
    patches = [Patch(facecolor=colour, edgecolor=edge or colour, label=name) for name, colour in colours.items()]
    figure.legend(handles=[*patches, *lines], loc="outside lower center", ncols=len(patches) + len(lines))
