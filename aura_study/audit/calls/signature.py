"""What a signature says of its arguments: losses, a presence mask, a number, predictions."""

import dataclasses
import inspect
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from aura_study.audit.calls.answers import CONFIGURATIONS, Answers
from aura_study.audit.calls.copies import Clock

Filler = Callable[[Any], Any]
"""What to hand over as an argument, from what all losses go through."""

MASK_NAMES = (
    "mask", "present", "presence", "active", "valid", "avail", "exist", "has_", "observed", "label_flag", "labelled",
    "labeled", "annotated", "supervised", "absent", "missing", "enabled", "is_on",
)  # fmt: skip
COUNT_NAMES = ("counts", "n_labels", "num_labels", "n_obs", "n_annotations", "num_annotations")
TIME_NAMES = ("epoch", "step", "iter", "batch_idx", "idx", "round")
NUMBER_NAMES = (
    "strength", "lambda", "lam", "temp", "tau", "alpha", "beta", "gamma", "coef", "scale", "factor", "rate", "progress",
    "schedule", "decay", "eps", "power", "gain", "ratio", "norm", "lr", "momentum", "margin", "anneal", "reg", "sigma",
    "scaling", "multiplier", "warm",
)  # fmt: skip
PREDICTION_NAMES = ("pred", "mu", "output", "logit", "y_hat", "yhat", "estimate", "score", "input", "out")
TARGET_NAMES = ("target", "label", "truth", "gt", "tgt", "y_true", "true", "answer")
SHARED_NAMES = (
    "shared", "param", "layer", "backbone", "trunk", "encoder", "model", "network", "input", "representation",
    "feature", "latent",
)  # fmt: skip
COLLECTION_NAMES = ("losses", "terms", "values", "dict", "list", "vector", "tensor", "stack", "array", "all_", "parts")
LATE = 1000
"""Where code is told the epoch or the step, it is told a late one: a warm-up is over by then."""


