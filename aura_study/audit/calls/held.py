"""What can be reached from an object: the tensors that it learns, the optimisers and modules that it keeps."""

import functools
import types
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

from torch import Tensor, nn
from torch.optim import Optimizer

from aura_study.audit.calls.shared import SharedWeight

MAX_DEPTH = 5
ATOMS = frozenset({int, float, bool, str, bytes, type(None)})
T = TypeVar("T")


def held_leaves(owner: Any) -> list[Tensor]:
    """Leaf tensors with ``requires_grad`` that can be reached from ``owner``'s attributes, containers or closure."""
    return [tensor for tensor in held(owner, Tensor) if is_learned(tensor)]


def is_learned(tensor: Tensor) -> bool:
    """Whether it is a leaf that a training step may move."""
    return tensor.requires_grad and tensor.is_leaf and not isinstance(tensor, SharedWeight)


def moves_others(owner: Any) -> bool:
    """Whether it keeps an optimiser of parameters that it does not keep itself: those of a model that is elsewhere."""
    own = {id(tensor) for tensor in held(owner, Tensor, but=Optimizer)}
    groups = (group for optimizer in held(owner, Optimizer) for group in optimizer.param_groups)
    moved = (parameter for group in groups for parameter in group["params"])
    return any(id(parameter) not in own and not isinstance(parameter, SharedWeight) for parameter in moved)


def held(owner: Any, kind: type[T], but: type | None = None) -> list[T]:
    """What of one ``kind`` can be reached from ``owner``'s attributes, containers or closure, not through a ``but``."""
    found: dict[int, T] = {}
    seen: set[int] = set()

    def visit(thing: Any, depth: int) -> None:
        if type(thing) in ATOMS or id(thing) in seen or depth > MAX_DEPTH:
            return
        seen.add(id(thing))
        if isinstance(thing, kind) and thing is not owner:
            found.setdefault(id(thing), thing)
        if not isinstance(thing, Tensor) and not (but and isinstance(thing, but)):
            for part in _parts(thing):
                visit(part, depth + 1)

    visit(owner, 0)
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
