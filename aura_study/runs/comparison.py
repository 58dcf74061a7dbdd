"""Runs beside each other: only what all of them have, and of that only what differs.

A sweep compares like a run: its summary is a table, its records are trajectories, its axes are parameters.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from aura_study.claims import Row
from aura_study.errors import StudyError
from aura_study.paths import RunFolders
from aura_study.runs.fingerprint import digest_file
from aura_study.runs.held import Held, shared
from aura_study.runs.overlays import Overlays, has_steps

SAME = 1e-9
"""Relative difference up to which two numbers are the same: rounding."""
MOST_LETTERS = 24
"""Of a table's entry that is a value; a longer one is a sentence about values that stand elsewhere."""


@dataclass(frozen=True)
class Difference:
    """Something that differs: a parameter or a table's number, and its value in each run, ``None`` where it has none.

    ``where`` is the notebooks of a parameter, or the row and column of a table's number.
    """

    name: str
    where: tuple[str, ...]
    values: tuple[Any, ...]


@dataclass(frozen=True)
class Change:
    """A claim whose verdict or numbers differ, with its row in each run."""

    claim: str
    rows: tuple[Row, ...]

    @property
    def of_verdict(self) -> bool:
        """Whether the verdict differs."""
        return len({row.verdict for row in self.rows}) > 1


class Comparison:
    """What differs between runs.

    Raises:
        StudyError: fewer than two, one that does not exist, or runs that have nothing in common.
    """

    def __init__(self, folders: Sequence[RunFolders]) -> None:
        self.runs = [Held.of(one) for one in folders]
        self.names = _names(folders)
        if len(set(self.names)) < 2 or len(set(self.names)) < len(self.names):
            raise StudyError(f"compare takes two runs or more, each once; got {', '.join(self.names)}")
        if not (self.notebooks or self.tables or self.claims or self.overlays.compared):
            raise StudyError(f"runs {', '.join(self.names)} have nothing in common: no notebook, claim or table")

    @cached_property
    def notebooks(self) -> list[str]:
        """Those that all runs have."""
        return shared(self.runs, lambda run: run.parameters)

    @property
    def alone(self) -> dict[str, int]:
        """By run: how many notebooks it has that another lacks."""
        more = {
            name: len(run.parameters) - len(self.notebooks) for name, run in zip(self.names, self.runs, strict=True)
        }
        return {name: count for name, count in more.items() if count}

    @cached_property
    def parameters(self) -> list[Difference]:
        """Settings that differ, and parameters, each with the notebooks in which it does so."""
        found: dict[tuple[str, str], Difference] = {}
        for name in dict.fromkeys(name for run in self.runs for name in run.settings):
            _note(found, name, "", tuple(run.settings.get(name) for run in self.runs))
        for notebook in self.notebooks:
            held = [run.parameters[notebook] for run in self.runs]
            for name in dict.fromkeys(name for values in held for name in values if name not in self.runs[0].settings):
                _note(found, name, notebook, tuple(values.get(name) for values in held))
        return list(found.values())

    @cached_property
    def claims(self) -> list[str]:
        """Those that all runs have decided."""
        return shared(self.runs, lambda run: run.rows)

    @cached_property
    def changes(self) -> list[Change]:
        """Claims that differ, those with another verdict first."""
        changes = [Change(key, tuple(run.rows[key] for run in self.runs)) for key in self.claims]
        return sorted((change for change in changes if _changed(change.rows)), key=lambda change: not change.of_verdict)

    @cached_property
    def tables(self) -> list[str]:
        """Those that all runs have; a table of steps is among the `overlays`."""
        return [
            name
            for name in shared(self.runs, lambda run: run.tables)
            if not all(has_steps(run.tables[name]) for run in self.runs)
        ]

    @cached_property
    def _numbers(self) -> tuple[list[Difference], list[str]]:
        found, unlike = [], []
        for name in self.tables:
            frames = [_read(run.tables[name]) for run in self.runs]
            matched = _matched(frames)
            if matched is None:
                unlike.append(f"{name} ({', '.join(str(len(frame)) for frame in frames)} rows)")
            else:
                found += _cells(name, matched)
        return found, unlike

    @property
    def numbers(self) -> list[Difference]:
        """Entries of tables that differ: the table's name, its row and column; of each table the largest first."""
        return self._numbers[0]

    @property
    def unlike(self) -> list[str]:
        """Tables whose rows are not the same ones, so that nothing can be set side by side."""
        return self._numbers[1]

    @cached_property
    def figures(self) -> list[str]:
        """Those that all runs have and that are not the same file."""
        found = []
        for name in shared(self.runs, lambda run: run.figures):
            files = [run.folders.figures / f"{name}.svg" for run in self.runs]
            if all(file.is_file() for file in files) and len({digest_file(file) for file in files}) > 1:
                found.append(name)
        return found

    @cached_property
    def overlays(self) -> Overlays:
        """Trajectories of all runs."""
        return Overlays(self.runs)

    def as_json(self) -> dict[str, Any]:
        """Everything, JSON-ready; each ``values`` and ``rows`` in the order of ``runs``."""
        return {
            "runs": self.names,
            "notebooks": self.notebooks,
            "alone": self.alone,
            "parameters": [asdict(difference) for difference in self.parameters],
            "claims_compared": len(self.claims),
            "claims": [
                {"claim": change.claim, "rows": [row.model_dump(mode="json") for row in change.rows]}
                for change in self.changes
            ],
            "tables_compared": len(self.tables),
            "numbers": [{**asdict(one), "values": [_json(value) for value in one.values]} for one in self.numbers],
            "tables_unlike": self.unlike,
            "figures": self.figures,
            "trajectories_compared": self.overlays.compared,
        }


