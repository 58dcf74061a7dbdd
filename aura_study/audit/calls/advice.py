"""What to type next, where the audit did not find out by itself how a weighting is called."""

from collections.abc import Sequence

from aura_study.audit.calls.make import Made
from aura_study.audit.calls.methods import methods_of, shape_of

ADAPT = (
    "Say how it is called in one line: audit(make, tasks=[...], call=lambda module, losses: ...), where losses is a "
    "dict of scalars by task name and the result is the total (or one weight per task); a third argument `present` "
    "takes a mask. Or give args={...} to make it, or audit a function of no arguments that returns the module."
)
TARGET = "TARGET"
"""Stands for what the user typed, in commands that are put together where that is not known."""


def advise(made: Made, tasks: Sequence[str]) -> str:
    """An adapter of three lines and the command that uses it, with the module's own methods in it."""
    module = made.module
    methods = list(methods_of(module))
    shown = [f"{_target(method)}({', '.join(_parameters(module, method))})" for method in methods]
    method = methods[0] if methods else "METHOD"
    names = _parameters(module, method) if methods else ["losses"]
    handed = ", ".join(["losses", *(f"{name}=..." for name in names[1:])])
    if len(names) > 1 and "pred" in names[0].lower():
        handed = ", ".join(f"{name}=..." for name in names)
    lines = [
        f"Made: {made.way.text}, a {type(module).__name__}; it can be called as {'; '.join(shown) or 'nothing'}.",
        "Save as adapt.py (losses: a dict of scalars by task name; the result: the total):",
        "    def adapt(module, losses):",
        f"        return {_target(method)}({handed})",
        f"and type: aura-study audit {TARGET} --tasks {','.join(tasks)} --call adapt.py:adapt",
        f"In Python: audit(..., tasks={list(tasks)}, call=lambda module, losses: {_target(method)}({handed}))",
    ]
    return "\n".join(lines)


def _target(method: str) -> str:
    return "module" if method == "__call__" else f"module.{method}"


def _parameters(module: object, method: str) -> list[str]:
    shape = shape_of(module, method)
    return [*shape.positional, *shape.keyword_only] or ["losses"]
