"""The command line: ``aura-study`` and ``python -m aura_study``.

Heavy modules are imported inside the commands, so that ``--help`` and usage errors come at once.
"""

import sys
from collections.abc import Callable
from typing import Any

import typer

from aura_study.cli import data, grids, results, runs
from aura_study.cli.scan import scan
from aura_study.errors import StudyError


def _typer(*commands: Callable[..., None], **settings: Any) -> typer.Typer:
    made = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None, **settings)
    for command in commands:
        made.command()(command)
    return made


app = _typer(
    *(runs.run, runs.params, runs.verify, results.claims, results.report, results.compare, results.thin),
    *(grids.sweep, grids.train, scan),
    help="Reproduce and study the phantom gradient of Kendall's uncertainty weighting.",
    no_args_is_help=True,
)
app.add_typer(_typer(data.fetch, data.status, help="Data files and encoders.", no_args_is_help=True), name="data")


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
    options_metavar="TARGET [OPTIONS]",
)
def audit(context: typer.Context) -> None:
    """Test any multi-task loss for the phantom gradient; `aura-study audit --help` tells more."""
    from aura_study.audit.cli import audit_command

    _typer(audit_command)(context.args, prog_name="aura-study audit")


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
