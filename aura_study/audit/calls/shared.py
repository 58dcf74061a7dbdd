"""What all tasks' losses go through, for code that looks at gradients: a layer of one weight for each task.

Every weight is 1, and a task's loss is multiplied by its own, so that losses are what they are, and what a module makes
of the tasks' gradients can be read off the layer's: their directions are at right angles, as long as the losses are.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

LEAST = 8
"""Weights, at least: code that is made without the tasks' number may be handed some more."""


class SharedWeight(nn.Parameter):
    """Of a `SharedLayer`. Nobody trains it, and a copy is one too."""


class SharedLayer(nn.Module):
    """A model, a layer, its parameters or its weight, whichever code takes it for; hands its input on."""

    def __init__(self, tasks: int) -> None:
        super().__init__()
        self.weight = SharedWeight(torch.ones(max(tasks, LEAST)))

    def forward(self, value: Any) -> Any:
        """What came in."""
        return value

    def __iter__(self) -> Iterator[Tensor]:
        return iter([self.weight])

    def __len__(self) -> int:
        return 1

    def __getitem__(self, place: int) -> Tensor:
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
