"""Modules that are handed predictions, targets and masks, and compute their losses themselves.

A loss L is given by predictions of 1 + L ** 0.5 against targets of 1, so that a squared error is L and any other error
grows with it; for a criterion of classes, by logits whose cross-entropy is L; for one of directions, by vectors whose
first entry is such a prediction. Where none reaches the total, the criteria that the module holds are made to answer L.
A task is absent by labels of NaN (the ignored class), by labels of -1, by its mask, or because its name is left out.
"""

import itertools
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from aura_study.audit.calls.asked import SAMPLES, asked_of
from aura_study.audit.calls.copies import duplicate
from aura_study.audit.calls.held import held
from aura_study.audit.calls.methods import INPUT_NAMES, function_of
from aura_study.audit.calls.signature import Signature, is_prediction, is_target, looks_like_mask, stem
from aura_study.audit.calls.subject import Convention
from aura_study.audit.calls.totals import Losses
from aura_study.audit.marks import Absence

PREDICTIONS = "predictions"
"""Name of the form in which a module is handed predictions, targets and masks."""
IGNORED = -100
MIXED = 4
"""Of so many tasks every mixture of numbers, classes and vectors is tried."""
SAYS = {
    Absence.ZERO: "its predictions equal its targets",
    Absence.NAN: "its labels are NaN (of classes: the ignored one)",
    Absence.SENTINEL: "its labels are -1",
    Absence.MASK: "its mask is False for every sample",
}
Column = dict[str, Tensor]
CONTAINERS: dict[str, Callable[[Column], Any]] = {
    "{name: ...}": dict,
    "[...]": lambda column: list(column.values()),
    "(...)": lambda column: tuple(column.values()),
    "samples by tasks": lambda column: torch.stack(list(column.values()), 1),
}


@dataclass(frozen=True)
class _Handed:
    """Names of the arguments; ``joined`` is one that holds the ``first`` of both kinds, then the other."""

    predictions: tuple[str, ...]
    targets: tuple[str, ...]
    masks: tuple[str, ...]
    numbers: Mapping[str, Callable[[], Any]]
    joined: str = ""
    first: str = ""


def from_predictions(module: Any, method: str, shape: Signature, tasks: Sequence[str]) -> Iterator[Convention]:
    """Conventions for a method that takes predictions and targets: together in one container, or one for each task."""
    names = _handed(shape)
    yield from _from_mappings(module, method, shape, tasks)
    if names is None:
        yield from _from_one_list(method, shape, tasks)
        return
    apart = len(names.predictions) == len(tasks) > 1
    containers = {"one each": None} if apart else CONTAINERS
    ignored = ignored_class(module)
    for mixture, (text, pack) in itertools.product(list(_mixtures(tasks)), containers.items()):
        if text != "samples by tasks" or set(mixture) == {"numbers"}:
            yield _convention(method, names, dict(zip(tasks, mixture, strict=True)), text, pack, ignored)
    if len(_criteria(module)) == len(tasks):
        for text, pack in containers.items():
            yield _convention(method, names, dict.fromkeys(tasks, "numbers"), text, pack, stubbed=True)


def _from_one_list(method: str, shape: Signature, tasks: Sequence[str]) -> Iterator[Convention]:
    """Conventions for a method that takes all targets and all predictions in one list, as layers do."""
    if len(shape.all_required()) != 1 or shape.first.lower() not in INPUT_NAMES:
        return
    for first, second in (("targets", "predictions"), ("predictions", "targets")):
        names = _Handed((), (), (), {}, shape.first, first)
        for kinds in _mixtures(tasks):
            yield _convention(method, names, dict(zip(tasks, kinds, strict=True)), f"[{first}, then {second}]", list)


