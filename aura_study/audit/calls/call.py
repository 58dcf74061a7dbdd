"""Ways to call a weighting, and the subjects that are ready because one of them worked.

A *convention* is one way to hand the losses over: a method, a form, with or without a presence mask. None is declared
anywhere in a user's code, so they are found by trial; an adapter of one line replaces the trial.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from aura_study.audit.calls.advice import ADAPT, advise
from aura_study.audit.calls.asked import asked_of
from aura_study.audit.calls.construct import COUNTS, task_names
from aura_study.audit.calls.forms import (
    CALL_FORMS,
    FORMS_WITH_MASK,
    built_in,
    hooks,
    mask_kinds,
    one_a_call,
)
from aura_study.audit.calls.held import moves_others
from aura_study.audit.calls.make import Made
from aura_study.audit.calls.methods import function_of, methods_of, shape_of
from aura_study.audit.calls.networks import NETWORK, from_network, names_in
from aura_study.audit.calls.predictions import PREDICTIONS, from_predictions
from aura_study.audit.calls.signature import Signature, fields_of
from aura_study.audit.calls.subject import CUT_OFF, Convention, Subject
from aura_study.audit.calls.totals import CutOff, Losses, Unusable
from aura_study.audit.laboratory import AuditedCodeError, CannotAudit, audited_code, say
from aura_study.audit.marks import Absence

ELSEWHERE = (
    "it moves the parameters of an optimiser that it was given, which no loss handed to it depends on: an adapter can "
    "hand it losses that do"
)
TASK_ATTRIBUTES = ("tasks", "task_names", "names", "task_list")


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
    cut_off = False
    for text, one in made.items():
        if isinstance(one, str):
            failures.append(f"{text}: {one}")
            continue
        if not callable(call) and moves_others(one.module):
            failures.append(f"{text}: {ELSEWHERE}")
            continue
        for names in [tuple(tasks)] if one.way.told or given else task_guesses(one, tasks):
            ready: dict[str, Subject] = {}
            for convention in _conventions(call, one.module, names):
                if ready and convention.method not in {subject.convention.method for subject in ready.values()}:
                    break  # what its other methods do is its own affair: nobody calls them
                known = ready.get(convention.name)
                if (known and known.heeds) or (convention.guessed_mask and _unmasked(ready)):
                    continue  # a mask of another kind; or no mask at all, since it can be called without
                say(f"trying {convention.text}")
                try:
                    with audited_code():
                        subject = _try(one, convention, names)
                        if subject.heeds or (known is None and not convention.guessed_mask):
                            ready[convention.name] = subject
                except AuditedCodeError as error:
                    cut_off = cut_off or isinstance(error.__cause__, CutOff)
                    failures.append(f"{text}, {len(names)} tasks, {convention.text}: {error}")
            if ready:
                return _by_sample(list(ready.values()))
    if cut_off:
        raise CannotAudit(f"A finding about it: {CUT_OFF}", "Hand the losses on as they are: torch.stack(losses).")
    shown = list(dict.fromkeys(failures))[:8] or [f"{', '.join(made)}: nothing to call was found"]
    reason = "No way of calling it gave a total:\n  " + "\n  ".join(shown)
    first = next((one for one in made.values() if isinstance(one, Made)), None)
    named = list(tasks) if given or first is None else next(task_guesses(first, tasks), tuple(tasks))
    raise CannotAudit(reason, advise(first, named) if first else ADAPT)


def _by_sample(subjects: list[Subject]) -> list[Subject]:
    """Those that hand over a matrix alone, where a vector mixes the tasks up and a matrix does not."""
    matrices = [subject for subject in subjects if ":matrix" in f":{subject.convention.name}"]
    vectors = [subject for subject in subjects if subject not in matrices]
    return matrices if matrices and vectors and _apart(matrices[0]) > _apart(vectors[0]) else subjects


def _apart(subject: Subject) -> int:
    """How far tasks are told apart: 0 if none moves a parameter, 1 if each pulls at what all pull at, 2 otherwise."""
    losses = {task: 0.5 + 0.25 * i for i, task in enumerate(subject.tasks)}
    first, second = (subject.own_entries(task, losses) for task in subject.tasks[:2])
    same = [index for index, _ in first] == [index for index, _ in second]
    mixed = same and all(bool((a == b).all()) for (_, a), (_, b) in zip(first, second, strict=True))
    return 0 if not (first or second) else 1 if mixed else 2


def _unmasked(ready: Mapping[str, Subject]) -> bool:
    return any(not subject.convention.masked for subject in ready.values())


def _try(one: Made, convention: Convention, names: Sequence[str]) -> Subject:
    """A subject that was called once; with what it wants after each step, if it takes that."""
    subject = Subject(one.way, convention, names)
    subject.probe()
    if convention.rows and _apart(subject) < 2:
        raise Unusable("its rows are no samples: every parameter is pulled at by all tasks")
    if subject.place is not None and subject.place.regulariser is not None:
        path = subject.place.regulariser
        where = "".join(f"[{key!r}]" for key in path)
        apart = bool(subject.pulls) and path[0] > 0  # what the method's own result holds comes first
        added = f"what {subject.pulls[path[0] - 1]}() gives" if apart else f"the scalar at {where} of its result"
        subject.convention = replace(convention, guessed=f"{added} was added to the total")
    subject.heeds = convention.masked and subject.heeds_mask(names[0])
    after = hooks(subject.made.module, convention)
    if after:
        second = subject.another()
        second.after = after
        try:
            with audited_code():
                for _ in range(6):
                    second.read(dict.fromkeys(names, 1.0))
            subject.after = after
        except AuditedCodeError:
            pass  # it is no end of a step
    return subject


def _conventions(call: Callable[..., Any] | str | None, module: Any, names: Sequence[str]) -> Iterable[Convention]:
    if call is None:
        return candidates(module, names)
    return named(call, module, names) if isinstance(call, str) else [adapter(call)]


def task_guesses(made: Made, first: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Task names or numbers that a module made without any hint may want; ``first`` if its arguments named them."""
    told = dict.fromkeys(guess for guess in _told(made, first) if len(guess) > 1)
    yield from told
    asked = dict.fromkeys(names for method in methods_of(made.module) for names in _asked(made, method)[:1])
    yield from (guess for guess in asked if len(guess) > 1 and guess not in told)


