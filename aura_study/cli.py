"""The command line: ``aura-study`` and ``python -m aura_study``.

Heavy modules are imported inside the commands, so that ``--help`` and usage errors come at once.
"""

import json
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aura_study.datasets import DEFAULT_DATASET
from aura_study.errors import StudyError
from aura_study.parameters import DATA_MEANING, Data, Profile

if TYPE_CHECKING:
    from aura_study.paths import RunFolders
    from aura_study.study import Request

DEFAULT_RUN = "quick"

app = typer.Typer(
    help="Reproduce and study the phantom gradient of Kendall's uncertainty weighting.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
data_app = typer.Typer(help="AURA's public data files.", no_args_is_help=True)
app.add_typer(data_app, name="data")

RunName = Annotated[str, typer.Option("--run", help="Run to read: a name, or a results folder.")]
Assignments = Annotated[
    list[str] | None,
    typer.Option("-p", "--parameter", metavar="NAME=VALUE", help="Change a parameter; may be repeated."),
]


@app.command()
def run(
    notebooks: Annotated[list[str] | None, typer.Argument(help="Notebooks by name or number; all if none.")] = None,
    profile: Annotated[Profile, typer.Option(help="How much work: seconds, minutes, or the whole study.")] = "quick",
    data: Annotated[Data, typer.Option(help=DATA_MEANING)] = DEFAULT_DATASET,
    out: Annotated[str | None, typer.Option(help="Run name or results folder; default: the profile's name.")] = None,
    parameter: Assignments = None,
    parameter_file: Annotated[
        Path | None, typer.Option("-f", "--parameter-file", help="YAML file of parameters; -p wins over it.")
    ] = None,
    replace: Annotated[bool, typer.Option(help="Overwrite a run made with other settings.")] = False,
    at_once: Annotated[
        int, typer.Option(min=0, max=64, help="Notebooks side by side; 0: two, or one on a single core.")
    ] = 0,
) -> None:
    """Run notebooks, then write ledger, manifest and report. What has not changed is not run again."""
    from rich.console import Console

    from aura_study import ledger
    from aura_study.study import run_study

    signal.signal(signal.SIGTERM, _terminated)
    request = _request(notebooks or [], profile, data, out, parameter or [], parameter_file)
    outcome = run_study(request, Console(stderr=True), replace=replace, at_once=at_once)
    console = Console()
    console.print(ledger.table(ledger.read_claims(request.folders)))
    if not outcome.executed:
        console.print("Nothing had changed, so nothing was run again.", highlight=False)
    console.print(f"Report: {outcome.report}", markup=False, highlight=False, soft_wrap=True)


@app.command()
def params(notebook: Annotated[str, typer.Argument(help="Notebook by name or number.")]) -> None:
    """List a notebook's parameters: type, range, default, meaning, and what the profiles change."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from aura_study.study import registry

    (name,) = registry.choose_notebooks([notebook])
    rows = registry.describe(registry.parameters_of(name, registry.parameter_classes()))
    table = Table(title=f"Parameters of {name}", show_lines=True)
    for heading in ("name", "allowed", *registry.PROFILES, "meaning"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        values = (str(row.profiles[profile]) for profile in registry.PROFILES)
        table.add_row(*map(Text, (row.name, row.allowed, *values, row.meaning)))
    Console().print(table)


@app.command()
def claims(
    run: RunName = DEFAULT_RUN, as_json: Annotated[bool, typer.Option("--json", help="Print claims.json.")] = False
) -> None:
    """Print the ledger of a run."""
    from rich.console import Console

    from aura_study import ledger

    content = ledger.read_claims(_folders(run))
    if as_json:
        typer.echo(json.dumps(content.model_dump(mode="json"), indent=1, ensure_ascii=False))
    else:
        Console().print(ledger.table(content))


@app.command()
def report(run: RunName = DEFAULT_RUN) -> None:
    """Rebuild the report of a run from its results alone."""
    from aura_study import ledger
    from aura_study.report import build_report
    from aura_study.study.lock import locked

    folders = _folders(run)
    if not folders.results.is_dir():
        ledger.read_claims(folders)  # says that there is no such run, and which there are
    with locked(folders):
        typer.echo(f"Report: {build_report(folders)}")


@app.command()
def compare(
    run_a: Annotated[str, typer.Argument(help="Run name or results folder.")],
    run_b: Annotated[str, typer.Argument(help="Run name or results folder.")],
) -> None:
    """Show parameters, ledger and figures of two runs side by side."""
    from rich.console import Console

    from aura_study.study.compare import compare_runs

    for table in compare_runs(_folders(run_a), _folders(run_b)):
        Console().print(table)


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
    options_metavar="TARGET [OPTIONS]",
)
def audit(context: typer.Context) -> None:
    """Test any multi-task loss for the phantom gradient; `aura-study audit --help` tells more."""
    from aura_study.audit.cli import audit_command

    inner = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    inner.command()(audit_command)
    inner(context.args, prog_name="aura-study audit")


@app.command()
def sweep(
    kind: Annotated[str, typer.Argument(help="What to sweep: training or dynamics.")],
    parameter: Annotated[
        list[str] | None,
        typer.Option("-p", "--parameter", metavar="NAME=VALUE,...", help="Values; FIRST:STOP is a range of integers."),
    ] = None,
    grid_file: Annotated[
        Path | None, typer.Option("-f", "--grid-file", help="YAML file of the grid; -p wins over it.")
    ] = None,
    out: Annotated[str | None, typer.Option(help="Sweep name or results folder; default: KIND-sweep.")] = None,
    workers: Annotated[int, typer.Option(min=0, max=1024, help="Processes of this machine; 0: one per core.")] = 0,
    cluster: Annotated[
        str | None,
        typer.Option(metavar="tcp://HOST:PORT|local:N", help="Run on dask instead: its scheduler's address."),
    ] = None,
    list_parameters: Annotated[bool, typer.Option("--list", help="List what can be swept, and do nothing.")] = False,
) -> None:
    """Run a grid of jobs; each is kept when it ends, and the same command goes on from there."""
    from rich.console import Console

    from aura_study.sweep import tables
    from aura_study.sweep.engines import build_engine
    from aura_study.sweep.grid import Grid, read_grid_file
    from aura_study.sweep.runner import run_sweep

    if list_parameters:
        Console().print(tables.parameters(kind))
        return
    signal.signal(signal.SIGTERM, _terminated)
    grid = Grid.of(kind, parameter or [], read_grid_file(grid_file) if grid_file else None)
    outcome = run_sweep(grid, _folders(out or f"{kind}-sweep"), build_engine(cluster, workers), Console(stderr=True))
    Console().print(tables.summary(grid, outcome))
    typer.echo(f"Summary: {outcome.folder / 'summary.csv'}")


@app.command()
def train(
    parameter: Assignments = None,
    parameter_file: Annotated[
        Path | None, typer.Option("-f", "--parameter-file", help="YAML file of parameters; -p wins over it.")
    ] = None,
    out: Annotated[str, typer.Option(help="Run name or results folder.")] = "training",
    precision: Annotated[str, typer.Option(help="Of the forward pass: no (float32) or bf16.")] = "no",
    checkpoint_every: Annotated[int, typer.Option(min=1, help="Steps between checkpoints.")] = 200,
    cpu: Annotated[bool, typer.Option("--cpu", help="Leave GPUs alone.")] = False,
    list_parameters: Annotated[bool, typer.Option("--list", help="List the parameters, and do nothing.")] = False,
) -> None:
    """Train one model, on many devices under `accelerate launch -m aura_study train`; goes on from its checkpoint."""
    from rich.console import Console

    from aura_study.sweep import tables
    from aura_study.sweep.grid import Grid, read_grid_file

    if list_parameters:
        Console().print(tables.parameters("training"))
        return
    grid = Grid.of("training", parameter or [], read_grid_file(parameter_file) if parameter_file else None)
    from aura_study.parallel.command import train_command

    train_command(grid, _folders(out), precision, checkpoint_every, cpu)


@app.command()
def verify(
    run: Annotated[str, typer.Argument(help="Run name or results folder.")],
    notebooks: Annotated[list[str] | None, typer.Argument(help="Only these notebooks; all if none.")] = None,
    budget: Annotated[float, typer.Option(min=0, help="Minutes to spend, by the durations the run recorded.")] = 3.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Run again what is affordable of a run, and say claim by claim what was reproduced.

    Exit code 1 if a claim was not reproduced or nothing could be run again, 2 if there is no such run.
    """
    from rich.console import Console

    from aura_study.study import registry, verify_display
    from aura_study.study import verify as verification

    signal.signal(signal.SIGTERM, _terminated)
    folders = _folders(run)
    try:
        found = verification.verify(folders, registry.parameter_classes(), 60 * budget, notebooks or [])
    except verification.UnknownRun as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    if as_json:
        typer.echo(json.dumps(found.as_json(), indent=1, ensure_ascii=False))
    else:
        Console().print(verify_display.table(found))
        typer.echo(verify_display.summary(found))
    if not found.passed:
        raise typer.Exit(1)


@app.command()
def thin(
    run: Annotated[str, typer.Argument(help="Run name or results folder.")],
    every: Annotated[int, typer.Option(min=2, help="Keep one step in this many.")] = 10,
) -> None:
    """Keep some steps only of a finished run's trajectories, to pass it on; what was concluded from them stays."""
    from aura_study.report import build_report
    from aura_study.study import thin as thinning

    folders = _folders(run)
    count = thinning.thin(folders, every)
    build_report(folders)
    typer.echo(f"{count} trajectories thinned to one step in {every}.")


@data_app.command()
def fetch() -> None:
    """Download what is missing; every file is verified by its digest."""
    from aura_study.data import sources
    from aura_study.paths import data_cache

    for path in sources.fetch_all():
        typer.echo(f"verified {path.relative_to(data_cache())}")


@data_app.command()
def status() -> None:
    """Say which data files are there and whole."""
    from aura_study.data import sources
    from aura_study.paths import data_cache

    typer.echo(f"data folder: {data_cache()}")
    for entry in sources.status():
        state = "verified" if entry.verified else "damaged" if entry.present else "missing"
        typer.echo(f"{state:>9}  {entry.bytes:>10,} bytes  {entry.name}")


def main() -> None:
    """Run the command line; errors meant for the user end it with one message and exit code 1."""
    try:
        app(prog_name="aura-study")
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if not isinstance(error, (StudyError, OSError, *_data_errors())):
            raise
        typer.echo(f"error: {error}", err=True)
        sys.exit(1)


def _request(
    notebooks: list[str], profile: Profile, data: Data, out: str | None, assignments: list[str], file: Path | None
) -> "Request":
    from aura_study.study import registry
    from aura_study.study.request import Request, parse_assignments, read_parameter_file

    registry.choose_notebooks(notebooks)  # a mistyped name is told before the experiments are imported
    overrides: dict[str, Any] = {**(read_parameter_file(file) if file else {}), **parse_assignments(assignments)}
    return Request.of(registry.parameter_classes(), notebooks, profile, data, out, overrides)


def _folders(run: str) -> "RunFolders":
    from aura_study.paths import RunFolders

    try:
        return RunFolders.of(run)
    except (ValueError, RuntimeError) as error:  # RuntimeError: the home of a user who does not exist
        raise StudyError(f"run {run!r}: {error}") from error


def _data_errors() -> tuple[type[Exception], ...]:
    sources = sys.modules.get("aura_study.data.sources")
    return (sources.DataError,) if sources else ()


def _terminated(number: int, frame: object) -> None:
    raise KeyboardInterrupt
