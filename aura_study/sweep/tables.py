"""What the command line shows of a sweep."""

from typing import Any

import pandas as pd
from rich.table import Table
from rich.text import Text

from aura_study.sweep.grid import Grid, describe_point
from aura_study.sweep.runner import SweepOutcome

MOST_ROWS = 40


def parameters(kind: str) -> Table:
    """The parameters of a kind of sweep."""
    table = Table(title=f"Parameters of a {kind} sweep", show_lines=True)
    for heading in ("name", "allowed", "default", "meaning"):
        table.add_column(heading, overflow="fold")
    for row in describe_point(kind):
        table.add_row(*map(Text, row))
    return table


def summary(grid: Grid, outcome: SweepOutcome) -> Table:
    """The first rows of the summary: what varies, and the key results; the file holds all."""
    frame = outcome.summary
    varied = [name for name, values in grid.axes.items() if len(values) > 1]
    shown = [*varied, *(name for name in frame.columns if name.startswith(grid.kind.headline))]
    counts = f"{len(outcome.executed)} jobs run, {len(outcome.kept)} kept"
    hidden = len(frame) - MOST_ROWS
    table = Table(title=counts, caption=f"and {hidden} more rows in the summary" if hidden > 0 else None)
    for name in shown:
        table.add_column(name, overflow="fold", justify="right")
    for row in frame[shown].head(MOST_ROWS).itertuples(index=False):
        table.add_row(*(Text(_shown(value)) for value in row))
    return table


def _shown(value: Any) -> str:
    if value is None or (isinstance(value, float) and pd.isna(value)):
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
