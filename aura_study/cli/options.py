"""What several commands share: their common options, and the run that a user names."""

import signal
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aura_study.errors import StudyError

if TYPE_CHECKING:
    from aura_study.paths import RunFolders

DEFAULT_RUN = "quick"
EXAMPLES = {
    "run": (
        "aura-study run",
        "aura-study run 3 -p absent_steps=600 -p lr=5e-3 --out my-run",
        "aura-study run 1 -p gammas=0,1,2",
    ),
    "params": ("aura-study params 3",),
    "verify": ("aura-study verify reference 3 5 --budget 2",),
    "claims": ("aura-study claims my-run",),
    "report": ("aura-study report my-run",),
    "compare": ("aura-study compare quick my-run", "aura-study compare quick my-run reference --html compared"),
    "archive": ("aura-study archive my-run", "aura-study archive my-run --to my-run-again.zip"),
    "thin": ("aura-study thin my-run --every 20",),
    "sweep": (
        "aura-study sweep dynamics -p presence=0.05,0.2,1 -p seed=0:5",
        "aura-study sweep training -p policy=masked,unmasked -p steps=1e3",
        "aura-study sweep training --list",
    ),
    "train": ("aura-study train -p policy=masked -p steps=1e3 --out my-training",),
    "scan": ("aura-study scan my_project", "aura-study scan . --format sarif"),
    "audit": ("aura-study audit my_project/losses.py:MyWeighting --tasks depth,normals",),
    "diagnose": ("aura-study diagnose my-log.csv",),
    "fetch": ("aura-study data fetch aura minilm",),
    "status": ("aura-study data status",),
}
"""Calls of each command that work as they stand, for its help."""


def examples(command: str) -> str | None:
    """The end of a command's help, lines as they are."""
    lines = [f"  {line}" for line in EXAMPLES.get(command, ())]
    return "\b\n" + "\n".join(["Examples:", *lines]) if lines else None


def _beginning(incomplete: str, names: Iterable[str]) -> list[str]:
    """What was typed is no pattern: a path or a star in it is nothing's beginning."""
    return sorted(name for name in names if name.startswith(incomplete))


def _runs(incomplete: str) -> list[str]:
    from aura_study.paths import home

    return _beginning(incomplete, (path.name for path in (home() / "results").glob("*") if path.is_dir()))


def _notebooks(incomplete: str) -> list[str]:
    from aura_study.paths import notebooks_folder

    return _beginning(incomplete, (path.stem for path in notebooks_folder().glob("*.ipynb")))


RunName = Annotated[str, typer.Argument(help="Run name or results folder.", autocompletion=_runs)]
RunNames = Annotated[
    list[str],
    typer.Argument(help="Runs or sweeps by name or results folder, two or more.", autocompletion=_runs),
]
RunToRead = Annotated[
    str | None,
    typer.Argument(help="Run to read: a name, or a results folder.", show_default=DEFAULT_RUN, autocompletion=_runs),
]
NamedRun = Annotated[str | None, typer.Option("--run", help="The same.", autocompletion=_runs)]
NotebookName = Annotated[str, typer.Argument(help="Notebook by name or number.", autocompletion=_notebooks)]
NotebookNames = Annotated[
    list[str] | None,
    typer.Argument(help="Notebooks by name or number; all if none.", autocompletion=_notebooks),
]
Assignments = Annotated[
    list[str] | None,
    typer.Option(
        "-p",
        "--parameter",
        metavar="NAME=VALUE",
        help="Change a parameter; may be repeated. A list is VALUE,VALUE,... or, of integers, FIRST:STOP.",
    ),
]
ParameterFile = Annotated[
    Path | None, typer.Option("-f", "--parameter-file", help="YAML file of parameters; -p wins over it.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def chosen(run: str | None, named: str | None) -> str:
    """The run that was named, by itself or after ``--run``; the quick run if none was.

    Raises:
        StudyError: two of them.
    """
    if run and named and run != named:
        raise StudyError(f"one run at a time: got {run!r} and --run {named!r}")
    return named or run or DEFAULT_RUN


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
    """Let SIGTERM end this process as Ctrl-C does: what runs is stopped, and what is done is kept.

    So does SIGHUP, the end of the terminal, unless `nohup` has it ignored.
    """

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    hang_up = getattr(signal, "SIGHUP", signal.SIGTERM)  # Windows has none
    for number in {signal.SIGTERM, hang_up}:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, interrupt)
