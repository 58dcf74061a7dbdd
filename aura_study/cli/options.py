"""What several commands share: their common options, and the run that a user names."""

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aura_study.errors import StudyError

if TYPE_CHECKING:
    from aura_study.paths import RunFolders

DEFAULT_RUN = "quick"

RunName = Annotated[str, typer.Argument(help="Run name or results folder.")]
RunToRead = Annotated[str, typer.Option("--run", help="Run to read: a name, or a results folder.")]
Assignments = Annotated[
    list[str] | None,
    typer.Option("-p", "--parameter", metavar="NAME=VALUE", help="Change a parameter; may be repeated."),
]
ParameterFile = Annotated[
    Path | None, typer.Option("-f", "--parameter-file", help="YAML file of parameters; -p wins over it.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def folders_of(run: str) -> "RunFolders":
    """Results and figures of the run that a user named.

    Raises:
        StudyError: a name or folder that cannot be a run's.
    """
    from aura_study.paths import RunFolders

    try:
        return RunFolders.of(run)
    except (ValueError, RuntimeError) as error:  # RuntimeError: the home of a user who does not exist
        raise StudyError(f"run {run!r}: {error}") from error


def end_like_an_interrupt() -> None:
    """Let SIGTERM end this process as Ctrl-C does: what runs is stopped, and what is done is kept."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