@dataclass(frozen=True)
class Signature:
    """Arguments by kind; of what cannot be read, everything is allowed.

    Attributes:
        positional: names, in order.
        required: how many of them have no default.
        keyword_only, keyword_required: names; those without a default.
        star, double_star: whether there is ``*args``, ``**kwargs``.
        numbers: names that an annotation or a default says to be a number, a text or a flag.
        together: whether the first argument's annotation says that it holds several.
        record: the class of the first argument, where it is one with a field for each task.
    """

    positional: tuple[str, ...] = ()
    required: int = 0
    keyword_only: tuple[str, ...] = ()
    keyword_required: tuple[str, ...] = ()
    star: bool = True
    double_star: bool = True
    numbers: frozenset[str] = frozenset()
    together: bool = False
    record: type | None = None

    @classmethod
    def of(cls, function: Callable[..., Any], skip: int = 0) -> "Signature":
        """Of ``function`` without its first ``skip`` arguments (``self`` of a class's own function)."""
        try:
            parameters = list(inspect.signature(function).parameters.values())[skip:]
        except (TypeError, ValueError):
            return cls()
        kinds, empty = inspect.Parameter, inspect.Parameter.empty
        positional = [p for p in parameters if p.kind in (kinds.POSITIONAL_ONLY, kinds.POSITIONAL_OR_KEYWORD)]
        keyword_only = [p for p in parameters if p.kind == kinds.KEYWORD_ONLY]
        if held := _beside_a_loss(positional):  # called by keyword, the losses first
            positional.remove(held)
            keyword_only = [held, *positional, *keyword_only]
            positional = []
        return cls(
            tuple(p.name for p in positional),
            sum(p.default is empty for p in positional),
            tuple(p.name for p in keyword_only),
            tuple(p.name for p in keyword_only if p.default is empty),
            any(p.kind == kinds.VAR_POSITIONAL for p in parameters),
            any(p.kind == kinds.VAR_KEYWORD for p in parameters),
            frozenset(p.name for p in parameters if _is_number(p)),
            held is not None or (bool(positional) and _holds(positional[0])),
            _record(function, positional[0].name) if positional else None,
        )

    @property
    def first(self) -> str:
        """Name of the first argument, empty if there is none."""
        names = (*self.positional, *self.keyword_required)
        return names[0] if names else ""

    def tasks(self) -> tuple[str, ...]:
        """Names of arguments that are clearly one task's loss each; none if there are not two."""
        every = (*self.positional, *self.keyword_only)
        for names in (every, self.all_required() or every):
            names = tuple(n for n in names if not is_shared(n) and not (self.is_number(n) and "loss" not in n.lower()))
            if len(names) > 1 and all("loss" in name.lower() for name in names) and not self.holds_several:
                return names
        return ()

    @property
    def optional(self) -> frozenset[str]:
        """Names of losses of their own that may be left out, where others may not."""
        tasks = self.tasks()
        left = frozenset(tasks) - set(self.all_required())
        return left if len(left) < len(tasks) else frozenset()

    @property
    def by_sample(self) -> bool:
        """Whether the first argument's name says that it holds a loss for each sample, or several."""
        return _any(self.first, ("sample", "sentence", "example", "element", "item", "losses", "per"))

    @property
    def holds_several(self) -> bool:
        """Whether the first argument is all losses together."""
        first = self.first.lower()
        return self.together or first in ("loss_dict", "l", "ls", "xs") or any(w in first for w in COLLECTION_NAMES)

    def takes_each(self, tasks: Sequence[str]) -> bool:
        """Whether every loss can be an argument of its own, the others being numbers or what they share."""
        mine = self.positional[: len(tasks)]
        told = all(self.is_number(name) or is_shared(name) for name in self.others(len(tasks)))
        one_each = 1 < len(tasks) <= len(self.positional) and told
        other = any(looks_like_mask(n) or self.is_number(n) or is_prediction(n) or is_target(n) for n in mine)
        return (self.star and self.required <= len(tasks)) or (one_each and not other and not self.holds_several)

    def takes_keywords(self, tasks: Sequence[str]) -> bool:
        """Whether every task is the name of an argument."""
        return self.double_star or set(tasks) <= {*self.positional, *self.keyword_only}

    def takes_nothing(self, tasks: Sequence[str]) -> bool:
        """Whether it is asked for its weights and told no losses."""
        return not (self.positional or self.keyword_only or self.star or self.double_star)

    def takes_one(self, tasks: Sequence[str]) -> bool:
        """Whether all losses can be handed over in one argument, the others being numbers."""
        return bool(self.positional or self.star or self.keyword_required) and self.fillers() is not None

    def takes_matrix(self, tasks: Sequence[str]) -> bool:
        """Whether its names speak of one loss for each sample and task."""
        named = _any(self.first, ("matrix", "sample", "batch", "element"))
        return self.takes_one(tasks) and (named or any(telling for _, telling in self.masks()))

    def all_required(self) -> tuple[str, ...]:
        """Required arguments, in order."""
        return self.positional[: self.required] + self.keyword_required

    def one_task(self) -> tuple[str, str] | None:
        """Of a method that is called once for each task: the argument that says which, and the one that is its loss."""
        names = self.all_required()
        keys = [name for name in names if is_one_of(name, ("task", "name", "key", "idx", "index"))]
        if len(keys) != 1 or len(names) != 2 or looks_like_mask(keys[0]) or tells_places(keys[0]):
            return None
        return keys[0], next(name for name in names if name not in keys)

    def others(self, losses: int = 1) -> tuple[str, ...]:
        """Required arguments besides the first ones, which are ``losses``."""
        if self.positional:
            return self.positional[losses : self.required] + self.keyword_required
        return self.keyword_required[losses:]

    def fillers(self, mask: str | None = None, losses: int = 1) -> dict[str, Filler] | None:
        """What to hand over as the `others` but ``mask``; None if one is nothing that is known.

        Numbers, settings, the time, and the layer that all losses go through, or its parameters.
        """
        filled: dict[str, Filler] = {}
        for name in self.others(losses):
            if name == mask:
                continue
            if self._tells(name) and name not in self.numbers:
                return None
            if is_shared(name) and name not in self.numbers:
                filled[name] = _itself
                continue
            if _is_optimizer(name) and name not in self.numbers:
                filled[name] = _optimizer
                continue
            if self.together and self.keyword_required[:1] == (self.first,) and "loss" in name.lower():
                filled[name] = _loss
                continue
            target = is_target(name) and not (name == "t" and "loss" in self.first.lower())  # a temperature, or a time
            other = target or is_prediction(name) or _any(name, ("batch", "loss"))
            if other and not self.is_number(name):
                return None
            filled[name] = _settings if name in CONFIGURATIONS else _late if _any(name, TIME_NAMES) else _one
        return filled

    def is_number(self, name: str) -> bool:
        """Whether an argument is a number by its annotation, default or name."""
        word = name.lower().replace("normal", "")  # of surface normals, which are a task
        return name in self.numbers or _any(word, NUMBER_NAMES + TIME_NAMES)

    def _tells(self, name: str) -> bool:
        """Whether an argument says who is there: a mask, or the tasks' numbers, of which a sample has one."""
        return looks_like_mask(name) or tells_places(name) or (self.by_sample and tells_task(name))

    def masks(self) -> list[tuple[str, bool]]:
        """Names of arguments that may be a presence mask, and whether the name says so."""
        names = [*(self.positional[1:] if self.positional else ()), *self.keyword_only]
        telling = [n for n in names if self._tells(n) and n not in self.numbers]
        if telling:
            return [(name, True) for name in telling]
        return [(name, False) for name in self.others() if not self.is_number(name) and not is_target(name)]