def _names(folders: Sequence[RunFolders]) -> list[str]:
    names = [one.name for one in folders]
    return names if len(set(names)) == len(names) else [str(one.results) for one in folders]


def _note(found: dict[tuple[str, str], Difference], name: str, notebook: str, values: tuple[Any, ...]) -> None:
    """Enter a parameter that differs, under those of other notebooks that differ likewise."""
    written = [json.dumps(value, sort_keys=True, default=str) for value in values]
    if len(set(written)) > 1:
        before = found.get((name, str(written)))
        where = (*(before.where if before else ()), *([notebook] if notebook else ()))
        found[name, str(written)] = Difference(name, where, values)


def _changed(rows: Sequence[Row]) -> bool:
    first, *others = ((row.measured, *row.interval) for row in rows)
    verdicts = {row.verdict for row in rows}
    return len(verdicts) > 1 or not all(_same(a, b) for other in others for a, b in zip(first, other, strict=True))


def _same(first: Any, second: Any) -> bool:
    numbers = (int, float, np.number)
    if isinstance(first, numbers) and isinstance(second, numbers):
        return math.isclose(first, second, rel_tol=SAME) or bool(first != first and second != second)
    return bool(first == second)


def _read(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise StudyError(f"cannot read table {path}: {error}") from error


def _matched(frames: Sequence[pd.DataFrame]) -> list[pd.DataFrame] | None:
    """The columns that all have, indexed by what names a row in all of them: the fewest first columns that do.

    Where rows are named otherwise their place counts if there are as many, else only those compare that all have;
    ``None`` if there are none.
    """
    columns = [name for name in frames[0].columns if all(name in frame.columns for frame in frames)]
    common = None
    for count in range(1, len(columns)):
        keyed = [frame[columns].set_index(columns[:count]) for frame in frames]
        if all(one.index.is_unique for one in keyed):
            rows = [key for key in keyed[0].index if all(key in one.index for one in keyed[1:])]
            if all(len(one) == len(rows) for one in keyed):
                return [one.loc[rows] for one in keyed]
            common = common or ([one.loc[rows] for one in keyed] if rows else None)
    return [frame[columns] for frame in frames] if len({len(frame) for frame in frames}) == 1 else common


def _cells(table: str, frames: Sequence[pd.DataFrame]) -> list[Difference]:
    named = frames[0].index.names != [None]
    found = []
    for column in frames[0].columns:
        for place, values in enumerate(zip(*(frame[column].tolist() for frame in frames), strict=True)):
            sentence = any(isinstance(value, str) and len(value) > MOST_LETTERS for value in values)
            if not sentence and not all(_same(values[0], value) for value in values[1:]):
                key = frames[0].index[place]
                row = " ".join(map(_word, key if isinstance(key, tuple) else [key])) if named else f"row {place + 1}"
                found.append(Difference(table, (row, str(column)), values))
    return sorted(found, key=_relative, reverse=True)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _word(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _relative(difference: Difference) -> float:
    """How large a change is; one of words counts least, one from or to nothing or infinity most."""
    if not all(map(_is_number, difference.values)):
        return -1.0
    numbers = [float(value) for value in difference.values]
    largest = max(map(abs, numbers))
    return (max(numbers) - min(numbers)) / largest if math.isfinite(largest) else math.inf


def _json(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
