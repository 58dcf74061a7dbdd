"""How a weighting is called and how it is told that a task is absent.

A *mark* is one way to say that a task is absent from a step; a *convention* is one way to hand the losses over. Neither
is declared anywhere in a user's code, so both are found by trial; an adapter of one line replaces the trial.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import torch
from torch import Tensor, nn

Losses = Mapping[str, Tensor | None]


class Absence(StrEnum):
    """A way of marking a task absent."""

    ZERO = "zero"
    TINY = "tiny"
    NONE = "none"
    OMIT = "omit"
    MASK = "mask"
    NAN = "nan"


MARK_TEXT = {
    Absence.ZERO: "its loss is 0",
    Absence.TINY: "its loss is 1e-8",
    Absence.NONE: "its loss is None",
    Absence.OMIT: "its key is left out",
    Absence.MASK: "a presence mask is False for it (its loss 0)",
    Absence.NAN: "its loss is NaN, as the mean over an empty selection is",
}

MASK_NAMES = ("mask", "present", "presence", "active", "valid", "available", "exist", "has_")
METHODS = (
    "backward", "combine", "compute", "compute_loss", "get_loss", "get_weighted_loss", "loss", "total", "total_loss",
    "weigh", "weighted_loss", "weighted_sum",
)  # fmt: skip
FORMS = ("varargs", "keywords", "mapping", "list", "stacked")
FORM_TEXT = {
    "varargs": "*losses",
    "keywords": "**losses",
    "mapping": "{name: loss}",
    "list": "[losses]",
    "stacked": "torch.stack(losses)",
}
NAMED_FORMS = ("mapping", "keywords")
MASK_KINDS: dict[str, Callable[[Tensor, Sequence[str]], Any]] = {
    "bool": lambda present, tasks: present,
    "float": lambda present, tasks: present.float(),
    "list": lambda present, tasks: present.tolist(),
    "names": lambda present, tasks: dict(zip(tasks, present.tolist(), strict=True)),
}


@dataclass(frozen=True)
class Convention:
    """One way to call a weighting.

    Attributes:
        name: as ``audit(call=...)`` and ``--call`` take it, such as ``"list"`` or ``"backward:stacked+mask"``.
        text: the call as Python, for the report.
        invoke: calls a module with the losses by name (None or missing where the mark says so) and the presence,
            boolean ``(tasks,)``.
        marks: the marks of absence that this way of calling can express.
        masked: whether presence is handed over as a mask.
        guessed_mask: whether the mask's argument was recognised by its place alone, not by its name.
    """

    name: str
    text: str
    invoke: Callable[[Any, Losses, Tensor], Any]
    marks: frozenset[Absence]
    masked: bool
    guessed_mask: bool = False


def adapter(call: Callable[..., Any]) -> Convention:
    """Convention of a user's own ``call(module, losses)`` or ``call(module, losses, present)``.

    ``losses`` is a dict of scalars by task name, in the tasks' order; the absent task's value is what the mark says
    (0, 1e-8, NaN, None, or no key). ``present`` is a boolean tensor ``(tasks,)``.

    Raises:
        TypeError: a ``call`` that takes neither two nor three positional arguments.
    """
    counts = [count for count in (2, 3) if _can_bind(call, count)]
    if not counts:
        raise TypeError("call must take (module, losses) or (module, losses, present)")
    masked = counts[-1] == 3
    marks = frozenset(Absence) if masked else frozenset(Absence) - {Absence.MASK}
    name = getattr(call, "__name__", type(call).__name__)
    text = f"call(module, losses{', present' if masked else ''})"

    def invoke(module: Any, losses: Losses, present: Tensor) -> Any:
        return call(module, losses, present) if masked else call(module, losses)

    return Convention(f"adapter {name}", text, invoke, marks, masked)


def candidates(module: Any, tasks: Sequence[str]) -> Iterator[Convention]:
    """Conventions that the signatures of ``module`` and of its methods allow, the likeliest first."""
    for method in _methods(module):
        function = getattr(module, method) if method != "__call__" else getattr(module, "forward", module)
        shape = _Signature.of(function)
        for form in FORMS:
            if shape.allows(form, tasks):
                yield built_in(method, form)
        for form in FORMS:
            keyword = None if form in ("varargs", "keywords") else shape.mask()
            # A second argument without a telling name is a mask only where the two are not two tasks' losses.
            if keyword or (keyword == "" and not shape.allows("varargs", tasks)):
                for kind in MASK_KINDS:
                    yield built_in(method, form, keyword, kind)


def named(name: str, module: Any) -> Iterator[Convention]:
    """Conventions with one of the names of `candidates`: ``[method:]form[+mask]``.

    Raises:
        ValueError: a form that is not one of ``FORMS``, or a method that ``module`` does not have.
    """
    method, _, rest = name.rpartition(":")
    form, _, suffix = rest.partition("+")
    method = method or "__call__"
    if form not in FORMS or suffix not in ("", "mask"):
        raise ValueError(f"unknown call {name!r}: give [METHOD:]FORM or [METHOD:]FORM+mask, FORM one of {list(FORMS)}")
    if not callable(getattr(module, method, None)):
        raise ValueError(f"{type(module).__name__} has no method {method!r}")
    if not suffix:
        yield built_in(method, form)
        return
    function = getattr(module, method) if method != "__call__" else getattr(module, "forward", module)
    for kind in MASK_KINDS:
        yield built_in(method, form, _Signature.of(function).mask() or "", kind)


def built_in(method: str, form: str, keyword: str | None = None, kind: str = "bool") -> Convention:
    """Convention that calls ``method`` with the losses in ``form``; a mask where ``keyword`` is not None.

    An empty ``keyword`` passes the mask as the second positional argument.
    """
    masked = keyword is not None
    prefix = "" if method == "__call__" else f"{method}:"
    target = "module" if method == "__call__" else f"module.{method}"
    mask_text = "" if keyword is None else f", {keyword}=mask" if keyword else ", mask"
    marks = {Absence.ZERO, Absence.TINY, Absence.NAN}
    if form != "stacked":
        marks.add(Absence.NONE)
    if form in NAMED_FORMS:
        marks.add(Absence.OMIT)
    if masked:
        marks = {Absence.MASK, Absence.NAN}

    def invoke(module: Any, losses: Losses, present: Tensor) -> Any:
        function = module if method == "__call__" else getattr(module, method)
        tasks = list(losses)
        arguments, keywords = _pack(form, losses)
        if keyword is not None:
            mask = MASK_KINDS[kind](present, tasks)
            if keyword:
                keywords[keyword] = mask
            else:
                arguments.append(mask)
        return function(*arguments, **keywords)

    return Convention(
        f"{prefix}{form}{'+mask' if masked else ''}",
        f"{target}({FORM_TEXT[form]}{mask_text})",
        invoke,
        frozenset(marks),
        masked,
        keyword == "",
    )


def _pack(form: str, losses: Losses) -> tuple[list[Any], dict[str, Any]]:
    values = list(losses.values())
    if form == "varargs":
        return values, {}
    if form == "keywords":
        return [], dict(losses)
    if form == "mapping":
        return [dict(losses)], {}
    if form == "list":
        return [values], {}
    return [torch.stack([value for value in values if value is not None])], {}


def _methods(module: Any) -> Iterator[str]:
    forward = getattr(type(module), "forward", None)
    has_forward = forward is not None and forward is not nn.Module.forward
    if callable(module) and (has_forward or not isinstance(module, nn.Module)):
        yield "__call__"
    for method in METHODS:
        if callable(getattr(module, method, None)):
            yield method


def _can_bind(function: Callable[..., Any], count: int) -> bool:
    try:
        inspect.signature(function).bind(*range(count))
    except (TypeError, ValueError):
        return False
    return True


def looks_like_mask(name: str) -> bool:
    """Whether an argument's name says that it is a presence mask."""
    return any(word in name.lower() for word in MASK_NAMES)


