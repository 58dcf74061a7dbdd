"""A sweep: what is finished is kept, the rest runs, failures are reported while others finish, a table sums it up."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from aura_study.errors import StudyError
from aura_study.paths import RunFolders
from aura_study.runs import manifest
from aura_study.runs.engine import Engine
from aura_study.runs.inputs import data_state
from aura_study.runs.jobs import is_finished, job_path
from aura_study.runs.lock import SWEEP, locked, refuse_other_kind
from aura_study.runs.manifest import SWEEP_FILE, SweepRecord
from aura_study.runs.records import read_record, write_atomically, write_json
from aura_study.runs.words import duration
from aura_study.sweep import jobs
from aura_study.sweep.grid import Grid, Node

SHOWN_FAILURES = 20


class SweepFailed(StudyError):
    """Some jobs failed; the others are done and in the summary."""


@dataclass
class SweepOutcome:
    """What a sweep did: labels of the jobs."""

    folder: Path
    executed: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    summary: pd.DataFrame = field(default_factory=pd.DataFrame)

    @property
    def records(self) -> Path:
        """Folder of the jobs' records."""
        return self.folder / "records"


def run_sweep(grid: Grid, folders: RunFolders, engine: Engine, console: Console | None = None) -> SweepOutcome:
    """Bring the sweep up to date with ``grid``.

    Leaves ``records/<digest of the parameters>.parquet`` per job, each whole or not at all, ``sweep.json``, and
    ``summary.csv`` and ``summary.parquet`` with one row per job of the grid, in the grid's order.

    Args:
        grid: what to run, already validated.
        folders: where it goes; a grid that overlaps with an earlier one of the same kind goes on from its records.
        engine: not yet entered.
        console: where progress goes; standard error unless given.

    Raises:
        SweepFailed: jobs failed; the others are done and the summary is written. Names each by its parameters.
        StudyError: the folder is in use, cannot be written or holds something else; data are missing.
        KeyboardInterrupt: with what is kept printed first.
    """
    console = console or Console(stderr=True)
    outcome = SweepOutcome(folders.results)
    encoders = _values(grid, "encoder")
    states = [data_state(asked, encoders) for asked in _values(grid, "data")]
    data = {name: digest for state in states for name, digest in state.files.items()}
    try:
        _claim_folder(grid, folders)
        with locked(folders):
            _write_record(grid, folders, data)
            try:
                _run_jobs(grid, engine, outcome, console)
            finally:
                outcome.summary = _summarise(grid, outcome)
    except OSError as error:
        raise StudyError(f"cannot write the sweep to {folders.results}: {error.strerror or error}") from error
    except KeyboardInterrupt:
        done = len(outcome.kept) + len(outcome.executed)
        text = f"\nInterrupted. {done} of {len(grid.nodes)} jobs are finished and kept in {folders.results}; "
        _say(console, text + "the same command goes on from there.")
        raise
    if outcome.failed:
        raise SweepFailed(_failures(outcome, len(grid.nodes)))
    return outcome


def _run_jobs(grid: Grid, engine: Engine, outcome: SweepOutcome, console: Console) -> None:
    records = outcome.records
    waiting: dict[str, Node] = {}
    for node in grid.nodes:
        if is_finished(node.job, records):
            outcome.kept.append(node.label)
        else:
            waiting[node.job.name] = node
    if outcome.kept:
        _say(console, f"{len(outcome.kept)} of {len(grid.nodes)} jobs are finished already and not run again.")
    if not waiting:
        return
    records.mkdir(exist_ok=True)
    with engine, _progress(console, len(waiting), engine.describe()) as tell:
        for job, error in jobs.complete(engine, grid.kind.run, [node.job for node in waiting.values()], records):
            label = waiting[job.name].label
            if error:
                outcome.failed[label] = error
            else:
                outcome.executed.append(label)
            tell(label, error)


@contextmanager
def _progress(console: Console, total: int, engine: str) -> Iterator[Any]:
    """A live bar on a terminal, a line per job elsewhere."""
    _say(console, f"Running {total} job{'' if total == 1 else 's'} on {engine}.")
    started, done, failed = time.monotonic(), 0, 0
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    bar = Progress(
        *columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console, disable=not console.is_terminal
    )
    task = bar.add_task("jobs", total=total)

    def tell(label: str, error: str) -> None:
        nonlocal done, failed
        done, failed = done + 1, failed + bool(error)
        bar.update(task, completed=done, description=f"jobs ({failed} failed)" if failed else "jobs")
        if error or not console.is_terminal:
            state = f"failed ({error})" if error else "done"
            _say(console, f"[{done}/{total}] {label}: {state}, {duration(time.monotonic() - started)} since the start")

    with bar:
        yield tell


def _summarise(grid: Grid, outcome: SweepOutcome) -> pd.DataFrame:
    """One row per job: its parameters, status, results, error; written as CSV and parquet."""
    rows = []
    for node in grid.nodes:
        row = {**node.values, "status": "not run", "error": outcome.failed.get(node.label, "")}
        if row["error"]:
            row["status"] = "failed"
        elif is_finished(node.job, outcome.records):
            row = {**row, "status": "done", **grid.kind.results(job_path(node.job, outcome.records))}
        rows.append({**row, "record": f"{node.job.name}.parquet"})
    frame = pd.DataFrame(rows)
    write_atomically(outcome.folder / "summary.csv", lambda path: frame.to_csv(path, index=False))
    write_atomically(outcome.folder / "summary.parquet", lambda path: frame.to_parquet(path, index=False))
    return frame


def _claim_folder(grid: Grid, folders: RunFolders) -> None:
    """Refuse a folder that holds something else than a sweep, or a sweep of another kind."""
    refuse_other_kind(folders, SWEEP)
    path = folders.results / SWEEP_FILE
    if path.exists() and (held := read_record(path, SweepRecord).kind) != grid.kind.name:
        raise StudyError(f"{folders.results} holds a {held} sweep; choose another name with --out")


def _write_record(grid: Grid, folders: RunFolders, data: dict[str, str]) -> None:
    content = SweepRecord(
        kind=grid.kind.name,
        axes=grid.axes,
        jobs=len(grid.nodes),
        commit=manifest.commit(),
        device=manifest.device(),
        versions=manifest.versions(),
        data=data,
    )
    write_json(folders.results / SWEEP_FILE, json.loads(content.model_dump_json()))


def _values(grid: Grid, name: str) -> list[Any]:
    """What the grid's jobs have for a parameter; nothing if they have no such parameter."""
    declared = grid.kind.point.model_fields.get(name)
    return grid.axes.get(name, [declared.default]) if declared else []


def _failures(outcome: SweepOutcome, total: int) -> str:
    lines = [f"  {label or 'the defaults'}: {error}" for label, error in outcome.failed.items()]
    more = f"  and {len(lines) - SHOWN_FAILURES} more, all in the summary" if len(lines) > SHOWN_FAILURES else None
    head = f"{len(lines)} of {total} jobs failed; the others are done, see {outcome.folder / 'summary.csv'}"
    return "\n".join([head, *lines[:SHOWN_FAILURES], *([more] if more else [])])


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)
