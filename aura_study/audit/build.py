"""Making the audited module: from a class, a factory or an instance, with the arguments that it takes."""

import copy
import functools
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from aura_study.audit.leaves import held_leaves

DEFAULT_TASKS = 3
NAME_WORDS = ("name", "keys")
COUNT_WORDS = ("num", "count", "shape", "size", "dim")
TASK_ATTRIBUTES = ("tasks", "task_names", "names", "task_list")


class CannotAudit(Exception):
    """A target that the audit could not measure, with the reason and what the user can do.

    Attributes:
        reason: what was tried and what came of it.
        adapt: how to make the target auditable.
    """

    def __init__(self, reason: str, adapt: str) -> None:
        super().__init__(f"{reason}\n{adapt}")
        self.reason = reason
        self.adapt = adapt


@dataclass(frozen=True)
class Construction:
    """A way to make the module.

    Attributes:
        make: makes a new one.
        told: whether the tasks' number or names went into it.
        text: the call, for the report.
    """

    make: Callable[[], Any]
    told: bool
    text: str


def task_names(tasks: int | Sequence[str] | None) -> tuple[str, ...]:
    """Names of the tasks: ``tasks`` itself, or ``task_0``, ``task_1``, ... for a number.

    Raises:
        ValueError: fewer than two tasks, or repeated names.
    """
    if isinstance(tasks, str):
        raise ValueError(f"tasks must be a number or a sequence of names, got {tasks!r}")
    if tasks is None:
        tasks = DEFAULT_TASKS
    names = tuple(f"task_{i}" for i in range(tasks)) if isinstance(tasks, int) else tuple(map(str, tasks))
    if len(names) < 2 or len(set(names)) < len(names):
        raise ValueError(f"the audit needs at least two tasks with distinct names, got {list(names)}")
    return names


def constructions(
    target: Any, names: Sequence[str], arguments: Mapping[str, Any] | Sequence[Any] | None
) -> Iterator[Construction]:
    """Ways to make a module of ``target``: a class, a factory function or an instance, the likeliest first.

    Raises:
        CannotAudit: a class that needs more arguments than the tasks.
    """
    title = getattr(target, "__name__", type(target).__name__)
    if not (isinstance(target, type | functools.partial) or inspect.isroutine(target)):
        yield Construction(lambda: copy.deepcopy(target), False, f"a copy of the {title} given")
    elif isinstance(arguments, Mapping):
        text = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
        yield Construction(lambda: target(**copy.deepcopy(arguments)), False, f"{title}({text})")
    elif arguments is not None:
        text = ", ".join(map(repr, arguments))
        yield Construction(lambda: target(*copy.deepcopy(arguments)), False, f"{title}({text})")
    else:
        number = Construction(lambda: target(len(names)), True, f"{title}({len(names)})")
        sequence = Construction(lambda: target(list(names)), True, f"{title}({list(names)})")
        nothing = Construction(lambda: target(), False, f"{title}()")
        yield from _in_order(target, title, number, sequence, nothing)
        if inspect.isroutine(target):
            yield Construction(lambda: target, False, f"{title} itself")


def _in_order(
    target: Any, title: str, number: Construction, sequence: Construction, nothing: Construction
) -> tuple[Construction, ...]:
    try:
        parameters = [
            p
            for p in inspect.signature(target).parameters.values()
            if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
        ]
    except (TypeError, ValueError):
        return nothing, number, sequence
    required = [p for p in parameters if p.default is p.empty]
    if len(required) > 1 and isinstance(target, type):
        raise CannotAudit(
            f"{title} needs {len(required)} arguments: {[p.name for p in required]}",
            "Give them with args={...} (--args '{...}'), or audit a function of no arguments that returns the module.",
        )
    if not parameters:
        return (nothing,)
    first = parameters[0]
    as_names = any(word in first.name for word in NAME_WORDS) or "str" in str(first.annotation)
    told = (sequence, number) if as_names else (number, sequence)
    counts = isinstance(first.default, int) and not isinstance(first.default, bool)
    if len(required) > 1:
        return ()
    if required:
        return told
    return (*told, nothing) if counts or any(word in first.name for word in COUNT_WORDS) else (nothing, *told)


def task_guesses(module: Any) -> list[tuple[str, ...]]:
    """Task names or numbers that a module made without any hint may want."""
    guesses: list[tuple[str, ...]] = []
    for attribute in TASK_ATTRIBUTES:
        value = getattr(module, attribute, None)
        if isinstance(value, list | tuple) and len(value) > 1 and all(isinstance(name, str) for name in value):
            guesses.append(tuple(value))
    for held in vars(module).get("_modules", {}).values() if isinstance(module, nn.Module) else ():
        if isinstance(held, nn.ParameterDict | nn.ModuleDict) and len(held) > 1:
            guesses.append(tuple(held))
    leaves = held_leaves(module)
    counts = [leaf.numel() for leaf in leaves if leaf.numel() > 1] + [len(leaves)]
    guesses += [task_names(count) for count in (*counts, DEFAULT_TASKS, 2, 4) if 1 < count <= 64]
    return list(dict.fromkeys(guesses))
