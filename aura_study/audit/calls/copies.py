"""Copies of a module with everything it remembers, and randomness that is the same at the same step.

The audit reads a module to learn about it. Such a reading must not enter the module's memory (a history, a running
mean, a counter, an optimiser of its own), so that it is made on a copy.
"""

import copy
import random
import types
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aura_study.audit.calls.held import held, held_leaves


def duplicate(module: Any, parameters: Sequence[Tensor]) -> tuple[Any, list[Tensor]] | None:
    """A copy of ``module`` and its ``parameters``, memory included; None where it reaches what no copy can hold.

    That is a parameter that is neither an attribute nor in a closure, such as one in a module's globals.
    """
    memo: dict[int, Any] = {}
    for thing in held(module, Tensor):
        if not thing.is_leaf:  # kept from an earlier step with its graph; deepcopy refuses it
            memo[id(thing)] = thing.detach().clone()
    try:
        twin = _function(module, memo) if isinstance(module, types.FunctionType) else copy.deepcopy(module, memo)
        own = [copy.deepcopy(parameter, memo) for parameter in parameters]
    except Exception:  # whatever its __deepcopy__ or __reduce__ raises
        return None
    for leaf in held_leaves(module):
        for hook in (leaf._backward_hooks or {}).values():  # such as one that turns descent into ascent
            memo[id(leaf)].register_hook(hook)
    reached = {id(leaf) for leaf in held_leaves(twin)}
    return (twin, own) if all(id(leaf) in reached for leaf in own) else None


def _function(function: types.FunctionType, memo: dict[int, Any]) -> Any:
    """A function with cells of its own: `copy.deepcopy` hands the same function back."""
    cells = []
    for cell in function.__closure__ or ():
        try:
            content = cell.cell_contents
        except ValueError:  # not filled yet
            cells.append(types.CellType())
            continue
        inner = isinstance(content, types.FunctionType) and content is not function
        cells.append(types.CellType(_function(content, memo) if inner else copy.deepcopy(content, memo)))
    twin = types.FunctionType(
        function.__code__, function.__globals__, function.__name__, function.__defaults__, tuple(cells) or None
    )
    twin.__kwdefaults__ = function.__kwdefaults__
    twin.__dict__.update(copy.deepcopy(function.__dict__, memo))
    return twin


def own_optimised(module: Any) -> set[int]:
    """Ids of the parameters that an optimiser inside ``module`` steps: nobody else does."""
    optimizers = held(module, torch.optim.Optimizer)
    return {id(p) for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]}


class Clock:
    """The step that is being read, for code that is told the time."""

    now = 0


def draw_alike(step: int) -> None:
    """What is drawn from here on depends on ``step`` alone, and the clock shows it."""
    Clock.now = step
    torch.default_generator.manual_seed(step)
    random.seed(step)
    np.random.seed(step)  # noqa: NPY002 -- code under audit may draw from it


Counters = dict[tuple[int, str], tuple[Any, int]]


def counters(module: Any) -> Counters:
    """Integers that ``module`` and its parts keep as attributes, as tensors of one too: (owner, value) by its name."""
    found: Counters = {}
    for place, owner in enumerate((module, *held(module, torch.nn.Module))):
        made = {name: value for base in reversed(type(owner).__mro__[:-1]) for name, value in vars(base).items()}
        own = {**getattr(owner, "__dict__", {}), **getattr(owner, "_buffers", {})}
        for name, value in {**made, **own}.items():
            counts = isinstance(value, int) and not isinstance(value, bool)
            if counts or (isinstance(value, Tensor) and value.numel() == 1 and not value.is_floating_point()):
                found[place, name] = owner, int(value)
    return found


def moved(module: Any, before: Counters) -> list[tuple[Any, str]]:
    """Owner and name of every counter that went up."""
    return [
        (owner, name) for (place, name), (owner, now) in counters(module).items()
        if now > before.get((place, name), (owner, now))[1]
    ]  # fmt: skip


def forward_counters(module: Any, before: Counters, by: int) -> None:
    """Move every counter that went up ahead by ``by`` steps."""
    for owner, name in moved(module, before):
        setattr(owner, name, getattr(owner, name) + by)
