"""Reading whole repositories: ``scan``."""

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

Form = Literal["text", "json", "sarif", "github"]


def scan(
    path: Annotated[Path, typer.Argument(help="A repository, any folder, or one file.")],
    exclude: Annotated[
        list[str] | None, typer.Option(help="Leave out paths that match, such as 'tests/*'; can be repeated.")
    ] = None,
    form: Annotated[
        Form, typer.Option("--format", help="Text, JSON, SARIF 2.1.0, or annotations of GitHub's workflows.")
    ] = "text",
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
) -> None:
    """List every place of learned uncertainty weighting or a balancer under PATH; reads its Python, runs none of it.

    Exit code 0: no phantom likely. 1: likely. 2: none likely in what could be read, but not all could.
    """
    from aura_study.audit.scan import scan as read

    try:
        found = read(path, exclude or ())
    except OSError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from None
    match "json" if as_json else form:
        case "text":
            typer.echo(str(found))
        case "github":
            typer.echo(found.annotations())
        case chosen:
            typer.echo(json.dumps(found.to_dict() if chosen == "json" else found.sarif(), indent=1))
    raise typer.Exit(found.exit_code)
