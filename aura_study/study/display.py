"""What the user sees while the study runs: a live table on a terminal, plain lines elsewhere."""

import re
import threading
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from aura_study.runs.words import duration
from aura_study.study.notebook import Progress
from aura_study.study.processes import Event, Started

SYMBOLS = {"waiting": "·", "running": "▸", "done": "✓", "unchanged": "=", "failed": "✗"}
EVERY = 30.0
"""Seconds after which a notebook that runs is told of again where there is no terminal."""
BAR_LEFT = re.compile(r"<((?:\d+:)?\d+:\d+)")
"""What a progress bar says is left."""
STYLES = {"waiting": "dim", "running": "bold", "done": "green", "unchanged": "cyan", "failed": "bold red"}


@dataclass
class Line:
    """State of one notebook on the display."""

    name: str
    expected: float | None = None
    why: str = ""
    state: str = "waiting"
    stage: str = ""
    progress: Progress | None = None
    heading: str = ""
    started: float = 0.0
    seconds: float = field(default=0.0)
    told: float = 0.0

    def elapsed(self) -> float:
        """Seconds since it started, or that it took."""
        return time.monotonic() - self.started if self.state == "running" else self.seconds

    def remaining(self) -> float | None:
        """Estimated seconds left: from the last time it ran and, for its cell, from the cell's bar; else unknown."""
        if self.state != "running":
            return self.expected if self.state == "waiting" else 0.0
        bar = BAR_LEFT.search(self.progress.bar) if self.progress else None
        of_cell = sum(int(part) * 60**place for place, part in enumerate(reversed(bar[1].split(":")))) if bar else None
        if self.expected and self.expected > self.elapsed():
            return max(self.expected - self.elapsed(), of_cell or 0.0)
        return of_cell

    def now(self) -> str:
        """Where it stands, in words."""
        cell = f"cell {self.progress.cell}/{self.progress.cells}, " if self.progress else ""
        return f"{cell}{duration(self.elapsed())}{_left(self.remaining())}{f': {self.stage}' if self.stage else ''}"


def _left(seconds: float | None) -> str:
    return f", about {duration(seconds)} left" if seconds else ""


class Display(AbstractContextManager["Display"]):
    """One line per notebook. ``with Display(...) as display`` shows it; outside a terminal it prints each change and,
    in a long cell, every half minute where it stands.

    Args:
        console: where.
        names: of the notebooks.
        expected: seconds that each takes, as far as an earlier run tells.
        at_once: notebooks side by side.
    """

    def __init__(self, console: Console, names: list[str], expected: Mapping[str, float], at_once: int = 1) -> None:
        self.lines = {name: Line(name, expected.get(name)) for name in names}
        self._at_once = at_once
        self._console = console
        self._live = Live(self, console=console, refresh_per_second=4) if console.is_terminal else None
        self._ended = threading.Event()

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        else:
            threading.Thread(target=self._keep_telling, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        for line in self.lines.values():
            if line.state == "running":
                self._finish(line.name, "failed", "stopped")
        if self._live:
            self._live.stop()

    def plan(self, reasons: Mapping[str, str | None]) -> None:
        """Why each of some notebooks is going to run; those without a reason are unchanged."""
        for name, why in reasons.items():
            if why is None:
                self._finish(name, "unchanged")
            else:
                self.lines[name].why = why

    def tell(self, name: str, event: Event) -> None:
        """``name`` began, moved or ended."""
        if isinstance(event, Started):
            self._start(name)
        elif isinstance(event, Progress):
            self._progress(name, event)
        else:
            self._finish(name, *(("failed", "the others go on") if event.error else ("done", "")))

    def remaining(self) -> float | None:
        """Estimated seconds until all are done, if each has an estimate."""
        left = [line.remaining() for line in self.lines.values()]
        known = [seconds for seconds in left if seconds is not None]
        return max(sum(known) / self._at_once, *known, 0.0) if len(known) == len(left) else None

    def _keep_telling(self) -> None:
        """Say of each notebook in a long cell where it stands."""
        while not self._ended.wait(EVERY / 10):
            for line in list(self.lines.values()):
                if line.state == "running" and time.monotonic() - line.told > EVERY:
                    self._print(f"{self._position(line.name)} {line.name}: {line.now()}", line)

    def _start(self, name: str) -> None:
        line = self.lines[name]
        line.state, line.stage, line.started = "running", line.why, time.monotonic()
        about = f", about {duration(line.expected)}" if line.expected else ""
        self._print(f"{self._position(name)} {name}: running ({line.why}{about})", line)

    def _progress(self, name: str, progress: Progress) -> None:
        line = self.lines[name]
        line.progress, line.stage = progress, progress.bar or progress.heading
        if progress.heading and progress.heading != line.heading:
            line.heading = progress.heading
            self._print(
                f"{self._position(name)} {name}: cell {progress.cell}/{progress.cells}, {progress.heading}", line
            )

    def _finish(self, name: str, state: str, stage: str = "") -> None:
        line = self.lines[name]
        line.seconds = line.elapsed()
        line.state, line.stage = state, stage
        took = f" in {duration(line.seconds)}" if line.seconds else ""
        rest = "" if self._ended.is_set() else _left(self.remaining())
        self._print(f"{self._position(name)} {name}: {state}{took}{f' ({stage})' if stage else ''}{rest}", line)

    def __rich__(self) -> Table:
        table = Table.grid(padding=(0, 2))
        for column in ("", "notebook", "cells", "stage", "time", "left"):
            table.add_column(column, no_wrap=column != "stage", overflow="ellipsis")
        for line in self.lines.values():
            running = line.state == "running"
            style = STYLES[line.state]
            left = line.remaining()
            table.add_row(
                Spinner("dots", style="bold") if running else Text(SYMBOLS[line.state], style=style),
                Text(line.name, style=style),
                f"{line.progress.cell}/{line.progress.cells}" if line.progress and running else "",
                Text(
                    line.stage if line.stage or line.state == "waiting" else line.state, style="" if running else "dim"
                ),
                duration(line.elapsed()) if line.elapsed() else "",
                f"~{duration(left)} left" if left and line.state in ("running", "waiting") else "",
            )
        if left := self.remaining():
            table.add_row("", Text("all of them", style="dim"), "", "", "", f"~{duration(left)} left")
        return table

    def _position(self, name: str) -> str:
        return f"[{list(self.lines).index(name) + 1}/{len(self.lines)}]"

    def _print(self, text: str, line: Line) -> None:
        line.told = time.monotonic()
        if not self._live:
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)
