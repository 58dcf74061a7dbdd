"""Forms in which losses and presence are handed over, and the conventions made of them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from aura_study.audit.calls.asked import SAMPLES
from aura_study.audit.calls.construct import task_names
from aura_study.audit.calls.methods import EPOCH_ENDS, UPDATES, asked_for_nothing, function_of
from aura_study.audit.calls.shared import SharedLayer
from aura_study.audit.calls.signature import Signature, is_shared, tells_task
from aura_study.audit.calls.subject import Convention, Subject
from aura_study.audit.calls.totals import Losses
from aura_study.audit.marks import MARK_TEXT, Absence

MASK_KINDS: dict[str, Callable[[Tensor, Sequence[str]], Any]] = {
    "bool": lambda present, tasks: present,
    "float": lambda present, tasks: present.float(),
    "list": lambda present, tasks: present.tolist(),
    "flags by name": lambda present, tasks: dict(zip(tasks, present.tolist(), strict=True)),
    "names of the present": lambda present, tasks: [t for t, here in zip(tasks, present.tolist(), strict=True) if here],
    "places of the present": lambda present, tasks: present.nonzero()[:, 0].tolist(),
    "True for the absent": lambda present, tasks: ~present,
}
ALONE = "places of the present, whose losses alone are handed over"
PLACES: dict[str, Callable[[Tensor, Sequence[str]], Any]] = {
    "places of the present": lambda present, tasks: present.nonzero()[:, 0],
    ALONE: lambda present, tasks: present.nonzero()[:, 0],
}
MATRIX_MASKS: dict[str, Callable[[Tensor, Sequence[str]], Any]] = {
    "samples by tasks": lambda present, tasks: present.expand(SAMPLES, -1),
    "samples by tasks, float": lambda present, tasks: present.float().expand(SAMPLES, -1),
    **{kind: MASK_KINDS[kind] for kind in ("bool", "float", "list")},
}


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
    fits: Callable[[Signature, Sequence[str]], bool]
    marks: frozenset[Absence]
    one_argument: bool = True


_FILLED = frozenset({Absence.ZERO, Absence.TINY, Absence.NAN, Absence.SENTINEL})
_LISTED = _FILLED | {Absence.NONE, Absence.EMPTY}
_SHORT = _LISTED | {Absence.SHORTER}
_NAMED = _LISTED | {Absence.OMIT}
_MASKED = frozenset({Absence.MASK, Absence.NAN})
CALL_FORMS = {
    "varargs": CallForm("*losses", lambda losses: ([*losses.values()], {}), Signature.takes_each, _LISTED, False),
    "keywords": CallForm("**losses", lambda losses: ([], dict(losses)), Signature.takes_keywords, _NAMED, False),
    "mapping": CallForm("{name: loss}", lambda losses: ([dict(losses)], {}), Signature.takes_one, _NAMED),
    "nested": CallForm(
        "{'losses': {name: loss}}", lambda losses: ([{"losses": dict(losses)}], {}), Signature.takes_one, _NAMED
    ),
    "record": CallForm(
        "Losses(name=loss)",
        lambda losses: ([SimpleNamespace(**losses)], {}),
        lambda shape, tasks: shape.takes_one(tasks) and all(map(str.isidentifier, tasks)),
        _NAMED,
    ),
    "parts": CallForm(
        "{name: {'loss': loss}}",
        lambda losses: ([{name: {"loss": loss} for name, loss in losses.items()}], {}),
        Signature.takes_one,
        _NAMED,
    ),
    "pairs": CallForm("[(name, loss)]", lambda losses: ([[*losses.items()]], {}), Signature.takes_one, _NAMED),
    "list": CallForm("[losses]", lambda losses: ([[*losses.values()]], {}), Signature.takes_one, _SHORT),
    "numbered": CallForm(
        "{number: loss}",
        lambda losses: ([{int(name.removeprefix("task_")): loss for name, loss in losses.items()}], {}),
        lambda shape, tasks: shape.takes_one(tasks) and tuple(tasks) == task_names(len(tasks)),
        _NAMED,
    ),
    "stacked": CallForm(
        "torch.stack(losses)", lambda losses: ([_stacked(losses)], {}), Signature.takes_one, _FILLED | {Absence.SHORTER}
    ),
    "nothing": CallForm("", lambda losses: ([], {}), Signature.takes_nothing, _FILLED | {Absence.OMIT}, False),
    "matrix": CallForm(
        "losses.expand(samples, tasks)",
        lambda losses: ([_stacked(losses).expand(SAMPLES, -1)], {}),
        Signature.takes_matrix,
        _FILLED,
    ),
}
FORMS_WITH_MASK = [form for form, how in CALL_FORMS.items() if how.one_argument]


def _stacked(losses: Losses) -> Tensor:
    return torch.stack([loss for loss in losses.values() if loss is not None])


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, int | float) else f"<{type(value).__name__}>"


def mask_kinds(form: str, mask: str) -> dict[str, Callable[[Tensor, Sequence[str]], Any]]:
    """Kinds of mask that go with losses in ``form`` and with the argument's name, the likeliest first."""
    if tells_task(mask):
        return {**PLACES, **MASK_KINDS}
    return MATRIX_MASKS if form == "matrix" else MASK_KINDS