def _told(made: Made, first: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """By its arguments, attributes and parameters."""
    module, leaves = made.module, made.leaves
    if tuple(first) != task_names(None):
        yield tuple(first)
    if found := names_in(module):
        yield found
    yield from (_with_parameters(module, shape_of(module, method)) for method in methods_of(module))
    yield from (fields_of(record) for method in methods_of(module) if (record := shape_of(module, method).record))
    for attribute in TASK_ATTRIBUTES:
        value = getattr(module, attribute, None)
        if isinstance(value, list | tuple) and len(value) > 1 and all(isinstance(name, str) for name in value):
            yield tuple(value)
    for value in [*vars(module).values()] if hasattr(module, "__dict__") else []:
        if isinstance(value, list | tuple) and 1 < len(value) <= 64 and all(isinstance(name, str) for name in value):
            yield tuple(dict.fromkeys(value))
    for kept in vars(module).get("_modules", {}).values() if isinstance(module, nn.Module) else ():
        if isinstance(kept, nn.ParameterDict | nn.ModuleDict):
            yield tuple(kept)
    counts = [leaf.numel() for leaf in leaves if leaf.numel() > 1] + [len(leaves)]
    yield from (task_names(count) for count in (*counts, *COUNTS) if 1 < count <= 64)


def _with_parameters(module: Any, shape: Signature) -> tuple[str, ...]:
    """Arguments after each of which a parameter is named: each is a task's loss, be it called ``mask``."""
    known = [name for name, _ in module.named_parameters()] if isinstance(module, nn.Module) else []
    every = (*shape.positional, *shape.keyword_only)
    return tuple(name for name in every if any(one.endswith(("_" + name, "." + name)) for one in known))


def _asked(made: Made, method: str) -> list[tuple[str, ...]]:
    """Names that a method asks each of its arguments for, told on a module of its own."""
    with suppress(AuditedCodeError), audited_code():
        module = made.way.make()
        return asked_of(function_of(module, method), shape_of(module, method))
    return [()]


def adapter(call: Callable[..., Any]) -> Convention:
    """Convention of a user's own ``call(module, losses)`` or ``call(module, losses, present)``.

    ``losses`` is a dict of scalars by task name, in the tasks' order; the absent task's value is what the mark says
    (0, 1e-8, NaN, None, or no key). ``present`` is a boolean tensor with one entry for each of them: False under the
    marks ``mask`` and ``nan`` alone.

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

    return Convention(f"adapter {name}", text, invoke, marks - {Absence.SHORTER}, masked, whole=False)


def _can_bind(function: Callable[..., Any], count: int) -> bool:
    try:
        inspect.signature(function).bind(*range(count))
    except (TypeError, ValueError):
        return False
    return True


def candidates(module: Any, tasks: Sequence[str]) -> Iterator[Convention]:
    """Conventions that the signatures of ``module`` and of its methods allow, the likeliest first."""
    yield from from_network(module, tasks)
    for method in methods_of(module):
        shape = shape_of(module, method)
        if set(tasks) == set(_with_parameters(module, shape)):
            yield built_in(method, "keywords", shape, len(tasks))
            continue
        yield from from_predictions(module, method, shape, tasks)
        fields = shape.record is not None and set(tasks) <= set(fields_of(shape.record))
        for form, how in CALL_FORMS.items():
            if how.fits(shape, tasks) and (form == "record" or not fields):
                yield (found := built_in(method, form, shape, len(tasks)))
                if found.shared:
                    yield built_in(method, form, shape, len(tasks), bare=True)
        yield from one_a_call(method, shape, tasks)
        for mask, telling in shape.masks():
            if shape.fillers(mask) is None or (not telling and shape.takes_each(tasks)):
                continue  # two places without telling names are two tasks' losses
            yield from (
                built_in(method, form, shape, len(tasks), mask, kind)
                for form in FORMS_WITH_MASK
                for kind in mask_kinds(form, mask)
            )


def named(name: str, module: Any, tasks: Sequence[str]) -> Iterator[Convention]:
    """Conventions with one of the names of `candidates`: ``[method:]form[+mask]``.

    Raises:
        ValueError: a form that is not one of ``CALL_FORMS``, or a method that ``module`` does not have.
    """
    method, _, rest = name.rpartition(":")
    form, _, suffix = rest.partition("+")
    method = method or "__call__"
    if form not in (*CALL_FORMS, PREDICTIONS, NETWORK) or suffix not in ("", "mask"):
        forms = [*CALL_FORMS, PREDICTIONS, NETWORK]
        raise ValueError(f"unknown call {name!r}: give [METHOD:]FORM or [METHOD:]FORM+mask, FORM one of {forms}")
    if not callable(getattr(module, method, None)):
        raise ValueError(f"{type(module).__name__} has no method {method!r}")
    shape = shape_of(module, method)
    if form == NETWORK:
        yield from (found for found in from_network(module, tasks) if found.method == method.replace("__call__", ""))
    elif form == PREDICTIONS:
        yield from from_predictions(module, method, shape, tasks)
    elif not suffix:
        yield built_in(method, form, shape, len(tasks))
    else:
        masks = [mask for mask, _ in shape.masks()] or list(shape.others()[:1]) or [""]
        kinds = ((mask, kind) for mask in masks for kind in mask_kinds(form, mask))
        yield from (built_in(method, form, shape, len(tasks), mask, kind) for mask, kind in kinds)
