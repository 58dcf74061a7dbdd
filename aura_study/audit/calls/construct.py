"""Ways to construct the audited module from a class, a factory function or an instance."""

import copy
import inspect
import json
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from functools import partial
from typing import Any

import torch

from aura_study.audit.calls.answers import (
    CONFIGURATIONS,
    COUNT_WORDS,
    NAME_WORDS,
    SETTING_WORDS,
    Answers,
    told_by_name,
)
from aura_study.audit.calls.copies import draw_alike
from aura_study.audit.calls.held import held_leaves
from aura_study.audit.calls.shared import SharedLayer, StillOptimizer
from aura_study.audit.calls.signature import Signature, is_one_of, is_shared
from aura_study.audit.laboratory import CannotAudit

PACKAGE = "audited"
"""Stands for the package that a file's folders are."""
COUNTS, MOST_TASKS = (3, 2, 4), 4096
"""Numbers of tasks to try where nothing says it, and the most that an audit takes."""
ORDER = {
    "names": ("names", "count", "weights", "kinds"),
    "kinds": ("kinds", "kinds by name", "names", "count"),
    "weights": ("weights", "kinds by name", "configs", "settings", "names", "count"),
    "count": ("count", "names", "weights"),
    "criteria": ("criteria", "criteria by name"),
    "criteria by name": ("criteria by name",),
    "": ("count", "names", "weights", "flags", "entries", "settings"),
}
"""What is tried for the argument that is told the tasks, by what its name says."""
CRITERIA_WORDS = ("crit", "loss_f", "loss_m")
KIND_WORDS, KIND = ("types", "kinds"), "regression"
LEARNED_WORDS = ("log_var", "logvar", "log_sig", "logsig", "log_s", "sigmas", "etas", "uncert", "variances", "thetas")
"""In names of arguments by which a function is handed the parameters that it weighs with."""
PREPARING = ("init_param", "init_params", "init_parameters")
"""Methods by which a trainer has a weighting make its parameters, once it has set attributes on it."""
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
    tasks = COUNTS[0] if tasks is None else tasks
    if (tasks if isinstance(tasks, int) else len(tasks)) > MOST_TASKS:
        raise ValueError(
            f"the audit takes at most {MOST_TASKS} tasks, got {tasks if isinstance(tasks, int) else len(tasks)}"
        )
    names = tuple(f"task_{i}" for i in range(tasks)) if isinstance(tasks, int) else tuple(map(str, tasks))
    if len(names) < 2 or len(set(names)) < len(names):
        raise ValueError(f"the audit needs at least two tasks with distinct names, got {list(names)}")
    return names


def named_by_arguments(target: Any) -> tuple[str, ...]:
    """Tasks that ``forward`` of a class or an instance has an argument for each, or its only method that has."""
    if inspect.isroutine(target):
        return ()
    kind = target if isinstance(target, type) else type(target)
    own = (value for name, value in vars(kind).items() if inspect.isfunction(value) and not name.startswith("_"))
    forward = getattr(kind, "forward", torch.nn.Module.forward)
    methods = list(own) if forward is torch.nn.Module.forward else [forward]
    found = {names for method in methods if (names := Signature.of(method, skip=1).tasks())}
    return found.pop() if len(found) == 1 else ()


def constructions(
    target: Any, names: Sequence[str], arguments: Mapping[str, Any] | Sequence[Any] | None
) -> list[Construction]:
    """Ways to make a module of ``target``: a class, a factory function or an instance, the likeliest first.

    Raises:
        CannotAudit: a class that needs more arguments than the tasks and usual settings.
    """
    title = getattr(target, "__name__", type(target).__name__)
    function = inspect.isroutine(target)
    if not (isinstance(target, type | partial) or function):
        return [_way(lambda: copy.deepcopy(target), f"a copy of the {title} given", names)]
    call = partial(_call, target, title, names)
    if arguments is not None:
        given = attributed(arguments)
        return [call([], given) if isinstance(given, Mapping) else call(given, {})]
    shape = Signature.of(target)
    weighs = function and (shape.positional or shape.keyword_only or shape.star or shape.double_star)
    itself = [_way(lambda: target, f"{title} itself", names)] if weighs else []  # else it makes something
    learned = [n for n in shape.all_required() if is_one_of(n, LEARNED_WORDS) or n == "s"] if function else []
    if learned and len(learned) < len(shape.all_required()):
        return [*_with_parameters(target, title, names, learned), *itself]
    return [*_likeliest_first(target, title, names, call), *itself]


