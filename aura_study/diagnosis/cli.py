"""``aura-study diagnose LOG``: did this run mask its absent tasks, or did the phantom gradient move their weights?"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from aura_study.diagnosis.columns import understand
from aura_study.diagnosis.fitting import Known
from aura_study.diagnosis.reading import CannotRead, read_table
from aura_study.diagnosis.verdict import Diagnosis, diagnose


def diagnose_command(
    log: Annotated[Path, typer.Argument(help="CSV (or ; or tab), JSON, or JSON lines; a row for each step or epoch.")],
    column: Annotated[
        list[str] | None,
        typer.Option(
            metavar="QUANTITY[:TASK]=COLUMN",
            help="What a column holds, where names do not say: loss:TASK, weight:TASK, sigma:TASK, log_sigma:TASK, "
            "log_variance:TASK, variance:TASK, precision:TASK, presence:TASK, lr, step, epoch, total.",
        ),
    ] = None,
    scale: Annotated[str | None, typer.Option(help="What the columns of weights hold, one of those.")] = None,
    form: Annotated[
        str | None, typer.Option(help="How sigma is learned: sigma, log_sigma, log_variance, aura_softplus, exp, ...")
    ] = None,
    optimizer: Annotated[str | None, typer.Option(help="adam or sgd; both are tried.")] = None,
    lr: Annotated[float | None, typer.Option(help="Constant learning rate; fitted where nothing says it.")] = None,
    steps_per_epoch: Annotated[float | None, typer.Option(help="Optimiser steps between two epochs.")] = None,
    presence: Annotated[list[str] | None, typer.Option(metavar="TASK=SHARE", help="Batches that hold a task.")] = None,
    rows: Annotated[
        list[str] | None, typer.Option(metavar="TASK=ROWS", help="Training rows, shuffled together; with --batch.")
    ] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Rows of a micro-batch.")] = None,
    accumulation: Annotated[int, typer.Option(min=1, help="Micro-batches in an optimiser step.")] = 1,
    weight_decay: Annotated[float, typer.Option(min=0, help="AdamW's, on the uncertainty parameters.")] = 0.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Read a log of losses and weights: were absent tasks masked, or did the phantom gradient move their weights?

    Exit code 0: masked. 1: phantom, or a solved task's weight runs away. 2: it cannot be told, or not be read.
    """
    try:
        known = Known(form, optimizer, lr, _presences(presence, rows, batch), accumulation, weight_decay)
        found = diagnose_file(log, _pairs("column", column), scale, steps_per_epoch, known)
    except CannotRead as failure:
        told = json.dumps({"verdict": "could not be read", "exit_code": 2, "reason": str(failure)}, indent=1)
        typer.echo(told if as_json else f"error: {failure}", err=not as_json)
        raise typer.Exit(2) from None
    text = json.dumps(found.to_dict(), indent=1, ensure_ascii=False, allow_nan=False) if as_json else str(found)
    typer.echo(text)
    raise typer.Exit(found.exit_code)


def diagnose_file(
    path: Path,
    named: dict[str, str] | None = None,
    scale: str | None = None,
    steps_per_epoch: float | None = None,
    known: Known | None = None,
) -> Diagnosis:
    """What the log in a file says; see `aura_study.diagnosis.verdict.diagnose`.

    Raises:
        CannotRead: a file, names or values that cannot be used.
    """
    if steps_per_epoch is not None and not steps_per_epoch > 0:
        raise CannotRead(f"--steps-per-epoch must be above 0, got {steps_per_epoch:g}")
    return diagnose(understand(read_table(path), named, scale, steps_per_epoch), known)


def _pairs(option: str, values: Sequence[str] | None) -> dict[str, str]:
    pairs = dict[str, str]()
    for text in values or ():
        name, equals, value = text.partition("=")
        if not (name.strip() and equals and value.strip()):
            raise CannotRead(f"--{option} {text!r}: write NAME=VALUE")
        pairs[name.strip()] = value.strip()
    return pairs


def _numbers(option: str, values: Sequence[str] | None) -> dict[str, float]:
    numbers = {}
    for name, value in _pairs(option, values).items():
        try:
            numbers[name] = float(value)
        except ValueError:
            raise CannotRead(f"--{option} {name}={value}: {value!r} is no number") from None
    return numbers


def _presences(presence: Sequence[str] | None, rows: Sequence[str] | None, batch: int | None) -> dict[str, float]:
    """Share of micro-batches that hold each task: told, or that of a shuffle of all rows."""
    counts = _numbers("rows", rows)
    if bool(counts) != (batch is not None):
        raise CannotRead("--rows and --batch go together: the rows of every task, and those of a micro-batch")
    if counts and (len(counts) < 2 or min(counts.values()) < 1):
        raise CannotRead(f"--rows must give the rows of every task, two tasks or more, got {counts}")
    shuffled = {task: 1 - (1 - count / sum(counts.values())) ** (batch or 1) for task, count in counts.items()}
    return shuffled | _numbers("presence", presence)
