"""A balancer in use: one interface over losses, gradients and both, with the absent tasks filled in one of three ways.

A fill is a constant: a loss of 0 or NaN that no graph stands behind, so nothing flows back through it, and a row of 0
or NaN in the Jacobian. `left out` hands the balancer fewer tasks than it was made for and lets it see to that.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import torch
from torch import Tensor, nn

from aura_study.balancing import Balancer, Kind, PresentOnly
from aura_study.balancing.session import ask, learner, same_draws
from aura_study.experiments.balancers.problems import Problem


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


class Session:
    """One balancer over a sequence of steps.

    Args:
        entry: which balancer.
        tasks: how many.
        fill: what stands in for absent tasks.
        lr: of Adam on what the balancer learns by gradient.
        epoch: steps after which DWA's epoch ends.
        draws: first seed of what random balancers draw, one per step.
    """

    def __init__(
        self, entry: Balancer, tasks: int, fill: Fill, lr: float = 0.05, epoch: int = 5, draws: int = 0
    ) -> None:
        self.kind, self.fill, self.tasks, self.epoch = entry.kind, fill, tasks, epoch
        self._cured = fill == Fill.CURED
        made = entry.make(tasks).double()
        self.inner = made
        self.balancer: Any = PresentOnly(made) if self._cured else made
        self.adam = learner(self.balancer, made, lr)
        self.steps, self.draws = 0, draws
        self._seen: list[Tensor] = []
        weighting = getattr(made, "weighting", None)
        if isinstance(weighting, nn.Module) and entry.kind == Kind.GRADIENTS:
            weighting.register_forward_hook(lambda module, inputs, output: self._seen.append(output.detach()))

    def answer(self, problem: Problem, present: Tensor) -> Answer:
        """One step on the problem's batch; learns what the balancer learns by gradient."""
        losses, gradients = self._filled(problem.losses(), problem.gradients(), present)
        self._seen.clear()
        with same_draws(self.draws + self.steps):
            update, found, _ = ask(
                self.balancer, self.kind, losses, gradients, present if self._cured else None, present
            )
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
