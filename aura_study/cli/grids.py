"""Trainings beyond the notebooks: ``sweep``, ``train``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from aura_study.cli.options import Assignments, ParameterFile, end_like_an_interrupt, folders_of
from aura_study.errors import StudyError

if TYPE_CHECKING:
    from aura_study.paths import RunFolders

ListParameters = Annotated[bool, typer.Option("--list", help="List the parameters, and do nothing.")]


def sweep(
    kind: Annotated[
        str,
        typer.Argument(help="What to sweep: training or dynamics.", autocompletion=lambda: ["training", "dynamics"]),
    ],
    parameter: Assignments = None,
    grid_file: Annotated[
        Path | None, typer.Option("-f", "--grid-file", help="YAML file of the grid; -p wins over it.")
    ] = None,
    out: Annotated[str | None, typer.Option(help="Sweep name or results folder; default: KIND-sweep.")] = None,
    workers: Annotated[int, typer.Option(min=0, max=1024, help="Processes of this machine; 0: one per core.")] = 0,
    cluster: Annotated[
        str | None,
        typer.Option(metavar="tcp://HOST:PORT|local:N", help="Run on dask instead: its scheduler's address."),
    ] = None,
    list_parameters: ListParameters = False,
) -> None:
    """Run a job for each combination of values; each is kept when it ends, and the same command goes on from there."""
    from rich.console import Console

    from aura_study.sweep import tables
    from aura_study.sweep.cluster import build_engine
    from aura_study.sweep.grid import Grid, read_grid_file
    from aura_study.sweep.runner import run_sweep

    if list_parameters:
        Console().print(tables.parameters(kind))
        return
    if cluster and workers:
        raise StudyError("--workers counts processes of this machine, and with --cluster the jobs run there: give one")
    end_like_an_interrupt()
    grid = Grid.of(kind, parameter or [], read_grid_file(grid_file) if grid_file else None)
    outcome = run_sweep(grid, folders_of(out or f"{kind}-sweep"), build_engine(cluster, workers), Console(stderr=True))
    console = Console()
    console.print(tables.summary(grid, outcome, console.width))
    typer.echo(f"Summary: {outcome.folder / 'summary.csv'}")


def train(
    parameter: Assignments = None,
    parameter_file: ParameterFile = None,
    out: Annotated[str, typer.Option(help="Run name or results folder.")] = "training",
    precision: Annotated[str, typer.Option(help="Of the forward pass: no (float32) or bf16.")] = "no",
    checkpoint_every: Annotated[int, typer.Option(min=1, help="Steps between checkpoints.")] = 200,
    cpu: Annotated[bool, typer.Option("--cpu", help="Leave GPUs alone.")] = False,
    list_parameters: ListParameters = False,
) -> None:
    """Train one model, on many devices under `accelerate launch -m aura_study train`; goes on from its checkpoint."""
    from rich.console import Console

    from aura_study.sweep import tables
    from aura_study.sweep.grid import Grid, read_grid_file

    if list_parameters:
        Console().print(tables.parameters("training"))
        return
    grid = Grid.of("training", parameter or [], read_grid_file(parameter_file) if parameter_file else None)
    if several := [name for name, values in grid.axes.items() if len(values) > 1]:
        raise StudyError(f"train takes one value for each parameter, got several for {several}; see aura-study sweep")
    _train(grid.nodes[0].job, folders_of(out), precision, checkpoint_every, cpu)


def _train(job: Any, folders: "RunFolders", precision: Any, checkpoint_every: int, cpu: bool) -> None:
    """Train on every rank that was started; rank 0 says where.

    Raises:
        StudyError: an unknown precision, a folder that holds something else, or a training that cannot go on from what
            is there.
    """
    from aura_study.runs.lock import TRAINING, refuse_other_kind
    from aura_study.training.parallel.training import Precision, train_parallel

    if precision not in get_args(Precision):
        raise StudyError(f"unknown precision {precision!r}; choose one of {list(get_args(Precision))}")
    refuse_other_kind(folders, TRAINING)
    job = job.model_copy(update={"name": "training"})
    try:
        done = train_parallel(job, folders.results, precision, checkpoint_every, cpu)
    except (ValueError, ArithmeticError) as error:
        raise StudyError(str(error)) from error
    if done.rank == 0:
        begun = f", going on from step {done.resumed_from}" if done.resumed_from else ""
        typer.echo(f"Trained on {done.ranks} process{'es' if done.ranks > 1 else ''}{begun}: {done.trajectory}")
