"""``aura-study audit TARGET``: does this loss weighting have the phantom gradient?"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import typer

from aura_study.audit.api import audit
from aura_study.audit.calls.advice import ADAPT, TARGET
from aura_study.audit.calls.make import load_target
from aura_study.audit.child import in_a_child
from aura_study.audit.evidence import Settings
from aura_study.audit.focal import audit_focal
from aura_study.audit.laboratory import CannotAudit, refusing, without_accelerator
from aura_study.audit.marks import Absence

ADAPT_COMMAND = (
    "On the command line: --tasks N or --tasks a,b,c, --args '{\"n\": 3}', --call NAME with NAME one of varargs, "
    "keywords, mapping, list, stacked (METHOD:NAME calls a method, NAME+mask hands over a presence mask) or "
    "file.py:function for a function of (module, losses) or (module, losses, present)."
)


def audit_command(
    target: Annotated[
        str, typer.Argument(help="package.module:Name or file.py:Name: a class, a factory function or an instance")
    ],
    absence: Annotated[
        Absence | None, typer.Option(help="ask about one way of marking a task absent; all by default")
    ] = None,
    args: Annotated[str | None, typer.Option(help="constructor arguments as JSON: an object or a list")] = None,
    tasks: Annotated[str | None, typer.Option(help="number of tasks, or their names separated by commas")] = None,
    call: Annotated[str | None, typer.Option(help="how to call it: [METHOD:]FORM[+mask], or file.py:function")] = None,
    lr: Annotated[float, typer.Option(help="learning rate of the simulated absence")] = Settings.lr,
    steps: Annotated[int, typer.Option(help="steps of the simulated absence")] = Settings.steps,
    focal: Annotated[
        bool, typer.Option("--focal", help="audit a focal loss instead: do weights or smoothing leak into p_t?")
    ] = False,
    limit: Annotated[float, typer.Option(help="seconds after which the code under audit is ended")] = 300.0,
    memory: Annotated[float, typer.Option(help="GiB of memory that the code under audit may take")] = 16.0,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Audit a loss weighting for the phantom gradient. Runs the code of TARGET, in a process of its own.

    Exit code 0: a way of saying that a task is absent, other than a loss of 0, is safe. 1: none is. 2: not audited.
    """
    if not (limit > 0 and memory > 0):
        raise typer.BadParameter(f"--limit and --memory must be > 0, got {limit:g} and {memory:g}")
    options = {"args": _json_arguments(args), "absence": absence, "settings": _settings(lr, steps)}
    work = partial(_focal_answer, target, call) if focal else partial(_answer, target, _tasks(tasks), call, options)
    try:
        document, shown = in_a_child(work, limit, memory, lambda doing: typer.echo(f"... {doing}", err=True))
        code = document["exit_code"]
    except CannotAudit as failure:
        adapt = failure.adapt.replace(TARGET, target)
        code, failed = 2, _NotAudited(target, CannotAudit(failure.reason, adapt))
        document, shown = failed.to_dict(), str(failed)
    text = json.dumps(document, indent=1, allow_nan=False) if as_json else shown
    typer.echo(text, err=code == 2 and not as_json)
    raise typer.Exit(code)


def _answer(
    target: str, tasks: int | Sequence[str] | None, call: str | None, options: Mapping[str, Any]
) -> tuple[dict[str, Any], str]:
    """The report as a document and as text."""
    with refusing(ADAPT):
        report = without_accelerator(lambda: audit(load_target(target), tasks, _call(call), **options))
        return report.to_dict(), str(report)


def _focal_answer(target: str, call: str | None) -> tuple[dict[str, Any], str]:
    with refusing(ADAPT):
        report = without_accelerator(
            lambda: audit_focal(None, load_target(call)) if call else audit_focal(load_target(target))
        )
        return report.to_dict(), str(report)


@dataclass(frozen=True)
class _NotAudited:
    """In place of a report: why there is none, and what to do."""

    target: str
    failure: CannotAudit
    exit_code = 2

    def to_dict(self) -> dict[str, Any]:
        return {
            "target": self.target,
            "verdict": "could not be audited",
            "safe": None,
            "exit_code": self.exit_code,
            "reason": self.failure.reason,
            "adapt": self.failure.adapt,
        }

    def __str__(self) -> str:
        return f"{self.target}: COULD NOT BE AUDITED\n{self.failure.reason}\n\n{self.failure.adapt}\n{ADAPT_COMMAND}"


def _json_arguments(text: str | None) -> dict[str, Any] | list[Any] | None:
    if text is None:
        return None
    try:
        value = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise typer.BadParameter(f"--args is no JSON: {error}") from None
    if not isinstance(value, dict | list):
        raise typer.BadParameter(f"--args must be a JSON object or list, got {text!r}")
    return value


def _settings(lr: float, steps: int) -> Settings:
    try:
        return Settings(lr, steps)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _tasks(text: str | None) -> int | list[str] | None:
    if text is None:
        return None
    return (
        int(text)
        if re.fullmatch(r"\s*\d{1,9}\s*", text, re.ASCII)
        else [name.strip() for name in text.split(",") if name.strip()]
    )


def _call(text: str | None) -> Callable[..., Any] | str | None:
    if text is None or ":" not in text or "." not in text.partition(":")[0]:
        return text
    function: Callable[..., Any] = load_target(text)
    return function