@dataclass(frozen=True)
class _Signature:
    """What can be told from a signature: positional names, how many are required, ``*`` and ``**``."""

    positional: tuple[str, ...] = ()
    required: int = 0
    keyword_only: tuple[str, ...] = ()
    star: bool = True
    double_star: bool = True

    @classmethod
    def of(cls, function: Callable[..., Any]) -> "_Signature":
        try:
            parameters = inspect.signature(function).parameters.values()
        except (TypeError, ValueError):
            return cls()
        kinds = inspect.Parameter
        positional = [p for p in parameters if p.kind in (kinds.POSITIONAL_ONLY, kinds.POSITIONAL_OR_KEYWORD)]
        return cls(
            tuple(p.name for p in positional),
            sum(p.default is kinds.empty for p in positional),
            tuple(p.name for p in parameters if p.kind == kinds.KEYWORD_ONLY),
            any(p.kind == kinds.VAR_POSITIONAL for p in parameters),
            any(p.kind == kinds.VAR_KEYWORD for p in parameters),
        )

    def allows(self, form: str, tasks: Sequence[str]) -> bool:
        """Whether the losses can be handed over in ``form``, nothing else being required."""
        if form == "varargs":
            one_each = len(tasks) > 1 and self.required <= len(tasks) <= len(self.positional)
            return self.star or (one_each and not any(map(looks_like_mask, self.positional[: len(tasks)])))
        if form == "keywords":
            return self.double_star or set(tasks) <= {*self.positional, *self.keyword_only}
        return bool(self.positional or self.star) and self.required <= 1

    def mask(self) -> str | None:
        """Name of the mask argument, ``""`` for an unnamed second one, None if there is none."""
        names = (*self.positional[1:], *self.keyword_only)
        for name in names:
            if looks_like_mask(name):
                others = self.required - 1 - (name in self.positional[1 : self.required])
                return name if others <= 0 else None
        return "" if self.required == 2 and len(self.positional) == 2 else None
