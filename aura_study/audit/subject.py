"""A weighting under measurement: call it, run backward, read every weight and every parameter's gradient.

Everything is read from ``.grad`` after one ordinary backward pass, so that it holds for any parameterisation and for
code that calls ``backward`` itself: a task's weight is d total / d L_i, whatever the formula behind it.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from aura_study.audit.make import Construction, Made
from aura_study.audit.marks import STAND_IN, Absence

Losses = Mapping[str, Tensor | None]
TOTAL_KEYS = ("loss", "total", "total_loss")


class Unusable(Exception):
    """A call whose result is no total, with the reason."""


@dataclass(frozen=True)
class Convention:
    """One way to call a weighting.

    Attributes:
        name: as ``audit(call=...)`` and ``--call`` take it, such as ``"list"`` or ``"backward:stacked+mask"``.
        text: the call as Python, for the report.
        invoke: calls a module with the losses by name (None or missing where the mark says so) and the presence,
            boolean ``(tasks,)``.
        marks: the marks of absence that this way of calling can express.
        masked: whether presence is handed over as a mask.
        guessed_mask: whether the mask's argument was recognised by its place alone, not by its name.
    """

    name: str
    text: str
    invoke: Callable[[Any, Losses, Tensor], Any]
    marks: frozenset[Absence]
    masked: bool
    guessed_mask: bool = False


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
    """A module with the way it was made and the way to call it; *ready* once `probe` went well.

    Args:
        way: makes the module, here.
        convention: how to call it.
        tasks: names, in order.
    """

    def __init__(self, way: Construction, convention: Convention, tasks: Sequence[str]) -> None:
        self.made = Made(way.make(), way)
        self.convention = convention
        self.tasks = tuple(tasks)
        self.parameters = self.made.leaves
        self._initial: list[Tensor] | None = None
        self._masks: dict[str | None, Tensor] = {}

    def another(self) -> "Subject":
        """The same, made anew."""
        return Subject(self.made.way, self.convention, self.tasks)

    def probe(self) -> None:
        """`read` once, all tasks present.

        Raises:
            Unusable: a result that is no total, or losses that do not reach it.
        """
        reading = self.read({task: 1.0 + 0.25 * i for i, task in enumerate(self.tasks)})
        if lost := [task for task, weight in reading.weights.items() if weight == 0]:
            raise Unusable(f"the loss of {', '.join(map(repr, lost))} does not reach the total")

    def read(self, losses: Mapping[str, float], absent: str | None = None, mark: Absence = Absence.ZERO) -> Reading:
        """Forward and backward with ``losses``, task ``absent`` marked absent by ``mark``; gradients stay in place.

        The first reading of a subject needs all tasks present, so that every parameter is met, even those that only
        the graph knows.
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
                value = STAND_IN[mark]
                handed[task] = None if value is None else self._scalar(value)
        present = self._presence(absent)
        output = self.convention.invoke(self.made.module, handed, present)
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
        if self._initial is not None:
            return
        found = [*self.made.leaves, *(graph_leaves(total) if total is not None else [])]
        known = {id(tensor) for tensor in (*self.parameters, *losses)}
        for tensor in found:
            if id(tensor) not in known:
                known.add(id(tensor))
                self.parameters.append(tensor)
        self._initial = self.values()

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

    def restore(self) -> None:
        """Put back what the parameters were at the first reading: some are shared, if only with the user's own code."""
        if self._initial is not None:
            self.load(self._initial)
        for parameter in self.parameters:
            parameter.grad = None

    def _like(self) -> Tensor:
        floating = [parameter for parameter in self.parameters if parameter.is_floating_point()]
        return floating[0] if floating else torch.empty(0)

    def _scalar(self, value: float) -> Tensor:
        like = self._like()
        return torch.tensor(value, dtype=like.dtype, device=like.device)


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
