"""GradNorm: weights that pull every task's gradient norm to one rate of training."""

from typing import ClassVar

import torch
from torch import Tensor, nn


class GradNorm(nn.Module):
    r"""Weighted sum of the losses; after each call the weights move so that gradient norms match training rates.

    With :math:`G_i = w_i \lVert\nabla_W L_i\rVert`, :math:`\tilde L_i = L_i(t)/L_i(0)` and
    :math:`r_i = \tilde L_i / \mathrm{mean}\,\tilde L`, the weights descend

    .. math:: \sum_i \bigl| G_i - \bar G\, r_i^{\alpha} \bigr|, \qquad \bar G = \mathrm{mean}\, G,

    where the targets :math:`\bar G r_i^\alpha` count as constants, and are then rescaled to sum to the number of
    tasks. Source: Chen et al., ICML 2018 (arXiv:1711.02257), equations 1 and 2 and algorithm 1. Differs from the
    source in that the weights take plain gradient steps (the paper leaves the optimiser open) and stay positive: a
    step below 0 stops at 1e-6.

    Args:
        tasks: number of tasks.
        alpha: strength of the pull towards equal rates.
        lr: learning rate of the weights.

    State: ``weights`` ``(tasks,)``, at first ones; ``initial`` ``(tasks,)``, each task's first loss, NaN before it.
    """

    task_state: ClassVar[dict[str, tuple[int, ...]]] = {"weights": (0,), "initial": (0,)}
    task_shares: ClassVar[dict[str, bool]] = {"weights": True}
    weights: Tensor
    initial: Tensor

    def __init__(self, tasks: int, alpha: float = 1.5, lr: float = 0.025) -> None:
        super().__init__()
        if lr < 0:
            raise ValueError(f"lr must be >= 0, got {lr}")
        self.alpha, self.lr = alpha, lr
        self.register_buffer("weights", torch.ones(tasks))
        self.register_buffer("initial", torch.full((tasks,), torch.nan))

    def forward(self, losses: Tensor, jacobian: Tensor) -> Tensor:
        """Total of the losses ``(tasks,)`` at the current weights; then one step of the weights.

        ``jacobian`` ``(tasks, params)`` holds the gradients of the unweighted losses on the shared parameters, or on
        the last shared layer, as the paper does.
        """
        weights = self.weights.to(losses)
        total = (weights * losses).sum()
        self._step(weights, losses.detach(), jacobian.detach().norm(dim=1))
        return total

    @torch.no_grad()
    def _step(self, weights: Tensor, losses: Tensor, norms: Tensor) -> None:
        first = self.initial.to(losses)
        self.initial = torch.where(first.isnan(), losses, first)
        rates = losses / self.initial
        pulls = weights * norms
        targets = pulls.mean() * (rates / rates.mean()) ** self.alpha
        moved = (weights - self.lr * torch.sign(pulls - targets) * norms).clamp_min(1e-6)
        self.weights = moved * len(losses) / moved.sum()

    def reset(self) -> None:
        """Weights back to 1, first losses forgotten."""
        self.weights, self.initial = torch.ones_like(self.weights), torch.full_like(self.initial, torch.nan)