def built_in(
    method: str,
    form: str,
    shape: Signature,
    tasks: int,
    mask: str | None = None,
    kind: str = "bool",
    bare: bool = False,
) -> Convention:
    """Convention that calls ``method`` with the losses in ``form``; with a mask of one ``kind`` where it is named.

    Other required arguments are filled with numbers, or with a layer of ``tasks`` weights that the losses go through
    (its weight, if ``bare``).
    """
    how = CALL_FORMS[form]
    named_fields = form == "record"
    text = how.text.replace("Losses", shape.record.__name__) if named_fields and shape.record else how.text
    fill = shape.fillers(mask, 1 if how.one_argument else tasks) or {}
    alone = "" if shape.positional or not how.one_argument or shape.star else shape.first
    shared = [name for name in fill if is_shared(name) and not shape.is_number(name)]
    layer = SharedLayer(tasks) if shared else None
    shown = {name: "shared" if name in shared else _shown(value(layer)) for name, value in fill.items()}
    extra = "".join(f", {name}={value}" for name, value in shown.items())
    extra += f", {mask}=mask" if mask else ", mask" if mask is not None else ""

    def invoke(module: Any, losses: Losses, present: Tensor) -> Any:
        told = None if mask is None else mask_kinds(form, mask)[kind](present, list(losses))
        if kind == ALONE:
            losses = {task: loss for (task, loss), here in zip(losses.items(), present, strict=True) if here}
        arguments, keywords = ([shape.record(**losses)], {}) if named_fields and shape.record else how.pack(losses)
        if alone:
            keywords, arguments = {alone: arguments[0]}, []
        keywords = {name: value(layer.weight if bare and layer else layer) for name, value in fill.items()} | keywords
        if mask:
            keywords[mask] = told
        elif mask is not None:
            arguments.append(told)
        return function_of(module, method)(*arguments, **keywords)

    optional = shape.optional if form == "keywords" else frozenset()
    says = {Absence.MASK: "neither its number nor its loss is handed over"} if kind == ALONE else {}
    if optional:
        only = f"; only of {', '.join(sorted(optional))}, the others are required"
        says |= {mark: MARK_TEXT[mark] + only for mark in (Absence.NONE, Absence.OMIT)}
    doubtful = [name for name in fill if not shape.is_number(name) and name not in shared]
    handed = "" if kind in ("bool", "float", "list") or mask is None else f"the mask holds the {kind}"
    guess = f"its argument {doubtful[0]!r} was taken for a number (1)" if doubtful else handed
    return Convention(
        f"{'' if method == '__call__' else method + ':'}{form}{'' if mask is None else '+mask'}",
        f"module{'' if method == '__call__' else '.' + method}({alone and alone + '='}{text}{extra})",
        invoke,
        _MASKED - ({Absence.NAN} if kind == ALONE else set()) if mask is not None else how.marks,
        mask is not None,
        guess,
        mask is not None and mask not in {name for name, telling in shape.masks() if telling},
        says,
        shared=layer,
        optional=optional,
    )


def one_a_call(method: str, shape: Signature, tasks: Sequence[str]) -> Iterator[Convention]:
    """Conventions that call ``method`` once for each task, with its name, or its number, and its loss."""
    if (pair := shape.one_task()) is None:
        return
    key, value = pair

    def invoke(module: Any, losses: Losses, present: Tensor, places: bool) -> Any:
        called = function_of(module, method)
        given = {list(tasks).index(task) if places else task: loss for task, loss in losses.items()}
        terms = [called(**{key: name, value: loss}) for name, loss in given.items()]
        finish = [name for name in asked_for_nothing(module) if terms and all(term is None for term in terms)]
        return function_of(module, finish[-1])() if finish else sum(terms)

    for places in (False, True):
        named = "" if method == "__call__" else "." + method
        yield Convention(
            f"{'' if method == '__call__' else method + ':'}each",
            f"sum of module{named}({key}={'number' if places else 'name'}, {value}=loss)",
            partial(invoke, places=places),
            _FILLED | {Absence.OMIT},
            False,
        )


EPOCH = 5


def hooks(module: Any, convention: Convention) -> list[Callable[[Subject, Mapping[str, Tensor | None]], None]]:
    """What a module wants after each step, given the losses anew, and at the end of an epoch of `EPOCH` steps."""
    found: list[Callable[[Subject, Mapping[str, Tensor | None]], None]] = []
    form = convention.name.rpartition(":")[2].removesuffix("+mask")
    for name in (*UPDATES, *EPOCH_ENDS):
        own = any(name in vars(base) for base in type(module).__mro__ if not base.__module__.startswith("torch"))
        if not own or name == convention.method or not callable(getattr(module, name, None)):
            continue
        shape = Signature.of(getattr(module, name))
        if shape.required == 0:
            found.append(partial(_end_epoch, name))
        elif shape.required == 1 and form in CALL_FORMS:
            found.append(partial(_update, name, CALL_FORMS[form]))
    return found


def _end_epoch(name: str, subject: Subject, losses: Losses) -> None:
    if subject.step % EPOCH == 0:
        getattr(subject.made.module, name)()


def _update(name: str, how: CallForm, subject: Subject, losses: Losses) -> None:
    arguments, _ = how.pack(losses)
    getattr(subject.made.module, name)(arguments[0] if how.one_argument else list(losses.values()))
