"""DB-MTL: logarithms balance the losses, equal norms balance the gradients."""

from typing import ClassVar

import torch
from torch import Tensor, nn


class DBMTL(nn.Module):
    r"""Sum of the tasks' running gradients, each scaled to the largest of their norms.

    .. math:: \hat g_i \leftarrow \beta_t \hat g_i + (1 - \beta_t)\, \nabla \log(L_i + \epsilon), \qquad
        d = \max_j \lVert \hat g_j \rVert \sum_i \frac{\hat g_i}{\lVert \hat g_i \rVert + \epsilon}

    with :math:`\beta_t = \beta / t^{\sigma}` at a task's t-th call. Source: Lin et al., 2023 (arXiv:2308.12029),
    section 3 and algorithm 1; :math:`\sigma` and :math:`\epsilon` = 1e-8 in both places as in LibMTL. Differs from
    the source in that every task counts its own calls, which are all the same while all tasks are there.

    Args:
        tasks: number of tasks.
        beta: share of the past in the running gradient.
        sigma: how fast that share falls with the number of calls.

    State: ``running`` ``(tasks, params)``, made at the first call, and ``calls`` ``(tasks,)``.
    """

    EPSILON = 1e-8
    returns_update: ClassVar[bool] = True
    task_state: ClassVar[dict[str, tuple[int, ...]]] = {"running": (0,), "calls": (0,)}
    running: Tensor | None
    calls: Tensor

    def __init__(self, tasks: int, beta: float = 0.9, sigma: float = 0.0) -> None:
        super().__init__()
        if not 0 <= beta < 1:
            raise ValueError(f"beta must lie in [0, 1), got {beta}")
        self.beta, self.sigma = beta, sigma
        self.register_buffer("running", None)
        self.register_buffer("calls", torch.zeros(tasks))

    @torch.no_grad()
    def forward(self, losses: Tensor, jacobian: Tensor) -> Tensor:
        """Update ``(params,)`` from the losses ``(tasks,)`` and their gradients ``(tasks, params)``."""
        gradients = jacobian / (losses + self.EPSILON).unsqueeze(1)
        running = torch.zeros_like(gradients) if self.running is None else self.running
        self.calls = self.calls + 1
        past = (self.beta / self.calls**self.sigma).to(gradients).unsqueeze(1)
        self.running = past * running + (1 - past) * gradients
        norms = self.running.norm(dim=1)
        return (norms.max() / (norms + self.EPSILON)) @ self.running

    def reset(self) -> None:
        """Running gradients forgotten."""
        self.running, self.calls = None, torch.zeros_like(self.calls)
