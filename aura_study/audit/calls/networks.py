"""Networks that compute their losses themselves, from a batch or from labels: torch's criteria answer the losses.

What such a method is handed is made up, and so is whatever cannot be computed of it; a criterion of
`torch.nn.functional` answers the loss of the task whose labels it is handed. A task is absent because its labels are
left out or None, NaN (the ignored class), or because a mask of its name is 0; a mask says nothing of the others.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from aura_study.audit.calls.asked import MadeUp, made_up, source_of
from aura_study.audit.calls.copies import duplicate
from aura_study.audit.calls.methods import INPUT_NAMES, function_of, has_layers, own_methods, shape_of
from aura_study.audit.calls.predictions import ignored_class
from aura_study.audit.calls.signature import TIME_NAMES, Signature, is_one_of, is_target, looks_like_mask, stem
from aura_study.audit.calls.subject import Convention
from aura_study.audit.calls.totals import Losses
from aura_study.audit.laboratory import AuditedCodeError, audited_code
from aura_study.audit.marks import Absence

NETWORK = "network"
"""Name of the form in which a network is handed a batch or labels."""
SIZES = ((2, 4), (2, 3, 8, 8), (2,))
PARTS = (2, 3, 4, 5, 6)
SAYS = {
    Absence.ZERO: "its criterion gives 0",
    Absence.OMIT: "its labels are left out",
    Absence.NONE: "its labels are None",
    Absence.NAN: "its labels are NaN (of classes: the ignored one), and so is its criterion",
    Absence.MASK: "the mask of its name is 0 for every sample, and its criterion gives 0",
}


@dataclass
class Labels:
    """What stands for each part of a batch, by the part's name.

    Attributes:
        size: of the tensors.
        ignored: class of labels that are left out.
        losses: by the task's name, as the audit hands them over; empty while it is found out who the tasks are.
        present: flags of the tasks.
        tasks: name of each task's labels, by the task's name.
        met: how often a criterion was handed the labels of each name.
        classes: tasks whose criterion is one of classes.
        masks: names of masks that were handed over.
    """

    size: tuple[int, ...]
    ignored: int = -100
    losses: Losses = field(default_factory=dict)
    present: Mapping[str, bool] = field(default_factory=dict)
    tasks: dict[str, str] = field(default_factory=dict)
    met: dict[str, int] = field(default_factory=dict)
    classes: set[str] = field(default_factory=set)
    masks: dict[str, None] = field(default_factory=dict)

    def has(self, name: str) -> bool:
        """Whether the part is there, or nobody says that it is not."""
        mine = [task for task, labels in self.tasks.items() if labels == name]
        return not (self.losses and mine) or any(task in self.losses for task in mine)

    def part(self, name: str) -> Tensor | None:
        """What is handed over under ``name``; None where the task's loss is None."""
        if looks_like_mask(name):
            self.masks[name] = None
            owner = owner_of(name, self.tasks)
            return made_up(name, self.size, 1.0 if owner is None or self.present.get(owner, True) else 0.0)
        mine = [self.losses[task] for task, labels in self.tasks.items() if labels == name and task in self.losses]
        if mine and all(loss is None for loss in mine):
            return None
        if mine and all(loss is None or bool(torch.isnan(loss)) for loss in mine):
            classes = any(task in self.classes for task, labels in self.tasks.items() if labels == name)
            return made_up(name, self.size, self.ignored if classes else torch.nan)
        return made_up(name, self.size)

    def answer(self, name: str, criterion: str, reduction: str, size: Sequence[int]) -> Tensor:
        """The loss of the task whose labels are called ``name``, or of the next one that shares them."""
        self.met[name] = self.met.get(name, 0) + 1
        task = name if self.met[name] == 1 else f"{name}_{self.met[name]}"
        if "cross_entropy" in criterion or "nll" in criterion:
            self.classes.add(task)
        if not self.losses:
            self.tasks[task] = name
            return torch.ones((), requires_grad=True)
        loss = self.losses[task]
        if loss is None:
            raise TypeError(f"{task} has no labels")
        return loss.expand(tuple(size)) if reduction == "none" else loss


def owner_of(mask: str, tasks: Mapping[str, str]) -> str | None:
    """The only task whose labels' name, but for the words that say so, is in the mask's."""
    owners = [task for task, labels in tasks.items() if (stem(labels) or labels) in mask]
    return owners[0] if len(owners) == 1 else None


class Answering(MadeUp):
    """As `MadeUp`, and criteria answer by the labels that they are handed."""

    def __init__(self, labels: Labels) -> None:
        super().__init__()
        self.labels = labels

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        if getattr(func, "__module__", "") != "torch.nn.functional" or not is_one_of(name, ("loss", "cross_entropy")):
            return super().__torch_function__(func, types, args, kwargs)
        told = dict(zip(("input", "target"), args, strict=False)) | dict(kwargs or {})
        target, reduction = told.get("target"), told.get("reduction", "mean")
        size = target.shape if isinstance(target, Tensor) else ()
        return self.labels.answer(source_of(target) or source_of(told) or "loss", name, reduction, size)


class Batch(dict[str, Any]):
    """A batch that has whatever it is asked for, by key or as an attribute, as far as `Labels` has it."""

    def __init__(self, labels: Labels) -> None:
        super().__init__()
        self.__dict__["labels"] = labels

    def __contains__(self, name: object) -> bool:
        return self.labels.has(str(name))

    def __missing__(self, name: str) -> Any:
        if name not in self:
            raise KeyError(name)
        return self.labels.part(str(name))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in self:
            raise AttributeError(name)
        return self.labels.part(name)

    def get(self, name: str, default: Any = None) -> Any:
        """As a mapping does."""
        return self.labels.part(name) if name in self else default

    pop = get

    def to(self, *where: Any) -> "Batch":
        """As a batch of transformers does."""
        return self


