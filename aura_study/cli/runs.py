"""Making runs, and running them again: ``run``, ``params``, ``verify``."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aura_study.cli.options import (
    AsJson,
    Assignments,
    NotebookName,
    NotebookNames,
    ParameterFile,
    RunName,
    end_like_an_interrupt,
    folders_of,
)
from aura_study.cli.results import rebuild_report
from aura_study.data.registry import DEFAULT_DATASET
from aura_study.errors import StudyError
from aura_study.runs.parameters import DATA_MEANING, Data, Profile

if TYPE_CHECKING:
    from rich.console import Console

    from aura_study.study import Outcome, Request


def run(
    notebooks: NotebookNames = None,
    profile: Annotated[Profile, typer.Option(help="How much work: seconds, minutes, or the whole study.")] = "quick",
    data: Annotated[Data, typer.Option(help=DATA_MEANING)] = DEFAULT_DATASET,
    out: Annotated[str | None, typer.Option(help="Run name or results folder; default: the profile's name.")] = None,
    parameter: Assignments = None,
    parameter_file: ParameterFile = None,
    replace: Annotated[bool, typer.Option(help="Overwrite a run made with other settings.")] = False,
    at_once: Annotated[
        int, typer.Option(min=0, max=64, help="Notebooks side by side; 0: two, or one on a single core.")
    ] = 0,
) -> None:
    """Run notebooks, then write ledger, manifest and report. What has not changed is not run again."""
    from rich.console import Console

    from aura_study.runs import ledger
    from aura_study.runs.manifest import seconds_taken

    end_like_an_interrupt()
    request = _request(notebooks or [], profile, data, out, parameter or [], parameter_file)
    for name, spared in request.spared.items():
        typer.echo(f"{', '.join(spared)}: no parameter {name}, so it changes nothing there", err=True)
    outcome, report = run_and_report(request, Console(stderr=True), replace=replace, at_once=at_once)
    console = Console()
    held = ledger.read_claims(request.folders)
    asked = [row for row in held.claims if row.notebook in request.parameters]
    if notebooks and asked:
        console.print(ledger.table(held.model_copy(update={"claims": asked}), seconds_taken(request.folders)))
    else:
        console.print(ledger.tally_table(held))
    if not outcome.executed:
        typer.echo("Nothing had changed, so nothing was run again.")
    typer.echo(f"Every claim: aura-study claims {out or request.folders.name}")
    typer.echo(f"Figures: {request.folders.figures}")
    typer.echo(f"Report: {report}")


def run_and_report(request: "Request", console: "Console", **options: Any) -> "tuple[Outcome, Path]":
    """`run_study`, then the report, which shows also a run in which notebooks failed."""
    from aura_study.study import NotebookFailed, run_study

    try:
        outcome = run_study(request, console, **options)
    except NotebookFailed as error:
        try:
            told = f"  what the run holds without it: {rebuild_report(request.folders)}"
        except (OSError, StudyError) as other:
            told = f"  and the report cannot be written: {getattr(other, 'strerror', None) or other}"
        raise NotebookFailed(f"{error}\n{told}") from error
    return outcome, rebuild_report(request.folders)


def params(notebook: NotebookName) -> None:
    """List a notebook's parameters: default, what the profiles change, meaning, type and range."""
    from rich.console import Console

    from aura_study.runs.parameters import PROFILES, describe
    from aura_study.runs.words import parameter_table
    from aura_study.study import registry

    (name,) = registry.choose_notebooks([notebook])
    rows = []
    for row in describe(registry.parameters_of(name, registry.parameter_classes())):
        others = [f"{profile} {row.profiles[profile]}" for profile in PROFILES if row.profiles[profile] != row.default]
        rows.append((row.name, "\n".join([str(row.default), *others]), row.meaning, row.allowed))
    Console().print(parameter_table(f"Parameters of {name}", rows, "quick (default)"))


def verify(
    run: RunName,
    notebooks: NotebookNames = None,
    budget: Annotated[float, typer.Option(min=0, help="Minutes to spend, by the durations the run recorded.")] = 3.0,
    as_json: AsJson = False,
) -> None:
    """Run again what is affordable of a run, and say claim by claim what was reproduced.

    Exit code 1 if a claim was not reproduced or nothing could be run again, 2 if there is no such run.
    """
    from rich.console import Console

    from aura_study.study import registry, verify_display
    from aura_study.study import verify as verification

    end_like_an_interrupt()
    folders = folders_of(run)
    try:
        found = verification.verify(folders, registry.parameter_classes(), 60 * budget, notebooks or [])
    except verification.UnknownRun as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    if as_json:
        typer.echo(json.dumps(found.as_json(), indent=1, ensure_ascii=False))
    else:
        if table := verify_display.table(found):
            Console().print(table)
        typer.echo(verify_display.summary(found))
    if not found.passed:
        raise typer.Exit(1)


def _request(
    notebooks: list[str], profile: Profile, data: Data, out: str | None, assignments: list[str], file: Path | None
) -> "Request":
    from aura_study.study import registry
    from aura_study.study.request import Request, parse_assignments, read_parameter_file

    registry.choose_notebooks(notebooks)  # a mistyped name is told before the experiments are imported
    overrides: dict[str, Any] = {**(read_parameter_file(file) if file else {}), **parse_assignments(assignments)}
    return Request.of(registry.parameter_classes(), notebooks, profile, data, out, overrides)
