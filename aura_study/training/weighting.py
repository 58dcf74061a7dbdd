"""The weightings that the training loop knows by name: Kendall's loss under three absence policies, two baselines."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from aura_study.losses import PARAMETERIZATIONS, FrozenKendallLoss, KendallLoss, MaskedKendallLoss, UnmaskedKendallLoss

POLICIES: Mapping[str, type[KendallLoss]] = {
    "unmasked": UnmaskedKendallLoss,
    "masked": MaskedKendallLoss,
    "frozen": FrozenKendallLoss,
}


class Weighting(Protocol):
    """What the training loop asks of a weighting; every `KendallLoss` answers."""

    tasks: tuple[str, ...]

    def __call__(self, losses: Mapping[str, Tensor], /) -> Tensor:
        """Total loss of the present tasks' losses."""
        ...

    def parameters(self) -> Iterator[nn.Parameter]:
        """Learned parameters, trained in the optimiser's third group; there may be none."""
        ...

    def sigma(self) -> Tensor:
        """Detached ``(tasks,)``."""
        ...

    def weights(self) -> Tensor:
        """Detached ``(tasks,)``: derivative of the total by each task's loss."""
        ...


class EqualWeights(nn.Module):
    """Every present task at weight 1/2, the weight that Kendall's loss starts from; sigma is 1 for ever."""

    def __init__(self, tasks: Sequence[str], device: torch.device | str | None = None) -> None:
        super().__init__()
        self.tasks = tuple(tasks)
        self.register_buffer("_sigma", torch.ones(len(self.tasks), device=device), persistent=False)
        self._sigma: Tensor

    def forward(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Half the sum of the present tasks' losses."""
        return 0.5 * torch.stack(list(losses.values())).sum()

    def sigma(self) -> Tensor:
        """Ones, ``(tasks,)``."""
        return self._sigma.clone()

    def weights(self) -> Tensor:
        """Halves, ``(tasks,)``."""
        return 0.5 / self._sigma.square()


class AnalyticKendall(nn.Module):
    r"""Kendall's weights with nothing to learn: sigma^2 is a running mean of the task's own present losses.

    The fixed point sigma^2 = L of Kendall's loss, taken as a rule; as in UW-O (Kirchdorfer et al., 2024,
    arXiv:2408.07985) and, for a VAE's variance, Rybkin et al. (2021, arXiv:2006.13202). Weight :math:`1/(2\bar L)`,
    where :math:`\bar L` is the exponential mean over the task's presences, divided by its summed weights as Adam does,
    so that the first loss counts fully. An absence changes nothing. Losses must be positive to give a finite weight.

    Args:
        tasks: names.
        decay: of the mean, per presence.
        device: of the state.
    """

    def __init__(self, tasks: Sequence[str], decay: float = 0.98, device: torch.device | str | None = None) -> None:
        super().__init__()
        if not 0 <= decay < 1:
            raise ValueError(f"decay must lie in [0, 1), got {decay}")
        self.tasks = tuple(tasks)
        self.decay = decay
        for name in ("_sum", "_mass"):
            self.register_buffer(name, torch.zeros(len(self.tasks), device=device))
        self._sum: Tensor
        self._mass: Tensor

    def forward(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Sum of the present tasks' losses over twice their running means, this step's included."""
        places = [self.tasks.index(task) for task in losses]
        stacked = torch.stack(list(losses.values()))
        keep = 1 - self.decay
        self._sum[places] = self.decay * self._sum[places] + keep * stacked.detach()
        self._mass[places] = self.decay * self._mass[places] + keep
        return (self.weights()[places] * stacked).sum()

    def sigma(self) -> Tensor:
        """Root of the running mean, ``(tasks,)``; 1 for a task not seen yet."""
        return torch.where(self._mass > 0, self._sum / self._mass.clamp_min(1e-30), 1.0).sqrt()

    def weights(self) -> Tensor:
        """1/(2 sigma^2), ``(tasks,)``."""
        return 0.5 / self.sigma().square()


BASELINES: Mapping[str, type[EqualWeights] | type[AnalyticKendall]] = {
    "equal": EqualWeights,
    "analytic": AnalyticKendall,
}
PolicyName = Literal["unmasked", "masked", "frozen"]
WeightingName = Literal[PolicyName, "equal", "analytic"]


def build_weighting(
    policy: str, parameterization: str, tasks: Sequence[str], device: torch.device | str | None = None
) -> Weighting:
    """The weighting of that name, on ``device``; baselines take no parameterisation."""
    if policy in BASELINES:
        return BASELINES[policy](tasks, device=device)
    return POLICIES[policy](tasks, PARAMETERIZATIONS[parameterization], device=device)
