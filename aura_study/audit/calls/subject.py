"""A weighting under measurement: call it, run backward, read every weight and every parameter's gradient.

Everything is read from ``.grad`` after one ordinary backward pass, so that it holds for any parameterisation and for
code that calls ``backward`` itself: a task's weight is d total / d L_i, whatever the formula behind it.
"""

import copy
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from aura_study.audit.calls.copies import draw_alike, duplicate, own_optimised
from aura_study.audit.calls.held import held, is_learned
from aura_study.audit.calls.make import Construction, Made
from aura_study.audit.calls.methods import function_of, pulls_of
from aura_study.audit.calls.shared import SharedLayer, SharedWeight, through
from aura_study.audit.calls.totals import CutOff, Losses, Place, Unusable, find_total, first_scalar, take_total
from aura_study.audit.laboratory import say
from aura_study.audit.marks import LEFT_OUT, MARK_TEXT, STAND_IN, Absence

ROUNDING = 1e-6
"""Of the largest weight: one that is smaller is none."""
TOLD = frozenset({Absence.MASK, Absence.NAN})
"""Marks under which a presence mask says that the task is absent; under all others nobody says so."""


@dataclass(frozen=True)
class Convention:
    """One way to call a weighting.

    Attributes:
        name: as ``audit(call=...)`` and ``--call`` take it, such as ``"list"`` or ``"backward:stacked+mask"``.
        text: the call as Python, for the report.
        invoke: calls a module with the losses by name (None or missing where the mark says so) and the presence, a
            boolean tensor with one entry for each loss that is handed over.
        marks: the marks of absence that this way of calling can express.
        masked: whether presence is handed over as a mask.
        guessed: what was guessed of its arguments, in words for a note; empty if nothing was.
        guessed_mask: whether its mask was recognised by what it does alone, not by its name.
        says: how it marks an absence, where not as `MARK_TEXT` says.
        rows: whether predictions are handed over as one matrix, a row for each sample.
        shared: what it hands over as the layer that all losses go through; a module may hold one itself.
        optional: the tasks that it may be handed None for, or no loss at all, where that is not all of them.
        whole: whether a regulariser that the module gives apart is still to be added.
    """

    name: str
    text: str
    invoke: Callable[[Any, Losses, Tensor], Any]
    marks: frozenset[Absence]
    masked: bool
    guessed: str = ""
    guessed_mask: bool = False
    says: Mapping[Absence, str] = field(default_factory=dict, hash=False)
    rows: bool = False
    shared: SharedLayer | None = field(default=None, hash=False)
    optional: frozenset[str] = frozenset()
    whole: bool = True

    def mark_text(self, mark: Absence) -> str:
        """How a task is marked absent, in words."""
        return self.says.get(mark, MARK_TEXT[mark])

    @property
    def method(self) -> str:
        """Name of the method that is called, empty for the module itself."""
        return self.name.rpartition(":")[0]


