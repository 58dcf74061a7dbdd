"""Forms in which losses and presence are handed over, and the conventions made of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from aura_study.audit.calls.methods import EPOCH_ENDS, UPDATES
from aura_study.audit.calls.signature import PREDICTION_NAMES, TARGET_NAMES, Signature, looks_like_mask
from aura_study.audit.calls.subject import Convention, Subject
from aura_study.audit.calls.totals import Losses
from aura_study.audit.marks import Absence

SAMPLES = 5
MASK_KINDS: dict[str, Callable[[Tensor, Sequence[str]], Any]] = {
    "bool": lambda present, tasks: present,
    "float": lambda present, tasks: present.float(),
    "list": lambda present, tasks: present.tolist(),
    "flags by name": lambda present, tasks: dict(zip(tasks, present.tolist(), strict=True)),
    "names of the present": lambda present, tasks: [t for t, here in zip(tasks, present.tolist(), strict=True) if here],
    "places of the present": lambda present, tasks: present.nonzero()[:, 0].tolist(),
    "True for the absent": lambda present, tasks: ~present,
    "samples by tasks": lambda present, tasks: present.expand(SAMPLES, -1),
    "samples by tasks, float": lambda present, tasks: present.float().expand(SAMPLES, -1),
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
CALL_FORMS = {
    "varargs": CallForm("*losses", lambda losses: ([*losses.values()], {}), Signature.takes_each, _LISTED, False),
    "keywords": CallForm("**losses", lambda losses: ([], dict(losses)), Signature.takes_keywords, _NAMED, False),
    "mapping": CallForm("{name: loss}", lambda losses: ([dict(losses)], {}), Signature.takes_one, _NAMED),
    "list": CallForm("[losses]", lambda losses: ([[*losses.values()]], {}), Signature.takes_one, _SHORT),
    "stacked": CallForm(
        "torch.stack(losses)", lambda losses: ([_stacked(losses)], {}), Signature.takes_one, _FILLED | {Absence.SHORTER}
    ),
    "matrix": CallForm(
        "losses.expand(samples, tasks)",
        lambda losses: ([_stacked(losses).expand(SAMPLES, -1)], {}),
        Signature.takes_matrix,
        _FILLED,
    ),
}
FORMS_WITH_MASK = [form for form, how in CALL_FORMS.items() if how.one_argument]
PREDICTIONS = "predictions"
"""Name of the form in which a module is handed predictions, targets and masks."""


def _stacked(losses: Losses) -> Tensor:
    return torch.stack([loss for loss in losses.values() if loss is not None])


def function_of(module: Any, method: str) -> Callable[..., Any]:
    """What is called; a module itself for ``"__call__"``."""
    function: Callable[..., Any] = module if method == "__call__" else getattr(module, method)
    return function


def built_in(method: str, form: str, shape: Signature, mask: str | None = None, kind: str = "bool") -> Convention:
    """Convention that calls ``method`` with the losses in ``form``; with a mask of one ``kind`` where it is named.

    Other required arguments are filled with numbers.
    """
    how = CALL_FORMS[form]
    fill = (shape.fillers(mask) or {}) if how.one_argument else {}
    alone = "" if shape.positional or not how.one_argument or shape.star else shape.first
    extra = "".join(f", {name}={value():g}" for name, value in fill.items())
    extra += f", {mask}=mask" if mask else ", mask" if mask is not None else ""

    def invoke(module: Any, losses: Losses, present: Tensor) -> Any:
        arguments, keywords = how.pack(losses)
        if alone:
            keywords, arguments = {alone: arguments[0]}, []
        keywords |= {name: value() for name, value in fill.items()}
        if mask:
            keywords[mask] = MASK_KINDS[kind](present, list(losses))
        elif mask is not None:
            arguments.append(MASK_KINDS[kind](present, list(losses)))
        return function_of(module, method)(*arguments, **keywords)

    doubtful = [name for name in fill if not shape.is_number(name)]
    handed = "" if kind in ("bool", "float", "list") or mask is None else f"the mask holds the {kind}"
    guess = f"its argument {doubtful[0]!r} was taken for a number (1)" if doubtful else handed
    return Convention(
        f"{'' if method == '__call__' else method + ':'}{form}{'' if mask is None else '+mask'}",
        f"module{'' if method == '__call__' else '.' + method}({alone and alone + '='}{how.text}{extra})",
        invoke,
        frozenset({Absence.MASK, Absence.NAN}) if mask is not None else how.marks,
        mask is not None,
        guess,
        mask is not None and not looks_like_mask(mask),
    )


def from_predictions(method: str, shape: Signature) -> list[Convention]:
    """Conventions for a module that is handed predictions and targets by task name, and computes its losses itself.

    A loss L is given by predictions of L ** 0.5 against targets of 0, so that a squared error is L; for a criterion of
    classes, by logits whose cross-entropy is L.
    """
    names = shape.positional[: shape.required] + shape.keyword_required
    if len(names) < 2:
        return []
    prediction = next((name for name in names if _is_one_of(name, PREDICTION_NAMES)), None)
    target = next((name for name in names if _is_one_of(name, TARGET_NAMES) and name != prediction), None)
    masks = [name for name in (*shape.positional, *shape.keyword_only) if looks_like_mask(name)]
    if prediction is None or target is None or any(n not in (prediction, target, *masks) for n in names):
        return []
    return [_predicted(method, prediction, target, masks[:1], *pair) for pair in _GIVEN.items()]


def _is_one_of(name: str, words: Sequence[str]) -> bool:
    return any(word in name.lower() for word in words)


def _numbers(loss: Tensor) -> tuple[Tensor, Tensor]:
    prediction = torch.sqrt(loss.clamp(min=1e-12)).expand(SAMPLES)
    return prediction, torch.zeros(SAMPLES, dtype=loss.dtype, device=loss.device)


def _logits(loss: Tensor) -> tuple[Tensor, Tensor]:
    score = -torch.log(torch.expm1(loss.clamp(min=1e-6)))
    return torch.stack([score, torch.zeros_like(score)]).expand(SAMPLES, 2), torch.zeros(SAMPLES, dtype=torch.long)


_GIVEN = {"numbers": _numbers, "logits": _logits}


def _predicted(method: str, prediction: str, target: str, masks: Sequence[str], kind: str, give: Any) -> Convention:
    def invoke(module: Any, losses: Losses, present: Tensor) -> Any:
        given = {task: give(loss) for task, loss in losses.items() if loss is not None}
        keywords: dict[str, Any] = {
            prediction: {task: pair[0] for task, pair in given.items()},
            target: {task: pair[1] for task, pair in given.items()},
        }
        for mask in masks:
            flags = dict(zip(losses, present.float(), strict=True))
            keywords[mask] = {task: flags[task].expand(SAMPLES) for task in given}
        return function_of(module, method)(**keywords)

    marks = {Absence.OMIT, Absence.NAN} | ({Absence.MASK} if masks else set())
    text = ", ".join([f"{prediction}={{name: {kind}}}", f"{target}={{name: 0}}", *(f"{mask}=mask" for mask in masks)])
    return Convention(
        f"{'' if method == '__call__' else method + ':'}{PREDICTIONS}{'+mask' if masks else ''}",
        f"module{'' if method == '__call__' else '.' + method}({text})",
        invoke,
        frozenset(marks),
        bool(masks),
        f"it computes its losses itself: they were given by {kind} as predictions",
    )


EPOCH = 5


def hooks(module: Any, convention: Convention) -> list[Callable[[Subject, Mapping[str, Tensor | None]], None]]:
    """What a module wants after each step, given the losses anew, and at the end of an epoch of `EPOCH` steps."""
    found: list[Callable[[Subject, Mapping[str, Tensor | None]], None]] = []
    form = convention.name.rpartition(":")[2].removesuffix("+mask")
    for name in (*UPDATES, *EPOCH_ENDS):
        own = any(name in vars(base) for base in type(module).__mro__ if not base.__module__.startswith("torch"))
        if not own or not callable(getattr(module, name, None)):
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
