"""What ``aura-study train`` does: one point of the training grid, trained on every rank that was started."""

from typing import Any, get_args

import typer

from aura_study.errors import StudyError
from aura_study.paths import RunFolders
from aura_study.sweep.grid import Grid


def train_command(grid: Grid, folders: RunFolders, precision: str, checkpoint_every: int, cpu: bool) -> None:
    """Train the grid's only job into the run's results folder; rank 0 says where.

    Raises:
        StudyError: several values for a parameter, an unknown precision, accelerate is not installed, or the training
            cannot go on from what is there.
    """
    try:
        from aura_study.training.parallel.training import Precision, train_parallel
    except ModuleNotFoundError as error:
        raise StudyError("training on many devices needs accelerate: pip install 'aura-study[parallel]'") from error
    if several := [name for name, values in grid.axes.items() if len(values) > 1]:
        raise StudyError(f"train takes one value for each parameter, got several for {several}; see aura-study sweep")
    chosen: Any = precision
    if chosen not in get_args(Precision):
        raise StudyError(f"unknown precision {precision!r}; choose one of {list(get_args(Precision))}")
    job = grid.nodes[0].job.model_copy(update={"name": "training"})
    try:
        done: Any = train_parallel(job, folders.results, chosen, checkpoint_every, cpu)  # type: ignore[arg-type]
    except (ValueError, ArithmeticError) as error:
        raise StudyError(str(error)) from error
    if done.rank == 0:
        begun = f", going on from step {done.resumed_from}" if done.resumed_from else ""
        typer.echo(f"Trained on {done.ranks} process{'es' if done.ranks > 1 else ''}{begun}: {done.trajectory}")