def _with_parameters(target: Any, title: str, names: Sequence[str], learned: Sequence[str]) -> Iterator[Construction]:
    """A function with the parameters that it is handed, of 0 (of 1 where they are no logarithms), in each form."""

    def start(name: str) -> torch.nn.Parameter:
        return torch.nn.Parameter(torch.tensor(0.0 if "log" in name or name in ("s", "etas") else 1.0))

    forms: dict[str, Callable[[str], Any]] = {
        "a parameter each": start,
        "one for each name": lambda name: torch.nn.ParameterDict({task: start(name) for task in names}),
        "a vector": lambda name: torch.nn.Parameter(start(name).detach().repeat(len(names))),
        "a list": lambda name: torch.nn.ParameterList([start(name) for _ in names]),
    }
    for text, form in forms.items():
        if (len(learned) == len(names)) == (text == "a parameter each"):
            build = partial(_partial, target, learned, form)
            yield _way(build, f"{title} with {', '.join(learned)} ({text})", names, told=True)


def _partial(target: Any, learned: Sequence[str], form: Callable[[str], Any]) -> Any:
    return partial(target, **{name: form(name) for name in learned})


def _way(build: Callable[[], Any], text: str, names: Sequence[str], told: bool = False) -> Construction:
    def make() -> Any:
        draw_alike(0)
        return prepared(unwrapped(build()), names)

    return Construction(make, told, text)


def _call(
    target: Any, title: str, names: Sequence[str], first: Sequence[Any], keywords: Mapping[str, Any], told: bool = False
) -> Construction:
    text = ", ".join([*map(repr, first), *(f"{name}={value!r}" for name, value in keywords.items())])
    build = partial(_built, target, first, keywords)
    return _way(build, f"{title}({text})", names, told)


def _built(target: Any, first: Sequence[Any], keywords: Mapping[str, Any]) -> Any:
    return target(*copy.deepcopy(first), **copy.deepcopy(dict(keywords)))


def prepared(module: Any, names: Sequence[str]) -> Any:
    """A module that may be called: the first function of several things, or one that a trainer prepares."""
    if isinstance(module, tuple | list):
        return next(filter(callable, module), module)
    for name in PREPARING if not held_leaves(module) else ():
        prepare = getattr(module, name, None)
        while callable(prepare) and not Signature.of(prepare).required:
            try:
                prepare()
                break
            except AttributeError as error:  # set from outside
                missing = error.name if error.obj is module and error.name else ""
                if (value := told_by_name(missing, names)) is None:
                    raise
                setattr(module, missing, value)
    return module


class Attributed(dict[str, Any]):
    """A mapping whose entries are attributes too, as those of configurations are."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


def attributed(value: Any) -> Any:
    """``value`` with every mapping in it such a one."""
    if isinstance(value, dict):
        return Attributed({name: attributed(part) for name, part in value.items()})
    return [attributed(part) for part in value] if isinstance(value, list) else value


def unwrapped(module: Any) -> Any:
    """What `torch.compile` and data parallelism wrap: the same code, run as it is written."""
    inner = {"OptimizedModule": "_orig_mod", "DataParallel": "module", "DistributedDataParallel": "module"}
    name = inner.get(type(module).__name__, "")
    return unwrapped(module._modules[name]) if name in getattr(module, "_modules", {}) else module


def _likeliest_first(
    target: Any, title: str, names: Sequence[str], call: Callable[..., Construction]
) -> list[Construction]:
    """Ways to make it that its signature allows: told the tasks' names, their number, or nothing."""
    values: dict[str, Any] = {
        "count": len(names), "names": list(names), "weights": dict.fromkeys(names, 1.0),
        "configs": {name: Answers(names) for name in names}, "settings": Answers(names),
        "entries": [Answers(names, name) for name in names],
        "flags": torch.ones(len(names)), "criteria": [torch.nn.MSELoss() for _ in names],
        "criteria by name": {name: torch.nn.MSELoss() for name in names},
        "kinds": [KIND for _ in names], "kinds by name": dict.fromkeys(names, KIND),
        "shared": SharedLayer(len(names)),
    }  # fmt: skip
    try:
        every = _arguments(target)
    except (TypeError, ValueError):
        told = [call([values[role]], {}, told=True) for role in ("count", "names")]
        return [call([], {}), *told]
    if not every:
        each = [call(list(names), {}, told=True)] if _takes_each(target) else []
        return [*each, call([], {})]
    here: dict[str, Any] = {
        p.name: "cpu" for p in every if str(p.default).startswith("cuda") and not torch.cuda.is_available()
    }
    required = [p for p in every if p.default is p.empty]
    here |= {p.name: made for p in required if (made := _instance(p.annotation, values)) is not None}
    here |= {p.name: kind(len(names)) for p in required if p.name not in here and (kind := _of_model(p))}
    required = [p for p in required if p.name not in here]
    if not required and len(here) == len(every):
        return [call([], here)]
    open_ones = [p for p in required if _value(p, values) is None]
    candidates = [p for p in (*required, *every) if p.name not in here] or every
    tasks = next((p for p in candidates if _role(p)), (open_ones or required or candidates)[0])
    filled = {p.name: _value(p, values) for p in required if p is not tasks}
    if unknown := [name for name, value in filled.items() if value is None]:
        if isinstance(target, type):
            raise _needs(
                target, required, {**filled, tasks.name: values[_role(tasks)]} if _role(tasks) else filled, unknown
            )
        return []
    here |= filled

    def told_of(role: str) -> Construction:
        if tasks is every[0] and tasks.kind != tasks.KEYWORD_ONLY:
            return call([values[role]], here, told=True)
        return call([], {tasks.name: values[role], **here}, told=True)

    nothing = call([], here)
    if tasks.name in here:
        return [nothing]
    role = _role(tasks)
    told = [told_of(each) for each in (*ORDER[role], *(["shared"] if is_shared(tasks.name) else []))]
    if tasks.default is tasks.empty:
        return told
    knows = isinstance(tasks.default, list | tuple) and len(tasks.default) > 1 and tuple(names) == task_names(None)
    return [*told, nothing] if role in ("names", "count") and not knows else [nothing, *told]


