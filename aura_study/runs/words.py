"""Numbers, times and parameters as people read them."""

from collections.abc import Iterable
from typing import Any

NONE = "–"


def number(value: float | None) -> str:
    """A measured number, with four significant digits; a dash for none."""
    return NONE if value is None else f"{value:.4g}"


def duration(seconds: float | None) -> str:
    """Seconds: ``4.2 s``, ``48 s``, ``3 min 05 s``, ``1 h 12 min``."""
    if seconds is None:
        return "?"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def parameter_table(title: str, rows: Iterable[tuple[str, str, str, str]], default: str = "default") -> Any:
    """Name, value, meaning and allowed values of parameters as a rich table that can be read at 80 columns.

    ``default`` heads the values.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("name", no_wrap=True)
    table.add_column(default, overflow="fold", max_width=22)
    table.add_column("meaning", overflow="fold", ratio=1)
    for name, value, meaning, allowed in rows:
        table.add_row(Text(name), Text(value), Text(meaning).append(f"\n{allowed}", style="dim"))
    return table
