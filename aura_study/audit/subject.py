"""One weighting under measurement: call it, run backward, read every weight and every parameter's gradient.

Everything is read from ``.grad`` after one ordinary backward pass, so that it holds for any parameterisation and for
code that calls ``backward`` itself: a task's weight is d total / d L_i, whatever the formula behind it.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from aura_study.audit.conventions import Absence, Convention, Losses
from aura_study.audit.leaves import graph_leaves, held_leaves

TINY_LOSS = 1e-8
TOTAL_KEYS = ("loss", "total", "total_loss")


class Unusable(Exception):
    """A call whose result is no total, with the reason."""


@dataclass(frozen=True)
class Reading:
    """What one step showed.

    Attributes:
        total: of the losses; None where a method that calls backward itself hands none back.
        finite: whether the total and every gradient are finite.
        weights: d total / d L_i of the present tasks.
        gradients: one per parameter, None where autograd left none.
    """

    total: float | None
    finite: bool
    weights: dict[str, float]
    gradients: list[Tensor | None]


class Subject:
    """A module with the way to call it.

    Args:
        make: gives a module; called once here.
        convention: how to call it.
        tasks: names, in order.
    """

    def __init__(self, make: Callable[[], Any], convention: Convention, tasks: Sequence[str]) -> None:
        self.module = make()
        self.convention = convention
        self.tasks = tuple(tasks)
        self.parameters = held_leaves(self.module)
        self._settled = False
        self._masks: dict[str | None, Tensor] = {}

    def probe(self, losses: Mapping[str, float]) -> Reading:
        """`read` with all tasks present, which also finds parameters that only the graph knows.

        Raises:
            Unusable: a result that is no total, or losses that do not reach it.
        """
        reading = self.read(losses)
        if lost := [task for task, weight in reading.weights.items() if weight == 0]:
            raise Unusable(f"the loss of {', '.join(map(repr, lost))} does not reach the total")
        return reading

    def read(self, losses: Mapping[str, float], absent: str | None = None, mark: Absence | None = None) -> Reading:
        """Forward and backward with ``losses``, task ``absent`` marked absent by ``mark``; gradients stay in place.

        The first reading of a subject needs all tasks present, so that every parameter is met.
        """
        for parameter in self.parameters:
            parameter.grad = None
        leaves: dict[str, Tensor] = {}
        handed: dict[str, Tensor | None] = {}
        for task in self.tasks:
            if task != absent:
                leaves[task] = self._scalar(losses[task]).requires_grad_()
                handed[task] = leaves[task].clone()  # code under audit may change its losses in place
            elif mark != Absence.OMIT:
                value = {Absence.TINY: TINY_LOSS, Absence.NAN: math.nan}.get(mark or Absence.ZERO, 0.0)
                handed[task] = None if mark == Absence.NONE else self._scalar(value)
        present = self._presence(absent)
        output = self.convention.invoke(self.module, handed, present)
        if any(leaf.grad is not None for leaf in leaves.values()):  # it has called backward itself
            total = output.detach() if isinstance(output, Tensor) and output.numel() == 1 else None
            self._adopt(None, leaves.values())
        else:
            total = total_of(output, self.tasks, handed, list(leaves.values()))
            if not total.requires_grad:
                raise Unusable("the result is not connected to the losses: it needs no gradient")
            self._adopt(total, leaves.values())
            total.backward()
        return self._reading(None if total is None else float(total), leaves)

    def _presence(self, absent: str | None) -> Tensor:
        if absent not in self._masks:
            flags = [task != absent for task in self.tasks]
            self._masks[absent] = torch.tensor(flags, device=self._like().device)
        return self._masks[absent].clone() if self.convention.masked else self._masks[absent]

    def _adopt(self, total: Tensor | None, losses: Any) -> None:
        """At the first call, parameters not known yet: in the graph alone, or made by a lazily built module."""
        if self._settled:
            return
        self._settled = True
        found = [*held_leaves(self.module), *(graph_leaves(total) if total is not None else [])]
        known = {id(tensor) for tensor in (*self.parameters, *losses)}
        for tensor in found:
            if id(tensor) not in known:
                known.add(id(tensor))
                self.parameters.append(tensor)

    def _reading(self, total: float | None, leaves: Mapping[str, Tensor]) -> Reading:
        weights = {task: 0.0 if leaf.grad is None else float(leaf.grad) for task, leaf in leaves.items()}
        gradients = [None if p.grad is None else p.grad.detach() for p in self.parameters]
        finite = all(map(math.isfinite, weights.values())) and (total is None or math.isfinite(total))
        # A sum is NaN or infinite if any entry is; one call instead of two in the audit's innermost loop.
        finite = finite and all(gradient is None or math.isfinite(gradient.sum()) for gradient in gradients)
        return Reading(total, finite, weights, gradients)

    def values(self) -> list[Tensor]:
        """Copies of the parameters."""
        return [parameter.detach().clone() for parameter in self.parameters]

    @torch.no_grad()
    def load(self, values: Sequence[Tensor]) -> None:
        """Put `values` back."""
        for parameter, value in zip(self.parameters, values, strict=True):
            parameter.copy_(value)

    def _like(self) -> Tensor:
        floating = [parameter for parameter in self.parameters if parameter.is_floating_point()]
        return floating[0] if floating else torch.empty(0)

    def _scalar(self, value: float) -> Tensor:
        like = self._like()
        return torch.tensor(value, dtype=like.dtype, device=like.device)


def total_of(output: Any, tasks: Sequence[str], losses: Losses, leaves: Sequence[Tensor]) -> Tensor:
    """The total that a call's result stands for, attached to the graph.

    A scalar is the total; of a tuple, a mapping or an object, its first entry or what it calls loss or total. A vector
    with one entry per task is summed if it depends on the losses (terms); if not, its entries are weights.

    Raises:
        Unusable: anything else.
    """
    if isinstance(output, Tensor):
        return _total_of_tensor(output, tasks, losses, leaves)
    named = output if isinstance(output, Mapping) else getattr(output, "__dict__", {})
    for key in TOTAL_KEYS:
        if isinstance(named.get(key), Tensor):
            return total_of(named[key], tasks, losses, leaves)
    if isinstance(output, Mapping):
        if not output or not set(output) <= set(tasks):
            raise Unusable(f"a mapping with keys {list(output)[:6]} names no total")
        entries = [torch.as_tensor(output.get(task, 0.0)).reshape(()) for task in tasks]
        return _total_of_tensor(torch.stack(entries), tasks, losses, leaves)
    if isinstance(output, list | tuple) and output:
        one_each = len(output) == len(tasks) and (isinstance(output, list) or len(output) > 2)
        if one_each and all(isinstance(entry, float) or _is_scalar(entry) for entry in output):
            entries = [torch.as_tensor(entry).reshape(()) for entry in output]
            return _total_of_tensor(torch.stack(entries), tasks, losses, leaves)
        return total_of(output[0], tasks, losses, leaves)
    raise Unusable(f"the result is {type(output).__name__}, not a tensor")


def _is_scalar(entry: Any) -> bool:
    return isinstance(entry, Tensor) and entry.numel() == 1


def _total_of_tensor(output: Tensor, tasks: Sequence[str], losses: Losses, leaves: Sequence[Tensor]) -> Tensor:
    if output.numel() == 1:
        return output.reshape(())
    output = output.reshape(-1)
    if output.requires_grad:
        slopes = torch.autograd.grad(output.sum(), list(leaves), retain_graph=True, allow_unused=True)
        if any(slope is not None for slope in slopes):
            return output.sum()
    if len(output) != len(tasks):
        raise Unusable(f"the result has {len(output)} entries: neither a total nor one entry per task")
    pairs = zip(output.unbind(), (losses.get(task) for task in tasks), strict=True)
    return torch.stack([weight * loss for weight, loss in pairs if loss is not None]).sum()
