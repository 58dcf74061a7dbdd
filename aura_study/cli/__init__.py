"""The command line: ``aura-study`` and ``python -m aura_study``.

Heavy modules are imported inside the commands, so that ``--help`` and usage errors come at once.
"""

import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from aura_study import __version__
from aura_study.cli import data, grids, results, runs
from aura_study.cli.options import end_like_an_interrupt, examples
from aura_study.cli.scan import scan
from aura_study.errors import StudyError, require

EXTRAS = {"audit": "audit", "scan": "audit", "train": "parallel"}
"""What a command needs installed, where it is not the extra `study`."""


def _typer(*commands: Callable[..., None], add_completion: bool = False, **settings: Any) -> typer.Typer:
    made = typer.Typer(add_completion=add_completion, pretty_exceptions_enable=False, rich_markup_mode=None, **settings)
    for command in commands:
        made.command(epilog=examples(command.__name__))(command)
    return made


app = _typer(
    *(
        runs.run,
        runs.params,
        runs.verify,
        results.claims,
        results.report,
        results.compare,
        results.thin,
        results.archive,
    ),
    *(grids.sweep, grids.train, scan),
    add_completion=True,
    no_args_is_help=True,
)


def _tell_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"aura-study {__version__}")
        raise typer.Exit


@app.callback()
def program(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Reproduce and study the phantom gradient of Kendall's uncertainty weighting."""
    require(EXTRAS.get(context.invoked_subcommand or "", "study"))


app.add_typer(_typer(data.fetch, data.status, help="Data files and encoders.", no_args_is_help=True), name="data")


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
    options_metavar="TARGET [OPTIONS]",
    epilog=examples("audit"),
)
def audit(context: typer.Context) -> None:
    """Test any multi-task loss for the phantom gradient; `aura-study audit --help` tells more."""
    from aura_study.audit.cli import audit_command

    end_like_an_interrupt()
    _typer(audit_command)(context.args, prog_name="aura-study audit")


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
    options_metavar="LOG [OPTIONS]",
    epilog=examples("diagnose"),
)
def diagnose(context: typer.Context) -> None:
    """Tell from a log whether absent tasks were masked; `aura-study diagnose --help` tells more."""
    from aura_study.diagnosis.cli import diagnose_command

    _typer(diagnose_command)(context.args, prog_name="aura-study diagnose")


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


def _data_errors() -> tuple[type[Exception], ...]:
    sources = sys.modules.get("aura_study.data.sources")
    return (sources.DataError,) if sources else ()
