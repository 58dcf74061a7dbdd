"""Trajectories of several runs laid over each other: what all of them recorded over the steps, thinned to be drawn."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from aura_study.errors import StudyError
from aura_study.runs.held import Held, shared
from aura_study.runs.jobs import job_metadata

MOST = 24
"""Overlays that a page carries."""
MOST_LINES = 6
"""Lines of one run in one picture: tasks, as a rule."""
POINTS = 200
"""Of a line: as many as a screen tells apart, about."""
CONSTANT = ("seed", "policy", "present", "lr")
"""Columns that describe a trajectory, or say when, and are no quantity of it."""


@dataclass(frozen=True)
class Line:
    """A quantity over the steps, as one run recorded it; ``group`` is the task or whatever tells lines apart."""

    run: int
    group: str
    steps: list[int]
    values: list[float | None]


@dataclass(frozen=True)
class Overlay:
    """One trajectory of all runs.

    Attributes:
        name: of the file or table, or of those that were paired.
        differs: settings of the trainings that differ, where files of other names were paired.
        quantities: lines by the quantity's name.
    """

    name: str
    differs: str
    quantities: Mapping[str, list[Line]]


class Overlays:
    """The trajectories of runs that are not the same in all runs, the first seeds first.

    Attributes:
        compared: how many there are in all runs.
    """

    def __init__(self, runs: Sequence[Held]) -> None:
        self._pairs = _pairs(runs)
        self.compared = len(self._pairs)

    @cached_property
    def shown(self) -> list[Overlay]:
        """Those that are drawn, `MOST` at most."""
        found: list[Overlay] = []
        for name, paths, differs in self._pairs:
            if len(found) >= MOST:
                break
            for part, frames in _parts([_read(path) for path in paths]):
                if quantities := _quantities(frames):
                    found.append(Overlay(f"{name}{part}", differs, quantities))
        return found


def _pairs(runs: Sequence[Held]) -> list[tuple[str, list[Path], str]]:
    """Name and files, one a run; those of the nearest trainings where one is a sweep, for its names are its own."""
    names = shared(runs, lambda run: run.trajectories)
    found = [(name, [run.trajectories[name] for run in runs], "") for name in names]
    found.sort(key=lambda pair: _sigma_first(pair[1][0]))
    if not names and any(run.swept for run in runs):
        found = list(_nearest([run.trajectories for run in runs]))
    tables = [(name, [run.tables[name] for run in runs], "") for name in shared(runs, lambda run: run.tables)]
    return found + [(name, paths, differs) for name, paths, differs in tables if all(map(has_steps, paths))]


def _sigma_first(path: Path) -> tuple[bool, int, str]:
    """Order of what is drawn: uncertainties before all else, and of each family the first seed."""
    seed = re.search(r"seed(\d+)$", path.stem)
    return "sigma" not in _columns(path), int(seed[1]) if seed else 0, path.stem


def has_steps(path: Path) -> bool:
    """Whether a table tells of steps, and so is a trajectory."""
    return "step" in _columns(path)


def _nearest(held: Sequence[Mapping[str, Path]]) -> Iterator[tuple[str, list[Path], str]]:
    """Each training of the run with the fewest, beside those of the others with the fewest settings that differ."""
    jobs = [{path: job for path in files.values() if (job := _job(path))} for files in held]
    if not all(jobs):
        return
    few = min(range(len(jobs)), key=lambda place: len(jobs[place]))
    for path, job in jobs[few].items():
        paths = [
            path if place == few else min(others, key=lambda other: len(_differing([job, others[other]])))
            for place, others in enumerate(jobs)
        ]
        settings = [jobs[place][one] for place, one in enumerate(paths)]
        differs = [f"{name} {' / '.join(str(one.get(name)) for one in settings)}" for name in _differing(settings)]
        yield " / ".join(one.stem for one in paths), paths, ", ".join(differs)


def _job(path: Path) -> dict[str, Any]:
    """What decided a training, nested settings joined by dots; nothing if the file does not say, or has no steps."""
    try:
        with _readable(path):
            job = job_metadata(path).get("job", {})
        steps = "step" in _columns(path)
    except StudyError:
        return {}
    return {name: value for name, value in _flat(job) if name != "name"} if steps else {}


def _flat(job: Mapping[str, Any], within: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in job.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{within}{name}.")
        else:
            yield within + name, value


def _differing(jobs: Sequence[Mapping[str, Any]]) -> list[str]:
    names = dict.fromkeys(name for job in jobs for name in job)
    return [name for name in names if any(job.get(name) != jobs[0].get(name) for job in jobs)]


def _columns(path: Path) -> list[str]:
    """Names of a table's or a trajectory's columns, without its rows."""
    with _readable(path):
        return list(pd.read_csv(path, nrows=0).columns if path.suffix == ".csv" else pq.read_schema(path).names)


def _read(path: Path) -> pd.DataFrame:
    with _readable(path):
        frame = pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)
        if "step" in frame:
            frame["step"] = frame["step"].astype(int)  # a damaged one is a word or a gap, which no line is drawn over
        return frame


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """What a damaged file does to its reader is a sentence that names the file."""
    try:
        yield
    except (OSError, ValueError, pa.ArrowException) as error:
        raise StudyError(f"cannot read {path}: {error}") from error


def _words(frame: pd.DataFrame) -> list[str]:
    """Columns that tell lines apart."""
    columns = frame.columns.difference(list(CONSTANT), sort=False)
    return [name for name in columns if not pd.api.types.is_numeric_dtype(frame[name])]


def _parts(frames: Sequence[pd.DataFrame]) -> Iterator[tuple[str, list[pd.DataFrame]]]:
    """Files with more lines than a picture takes, apart by the column of the fewest words; others as they are."""
    words = [name for name in _words(frames[0]) if all(name in frame for frame in frames)]
    if len(words) < 2 or len(frames[0].drop_duplicates(words)) <= MOST_LINES:
        yield "", list(frames)
        return
    column = min(words, key=lambda name: frames[0][name].nunique())
    for word in frames[0][column].unique():
        yield f", {word}", [frame[frame[column] == word].drop(columns=column) for frame in frames]


def _quantities(frames: Sequence[pd.DataFrame]) -> dict[str, list[Line]]:
    """The quantities of files with steps that are not the same in all, if any."""
    columns = [name for name in frames[0].columns if all(name in frame.columns for frame in frames)]
    if "step" not in columns:
        return {}
    told = _words(frames[0][columns])
    measured = [name for name in columns if pd.api.types.is_float_dtype(frames[0][name]) and name not in CONSTANT]
    found = {}
    for name in measured:
        of_runs = [list(_lines(run, frame, told, name)) for run, frame in enumerate(frames)]
        drawn = [[(line.group, line.steps, line.values) for line in lines] for lines in of_runs]
        if any(other != drawn[0] for other in drawn[1:]):
            found[name] = [line for lines in of_runs for line in lines]
    return found


def _lines(run: int, frame: pd.DataFrame, told: list[str], name: str) -> Iterator[Line]:
    groups = frame.groupby(told, observed=True, sort=False) if told else [((), frame)]
    for count, (key, rows) in enumerate(groups):
        if count == MOST_LINES:
            return
        series = rows.groupby("step")[name].mean()
        kept = series.iloc[np.unique(np.linspace(0, len(series) - 1, min(len(series), POINTS)).round().astype(int))]
        values = [float(f"{value:.5g}") if np.isfinite(value) else None for value in kept]
        yield Line(run, " ".join(map(str, key)), [int(step) for step in kept.index], values)
