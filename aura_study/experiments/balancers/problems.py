"""Problems for balancers: random gradients, and a shared layer that is really trained."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class Problem(Protocol):
    """A stream of losses and gradients of several tasks on shared parameters."""

    tasks: int

    def draw(self) -> None:
        """Go on to the next batch."""
        ...

    def losses(self) -> Tensor:
        """Losses of this batch at the parameters as they are, ``(tasks,)``."""
        ...

    def gradients(self) -> Tensor:
        """Their gradients on the shared parameters, ``(tasks, params)``."""
        ...

    def move(self, update: Tensor) -> None:
        """Step down along ``update``, ``(params,)``."""
        ...


@dataclass
class RandomGradients:
    """Gradients that scatter around one fixed direction per task, at a scale of its own; losses apart from them.

    Args:
        tasks, params: shape of the Jacobian.
        seed: of everything drawn.
        correlation: cosine between the tasks' fixed directions; below 0 they conflict (at least -1/(tasks - 1)).
        spread: standard deviation of the logarithms of the tasks' scales.
    """

    tasks: int
    params: int
    seed: int
    correlation: float = 0.0
    spread: float = 0.7
    scatter: float = 0.5

    def __post_init__(self) -> None:
        lowest = -1 / (self.tasks - 1)
        cosine = max(self.correlation, 0.95 * lowest)
        self.random = torch.Generator().manual_seed(self.seed)
        cosines = torch.full((self.tasks, self.tasks), cosine, dtype=torch.float64).fill_diagonal_(1.0)
        directions, _ = torch.linalg.qr(self._normal(self.params, self.tasks))
        self.centre = torch.linalg.cholesky(cosines) @ directions.T
        self.scales = torch.exp(self.spread * self._normal(self.tasks, 1))
        self.draw()

    def _normal(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self.random, dtype=torch.float64)

    def draw(self) -> None:
        """New scatter around the fixed directions, new losses between 0.2 and 2.2."""
        noise = self.scatter * self._normal(self.tasks, self.params) / self.params**0.5
        self._gradients = self.scales * (self.centre + noise)
        self._losses = 0.2 + 2 * torch.rand(self.tasks, generator=self.random, dtype=torch.float64)
        self._moved = torch.ones(())

    def losses(self) -> Tensor:
        """As drawn, a little smaller after a move."""
        return self._losses * self._moved

    def gradients(self) -> Tensor:
        """As drawn."""
        return self._gradients

    def move(self, update: Tensor) -> None:
        """Every loss falls by one percent and its own share of another, so that FAMO has something to see."""
        self._moved = 0.99 - 0.01 * torch.linspace(0, 1, self.tasks, dtype=torch.float64)


class SharedLayer:
    r"""Regressions :math:`y_i = v_i^\top\tanh(Wx)` on one shared layer W, trained by Adam; the heads are fixed.

    Targets come from another layer of the same shape plus noise, so that no loss reaches 0; each task has a scale.

    Args:
        tasks: number of tasks.
        seed: of the targets, the batches and the start.
        inputs, width, batch: shapes. The shared parameters are ``inputs * width``.
        lr: of Adam on the shared layer, which makes the length of an update's steps the same for all balancers.
    """

    def __init__(
        self, tasks: int, seed: int, inputs: int = 12, width: int = 8, batch: int = 64, lr: float = 0.01
    ) -> None:
        self.tasks, self.batch = tasks, batch
        self.random = torch.Generator().manual_seed(seed)
        self.heads = self._normal(tasks, width) / width**0.5
        self.scales = torch.exp(0.5 * self._normal(tasks))
        self.truth = self._normal(width, inputs) / inputs**0.5
        self.layer = torch.nn.Parameter(self._normal(width, inputs) / inputs**0.5)
        self.adam = torch.optim.Adam([self.layer], lr=lr)
        self.draw()

    def _normal(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self.random, dtype=torch.float64)

    def draw(self) -> None:
        """A fresh batch."""
        self.x = self._normal(self.batch, self.layer.shape[1])
        self.y = torch.tanh(self.x @ self.truth.T) @ self.heads.T + 0.3 * self._normal(self.batch, self.tasks)

    def losses(self) -> Tensor:
        """Mean squared errors of this batch, times the tasks' scales."""
        with torch.no_grad():
            return self.scales * (torch.tanh(self.x @ self.layer.T) @ self.heads.T - self.y).square().mean(0)

    def gradients(self) -> Tensor:
        """Of the losses on the shared layer, in closed form: ``(tasks, width * inputs)``."""
        with torch.no_grad():
            hidden = torch.tanh(self.x @ self.layer.T)
            residual = 2 / self.batch * self.scales * (hidden @ self.heads.T - self.y)
            slope = 1 - hidden.square()
            return torch.einsum("bm,mh,bh,bd->mhd", residual, self.heads, slope, self.x).flatten(1)

    def move(self, update: Tensor) -> None:
        """One step of Adam along ``update``."""
        self.layer.grad = update.reshape(self.layer.shape).clone()
        self.adam.step()


def present_mask(tasks: int, absent: int) -> Tensor:
    """The last ``absent`` tasks are away.

    Raises:
        ValueError: nobody away, or nobody left.
    """
    if not 0 < absent < tasks:
        raise ValueError(f"absent must lie in 1..{tasks - 1} for {tasks} tasks, got {absent}")
    return torch.arange(tasks) < tasks - absent


def sizes(pairs: Sequence[str]) -> list[tuple[int, int]]:
    """``["8/3"]`` (8 tasks, 3 of them away) as pairs of numbers.

    Raises:
        ValueError: not of that form, or numbers out of range.
    """
    found = []
    for pair in pairs:
        parts = pair.split("/")
        if len(parts) != 2 or not all(part.strip().isdigit() for part in parts):
            raise ValueError(f"a size is written tasks/absent, such as '8/3', got {pair!r}")
        tasks, absent = map(int, parts)
        present_mask(tasks, absent)
        found.append((tasks, absent))
    return found
