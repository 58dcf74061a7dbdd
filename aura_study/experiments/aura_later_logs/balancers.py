"""AURA's own DB-MTL and GradNorm as its versions V11.3 to V11.6 have them, written anew as small classes."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

FLOOR = 1e-8
LEAST_NORM = 1e-12
LEAST_WEIGHT = 0.1

Losses = Mapping[str, Tensor]
"""The losses of the tasks that are present, by name."""


def gradient_norms(losses: Losses, shared: Tensor) -> dict[str, float]:
    """Norm of each loss's gradient on the shared representation, by task."""
    tasks = {name: torch.autograd.grad(loss, shared, retain_graph=True)[0] for name, loss in losses.items()}
    return {name: float(gradient.norm()) for name, gradient in tasks.items()}


def log_losses(losses: Losses) -> dict[str, Tensor]:
    """Logarithms, held at that of 1e-8 from below: there their gradient is exactly 0."""
    return {name: torch.log(loss.clamp(min=FLOOR)) for name, loss in losses.items()}


class Scales:
    r"""Scale of each present task, so that its norm becomes the largest: :math:`\max_j n_j / \max(n_i, 10^{-12})`.

    ``clamp`` holds the scales from above; ``memory`` is the past's share in a running norm, which an absent task keeps
    as it is (V11.6; V11.5 has neither). Differs from the DB-MTL of its paper in that losses are scaled, not gradients,
    and that a norm of 0 is not left at 0.
    """

    def __init__(self, clamp: float = math.inf, memory: float = 0.0) -> None:
        self.clamp, self.memory = clamp, memory
        self._running: dict[str, float] | None = None

    def __call__(self, norms: Mapping[str, float]) -> dict[str, float]:
        """Scales by task, from the norms of the present tasks' gradients."""
        if self._running is None:
            self._running = dict(norms)
        else:  # a task that the first batch did not hold starts at 0, as in AURA's code
            past = {name: self._running.get(name, 0.0) for name in norms}
            mixed = {name: self.memory * past[name] + (1 - self.memory) * norm for name, norm in norms.items()}
            self._running |= mixed
        used = {name: self._running[name] for name in norms}
        largest = max(used.values()) if max(used.values()) > LEAST_NORM else 1.0
        return {name: min(largest / max(norm, LEAST_NORM), self.clamp) for name, norm in used.items()}


def scaled_total(logs: Losses, scales: Mapping[str, float]) -> Tensor:
    """Sum of the log losses, each times its scale."""
    return torch.stack([scales[name] * loss for name, loss in logs.items()]).sum()


class AuraGradNorm:
    r"""GradNorm on the present tasks: weights step against :math:`\mathrm{sign}(G_i - \bar G \tilde r_i^\alpha)\,g_i`.

    :math:`G_i = w_i g_i`, :math:`\tilde r_i` the loss over its mean in the first epoch, over the mean of those ratios.
    Then all weights are held at .1 from below and rescaled to sum to the number of tasks (V11.3: alpha 1.5, V11.4: 1).
    """

    def __init__(self, initial: Mapping[str, float], alpha: float, rate: float = 0.025) -> None:
        self.initial, self.alpha, self.rate = dict(initial), alpha, rate
        self.weights = dict.fromkeys(initial, 1.0)

    def step(self, losses: Losses, shared: Tensor) -> None:
        """One step of the weights; none if fewer than two tasks are present."""
        if len(losses) < 2:
            return
        norms = gradient_norms(losses, shared)
        pulls = {name: self.weights[name] * norm for name, norm in norms.items()}
        rates = {name: loss.item() / max(self.initial[name], 1e-8) for name, loss in losses.items()}
        mean_pull, mean_rate = (sum(of.values()) / len(of) for of in (pulls, rates))
        for name, norm in norms.items():
            target = mean_pull * (rates[name] / max(mean_rate, 1e-8)) ** self.alpha
            self.weights[name] -= self.rate * norm * (1 if pulls[name] > target else -1)
        held = {name: max(weight, LEAST_WEIGHT) for name, weight in self.weights.items()}
        self.weights = {name: weight * len(held) / sum(held.values()) for name, weight in held.items()}

    def total(self, losses: Losses) -> Tensor:
        """Weighted sum of the present tasks' losses."""
        return torch.stack([self.weights[name] * loss for name, loss in losses.items()]).sum()
