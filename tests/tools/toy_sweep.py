"""A sweep of small jobs that can be told to sleep, raise or kill the process that runs them.

Also a program, ``python toy_sweep.py FOLDER [NAME=VALUES ...]``, for the tests that kill it.
"""

import sys
from pathlib import Path

from rich.console import Console
from toy_jobs import ToyPoint, run_toy

from aura_study.paths import RunFolders
from aura_study.runs.engine import Engine, LocalEngine
from aura_study.runs.jobs import job_metadata
from aura_study.sweep import kinds
from aura_study.sweep.grid import Grid
from aura_study.sweep.runner import SweepOutcome, run_sweep


def results(path: Path) -> dict[str, float | None]:
    return {"square": job_metadata(path)["square"]}


TOY = kinds.Kind("toy", ToyPoint, run_toy, results, ("square",))


def toy_grid(*assignments: str) -> Grid:
    kinds.KINDS = {**kinds.KINDS, "toy": TOY}
    return Grid.of("toy", assignments)


def run(out: Path, *assignments: str, engine: Engine | None = None, console: Console | None = None) -> SweepOutcome:
    grid = toy_grid(*assignments)
    return run_sweep(grid, RunFolders.of(str(out)), engine or LocalEngine(2), console or Console(quiet=True))


if __name__ == "__main__":
    run(Path(sys.argv[1]), *sys.argv[2:], console=Console(stderr=True))