def _arguments(target: Any) -> list[inspect.Parameter]:
    """Of its signature, annotations resolved where they can be."""
    try:
        hints = typing.get_type_hints(
            inspect.getattr_static(target, "__init__") if isinstance(target, type) else target
        )
    except Exception:  # names that exist for the type checker alone
        hints = {}
    every = inspect.signature(target).parameters.values()
    resolved = [p.replace(annotation=hints[p.name]) if isinstance(hints.get(p.name), type) else p for p in every]
    return [p for p in resolved if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]


def _takes_each(target: Any) -> bool:
    """Whether it takes any number of texts, as it may the tasks' names, one by one."""
    stars = [p for p in inspect.signature(target).parameters.values() if p.kind == p.VAR_POSITIONAL]
    return any(str(p.annotation) in TEXT or is_one_of(p.name, (*NAME_WORDS, "task")) for p in stars)


def _instance(kind: Any, values: Mapping[str, Any]) -> Any:
    """Of a class of the user's own that holds settings, with those in it filled likewise; None if ``kind`` is none."""
    if not (isinstance(kind, type) and (is_dataclass(kind) or hasattr(kind, "_fields"))):
        return None
    filled = {}
    for p in _arguments(kind):
        if p.default is p.empty:
            made = _instance(p.annotation, values)
            told = _value(p, values) if made is None else made
            filled[p.name] = values["settings"][p.name] if told is None else told
    try:
        return kind(**filled)
    except Exception:  # whatever its __post_init__ raises
        return None


def _role(parameter: inspect.Parameter) -> str:
    """What an argument says of the tasks: ``names``, ``count``, ``weights`` (a mapping), ``criteria``, or nothing."""
    name, annotation = parameter.name.lower(), str(parameter.annotation)
    if parameter.annotation is parameter.empty:
        annotation = ""
    if is_one_of(name, KIND_WORDS):
        return "kinds"
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


def _of_model(parameter: inspect.Parameter) -> type[SharedLayer | StillOptimizer] | None:
    """What stands for an argument that is the tasks' model, its parameters or their optimiser."""
    name, annotation = parameter.name.lower(), str(parameter.annotation)
    if name in CONFIGURATIONS or annotation in (*INTEGER, *TEXT) or (_role(parameter) and "model" not in name):
        return None
    return StillOptimizer if "optim" in name else SharedLayer if is_shared(name) or name == "net" else None


def _factory(title: str, place: str, arguments: Mapping[str, str]) -> str:
    """A function of a few lines that makes the module, and the command that audits it; ``...`` is left to fill in."""
    module = place.rpartition(".")[2] if place.startswith(PACKAGE) else place
    given = ", ".join(f"{name}={value}" for name, value in arguments.items())
    return "\n".join(
        (
            "Save as adapt.py beside it, ... filled in:",
            f"    from {module} import {title}",
            "    def make():",
            f"        return {title}({given})",
            "and type: aura-study audit adapt.py:make",
            "In Python: audit(..., args={...})",
        )
    )


def _needs(
    target: Any, required: Sequence[inspect.Parameter], known: Mapping[str, Any], unknown: Sequence[str]
) -> CannotAudit:
    title = target.__name__
    given = {p.name: known.get(p.name) if known.get(p.name) is not None else "..." for p in required}
    try:
        line = f"Fill ... in and type: aura-study audit TARGET --args '{json.dumps(given)}'\nOr: "
    except TypeError:  # what no text can say
        line = ""
    return CannotAudit(
        f"{title} needs {len(required)} arguments: {[p.name for p in required]}; nothing is known of {unknown}",
        line + _factory(title, target.__module__, {n: "..." if v == "..." else repr(v) for n, v in given.items()}),
    )
