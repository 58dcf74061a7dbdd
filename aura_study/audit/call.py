"""Ways to call a weighting, and the subjects that are ready because one of them worked.

A *convention* is one way to hand the losses over: a method, a form, with or without a presence mask. None is declared
anywhere in a user's code, so they are found by trial; an adapter of one line replaces the trial.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from aura_study.audit.laboratory import AuditedCodeError, CannotAudit, audited_code
from aura_study.audit.make import DEFAULT_TASKS, Made, task_names
from aura_study.audit.marks import Absence
from aura_study.audit.subject import Convention, Losses, Subject

ADAPT = (
    "Say how it is called in one line: audit(make, tasks=[...], call=lambda module, losses: ...), where losses is a "
    "dict of scalars by task name and the result is the total (or one weight per task); a third argument `present` "
    "takes a mask. Or audit a function of no arguments that returns the module."
)
TASK_ATTRIBUTES = ("tasks", "task_names", "names", "task_list")
MASK_NAMES = ("mask", "present", "presence", "active", "valid", "available", "exist", "has_")
METHODS = (
    "backward", "combine", "compute", "compute_loss", "get_loss", "get_weighted_loss", "loss", "total", "total_loss",
    "weigh", "weighted_loss", "weighted_sum",
)  # fmt: skip
MASK_KINDS: dict[str, Callable[[Tensor, Sequence[str]], Any]] = {
    "bool": lambda present, tasks: present,
    "float": lambda present, tasks: present.float(),
    "list": lambda present, tasks: present.tolist(),
    "names": lambda present, tasks: dict(zip(tasks, present.tolist(), strict=True)),
}


def ready_subjects(
    made: Mapping[str, Made | str], tasks: Sequence[str], given: bool, call: Callable[..., Any] | str | None
) -> list[Subject]:
    """Subjects that were called once with all tasks present and gave a total, one for each way to call that does.

    They are of the first module that can be called at all.

    Args:
        made: as `make_in_every_way` hands it on.
        tasks: names.
        given: whether the user gave them; others are tried if not.
        call: as `audit` takes it.

    Raises:
        CannotAudit: nothing could be made and called; says what was tried.
    """
    failures: list[str] = []
    for text, one in made.items():
        if isinstance(one, str):
            failures.append(f"{text}: {one}")
            continue
        for names in [tuple(tasks)] if one.way.told or given else task_guesses(one):
            ready: dict[str, Subject] = {}
            for convention in _conventions(call, one.module, names):
                if convention.name in ready:
                    continue  # a mask of another kind
                try:
                    with audited_code():
                        subject = Subject(one.way, convention, names)
                        subject.probe()
                        ready[convention.name] = subject
                except AuditedCodeError as error:
                    failures.append(f"{text}, {len(names)} tasks, {convention.text}: {error}")
            if ready:
                return list(ready.values())
    shown = list(dict.fromkeys(failures))[:8] or ["nothing to call was found"]
    raise CannotAudit("No way of calling it gave a total:\n  " + "\n  ".join(shown), ADAPT)


def _conventions(call: Callable[..., Any] | str | None, module: Any, names: Sequence[str]) -> Iterable[Convention]:
    if call is None:
        return candidates(module, names)
    return named(call, module) if isinstance(call, str) else [adapter(call)]


def task_guesses(made: Made) -> list[tuple[str, ...]]:
    """Task names or numbers that a module made without any hint may want."""
    module, leaves = made.module, made.leaves
    guesses: list[tuple[str, ...]] = []
    for attribute in TASK_ATTRIBUTES:
        value = getattr(module, attribute, None)
        if isinstance(value, list | tuple) and len(value) > 1 and all(isinstance(name, str) for name in value):
            guesses.append(tuple(value))
    for held in vars(module).get("_modules", {}).values() if isinstance(module, nn.Module) else ():
        if isinstance(held, nn.ParameterDict | nn.ModuleDict) and len(held) > 1:
            guesses.append(tuple(held))
    counts = [leaf.numel() for leaf in leaves if leaf.numel() > 1] + [len(leaves)]
    guesses += [task_names(count) for count in (*counts, DEFAULT_TASKS, 2, 4) if 1 < count <= 64]
    return list(dict.fromkeys(guesses))


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
        shape = _Signature.of(module, method)
        for form, how in CALL_FORMS.items():
            if how.fits(shape, tasks):
                yield built_in(method, form)
        keyword = shape.mask()
        # A second argument without a telling name is a mask only where the two are not two tasks' losses.
        if keyword or (keyword == "" and not shape.takes_each(tasks)):
            for form, how in CALL_FORMS.items():
                if how.one_argument:
                    yield from (built_in(method, form, keyword, kind) for kind in MASK_KINDS)


def named(name: str, module: Any) -> Iterator[Convention]:
    """Conventions with one of the names of `candidates`: ``[method:]form[+mask]``.

    Raises:
        ValueError: a form that is not one of ``CALL_FORMS``, or a method that ``module`` does not have.
    """
    method, _, rest = name.rpartition(":")
    form, _, suffix = rest.partition("+")
    method = method or "__call__"
    if form not in CALL_FORMS or suffix not in ("", "mask"):
        forms = list(CALL_FORMS)
        raise ValueError(f"unknown call {name!r}: give [METHOD:]FORM or [METHOD:]FORM+mask, FORM one of {forms}")
    if not callable(getattr(module, method, None)):
        raise ValueError(f"{type(module).__name__} has no method {method!r}")
    if not suffix:
        yield built_in(method, form)
        return
    keyword = _Signature.of(module, method).mask() or ""
    yield from (built_in(method, form, keyword, kind) for kind in MASK_KINDS)


def built_in(method: str, form: str, keyword: str | None = None, kind: str = "bool") -> Convention:
    """Convention that calls ``method`` with the losses in ``form``; a mask where ``keyword`` is not None.

    An empty ``keyword`` passes the mask as the second positional argument.
    """
    masked = keyword is not None
    prefix = "" if method == "__call__" else f"{method}:"
    target = "module" if method == "__call__" else f"module.{method}"
    mask_text = "" if keyword is None else f", {keyword}=mask" if keyword else ", mask"
    how = CALL_FORMS[form]

    def invoke(module: Any, losses: Losses, present: Tensor) -> Any:
        function = module if method == "__call__" else getattr(module, method)
        tasks = list(losses)
        arguments, keywords = how.pack(losses)
        if keyword is not None:
            mask = MASK_KINDS[kind](present, tasks)
            if keyword:
                keywords[keyword] = mask
            else:
                arguments.append(mask)
        return function(*arguments, **keywords)

    return Convention(
        f"{prefix}{form}{'+mask' if masked else ''}",
        f"{target}({how.text}{mask_text})",
        invoke,
        frozenset({Absence.MASK, Absence.NAN}) if masked else how.marks,
        masked,
        keyword == "",
    )


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
    def of(cls, module: Any, method: str) -> "_Signature":
        function = getattr(module, method) if method != "__call__" else getattr(module, "forward", module)
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

    def takes_each(self, tasks: Sequence[str]) -> bool:
        """Whether every loss can be an argument of its own, nothing else being required."""
        one_each = len(tasks) > 1 and self.required <= len(tasks) <= len(self.positional)
        return self.star or (one_each and not any(map(looks_like_mask, self.positional[: len(tasks)])))

    def takes_keywords(self, tasks: Sequence[str]) -> bool:
        """Whether every task is the name of an argument."""
        return self.double_star or set(tasks) <= {*self.positional, *self.keyword_only}

    def takes_one(self, tasks: Sequence[str]) -> bool:
        """Whether all losses can be handed over in one argument, nothing else being required."""
        return bool(self.positional or self.star) and self.required <= 1

    def mask(self) -> str | None:
        """Name of the mask argument, ``""`` for an unnamed second one, None if there is none."""
        names = (*self.positional[1:], *self.keyword_only)
        for name in names:
            if looks_like_mask(name):
                others = self.required - 1 - (name in self.positional[1 : self.required])
                return name if others <= 0 else None
        return "" if self.required == 2 and len(self.positional) == 2 else None


@dataclass(frozen=True)
class CallForm:
    """One form in which the losses can be handed over.

    Attributes:
        text: as Python, for the report.
        pack: positional and keyword arguments from the losses by name.
        fits: whether a signature takes the losses of these tasks so.
        marks: the marks of absence that it can express without a mask.
        one_argument: whether the losses are one argument, beside which a mask has its place.
    """

    text: str
    pack: Callable[[Losses], tuple[list[Any], dict[str, Any]]]
    fits: Callable[[_Signature, Sequence[str]], bool]
    marks: frozenset[Absence]
    one_argument: bool = True


_FILLED = frozenset({Absence.ZERO, Absence.TINY, Absence.NAN})
_LISTED = _FILLED | {Absence.NONE}
_NAMED = _LISTED | {Absence.OMIT}
CALL_FORMS = {
    "varargs": CallForm("*losses", lambda losses: ([*losses.values()], {}), _Signature.takes_each, _LISTED, False),
    "keywords": CallForm("**losses", lambda losses: ([], dict(losses)), _Signature.takes_keywords, _NAMED, False),
    "mapping": CallForm("{name: loss}", lambda losses: ([dict(losses)], {}), _Signature.takes_one, _NAMED),
    "list": CallForm("[losses]", lambda losses: ([[*losses.values()]], {}), _Signature.takes_one, _LISTED),
    "stacked": CallForm("torch.stack(losses)", lambda losses: ([_stacked(losses)], {}), _Signature.takes_one, _FILLED),
}


def _stacked(losses: Losses) -> Tensor:
    return torch.stack([loss for loss in losses.values() if loss is not None])
