"""Throughput of a sweep with two workers against one, on both engines; one table, ratios only.

The jobs are trainings of the tiny model, one core each; the workers are warm (they have imported everything and tokenised
the corpus) before the clock starts, as in any sweep longer than a minute.
"""

import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from aura_study.sweep.engines import ClusterEngine, Engine, LocalEngine
from aura_study.sweep.grid import Grid

JOBS = 8
FIXED = ("steps=60", "accumulation=1", "rows=400", "dev_rows=32", "max_length=64")


def seconds(engine: Engine, workers: int) -> float:
    """Wall-clock time of `JOBS` trainings, the workers warmed by one short training each."""
    warm = Grid.of("training", ["steps=1", f"seed=1000:{1000 + 2 * workers}", *FIXED[1:]])
    grid = Grid.of("training", [f"seed=0:{JOBS}", *FIXED])
    with tempfile.TemporaryDirectory() as folder, engine:
        for each in (warm, grid):
            started = time.perf_counter()
            ended = list(engine.complete(each.kind.run, [node.job for node in each.nodes], Path(folder)))
            elapsed = time.perf_counter() - started
            assert not any(job.error for job in ended), ended
    return elapsed


def main() -> None:
    """Measure and print."""
    table = Table(title=f"{JOBS} trainings: throughput of 2 workers over 1")
    table.add_column("engine")
    table.add_column("ratio", justify="right")
    for name, make in (("joblib", LocalEngine), ("dask.distributed", lambda n: ClusterEngine(f"local:{n}"))):
        one, two = (seconds(make(workers), workers) for workers in (1, 2))
        table.add_row(name, f"{one / two:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
