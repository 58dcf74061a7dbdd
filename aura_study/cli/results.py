"""Reading what a run left, and passing it on: ``claims``, ``report``, ``compare``, ``thin``, ``archive``."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aura_study.cli.options import AsJson, NamedRun, RunName, RunNames, RunToRead, chosen, folders_of

if TYPE_CHECKING:
    from aura_study.paths import RunFolders


def rebuild_report(folders: "RunFolders") -> Path:
    """Build the site of a run, if it is not up to date, and say where."""
    from aura_study.report import build_report
    from aura_study.runs.lock import locked

    with locked(folders):
        return build_report(folders, lambda: typer.echo("Writing the report ...", err=True))


def claims(run: RunToRead = None, named: NamedRun = None, as_json: AsJson = False) -> None:
    """Print the ledger of a run."""
    from rich.console import Console

    from aura_study.runs import ledger
    from aura_study.runs.consistency import doubts
    from aura_study.runs.manifest import seconds_taken

    folders = folders_of(chosen(run, named))
    content = ledger.read_claims(folders)
    for doubt in doubts(folders, content):
        typer.echo(f"note: {doubt}", err=True)
    if as_json:
        typer.echo(json.dumps(content.model_dump(mode="json"), indent=1, ensure_ascii=False))
    else:
        Console().print(ledger.table(content, seconds_taken(folders)))


def report(
    run: RunToRead = None,
    named: NamedRun = None,
    pdf: Annotated[bool, typer.Option(help="Print story, ledger, methods and figures, by Chromium.")] = False,
    one_file: Annotated[
        bool, typer.Option(help="Write story and claims as one page that needs no other file.")
    ] = False,
) -> None:
    """Rebuild the report of a run from its results alone."""
    from aura_study.report import single
    from aura_study.runs import ledger

    folders = folders_of(chosen(run, named))
    if not folders.results.is_dir():
        ledger.read_claims(folders)  # says that there is no such run, and which there are
    if pdf:
        single.browser()  # or an error before the work
    typer.echo(f"Report: {rebuild_report(folders)}")
    for asked, write, words in ((pdf, single.write_pdf, "On paper"), (one_file, single.write_one_file, "One file")):
        if asked:
            typer.echo(f"{words}: {write(folders)}")


def compare(
    runs: RunNames,
    as_json: AsJson = False,
    html: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Write a page with trajectories and figures there.")
    ] = None,
) -> None:
    """Show what differs between runs: parameters, claims and numbers of tables that all of them have."""
    from rich.console import Console

    from aura_study.cli.comparison import shown
    from aura_study.runs.comparison import Comparison

    comparison = Comparison([folders_of(run) for run in runs])
    if as_json:
        typer.echo(json.dumps(comparison.as_json(), indent=1, ensure_ascii=False))
    else:
        for part in shown(comparison):
            Console().print(part, markup=False, highlight=False)
    if html:
        from aura_study.report import build_comparison

        typer.echo(f"Page: {build_comparison(comparison, html.resolve())}", err=as_json)


def thin(
    run: RunName,
    every: Annotated[int, typer.Option(min=2, help="Keep one step in this many.")] = 10,
) -> None:
    """Keep some steps only of a finished run's trajectories, to pass it on; what was concluded from them stays."""
    from aura_study.runs import thin as thinning

    folders = folders_of(run)
    count = thinning.thin(folders, every)
    rebuild_report(folders)
    if count:
        typer.echo(f"{count} trajectories thinned to one step in {every}.")
    else:
        typer.echo("Nothing was thinned: no trajectory is left that has all its steps.")


def archive(
    run: RunName,
    to: Annotated[Path | None, typer.Option(metavar="FILE", help="Zip to write; default: beside the run.")] = None,
    replace: Annotated[bool, typer.Option(help="Overwrite the file.")] = False,
) -> None:
    """Write one zip of a finished run to pass on: results, report, code, and what archives read of them."""
    from aura_study.report.archive import write_archive
    from aura_study.runs import ledger
    from aura_study.runs.consistency import doubts

    folders = folders_of(run)
    for doubt in doubts(folders, ledger.read_claims(folders)):
        typer.echo(f"note: {doubt}", err=True)
    target = (to or folders.results.with_name(f"{folders.name}.zip")).resolve()
    typer.echo(f"Archive: {write_archive(folders, target, replace=replace)}")
