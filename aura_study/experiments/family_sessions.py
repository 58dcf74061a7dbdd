"""A balancer in use: one interface over losses, gradients and both, with the absent tasks filled in one of three ways.

A fill is a constant: a loss of 0 or NaN that no graph stands behind, so nothing flows back through it, and a row of 0
or NaN in the Jacobian. `left out` hands the balancer fewer tasks than it was made for and lets it see to that.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import torch
from torch import Tensor, nn

from aura_study.balancing import Balancer, Kind, PresentOnly
from aura_study.experiments.family_problems import Problem


class Fill(StrEnum):
    """What stands in for an absent task."""

    ZERO = "zero"
    NAN = "NaN"
    LEFT_OUT = "left out"
    CURED = "PresentOnly"


@dataclass(frozen=True)
class Answer:
    """What a balancer did in one step.

    Attributes:
        update: of the shared parameters, ``(params,)``.
        weights: of all tasks, ``(tasks,)``; NaN where there is none.
    """

    update: Tensor
    weights: Tensor


@contextmanager
def same_draws(seed: int) -> Iterator[None]:
    """Random numbers that do not depend on how many tasks there are, so that two balancers compare draw by draw.

    Within the block a random order is the given order (the problems draw the order of their tasks themselves), and the
    first k of m normal numbers are the k that would have been drawn alone.
    """
    randperm, randn = torch.randperm, torch.randn
    longest = randn(64, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        torch.randperm = lambda count, **_: torch.arange(count)  # type: ignore[assignment]
        torch.randn = lambda count, dtype=None, **_: longest[:count].to(dtype or torch.float32)  # type: ignore[assignment]
        try:
            yield
        finally:
            torch.randperm, torch.randn = randperm, randn


def learner(balancer: Any, made: Any, lr: float = 0.05) -> torch.optim.Optimizer | None:
    """Adam on what ``balancer`` learns by gradient; None if that is nothing. FAMO (``update``) has its own."""
    own = [] if hasattr(made, "update") else list(balancer.parameters())
    return torch.optim.Adam(own, lr=lr) if own else None


def ask(
    balancer: Any, kind: Kind, losses: Tensor, gradients: Tensor, mask: Tensor | None = None, rows: Tensor | None = None
) -> tuple[Tensor, Tensor | None]:
    """Update ``(params,)`` of a balancer of any kind, and the weights of the losses if it was handed any.

    A total is backpropagated; its update is the sum of the gradients of the tasks that are there, by the weights found.

    Args:
        balancer: the balancer, or `PresentOnly` around it.
        kind: what it takes.
        losses, gradients: ``(tasks,)`` and ``(tasks, params)``, fills included.
        mask: presence, for a balancer that takes it.
        rows: which rows are no fill, where the balancer does not take ``mask``.
    """
    leaf = losses.clone().requires_grad_()
    values = gradients if kind == Kind.GRADIENTS else leaf
    extra = {"gradients": gradients} if mask is not None else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # cvxpy's, about the programme that Nash-MTL's code hands it
        if kind == Kind.BOTH:
            told = balancer(values, mask, **extra) if mask is not None else balancer(values, gradients)
        else:
            told = balancer(values, mask) if mask is not None else balancer(values)
    if told.ndim:
        return told.detach(), None
    told.backward()
    assert leaf.grad is not None
    there = torch.ones(len(leaf), dtype=torch.bool) if rows is None else rows
    if mask is not None:
        there = mask
    if len(there) != len(leaf):
        there = torch.ones(len(leaf), dtype=torch.bool)  # the others were left out
    return leaf.grad[there] @ gradients[there], leaf.grad


class Session:
    """One balancer over a sequence of steps.

    Args:
        entry: which balancer.
        tasks: how many.
        fill: what stands in for absent tasks.
        lr: of Adam on what the balancer learns by gradient.
        epoch: steps after which DWA's epoch ends.
    """

    def __init__(self, entry: Balancer, tasks: int, fill: Fill, lr: float = 0.05, epoch: int = 5) -> None:
        self.kind, self.fill, self.tasks, self.epoch = entry.kind, fill, tasks, epoch
        self._cured = fill == Fill.CURED
        made = entry.make(tasks).double()
        self.inner = made
        self.balancer: Any = PresentOnly(made) if self._cured else made
        self.adam = learner(self.balancer, made, lr)
        self.steps = 0
        self._seen: list[Tensor] = []
        weighting = getattr(made, "weighting", None)
        if isinstance(weighting, nn.Module) and entry.kind == Kind.GRADIENTS:
            weighting.register_forward_hook(lambda module, inputs, output: self._seen.append(output.detach()))

    def answer(self, problem: Problem, present: Tensor) -> Answer:
        """One step on the problem's batch; learns what the balancer learns by gradient."""
        losses, gradients = self._filled(problem.losses(), problem.gradients(), present)
        self._seen.clear()
        with same_draws(self.steps):
            update, found = ask(self.balancer, self.kind, losses, gradients, present if self._cured else None, present)
        if self.adam is not None:
            self.adam.step()
            self.adam.zero_grad()
        return Answer(update, self._weights(found, present))

    def close(self, problem: Problem, present: Tensor) -> None:
        """The end of a step, after the model moved: FAMO's update, DWA's epoch."""
        self.steps += 1
        if hasattr(self.inner, "update"):
            losses, _ = self._filled(problem.losses(), problem.gradients(), present)
            if self._cured:
                self.balancer.update(losses, present)
            else:
                self.balancer.update(losses)
        if hasattr(self.inner, "step") and self.steps % self.epoch == 0:
            self.balancer.step()

    def _filled(self, losses: Tensor, gradients: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        if self.fill == Fill.LEFT_OUT:
            return losses[present], gradients[present]
        value = 0.0 if self.fill == Fill.ZERO else torch.nan  # the cure reads no fill, so it is given the worst
        gone = ~present
        return losses.masked_fill(gone, value), gradients.masked_fill(gone.unsqueeze(1), value)

    def _weights(self, found: Tensor | None, present: Tensor) -> Tensor:
        if found is None and self._seen:
            found = self._seen[-1]
        if found is not None and len(found) == self.tasks:
            return found
        weights = torch.full((self.tasks,), torch.nan, dtype=torch.float64)
        if found is not None:
            weights[present] = found
        return weights
