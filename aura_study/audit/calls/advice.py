"""What to type next, where the audit did not find out by itself how a weighting is called."""

import types
from collections.abc import Iterator, Mapping, Sequence

from aura_study.audit.calls.excerpt import excerpt
from aura_study.audit.calls.make import Made
from aura_study.audit.calls.methods import INPUT_NAMES, asked_for_nothing, has_layers, methods_of, pulls_of, shape_of
from aura_study.audit.calls.signature import Signature, is_prediction, is_target, looks_like_mask

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
    methods = list(dict.fromkeys([*methods_of(module), *asked_for_nothing(module)]))
    if not methods or (isinstance(module, types.FunctionType) and not _names(Signature.of(module))):
        return ADAPT
    shapes = {method: shape for method in methods if _names(shape := shape_of(module, method))}
    each = [name for name in _names(next(iter(shapes.values()), Signature())) if _is_given(name)]
    tasks = tasks[: len(each)] if len(each) > 1 else tasks
    shown = [f"{_target(method)}({', '.join(_names(shape_of(module, method)))})" for method in methods]
    cut = next(filter(None, (excerpt(module, method, tasks) for method in shapes)), None)
    tasks, body = (cut.tasks, cut.lines) if cut else (tasks, list(_body(module, shapes, tasks)))
    told = ", present" if any("present" in line for line in body) else ""
    lines = [
        f"Made: {made.way.text}, a {type(module).__name__}; it can be called as {'; '.join(shown)}.",
        "Save as adapt.py (losses: a dict of scalars by task name; the result: the total), and put right what is not:",
        "    import torch",
        f"    def adapt(module, losses{told}):",
        *(f"        {line}" for line in body),
        f"and type: aura-study audit {TARGET} --tasks {','.join(tasks)} --call adapt.py:adapt",
        f"In Python: audit(..., tasks={list(tasks)}, call=adapt); what is made otherwise is made with args={{...}}",
    ]
    return "\n".join(lines)


def _body(module: object, shapes: Mapping[str, Signature], tasks: Sequence[str]) -> Iterator[str]:
    told_nothing = list(asked_for_nothing(module))
    for method, shape in shapes.items():
        if has_layers(module) and _names(shape)[0] in INPUT_NAMES:
            learned = [name for name, leaf in module.named_parameters() if leaf.ndim < 2 and "." not in name]  # type: ignore[attr-defined]
            names = f", with {', '.join(f'module.{name}' for name in learned)}" if learned else ""
            yield f"# the lines of {method} that weigh{names}"
            yield "return ..."
            return
    if shapes:
        method, shape = next(iter(shapes.items()))
        yield f"return {_target(method)}({', '.join(_arguments(shape, tasks))})"
        return
    weights = next((name for name in told_nothing if "weight" in name), "WEIGHTS")
    pulls = [f"module.{name}()" for name in pulls_of(module)]
    yield f"weights = module.{weights}()"
    yield " + ".join(["return sum(weight * loss for weight, loss in zip(weights, losses.values()))", *pulls])


def _arguments(shape: Signature, tasks: Sequence[str]) -> Iterator[str]:
    """Each argument as Python: the losses together, or one each in order; ``...`` where nothing is known."""
    names = _names(shape)
    each = not shape.holds_several and sum(map(_is_given, names)) > 1
    left = {kind: iter(tasks) for kind in ("loss", "prediction", "target", "mask")}
    every = "torch.stack(list(losses.values()))"
    for name in names:
        keyword = f"{name}=" if name != names[0] else ""
        loss = "losses[{!r}]".format
        if looks_like_mask(name):
            several = each and sum(map(looks_like_mask, names)) > 1
            given = f"present[{tasks.index(next(left['mask'], tasks[0]))}].expand(5)" if several else "present"
        elif is_prediction(name):
            one = loss(next(left["prediction"], "..."))
            given = f"1 + ({one} + 1e-12).sqrt().expand(5)" if each else f"1 + ({every} + 1e-12).sqrt().expand(5, -1)"
        elif is_target(name):
            one = loss(next(left["target"], "..."))
            given = f"1 + 0 * {one}.detach().expand(5)" if each else f"1 + 0 * {every}.detach().expand(5, -1)"
        elif each and _is_given(name):
            given = loss(next(left["loss"], "..."))
        elif name == names[0]:
            given = "losses"
        else:
            given = "1.0" if shape.is_number(name) else "..."
        yield keyword + given


def _is_given(name: str) -> bool:
    return not looks_like_mask(name) and ("loss" in name.lower() or is_prediction(name))


def _target(method: str) -> str:
    return "module" if method == "__call__" else f"module.{method}"


def _names(shape: Signature) -> list[str]:
    return list(shape.all_required()) or list(shape.positional[:1])