Fill = Callable[[Labels, Signature], tuple[list[Any], dict[str, Any]]]


def _in_a_mapping(labels: Labels, shape: Signature) -> tuple[list[Any], dict[str, Any]]:
    return [Batch(labels)], {}


def _in_a_tuple(labels: Labels, shape: Signature, parts: int) -> tuple[list[Any], dict[str, Any]]:
    return [tuple(labels.part(f"part_{i}") for i in range(parts))], {}


def _by_argument(labels: Labels, shape: Signature) -> tuple[list[Any], dict[str, Any]]:
    names = [name for name in (*shape.positional, *shape.keyword_only) if not shape.is_number(name)]
    return [], {name: labels.part(name) for name in names if labels.has(name)}


WAYS: dict[str, Fill] = {
    "{name: ...}": _in_a_mapping,
    **{f"({', '.join(['...'] * parts)})": partial(_in_a_tuple, parts=parts) for parts in PARTS},
}


def from_network(module: Any, tasks: Sequence[str]) -> Iterator[Convention]:
    """Conventions for the methods of a network, found by calling each; of as many tasks as ``tasks``."""
    for method, shape, text, fill, found in _found_in(module):
        if len(found.tasks) == len(tasks):
            yield _convention(method, text, fill, shape, found, tasks)


def names_in(module: Any) -> tuple[str, ...]:
    """The tasks of a network, by the names of their labels; none where it is none."""
    return next((tuple(found.tasks) for *_, found in _found_in(module)), ())


def _found_in(module: Any) -> Iterator[tuple[str, Signature, str, Fill, Labels]]:
    for method, shape, ways in _methods(module) if has_layers(module) else ():
        for (text, fill), size in itertools.product(ways.items(), SIZES):
            found = _found(module, method, shape, fill, size)
            if found is not None and len(found.tasks) > 1:
                yield method, shape, text, fill, found


def _methods(module: Any) -> Iterator[tuple[str, Signature, dict[str, Fill]]]:
    for method in ("__call__", *own_methods(module)):
        with suppress(AttributeError):
            shape = shape_of(module, method)
            labelled = sum(map(is_target, (*shape.positional, *shape.keyword_only))) > 1
            if labelled and shape.first.lower() in INPUT_NAMES:
                yield method, shape, {"labels by argument": _by_argument}
            elif method != "__call__" and shape.first.lower() in ("batch", "data", "sample", "inputs", "x"):
                yield method, shape, WAYS


def _found(module: Any, method: str, shape: Signature, fill: Fill, size: tuple[int, ...]) -> Labels | None:
    """Who the tasks are, from one call on a copy; None where it raises."""
    copied = duplicate(module, ())
    labels = Labels(size, ignored_class(module))
    try:
        with audited_code():
            _call(copied[0] if copied else module, method, shape, fill, labels)
    except AuditedCodeError:
        return None
    return labels


def _call(module: Any, method: str, shape: Signature, fill: Fill, labels: Labels) -> Any:
    arguments, keywords = fill(labels, shape)
    for name in shape.all_required()[len(arguments) :]:
        keywords.setdefault(name, 1000 if is_one_of(name, TIME_NAMES) else 1)
    with _lenient(module), Answering(labels):
        return function_of(module, method)(*arguments, **keywords)


def _convention(
    method: str, text: str, fill: Fill, shape: Signature, found: Labels, tasks: Sequence[str]
) -> Convention:
    own = dict(zip(tasks, found.tasks, strict=True))
    masked = bool(found.masks) and all(any(owner_of(m, found.tasks) == own[t] for m in found.masks) for t in tasks)
    shared = len(set(found.tasks.values())) < len(tasks)

    def invoke(module: Any, losses: Losses, present: Tensor) -> Any:
        given = {own[task]: loss for task, loss in losses.items()}
        flags = {own[task]: bool(flag) for task, flag in zip(losses, present, strict=True)}
        labels = Labels(found.size, found.ignored, given, flags, found.tasks, classes=found.classes)
        return _call(module, method, shape, fill, labels)

    marks = {Absence.ZERO, Absence.TINY, Absence.NAN} | ({Absence.MASK} if masked else set())
    if not shared:
        marks |= {Absence.NONE} if text.startswith("(") else {Absence.NONE, Absence.OMIT}
    named = "" if method == "__call__" else "." + method
    return Convention(
        f"{'' if method == '__call__' else method + ':'}{NETWORK}{'+mask' if masked else ''}",
        f"module{named}({text})",
        invoke,
        frozenset(marks),
        masked,
        "its input was made up, and its criteria were made to answer the losses",
        says=SAYS,
    )


@contextmanager
def _lenient(module: nn.Module) -> Iterator[None]:
    """Let torch's layers hand on a made-up number where they refuse what they are given."""
    layers = (part for part in module.modules() if type(part).__module__.startswith("torch.nn"))
    with ExitStack() as stack:
        for layer in (layer for layer in layers if not list(layer.children())):
            vars(layer)["forward"] = partial(_hand_on, layer, layer.forward)
            stack.callback(vars(layer).pop, "forward")
        yield


def _hand_on(layer: nn.Module, forward: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
    try:
        return forward(*arguments, **keywords)
    except Exception:
        name = source_of(arguments) or source_of(keywords)
        if not name:
            raise
    number = made_up(name, ())
    if isinstance(layer, nn.LSTM):
        return number, (number, number)
    return (number, number) if isinstance(layer, nn.RNNBase | nn.MultiheadAttention) else number