def _from_mappings(module: Any, method: str, shape: Signature, tasks: Sequence[str]) -> Iterator[Convention]:
    """Conventions for a method that takes predictions by name and a mapping of targets, and often the masks."""
    required = shape.positional[: shape.required]
    if len(required) != 2 or shape.keyword_required or not is_prediction(required[0]):
        return
    copied = duplicate(module, ())
    given, batch = asked_of(function_of(copied[0], method), shape) if copied else ((), ())
    labels = [key for key in batch if not looks_like_mask(key)]
    targets = {task: [key for key in labels if task in key] for task in tasks}
    masks = {task: [key for key in batch if task in key and looks_like_mask(key)] for task in tasks}
    if not all(targets.values()) and len(labels) == len(given):  # by the order in which they are asked for
        targets = {task: [key] for task, key in zip(given, labels, strict=True)}
    if set(given) != set(tasks) or not all(targets.values()):
        return
    keys = {task: (found[0], *masks[task][:1]) for task, found in targets.items()}
    names = _Handed(required[:1], required[1:], (), {})
    for kinds in _mixtures(tasks):
        told = dict(zip(tasks, kinds, strict=True))
        yield _convention(method, names, told, "{name: ...}", dict, ignored_class(module), keys=keys)


def _mixtures(tasks: Sequence[str]) -> Iterable[tuple[str, ...]]:
    """Kinds of prediction for each task: numbers, classes or vectors."""
    return itertools.product(_GIVEN, repeat=len(tasks)) if len(tasks) <= MIXED else [(k,) * len(tasks) for k in _GIVEN]


def _handed(shape: Signature) -> _Handed | None:
    required = (*shape.positional[: shape.required], *shape.keyword_required)
    masks = tuple(name for name in (*shape.positional, *shape.keyword_only) if looks_like_mask(name))
    every = (*shape.positional, *shape.keyword_only)
    targets = tuple(name for name in every if is_target(name) and name not in (*masks, *shape.numbers))
    free = [name for name in required if name not in (*masks, *targets)]
    stems = [stem(target) for target in targets]
    predictions = tuple(name for name in free if is_prediction(name) or (stem(name) and stem(name) in stems))
    rest = [name for name in required if name not in (*masks, *targets, *predictions)]
    if not predictions or len(targets) != len(predictions) or not all(map(shape.is_number, rest)):
        return None
    masks = masks if len(masks) == len(predictions) else masks[:1]
    return _Handed(predictions, targets, masks, {name: lambda: 1.0 for name in rest})


def _numbers(loss: Tensor, ignored: int) -> tuple[Tensor, Tensor]:
    value = float(loss.detach())
    label = 1.0 if value >= 0 else value
    prediction = 1 + (loss if value == 0 else torch.sqrt(loss)) if value >= 0 else torch.ones_like(loss)
    return prediction.expand(SAMPLES), torch.full((SAMPLES,), label, dtype=loss.dtype, device=loss.device)


def _vectors(loss: Tensor, ignored: int) -> tuple[Tensor, Tensor]:
    prediction, label = _numbers(loss, ignored)
    return torch.stack([prediction, torch.ones_like(prediction)], 1), torch.stack([label, label], 1)


def _logits(loss: Tensor, ignored: int) -> tuple[Tensor, Tensor]:
    value = float(loss.detach())
    label = ignored if math.isnan(value) else -1 if value < 0 else 0
    score = -torch.log(torch.expm1(loss.clamp(min=1e-6))) if label == 0 else torch.ones_like(loss)
    return torch.stack([score, torch.zeros_like(score)]).expand(SAMPLES, 2), torch.full((SAMPLES,), label)


_GIVEN: dict[str, Callable[[Tensor, int], tuple[Tensor, Tensor]]] = {
    "numbers": _numbers, "logits": _logits, "vectors": _vectors,
}  # fmt: skip


def ignored_class(module: Any) -> int:
    """The class that a module's criteria leave out, by the name of an attribute or of a constant of its file."""
    file = vars(sys.modules.get(type(module).__module__, object)) if hasattr(module, "__dict__") else {}
    places = [vars(part) for part in (module, *held(module, nn.Module)) if hasattr(part, "__dict__")]
    named = (value for place in (*places, file) for name, value in place.items() if "ignore" in name.lower())
    return next((value for value in named if isinstance(value, int) and not isinstance(value, bool)), IGNORED)


