"""What to type next, where the audit did not find out by itself how a weighting is called."""

import types
from collections.abc import Iterator, Mapping, Sequence

from aura_study.audit.calls.make import Made
from aura_study.audit.calls.methods import INPUT_NAMES, asked_for_nothing, has_layers, methods_of, shape_of
from aura_study.audit.calls.signature import Signature, is_one_of, is_prediction, is_shared, is_target, looks_like_mask

ADAPT = (
    "Say how it is called in one line: audit(make, tasks=[...], call=lambda module, losses: ...), where losses is a "
    "dict of scalars by task name and the result is the total (or one weight per task); a third argument `present` "
    "takes a mask. Or give args={...} to make it, or audit a function of no arguments that returns the module."
)
TARGET = "TARGET"
"""Stands for what the user typed, in commands that are put together where that is not known."""


def advise(made: Made, tasks: Sequence[str]) -> str:
    """An adapter of a few lines and the command that uses it, with the module's own methods and arguments in it."""
    module = made.module
    if labels := _labels(module):
        tasks = list(labels)
    methods = list(dict.fromkeys([*methods_of(module), *asked_for_nothing(module)]))
    if (not labels and not methods) or (isinstance(module, types.FunctionType) and not _names(Signature.of(module))):
        return ADAPT
    methods = methods if not labels else ["__call__"]
    given = sum(map(_is_given, _names(shape_of(module, methods[0])))) if not labels else 0
    tasks = tasks[:given] if given > 1 else tasks
    shown = [f"{_target(method)}({', '.join(_names(shape_of(module, method)))})" for method in methods]
    lines = [
        f"Made: {made.way.text}, a {type(module).__name__}; it can be called as {'; '.join(shown) or 'nothing'}.",
        "Save as adapt.py (losses: a dict of scalars by task name; the result: the total), and put right what is not:",
        "    import torch",
        "    def adapt(module, losses):",
        *(f"        {line}" for line in (_by_criteria(module, labels) if labels else _body(module, tasks))),
        f"and type: aura-study audit {TARGET} --tasks {','.join(tasks)} --call adapt.py:adapt",
        f"In Python: audit(..., tasks={list(tasks)}, call=adapt); what is made otherwise is made with args={{...}}",
    ]
    return "\n".join(lines)


def _labels(module: object) -> dict[str, str]:
    """Of a network that is called with its input and labels: the argument that holds each task's labels."""
    if not has_layers(module):
        return {}
    shape = shape_of(module, "__call__")
    every = (*shape.positional, *shape.keyword_only)
    labels = {name.lower(): name for name in every if is_target(name)}
    for word in ("labels", "label", "targets", "target"):
        labels = {short.replace(word, "").strip("_") or short: name for short, name in labels.items()}
    return labels if len(labels) > 1 else {}


def _by_criteria(module: object, labels: Mapping[str, str]) -> Iterator[str]:
    """Torch's criteria answer the losses, in the order in which the network computes them."""
    required = [name for name in _names(shape_of(module, "__call__")) if name not in labels.values()]
    inputs = [f"{name}=torch.ones(2, 4, dtype=torch.long)" for name in required]
    told = [f"{name}=None if losses.get({task!r}) is None else LABELS" for task, name in labels.items()]
    yield from _answered("LABELS = torch.zeros(2, dtype=torch.long)", f"module({', '.join([*inputs, *told])})")


def _answered(first: str, call: str) -> Iterator[str]:
    yield "from unittest import mock"
    yield first
    yield "given = iter([loss for loss in losses.values() if loss is not None])"
    yield "answers = {name: lambda *a, **k: next(given) for name in ('cross_entropy', 'mse_loss', 'l1_loss')}"
    yield "with mock.patch.multiple('torch.nn.functional', **answers):"
    yield f"    return {call}"


def _body(module: object, tasks: Sequence[str]) -> Iterator[str]:
    shapes = {method: shape for method in methods_of(module) if _names(shape := shape_of(module, method))}
    told_nothing = list(asked_for_nothing(module))
    for method, shape in shapes.items():
        if has_layers(module) and _names(shape)[0] in INPUT_NAMES:
            rest = ", 0" * (len(_names(shape)) - 1)
            yield from _answered("BATCH = ...  # one of your data loader's", f"{_target(method)}(BATCH{rest})")
            return
    for method, shape in shapes.items():
        if told_nothing and len(_names(shape)) == 2 and is_one_of(_names(shape)[0], ("name", "task", "key")):
            yield "for name, loss in losses.items():"
            yield f"    {_target(method)}(name, loss)"
            yield f"return module.{told_nothing[-1]}()"
            return
    for method, shape in shapes.items():
        if len(_names(shape)) == 2 and is_one_of(_names(shape)[1], ("task", "idx", "index")):  # one task a call
            number = "list(tasks).index(name)" if shape.is_number(_names(shape)[1]) else "name"
            yield f"tasks = {list(tasks)}"
            yield f"return sum({_target(method)}(loss, {number}) for name, loss in losses.items())"
            return
    if shapes:
        method, shape = next(iter(shapes.items()))
        yield f"return {_target(method)}({', '.join(_arguments(shape, tasks))})"
        return
    weights = next((name for name in told_nothing if "weight" in name), "WEIGHTS")
    pulls = [f"module.{name}()" for name in told_nothing if is_one_of(name, ("reg", "penalty", "prior"))]
    yield f"weights = module.{weights}()"
    yield " + ".join(["return sum(weight * loss for weight, loss in zip(weights, losses.values()))", *pulls])


def _arguments(shape: Signature, tasks: Sequence[str]) -> Iterator[str]:
    """Each argument as Python: the losses together, or one each in order."""
    names = _names(shape)
    each = not shape.holds_several and sum(map(_is_given, names)) > 1
    left = iter(tasks)
    for name in names:
        keyword = f"{name}=" if name in shape.keyword_only else ""
        if each and is_prediction(name):
            yield f"{keyword}losses[{next(left, '...')!r}].sqrt().expand(5)"
        elif each and _is_given(name):
            yield f"{keyword}losses[{next(left, '...')!r}]"
        elif name == names[0]:
            yield f"{keyword}losses"
        elif looks_like_mask(name):
            yield f"{name}=torch.ones(len(losses))"
        elif shape.is_number(name):
            yield f"{name}=1.0"
        elif is_shared(name):
            yield f"{name}=[torch.ones(1, requires_grad=True)]"
        else:
            yield f"{name}=torch.zeros(5)" if each or is_target(name) else f"{name}=..."


def _is_given(name: str) -> bool:
    return "loss" in name.lower() or is_prediction(name)


def _target(method: str) -> str:
    return "module" if method == "__call__" else f"module.{method}"


def _names(shape: Signature) -> list[str]:
    return [*shape.positional[: shape.required], *shape.keyword_required] or list(shape.positional[:1])
