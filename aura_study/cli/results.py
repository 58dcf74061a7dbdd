"""Reading what a run left: ``claims``, ``report``, ``compare``, ``thin``."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aura_study.cli.options import DEFAULT_RUN, AsJson, RunName, RunToRead, folders_of

if TYPE_CHECKING:
    from aura_study.paths import RunFolders


def rebuild_report(folders: "RunFolders") -> Path:
    """Build the site of a run, if it is not up to date, and say where."""
    from aura_study.report import build_report
    from aura_study.runs.lock import locked

    with locked(folders):
        return build_report(folders)


def claims(run: RunToRead = DEFAULT_RUN, as_json: AsJson = False) -> None:
    """Print the ledger of a run."""
    from rich.console import Console

    from aura_study.runs import ledger
    from aura_study.runs.consistency import doubts
    from aura_study.runs.manifest import seconds_taken

    folders = folders_of(run)
    content = ledger.read_claims(folders)
    for doubt in doubts(folders, content):
        typer.echo(f"note: {doubt}", err=True)
    if as_json:
        typer.echo(json.dumps(content.model_dump(mode="json"), indent=1, ensure_ascii=False))
    else:
        Console().print(ledger.table(content, seconds_taken(folders)))


def report(run: RunToRead = DEFAULT_RUN) -> None:
    """Rebuild the report of a run from its results alone."""
    from aura_study.runs import ledger

    folders = folders_of(run)
    if not folders.results.is_dir():
        ledger.read_claims(folders)  # says that there is no such run, and which there are
    typer.echo(f"Report: {rebuild_report(folders)}")


def compare(
    run_a: RunName,
    run_b: RunName,
) -> None:
    """Show parameters, ledger and figures of two runs side by side."""
    from rich.console import Console

    from aura_study.study.compare import compare_runs

    for table in compare_runs(folders_of(run_a), folders_of(run_b)):
        Console().print(table)


def thin(
    run: RunName,
    every: Annotated[int, typer.Option(min=2, help="Keep one step in this many.")] = 10,
) -> None:
    """Keep some steps only of a finished run's trajectories, to pass it on; what was concluded from them stays."""
    from aura_study.runs import thin as thinning

    folders = folders_of(run)
    count = thinning.thin(folders, every)
    rebuild_report(folders)
    typer.echo(f"{count} trajectories thinned to one step in {every}.")
