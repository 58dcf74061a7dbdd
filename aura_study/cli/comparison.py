"""What ``compare`` prints: a screen of 80 columns, the rest by its count."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from aura_study.runs import ledger
from aura_study.runs.comparison import Comparison, Difference
from aura_study.runs.words import NONE, number

MOST_ROWS = 12
MOST_OF_A_TABLE = 3


def shown(comparison: Comparison) -> Iterator[Table | str]:
    """Tables and sentences, in order."""
    names = comparison.names
    alone = "".join(f"; {name} has {count} more" for name, count in comparison.alone.items())
    yield f"In common: {', '.join(comparison.notebooks) or 'no notebook'}{alone}."
    rows = [[_with_notebooks(one), *map(_value, one.values)] for one in comparison.parameters]
    yield _table("Parameters that differ", ["", *names], rows)
    yield _table(
        f"Claims that differ, of {len(comparison.claims)}",
        ["", *names],
        [[change.claim, *map(_row, change.rows)] for change in comparison.changes],
    )
    yield _table(
        f"Numbers that differ, in {len(comparison.tables)} tables",
        ["table", "row", "column", *names],
        [[one.name, *one.where, *map(_value, one.values)] for one in _largest(comparison.numbers)],
        more=len(comparison.numbers) - len(_largest(comparison.numbers)),
    )
    if comparison.unlike:
        yield _few("Tables of other rows, not compared", comparison.unlike)
    if comparison.figures:
        yield _few("Figures that differ", comparison.figures)
    if comparison.overlays.compared:
        yield f"Trajectories in common: {comparison.overlays.compared}; --html FOLDER draws them over each other."


def _largest(numbers: Sequence[Difference]) -> list[Difference]:
    """The first differences of each table; each table's are in the order of their size."""
    seen: Counter[str] = Counter()
    found = []
    for one in numbers:
        seen[one.name] += 1
        if seen[one.name] <= MOST_OF_A_TABLE:
            found.append(one)
    return found[:MOST_ROWS]


def _table(title: str, headings: list[str], rows: Sequence[Sequence[str | Text]], more: int = 0) -> Table | str:
    if not rows:
        return f"{title}: none."
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows[:MOST_ROWS]:
        table.add_row(*(cell if isinstance(cell, Text) else Text(cell) for cell in row))
    if hidden := more + max(len(rows) - MOST_ROWS, 0):
        table.caption, table.caption_justify = f"and {hidden:,} more: --json or --html has them all", "left"
    return table


def _with_notebooks(one: Difference) -> str:
    numbers = ", ".join(notebook.split("_")[0] for notebook in one.where)
    return f"{one.name} ({numbers})" if numbers else one.name


def _value(value: Any) -> str:
    if value is None:
        return NONE
    return number(value) if isinstance(value, float) else str(value)


def _row(row: ledger.Row) -> Text:
    text = Text(row.verdict, style=ledger.VERDICT_STYLES[row.verdict])
    return text.append(f"\n{number(row.measured)} {ledger.interval(row)}", style="not bold default")


def _few(title: str, names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_OF_A_TABLE} more" if len(names) > MOST_OF_A_TABLE else ""
    return f"{title}: {', '.join(names[:MOST_OF_A_TABLE])}{more}."
