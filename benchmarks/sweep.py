"""Throughput of a sweep with two workers against one, on both engines, as ratios.

The jobs are trainings of the tiny model, one core each. The workers are warm (imports done, corpus tokenised) before
the clock starts, as in any sweep longer than a minute; one and two take turns, so that noise disturbs both alike.
"""

import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from timing import report

from aura_study.runs.engine import Engine, LocalEngine
from aura_study.sweep.cluster import ClusterEngine
from aura_study.sweep.grid import Grid
from aura_study.sweep.jobs import complete

JOBS = 8
ROUNDS = 3
FIXED = ("accumulation=1", "rows=400", "dev_rows=32", "max_length=64")


def seconds(engine: Engine, folder: Path, seeds: str, steps: int) -> float:
    """Wall-clock time of one training per seed."""
    grid = Grid.of("training", [f"seed={seeds}", f"steps={steps}", *FIXED])
    started = time.perf_counter()
    ended = list(complete(engine, grid.kind.run, [node.job for node in grid.nodes], folder))
    elapsed = time.perf_counter() - started
    assert not any(error for _, error in ended), ended
    return elapsed


def ratio(one: Engine, two: Engine) -> str:
    """Time of one worker over that of two: median and range over the rounds."""
    with ExitStack() as stack:
        folders = {engine: Path(stack.enter_context(tempfile.TemporaryDirectory())) for engine in (one, two)}
        for engine in folders:
            stack.enter_context(engine)
            seconds(engine, folders[engine], "1000:1008", steps=1)
        ratios = []
        for turn in range(ROUNDS):
            seeds = f"{turn * JOBS}:{(turn + 1) * JOBS}"
            first, second = (seconds(engine, folder, seeds, steps=60) for engine, folder in folders.items())
            ratios.append(first / second)
    return f"{np.median(ratios):.2f} x  ({min(ratios):.2f} to {max(ratios):.2f})"


def main() -> None:
    rows = {
        "joblib, 2 processes over 1": ratio(LocalEngine(1), LocalEngine(2)),
        "dask.distributed, 2 workers over 1": ratio(ClusterEngine("local:1"), ClusterEngine("local:2")),
    }
    report(f"throughput of a sweep, {JOBS} trainings at a time", rows)


if __name__ == "__main__":
    main()
