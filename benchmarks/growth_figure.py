"""Draws the curves of ``growth.py`` into ``figures/growth.svg`` and ``.png``."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from aura_study.figures.style import THEORY_COLOUR, Plate, style

FOLDER = Path(__file__).parent / "figures"
LABELS = {"tasks": "tasks of the loss", "rows": "rows of the corpus", "cells": "cells of the grid", "seeds": "seeds"}


def draw(curves: dict[str, dict[str, Any]]) -> None:
    """Time above, memory below, one column an axis; the thin line through the largest size has slope 1."""
    with style():
        figure = Figure(figsize=(13, 6))
        panels = figure.subplots(2, len(curves), sharex="col")
        for column, (axis, curve) in enumerate(curves.items()):
            sizes = np.array(curve["sizes"], float)
            for row, unit in enumerate(("seconds", "bytes")):
                panel = panels[row, column]
                top = 0.0
                for (name, values), marker in zip(curve["series"].items(), "osD^", strict=False):
                    heights = np.array([value[row] for value in values])
                    panel.loglog(sizes, heights, marker=marker, markersize=4, label=name)
                    top = max(top, heights[-1])
                panel.loglog(sizes, top * sizes / sizes[-1], color=THEORY_COLOUR, linewidth=0.8, linestyle=":")
                panel.set_ylabel(("time" if row == 0 else "memory") + f" ({unit})")
            panels[0, column].legend()
            panels[1, column].set_xlabel(LABELS[axis])
        plate = Plate(figure, "", "")
    FOLDER.mkdir(exist_ok=True)
    for kind in ("svg", "png"):
        (FOLDER / f"growth.{kind}").write_bytes(plate.encode(kind))
