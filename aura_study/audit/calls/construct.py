"""Ways to construct the audited module from a class, a factory function or an instance."""

import copy
import functools
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from aura_study.audit.calls.copies import draw_alike
from aura_study.audit.calls.signature import Signature
from aura_study.audit.laboratory import CannotAudit

DEFAULT_TASKS, MOST_TASKS = 3, 4096
NAME_WORDS = ("name", "keys", "heads")
CONFIGURATIONS = ("cfg", "conf", "config", "args", "opt", "opts", "hparams", "params", "settings")
COUNT_WORDS = ("num", "count", "shape", "size", "dim", "n_")
SETTING_WORDS = ("lr", "rate", "temp", "alpha", "beta", "gamma", "decay", "momentum", "tau", "eps", "scale", "init")
ORDER = {
    "names": ("names", "count", "weights"),
    "weights": ("weights", "configs", "settings", "names", "count"),
    "count": ("count", "names", "weights"),
    "criteria": ("criteria", "criteria by name"),
    "criteria by name": ("criteria by name",),
    "": ("count", "names", "weights", "flags", "settings"),
}
"""What is tried for the argument that is told the tasks, by what its name says."""
CRITERIA_WORDS = ("crit", "loss_f", "loss_m")
INTEGER, TEXT = ("int", "<class 'int'>"), ("str", "<class 'str'>")


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


def task_names(tasks: int | Sequence[str] | None) -> tuple[str, ...]:
    """Names of the tasks: ``tasks`` itself, or ``task_0``, ``task_1``, ... for a number.

    Raises:
        ValueError: fewer than two tasks, more than `MOST_TASKS`, or repeated names.
    """
    if isinstance(tasks, str):
        raise ValueError(f"tasks must be a number or a sequence of names, got {tasks!r}")
    tasks = DEFAULT_TASKS if tasks is None else tasks
    if (tasks if isinstance(tasks, int) else len(tasks)) > MOST_TASKS:
        raise ValueError(
            f"the audit takes at most {MOST_TASKS} tasks, got {tasks if isinstance(tasks, int) else len(tasks)}"
        )
    names = tuple(f"task_{i}" for i in range(tasks)) if isinstance(tasks, int) else tuple(map(str, tasks))
    if len(names) < 2 or len(set(names)) < len(names):
        raise ValueError(f"the audit needs at least two tasks with distinct names, got {list(names)}")
    return names


def named_by_arguments(target: Any) -> tuple[str, ...]:
    """Tasks that the signature of a class's ``forward``, or of an instance, has an argument for each; often none."""
    if inspect.isroutine(target) or not hasattr(target, "forward"):
        return ()
    function = target.forward
    return Signature.of(function, skip=1 if isinstance(target, type) else 0).tasks()


def constructions(
    target: Any, names: Sequence[str], arguments: Mapping[str, Any] | Sequence[Any] | None
) -> list[Construction]:
    """Ways to make a module of ``target``: a class, a factory function or an instance, the likeliest first.

    Raises:
        CannotAudit: a class that needs more arguments than the tasks and usual settings.
    """
    title = getattr(target, "__name__", type(target).__name__)
    function = inspect.isroutine(target)
    if not (isinstance(target, type | functools.partial) or function):
        return [_way(lambda: copy.deepcopy(target), f"a copy of the {title} given")]
    if isinstance(arguments, Mapping):
        return [_call(target, title, [], arguments)]
    if arguments is not None:
        return [_call(target, title, arguments, {})]
    return [*_likeliest_first(target, title, names), *([_way(lambda: target, f"{title} itself")] if function else [])]


def _way(build: Callable[[], Any], text: str, told: bool = False) -> Construction:
    def make() -> Any:
        draw_alike(0)
        return unwrapped(build())

    return Construction(make, told, text)


def _call(
    target: Any, title: str, first: Sequence[Any], keywords: Mapping[str, Any], told: bool = False
) -> Construction:
    text = ", ".join([*map(repr, first), *(f"{name}={value!r}" for name, value in keywords.items())])
    return _way(lambda: target(*copy.deepcopy(first), **copy.deepcopy(dict(keywords))), f"{title}({text})", told)


def unwrapped(module: Any) -> Any:
    """What `torch.compile` and data parallelism wrap: the same code, run as it is written."""
    inner = {"OptimizedModule": "_orig_mod", "DataParallel": "module", "DistributedDataParallel": "module"}
    name = inner.get(type(module).__name__, "")
    return unwrapped(module._modules[name]) if name in getattr(module, "_modules", {}) else module