@dataclass(frozen=True)
class Reading:
    """What one step showed.

    Attributes:
        total: of the losses; None where a method that calls backward itself hands none back.
        finite: whether the total and every gradient are finite.
        weights: d total / d L_i of the present tasks.
        gradients: one per parameter, None where autograd left none.
        used: whether what was handed over in the absent task's place is in the total's graph.
    """

    total: float | None
    finite: bool
    weights: dict[str, float]
    gradients: list[Tensor | None]
    used: bool = False


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
        self.pulls = pulls_of(self.made.module) if convention.whole else []
        self.shared = self._shared()
        self.step = 0
        self.heeds = False
        self.place: Place | None = None
        self.after: Sequence[Callable[[Subject, Losses], None]] = ()
        self._initial: list[Tensor] | None = None

    def another(self) -> "Subject":
        """The same, made anew: it was never called."""
        other = Subject(self.made.way, self.convention, self.tasks)
        other.place, other.after = self.place, self.after
        return other

    def twin(self) -> "Subject":
        """As it is now, with all that it remembers; what is read from the twin leaves no trace here."""
        copied = duplicate(self.made.module, self.parameters)
        if copied is None:  # its parameters are all of it that can be carried over
            other = self.another()
            other.read(dict.fromkeys(self.tasks, 1.0))
            other.load(self.values())
            other.step = self.step
            return other
        other = copy.copy(self)
        other.made, other.parameters = Made(copied[0], self.made.way), copied[1]
        other.shared = other._shared() if self.shared else []
        return other

    def _shared(self) -> list[SharedWeight]:
        """Weights that all losses go through, for a module that looks at gradients."""
        layer = self.convention.shared
        return [*held(self.made.module, SharedWeight), *([layer.weight] if layer else [])]

    @property
    def learned(self) -> list[Tensor]:
        """The parameters that the training step moves, not an optimiser of the module's own."""
        own = own_optimised(self.made.module)
        return [parameter for parameter in self.parameters if id(parameter) not in own]

    def probe(self) -> None:
        """`read` once, all tasks present.

        Raises:
            Unusable: a result that is no total, or losses that do not reach it.
        """
        reading = self.read({task: 1.0 + 0.25 * i for i, task in enumerate(self.tasks)})
        if abs(sum(reading.weights.values())) < ROUNDING * sum(map(abs, reading.weights.values())):
            raise Unusable("the total depends on differences of what was handed over: these are no losses")
        least = ROUNDING * max(map(abs, reading.weights.values()))
        lost = [task for task, weight in reading.weights.items() if abs(weight) <= least]
        if not lost:
            return
        other = self.twin().read({task: 3.0 + 0.5 * i for i, task in enumerate(self.tasks)})
        if len(lost) == len(self.tasks) and reading.total is not None and other.total != reading.total:
            raise CutOff(CUT_OFF)
        raise Unusable(f"the loss of {', '.join(map(repr, lost))} does not reach the total")

    def heeds_mask(self, task: str) -> bool:
        """Whether a real loss has no weight where the mask says that its task is absent, and the others have one."""
        twin = self.twin()
        present = twin._presence([name != task for name in self.tasks])
        scalar = twin._scalars()
        leaves = {name: scalar(1.0) for name in self.tasks}
        handed = through(twin.shared, {name: leaf.clone() for name, leaf in leaves.items()}, self.tasks)
        weights = twin._run(handed, present, leaves).weights
        return weights[task] == 0 and any(weight != 0 for name, weight in weights.items() if name != task)

    def own_entries(self, task: str, losses: Mapping[str, float]) -> list[tuple[int, Tensor]]:
        """Parameter entries whose gradient depends on the task's loss: (index of the tensor, boolean mask)."""
        low, high = (self.twin().read({**losses, task: value}).gradients for value in (1e-2, 1e4))
        pairs = [(i, a != b) for i, (a, b) in enumerate(zip(low, high, strict=True)) if a is not None and b is not None]
        return [(i, differs) for i, differs in pairs if bool(differs.any())]

    def read(
        self, losses: Mapping[str, float], absent: str | Collection[str] | None = None, mark: Absence = Absence.ZERO
    ) -> Reading:
        """Forward and backward with ``losses``, ``absent`` marked absent by ``mark``; gradients stay in place.

        Then whatever the module wants at the end of a step. Draws depend on the number of steps alone.
        """
        say()
        for parameter in (*self.parameters, *self.shared):
            parameter.grad = None
        leaves: dict[str, Tensor] = {}
        handed: dict[str, Tensor | None] = {}
        stand_in: Tensor | None = None
        scalar = self._scalars()
        away = {absent} if isinstance(absent, str) else set(absent or ())
        for task in self.tasks:
            if task not in away:
                leaves[task] = scalar(losses[task])
                handed[task] = leaves[task].clone()  # code under audit may change its losses in place
            elif mark == Absence.EMPTY:
                handed[task] = stand_in = scalar(0.0).detach().expand(0).clone().requires_grad_()
            elif mark not in LEFT_OUT:
                value = STAND_IN[mark]
                stand_in = None if value is None else scalar(value)
                handed[task] = None if stand_in is None else stand_in.clone()
        present = self._presence([task not in away or mark not in TOLD for task in handed])
        draw_alike(self.step)
        self.step += 1
        reading = self._run(through(self.shared, handed, self.tasks), present, leaves)
        if stand_in is not None and stand_in.grad is not None:
            lost = reading.total is None and mark == Absence.NAN  # a NaN that nobody sees goes on into the model
            reading = replace(reading, used=True, finite=reading.finite and not lost)
        for hook in self.after:
            hook(self, {task: None if loss is None else 0.95 * loss.detach() for task, loss in handed.items()})
        return reading

    def _run(self, handed: Losses, present: Tensor, leaves: Mapping[str, Tensor]) -> Reading:
        module = self.made.module
        output = self.convention.invoke(module, handed, present)
        if self.pulls and output is not None:
            output = (output, *(function_of(module, name)() for name in self.pulls))
        if any(leaf.grad is not None for leaf in (*leaves.values(), *self.shared)):  # it has called backward itself
            total = first_scalar(output)
            self._adopt(None, leaves.values())
            self._read_shared(leaves)
        else:
            if self.place is None:
                self.place = find_total(output, self.tasks, list(leaves.values()))
            total = take_total(output, self.place, self.tasks, handed)
            if not total.requires_grad:
                raise CutOff(CUT_OFF)
            self._adopt(total, leaves.values())
            total.backward()
        return self._reading(None if total is None else float(total.detach()), leaves)

    def _read_shared(self, leaves: Mapping[str, Tensor]) -> None:
        """Weights by what the module made of the tasks' gradients, where it put these together itself."""
        if not self.shared or self.shared[0].grad is None:
            return
        parts = dict(zip(self.tasks, self.shared[0].parts(len(self.tasks)), strict=True))
        for task, leaf in leaves.items():
            if leaf.detach() != 0:
                leaf.grad = (parts[task] / leaf.detach()).to(leaf.dtype)

    def _presence(self, flags: Sequence[bool]) -> Tensor:
        return torch.tensor(flags, device=self._like().device)

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
        floating = (parameter for parameter in self.parameters if parameter.is_floating_point())
        like = next(floating, None)
        return torch.empty(0) if like is None else like

    def _scalars(self) -> Callable[[float], Tensor]:
        """What makes losses of the parameters' type, on their device."""
        like = self._like()
        return partial(torch.tensor, dtype=like.dtype, device=like.device, requires_grad=True)


CUT_OFF = (
    "the losses reach the total by value and not by gradient (torch.tensor(...), .item() or .detach() on the way): "
    "nothing but the weighting's own parameters can learn from it"
)


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
        if isinstance(variable, Tensor) and is_learned(variable):
            found.setdefault(id(variable), variable)
        pending.extend(following for following, _ in reversed(node.next_functions))
    return list(found.values())
