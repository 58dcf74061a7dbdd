"""What all tasks' losses go through, for code that looks at gradients: a layer whose weight each loss is linear in.

The losses are what they are. Their gradients in the layer are about as long as the losses, and nearly at right angles,
some a little in conflict and some in accord, so that a memory of angles has something to remember. What a module makes
of the gradients can be read off the layer's: it is a sum of theirs.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

LEAST, ANGLE, LAST = 8, 0.05, 0.1
"""Directions, at least, as code may be made without the tasks' number; how far they are from right angles; and their
last entry, by which alone the losses are what they are."""


class SharedWeight(nn.Parameter):
    """Of a `SharedLayer`. Nobody trains it, and a copy is one too."""

    def factors(self, tasks: int) -> Tensor:
        """What each task's loss is multiplied by: 1."""
        return _directions(tasks, len(self))[0] @ self

    def parts(self, tasks: int) -> Tensor:
        """How much of each task's direction is in the gradient."""
        assert self.grad is not None
        return _directions(tasks, len(self))[1] @ self.grad.detach()


def through(
    weights: Iterable[SharedWeight], losses: Mapping[str, Tensor | None], tasks: Sequence[str]
) -> Mapping[str, Tensor | None]:
    """The losses as they are, each now linear in ``weights`` along the direction of its place in ``tasks``."""
    for weight in weights:
        own = dict(zip(tasks, weight.factors(len(tasks)), strict=True))
        losses = {task: None if loss is None else loss * own[task] for task, loss in losses.items()}
    return losses


@cache
def _directions(tasks: int, size: int) -> tuple[Tensor, Tensor]:
    """One a task ``(tasks, size)``, and what takes a sum of them apart ``(tasks, size)``."""
    directions = ANGLE * torch.randn(tasks, size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    directions[:, :tasks] += torch.eye(tasks)
    directions[:, -1] = LAST
    return directions.float(), torch.linalg.pinv(directions.T).float()


class SharedLayer(nn.Module):
    """A model, a layer, its parameters or its weight, whichever code takes it for; hands its input on."""

    def __init__(self, tasks: int) -> None:
        super().__init__()
        self.weight = SharedWeight(torch.tensor([0.0] * max(tasks, LEAST) + [1 / LAST]))

    def forward(self, value: Any) -> Any:
        """What came in."""
        return value

    def __iter__(self) -> Iterator[SharedWeight]:
        return iter([self.weight])

    def __len__(self) -> int:
        return 1

    def __getitem__(self, place: int) -> SharedWeight:
        return list(self)[place]

    def __getattr__(self, name: str) -> Any:
        weight = self.__dict__["_parameters"].get("weight")
        if weight is None or name.startswith("__"):
            raise AttributeError(name)
        return weight if name == "weight" else getattr(weight, name)

    def __repr__(self) -> str:
        return "<shared layer>"


class StillOptimizer(torch.optim.SGD):
    """Of a shared layer, which it leaves where it is."""

    def __init__(self, tasks: int) -> None:
        super().__init__([SharedLayer(tasks).weight], lr=0.0)

    def __repr__(self) -> str:
        return "<optimizer of a shared layer>"