def is_shared(name: str) -> bool:
    """Whether an argument's name says that it is what the tasks share: a layer, a model, parameters, its output."""
    return _any(name, SHARED_NAMES) and not _is_optimizer(name)


def _is_optimizer(name: str) -> bool:
    return _any(name, ("opt", "optim")) and name not in CONFIGURATIONS


def is_prediction(name: str) -> bool:
    """Whether an argument's name says that it is what a model says."""
    return _any(name, PREDICTION_NAMES)


def is_target(name: str) -> bool:
    """Whether an argument's name says that it is what a model should say."""
    return name.lower() in ("y", "ys", "t") or _any(name, TARGET_NAMES)


def stem(name: str) -> str:
    """What is left of an argument's name without the words for predictions and targets."""
    words = (*PREDICTION_NAMES, *TARGET_NAMES, "s")
    return "_".join(part for part in name.lower().split("_") if part not in words and part.rstrip("s") not in words)


def _late(shared: Any) -> float:
    return LATE + Clock.now


def _one(shared: Any) -> float:
    return 1.0


def _optimizer(shared: Any) -> Any:
    return torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.0)


def _settings(shared: Any) -> Any:
    return Answers(())


def _loss(shared: Any) -> Any:
    return torch.tensor(1.0)


def _itself(shared: Any) -> Any:
    return shared


def _holds(parameter: inspect.Parameter) -> bool:
    """Whether its annotation says that it holds several losses."""
    return any(word in str(parameter.annotation).lower() for word in _HOLDERS)


def _beside_a_loss(parameters: Sequence[inspect.Parameter]) -> inspect.Parameter | None:
    """The mapping or list of losses that comes after a main loss, which is one and is weighed by nothing."""
    if len(parameters) < 2 or _holds(parameters[0]) or "loss" not in parameters[0].name.lower():
        return None
    second = parameters[1]
    other = is_target(second.name) or is_prediction(second.name) or looks_like_mask(second.name)
    return second if _holds(second) and not other and second.kind != second.POSITIONAL_ONLY else None


_HOLDERS = ("list", "dict", "sequence", "mapping", "tuple", "iterable")


def looks_like_mask(name: str) -> bool:
    """Whether an argument's name says that it is a presence mask, and of no number that goes with one."""
    word = name.lower()
    other = ("weight", "scale", "rate", "temp", "strength", "attention", "coef")
    return (_any(word, MASK_NAMES) or tells_counts(word)) and not _any(word, other)


def tells_counts(name: str) -> bool:
    """Whether an argument's name says that it holds how many labels each task has: 0 where it is absent."""
    return "loss" not in name.lower() and name.lower().endswith(COUNT_NAMES)


def tells_places(name: str) -> bool:
    """Whether an argument's name says that it holds the numbers of the tasks that are there."""
    return _any(name, ("ids", "indices")) and is_one_of(name, ("task", "head", "loss", *MASK_NAMES))


def tells_task(name: str) -> bool:
    """Whether an argument's name says that it holds a number, as of a task, one or for each of several samples."""
    counted = ("sample", "batch", "step", "epoch", "iter", "round")
    return _any(name, ("id", "idx", "index", "ids", "indices")) and not is_one_of(name, counted)


def is_one_of(name: str, words: Sequence[str]) -> bool:
    """Whether one of ``words`` is in ``name``."""
    return any(word in name.lower() for word in words)


def _any(name: str, words: Sequence[str]) -> bool:
    """Whether one of ``words`` is in ``name``; a short one only as a part of its own, with or without a number."""
    lowered = name.lower()
    parts = [part.rstrip("0123456789") for part in lowered.split("_")]
    return any(word in parts if len(word) <= 3 else word in lowered for word in words)


def fields_of(record: Any) -> tuple[str, ...]:
    """Names of the fields of a dataclass, a named tuple or a typed dictionary that are no numbers or texts."""
    if not isinstance(record, type):
        return ()
    if dataclasses.is_dataclass(record):
        kinds = {field.name: field.type for field in dataclasses.fields(record)}
    elif hasattr(record, "_fields") or typing.is_typeddict(record):
        kinds = getattr(record, "__annotations__", None) or dict.fromkeys(getattr(record, "_fields", ()), "")
    else:
        return ()
    return tuple(name for name, kind in kinds.items() if not _says_number(kind))


def _record(function: Callable[..., Any], argument: str) -> type | None:
    """The class of ``argument`` by its annotation, if it has fields for tasks."""
    try:
        hint = typing.get_type_hints(inspect.unwrap(function)).get(argument)
    except Exception:  # names that exist for the type checker alone
        return None
    return hint if len(fields_of(hint)) > 1 else None


def _is_number(parameter: inspect.Parameter) -> bool:
    if isinstance(parameter.default, int | float | str | bool):
        return True
    return _says_number(parameter.annotation)


def _says_number(annotation: Any) -> bool:
    name = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))
    return name.replace("| None", "").strip() in ("int", "float", "str", "bool")