def _likeliest_first(target: Any, title: str, names: Sequence[str]) -> list[Construction]:
    """Ways to make it that its signature allows: told the tasks' names, their number, or nothing."""
    values: dict[str, Any] = {
        "count": len(names), "names": list(names), "weights": dict.fromkeys(names, 1.0),
        "configs": {name: Answers(names) for name in names}, "settings": Answers(names),
        "flags": torch.ones(len(names)), "criteria": [torch.nn.MSELoss() for _ in names],
        "criteria by name": {name: torch.nn.MSELoss() for name in names},
    }  # fmt: skip
    try:
        every = [
            p for p in inspect.signature(target).parameters.values() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
        ]
    except (TypeError, ValueError):
        told = [_call(target, title, [values[role]], {}, told=True) for role in ("count", "names")]
        return [_call(target, title, [], {}), *told]
    if not every:
        return [_call(target, title, [], {})]
    required = [p for p in every if p.default is p.empty]
    here = {p.name: "cpu" for p in every if str(p.default).startswith("cuda") and not torch.cuda.is_available()}
    open_ones = [p for p in required if _value(p, values) is None]
    tasks = next((p for p in (*required, *every) if _role(p)), (open_ones or required or every)[0])
    filled = {p.name: _value(p, values) for p in required if p is not tasks}
    if unknown := [name for name, value in filled.items() if value is None]:
        if isinstance(target, type):
            raise _needs(
                title, required, {**filled, tasks.name: values[_role(tasks)]} if _role(tasks) else filled, unknown
            )
        return []
    here |= filled

    def told_of(role: str) -> Construction:
        if tasks is every[0] and tasks.kind != tasks.KEYWORD_ONLY:
            return _call(target, title, [values[role]], here, told=True)
        return _call(target, title, [], {tasks.name: values[role], **here}, told=True)

    nothing = _call(target, title, [], here)
    if tasks.name in here:
        return [nothing]
    role = _role(tasks)
    told = [told_of(each) for each in ORDER[role]]
    if tasks.default is tasks.empty:
        return told
    knows = isinstance(tasks.default, list | tuple) and len(tasks.default) > 1 and tuple(names) == task_names(None)
    return [*told, nothing] if role in ("names", "count") and not knows else [nothing, *told]


class Answers(dict[str, Any]):
    """A configuration that answers whatever it is asked, as an attribute or a key, by what the name says."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self.__dict__["_names"] = list(names)

    def __missing__(self, name: Any) -> Any:
        word = str(name).lower()
        if any(part in word for part in NAME_WORDS) or word == "tasks":
            return list(self._names)
        if any(part in word for part in COUNT_WORDS):
            return len(self._names)
        return "cpu" if "device" in word else 1.0

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return self[name]

    def __deepcopy__(self, memo: Any) -> "Answers":
        return Answers(self._names)

    def __repr__(self) -> str:
        return "<settings by name>"


def _role(parameter: inspect.Parameter) -> str:
    """What an argument says of the tasks: ``names``, ``count``, ``weights`` (a mapping), ``criteria``, or nothing."""
    name, annotation = parameter.name.lower(), str(parameter.annotation)
    if parameter.annotation is parameter.empty:
        annotation = ""
    if any(word in name for word in CRITERIA_WORDS):
        return "criteria by name" if "dict" in annotation.lower() or "Mapping" in annotation else "criteria"
    if (
        "dict" in annotation.lower()
        or "Mapping" in annotation
        or "config" in name
        or isinstance(parameter.default, dict)
    ):
        return "weights"
    if annotation in TEXT or annotation in ("bool", "<class 'bool'>", "float", "<class 'float'>"):
        return ""
    if annotation not in INTEGER and (any(word in name for word in NAME_WORDS) or "str" in annotation):
        return "names"
    if isinstance(parameter.default, list | tuple) and all(isinstance(entry, str) for entry in parameter.default):
        return "names"
    integer = isinstance(parameter.default, int) and not isinstance(parameter.default, bool)
    counts = integer or name == "n" or any(word in name for word in COUNT_WORDS)
    return "count" if counts or (annotation in INTEGER and "task" in name) else ""


def _value(parameter: inspect.Parameter, values: Mapping[str, Any]) -> Any:
    """For a required argument besides the tasks; None if nothing can be told of it."""
    name, annotation = parameter.name.lower(), str(parameter.annotation)
    if role := _role(parameter):
        return values[role]
    if "device" in name:
        return "cpu"
    if name in CONFIGURATIONS:
        return values["settings"]
    if "bool" in annotation:
        return False
    return 0.5 if "float" in annotation or any(word in name for word in SETTING_WORDS) else None


def _needs(
    title: str, required: Sequence[inspect.Parameter], known: Mapping[str, Any], unknown: Sequence[str]
) -> CannotAudit:
    given = json.dumps({p.name: known.get(p.name) if known.get(p.name) is not None else "..." for p in required})
    return CannotAudit(
        f"{title} needs {len(required)} arguments: {[p.name for p in required]}; nothing is known of {unknown}",
        f"Give them with args={{...}} and type: aura-study audit TARGET --args '{given}'\n"
        "or audit a function of no arguments that returns the module.",
    )