def _convention(
    method: str, names: _Handed, kinds: Mapping[str, str], container: str, pack: Callable[[Column], Any] | None,
    ignored: int = IGNORED, stubbed: bool = False, keys: Mapping[str, tuple[str, ...]] | None = None,
) -> Convention:  # fmt: skip
    def invoke(module: Any, losses: Losses, present: Tensor) -> Any:
        given = {task: _GIVEN[kinds[task]](loss, ignored) for task, loss in losses.items() if loss is not None}
        columns = [{task: pair[i] for task, pair in given.items()} for i in (0, 1)]
        flags = dict(zip(losses, present, strict=True))
        mask = {task: flags[task].float().expand(SAMPLES) for task in given}
        keywords = {name: value() for name, value in names.numbers.items()}
        for arguments, column in ((names.predictions, columns[0]), (names.targets, columns[1]), (names.masks, mask)):
            if pack is None and len(arguments) == len(column):
                keywords |= dict(zip(arguments, column.values(), strict=True))
            else:
                keywords |= {name: (pack or CONTAINERS["samples by tasks"])(column) for name in arguments}
        if names.joined:
            ordered = columns if names.first == "predictions" else columns[::-1]
            keywords[names.joined] = [part for column in ordered for part in column.values()]
        if keys:
            pairs = {task: (columns[1][task], mask[task]) for task in given}
            batch = {key: part for task, pair in pairs.items() for key, part in zip(keys[task], pair, strict=False)}
            keywords[names.targets[0]] = batch
        with _answering(module, losses) if stubbed else ExitStack():
            return function_of(module, method)(**keywords)

    masked = bool(names.masks) or all(len(found) > 1 for found in (keys or {"": ()}).values())
    marks = {Absence.NAN, Absence.SENTINEL} | ({Absence.MASK} if masked else set())
    marks |= {Absence.ZERO} if "logits" not in kinds.values() else set()
    marks |= {Absence.OMIT} if pack is dict else set()
    what = "/".join(dict.fromkeys(kinds.values()))
    shown = [f"{name}={container}" for name in (*names.predictions, *names.targets, *names.masks, names.joined) if name]
    return Convention(
        f"{'' if method == '__call__' else method + ':'}{PREDICTIONS}{'+mask' if masked else ''}",
        f"module{'' if method == '__call__' else '.' + method}({', '.join([*shown, *names.numbers])})",
        invoke,
        frozenset(marks | {Absence.ZERO, Absence.TINY} if stubbed else marks),
        masked,
        "its criteria were made to answer the losses" if stubbed else f"its losses were given by {what} as predictions",
        says={} if stubbed else SAYS,
        rows=container == "samples by tasks",
    )


def _criteria(module: Any) -> list[nn.Module]:
    """The losses that it holds as modules, in order."""
    parts = [part for part in module.modules() if part is not module] if isinstance(module, nn.Module) else []
    parts = parts or held(module, nn.Module)
    return [part for part in parts if any(word in type(part).__name__ for word in ("Loss", "Criterion"))]


@contextmanager
def _answering(module: Any, losses: Losses) -> Iterator[None]:
    """Let each criterion answer the loss in its place."""
    criteria = _criteria(module)
    for criterion, loss in zip(criteria, losses.values(), strict=True):
        if loss is not None:
            vars(criterion)["forward"] = partial(_answer, loss, getattr(criterion, "reduction", "mean"))
    try:
        yield
    finally:
        for criterion in criteria:
            vars(criterion).pop("forward", None)


def _answer(loss: Tensor, reduction: str, *arguments: Any, **keywords: Any) -> Tensor:
    return loss.expand(SAMPLES) if reduction == "none" else loss
