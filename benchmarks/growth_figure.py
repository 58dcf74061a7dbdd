"""Draws the curves of ``growth.py`` into ``figures/growth.svg`` and ``.png``."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from aura_study.figures import Plate
from aura_study.figures.lines import subplots
from aura_study.figures.style import DOTTED, style

FOLDER = Path(__file__).parent / "figures"
LABELS = {
    "tasks": "tasks of the loss",
    "audited tasks": "tasks of the audited loss",
    "rows": "rows of the corpus",
    "cells": "cells of the grid",
    "seeds": "seeds",
    "notebooks": "notebooks of a run",
}
ACROSS = 3
"""Axes side by side."""

Slope = Callable[[np.ndarray, np.ndarray], tuple[float, float]]


@style()
def draw(curves: dict[str, dict[str, Any]], slope: Slope) -> None:
    """Of each axis time above, memory below it; legends give the slopes, the thin line has slope 1."""
    figure, panels = subplots(2 * -(-len(curves) // ACROSS), ACROSS, figsize=(13, 12))
    for place, axis in enumerate(axis for axis in LABELS if axis in curves):
        above, column = divmod(place, ACROSS)
        curve, pair = curves[axis], panels[2 * above : 2 * above + 2, column]
        sizes = np.array(curve["sizes"], float)
        for row, unit in enumerate(("seconds", "bytes")):
            panel = pair[row]
            top = 0.0
            for (name, values), marker in zip(curve["series"].items(), "osD^", strict=False):
                heights = np.array([value[row] or np.nan for value in values])  # 0: not drawn
                label = f"{name}: {slope(sizes, heights)[0]:.2f}"
                panel.loglog(sizes, heights, marker=marker, markersize=4, label=label.removesuffix(": nan"))
                top = max(top, heights[-1])
            panel.loglog(sizes, top * sizes / sizes[-1], **DOTTED, linewidth=0.8)
            panel.set_ylabel(("time" if row == 0 else "memory") + f" ({unit})")
        for panel in pair:
            panel.set_ylim(top=30 * panel.get_ylim()[1])
            panel.legend(loc="upper left", fontsize="small")
            if sizes[-1] < 10:
                panel.set_xticks(sizes, [f"{size:g}" for size in sizes])
                panel.minorticks_off()
        pair[1].set_xlabel(LABELS[axis])
    for panel in panels.flat:
        panel.set_visible(panel.has_data())
    plate = Plate(figure, "", "")
    FOLDER.mkdir(exist_ok=True)
    for kind in ("svg", "png"):
        (FOLDER / f"growth.{kind}").write_bytes(plate.encode(kind))
