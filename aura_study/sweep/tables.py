"""What the command line shows of a sweep."""

import itertools
from typing import Any

import pandas as pd
from rich import box
from rich.table import Table
from rich.text import Text

from aura_study.runs.words import parameter_table
from aura_study.sweep.grid import Grid, describe_point
from aura_study.sweep.runner import SweepOutcome

MOST_ROWS = 40
GAP = 2
"""Blanks between two columns."""


def parameters(kind: str) -> Table:
    """The parameters of a kind of sweep."""
    rows = ((name, default, meaning, allowed) for name, allowed, default, meaning in describe_point(kind))
    return parameter_table(f"Parameters of a {kind} sweep", rows)


def summary(grid: Grid, outcome: SweepOutcome, width: int = 80) -> Table:
    """The first rows of the summary: what varies, and as many key results as the width takes; the file holds all."""
    frame = outcome.summary.head(MOST_ROWS)
    varied = [name for name, values in grid.axes.items() if len(values) > 1]
    known = [*varied, *(name for name in frame.columns if name.startswith(grid.kind.headline))]
    words = {name: [_shown(value) for value in frame[name]] for name in known}
    widths = itertools.accumulate(max(map(len, [name, *words[name]])) + GAP for name in known)
    shown = [name for name, taken in zip(known, widths, strict=True) if taken <= width] or known[:1]
    left = {"columns": len(known) - len(shown), "rows": len(outcome.summary) - len(frame)}
    more = " and ".join(f"{count} more {what}" for what, count in left.items() if count > 0)
    table = Table(
        title=f"{len(outcome.executed)} jobs run, {len(outcome.kept)} kept",
        caption=f"{more} in the summary" if more else None,
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    for name in shown:
        table.add_column(name, justify="right")
    for row in zip(*(words[name] for name in shown), strict=True):
        table.add_row(*map(Text, row))
    return table


def _shown(value: Any) -> str:
    if value is None or (isinstance(value, float) and pd.isna(value)):
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
