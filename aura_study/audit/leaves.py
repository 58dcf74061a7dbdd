"""The learnable tensors of a weighting, wherever it keeps them: `nn.Parameter`, attributes, containers, closures."""

import functools
import types
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from torch import Tensor, nn

MAX_DEPTH = 5


def held_leaves(owner: Any) -> list[Tensor]:
    """Leaf tensors with ``requires_grad`` that can be reached from ``owner``'s attributes, containers or closure."""
    found: dict[int, Tensor] = {}
    seen: set[int] = set()

    def visit(thing: Any, depth: int) -> None:
        if id(thing) in seen or depth > MAX_DEPTH:
            return
        seen.add(id(thing))
        if isinstance(thing, Tensor):
            if thing.requires_grad and thing.is_leaf:
                found.setdefault(id(thing), thing)
            return
        for part in _parts(thing):
            visit(part, depth + 1)

    visit(owner, 0)
    return list(found.values())


def graph_leaves(output: Tensor) -> list[Tensor]:
    """Leaf tensors that the autograd graph of ``output`` ends in, in the order they are met."""
    found: dict[int, Tensor] = {}
    seen: set[Any] = set()
    pending = [output.grad_fn]
    while pending:
        node = pending.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        variable = getattr(node, "variable", None)
        if isinstance(variable, Tensor):
            found.setdefault(id(variable), variable)
        pending.extend(following for following, _ in reversed(node.next_functions))
    return list(found.values())


def _parts(thing: Any) -> Iterator[Any]:
    if isinstance(thing, nn.Module):
        yield from thing.parameters()
        yield from thing.__dict__.values()
    elif isinstance(thing, Mapping):
        yield from thing.values()
    elif isinstance(thing, list | tuple | set | frozenset):
        yield from thing
    elif isinstance(thing, functools.partial):
        yield from (thing.func, thing.args, thing.keywords)
    elif isinstance(thing, types.MethodType):
        yield thing.__self__
    elif isinstance(thing, types.FunctionType):
        yield from _closure(thing)
    elif not isinstance(thing, type | types.ModuleType | str | bytes) and hasattr(thing, "__dict__"):
        yield from vars(thing).values()


def _closure(function: types.FunctionType) -> Iterable[Any]:
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # a cell that is not filled yet
            continue
