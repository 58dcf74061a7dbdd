"""Ways to make the audited module, from a name, a class, a factory or an instance; and the tensors that it learns."""

import copy
import functools
import importlib
import importlib.util
import inspect
import sys
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from aura_study.audit.laboratory import AuditedCodeError, CannotAudit, audited_code

HOW = "Give package.module:Name or file.py:Name, Name being a class, a factory function or an instance."
DEFAULT_TASKS = 3
NAME_WORDS = ("name", "keys")
COUNT_WORDS = ("num", "count", "shape", "size", "dim")
MAX_DEPTH = 5


def load_target(target: str) -> Any:
    """The object that ``target``, ``package.module:Name`` or ``file.py:Name``, names; runs the user's code.

    ``Name`` may be dotted. The working directory is importable.

    Raises:
        CannotAudit: nothing of that name, or code that fails when it is imported.
    """
    place, colon, name = target.rpartition(":")
    if not colon or not place or not name:
        raise CannotAudit(f"{target!r} names no object", HOW)
    try:
        with audited_code():
            module = _load_file(Path(place)) if place.endswith(".py") else _load_module(place)
    except AuditedCodeError as error:
        raise CannotAudit(f"Importing {place} failed: {error}", HOW) from error
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            raise CannotAudit(f"{place} has no {name!r}{_offer(module)}", HOW)
        found = getattr(found, part)
    return found


def _load_module(name: str) -> types.ModuleType:
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    return importlib.import_module(name)


def _load_file(path: Path) -> types.ModuleType:
    if not path.is_file():
        raise CannotAudit(f"there is no file {str(path)!r}", HOW)
    path = path.resolve()
    name = f"audited_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise CannotAudit(f"{str(path)!r} is no Python file", HOW)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and typing look their module up
    sys.path.insert(0, str(path.parent))  # its neighbours are importable, as when it is run
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.parent))
    return module


def _offer(module: types.ModuleType) -> str:
    names = [
        name
        for name, value in vars(module).items()
        if callable(value) and not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    ]
    return f"; it has {', '.join(sorted(names)[:12])}" if names else ""


@dataclass(frozen=True)
class Construction:
    """A way to make the module.

    Attributes:
        make: makes a new one, alike each time, whatever it draws then or when it is called.
        told: whether the tasks' number or names went into it.
        text: the call, for the report.
    """

    make: Callable[[], Any]
    told: bool
    text: str


@dataclass(frozen=True)
class Made:
    """A module that was made, and the way it was made."""

    module: Any
    way: Construction

    @property
    def leaves(self) -> list[Tensor]:
        """The learnable tensors that it holds now; a module that is built lazily has more once it was called."""
        return held_leaves(self.module)


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


def make_in_every_way(
    target: Any, names: Sequence[str], arguments: Mapping[str, Any] | Sequence[Any] | None
) -> dict[str, Made | str]:
    """What each way to make a module of ``target`` gives, or why it gives none, by the way's text; likeliest first.

    Raises:
        CannotAudit: a class that needs more arguments than the tasks.
    """
    made: dict[str, Made | str] = {}
    for construction in constructions(target, names, arguments):
        try:
            with audited_code():
                module = construction.make()
                if module is None or isinstance(module, Tensor | int | float | str):
                    raise TypeError(f"gave {type(module).__name__}, not a loss weighting")
                made[construction.text] = Made(module, construction)
        except AuditedCodeError as error:
            made[construction.text] = str(error)
    return made


def constructions(
    target: Any, names: Sequence[str], arguments: Mapping[str, Any] | Sequence[Any] | None
) -> list[Construction]:
    """Ways to make a module of ``target``: a class, a factory function or an instance, the likeliest first.

    Raises:
        CannotAudit: a class that needs more arguments than the tasks.
    """
    title = getattr(target, "__name__", type(target).__name__)
    if not (isinstance(target, type | functools.partial) or inspect.isroutine(target)):
        return [_way(lambda: copy.deepcopy(target), f"a copy of the {title} given")]
    if isinstance(arguments, Mapping):
        text = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
        return [_way(lambda: target(**copy.deepcopy(arguments)), f"{title}({text})")]
    if arguments is not None:
        text = ", ".join(map(repr, arguments))
        return [_way(lambda: target(*copy.deepcopy(arguments)), f"{title}({text})")]
    number = _way(lambda: target(len(names)), f"{title}({len(names)})", told=True)
    sequence = _way(lambda: target(list(names)), f"{title}({list(names)})", told=True)
    nothing = _way(lambda: target(), f"{title}()")
    itself = [_way(lambda: target, f"{title} itself")] if inspect.isroutine(target) else []
    return [*_likeliest_first(target, title, number, sequence, nothing), *itself]


def _way(build: Callable[[], Any], text: str, told: bool = False) -> Construction:
    def make() -> Any:
        torch.manual_seed(0)
        return build()

    return Construction(make, told, text)


def _likeliest_first(
    target: Any, title: str, number: Construction, sequence: Construction, nothing: Construction
) -> tuple[Construction, ...]:
    """Those of the three that the target's signature allows."""
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


def held_leaves(owner: Any) -> list[Tensor]:
    """Leaf tensors with ``requires_grad`` that can be reached from ``owner``'s attributes, containers or closure."""
    found: dict[int, Tensor] = {}
    seen: set[int] = set()

    def visit(thing: Any, depth: int) -> None:
        if id(thing) in seen or depth > MAX_DEPTH:
            return
        seen.add(id(thing))
        if isinstance(thing, Tensor):
            if thing.requires_grad and thing.is_leaf:
                found.setdefault(id(thing), thing)
            return
        for part in _parts(thing):
            visit(part, depth + 1)

    visit(owner, 0)
    return list(found.values())


def _parts(thing: Any) -> Iterator[Any]:
    if isinstance(thing, nn.Module):
        yield from thing.parameters()
        yield from thing.__dict__.values()
    elif isinstance(thing, Mapping):
        yield from thing.values()
    elif isinstance(thing, list | tuple | set | frozenset):
        yield from thing
    elif isinstance(thing, functools.partial):
        yield from (thing.func, thing.args, thing.keywords)
    elif isinstance(thing, types.MethodType):
        yield thing.__self__
    elif isinstance(thing, types.FunctionType):
        yield from _closure(thing)
    elif not isinstance(thing, type | types.ModuleType | str | bytes) and hasattr(thing, "__dict__"):
        yield from vars(thing).values()


def _closure(function: types.FunctionType) -> Iterable[Any]:
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # a cell that is not filled yet
            continue
