"""Forest plots: differences with their intervals, one below the other, beside the differences that would matter."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes


def forest(axes: Axes, rows: pd.DataFrame, labels: Sequence[str], colours: Sequence[str], interest: float) -> None:
    """Draw ``rows`` (columns difference, low, high) from the top down; a band covers what is too small to matter.

    An infinite interval, which a single seed has, is drawn as the point alone.
    """
    axes.axvspan(-interest, interest, color="#888888", alpha=0.15, linewidth=0)
    axes.axvline(0, color="#555555", linewidth=0.8)
    places = np.arange(len(rows))
    bounds = rows[["low", "high"]].to_numpy(float)
    for place, (low, high), middle, colour in zip(places, bounds, rows["difference"], colours, strict=True):
        if np.isfinite([low, high]).all():
            axes.plot([low, high], [place, place], color=colour, linewidth=2.2, solid_capstyle="butt")
        axes.plot([middle], [place], "o", color=colour, markersize=5)
    axes.set_yticks(places, list(labels))
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)
