"""All that a training goes on from: parameters, what the optimiser remembers, the generator of dropout, the step.

The schedule has no state of its own: it is a function of the step. Sigma is kept task by task, so that a weighting with
one parameter for all tasks and one with a parameter for each (`aura_study.losses.FrozenKendallLoss`) can go on from the
same state.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from aura_study.training.checkpoints import generator_state, module_tensors, restore, set_generator_state

SigmaState = Mapping[str, Tensor]
"""``theta``, the learned parameter, and what the optimiser remembers of it, by its own names; each ``(tasks,)``."""
SIGMA = 2
"""Place of the sigmas among the optimiser's parameter groups."""


@dataclass(frozen=True)
class TrainingState:
    """Where a training stands after some steps.

    Attributes:
        step: number of the next step.
        tensors: of the model, and of the optimiser on its parameters.
        sigma: of the weighting; empty if it learns nothing.
        generator: that dropout draws from.
    """

    step: int
    tensors: Mapping[str, Tensor]
    sigma: SigmaState
    generator: Tensor

    @classmethod
    def of(cls, step: int, model: nn.Module, optimizer: torch.optim.Optimizer) -> Self:
        """A copy of the present state, before ``step``."""
        tensors = {name: tensor.clone() for name, tensor in module_tensors(model, optimizer).items()}
        return cls(step, tensors, sigma_state(optimizer), generator_state(next(model.parameters()).device))

    def restore(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Put the values in place, and the generator's state."""
        restore(model, optimizer, {name: tensor.clone() for name, tensor in self.tensors.items()})
        set_sigma(optimizer, self.sigma)
        set_generator_state(next(model.parameters()).device, self.generator)


def sigma_state(optimizer: torch.optim.Optimizer) -> SigmaState:
    """A copy of the sigmas' present state; what the optimiser has not yet begun to remember of a task is 0."""
    parameters = optimizer.param_groups[SIGMA]["params"]
    memories = [{n: v for n, v in optimizer.state.get(p, {}).items() if v is not None} for p in parameters]
    parts: dict[str, list[Tensor]] = {"theta": [], **{name: [] for memory in memories for name in memory}}
    for parameter, memory in zip(parameters, memories, strict=True):
        flat = parameter.detach().reshape(-1)
        for name, part in parts.items():
            part.append(
                flat if name == "theta" else memory.get(name, torch.zeros_like(flat)).reshape(-1).expand_as(flat)
            )
    return {name: torch.cat(part).clone() for name, part in parts.items() if part}


def set_sigma(optimizer: torch.optim.Optimizer, state: SigmaState) -> None:
    """Put a `sigma_state` in place."""
    at = 0
    for parameter in optimizer.param_groups[SIGMA]["params"]:
        own = {name: values[at : at + parameter.numel()].clone() for name, values in state.items()}
        at += parameter.numel()
        parameter.data.copy_(own.pop("theta").view_as(parameter))
        for name, values in own.items():
            optimizer.state[parameter][name] = values[0] if name == "step" else values.view_as(parameter)
