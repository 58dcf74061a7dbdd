"""One task present on some shards only: how its samples lie, and a model that masks one shard in one way."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from aura_study.losses import FrozenKendallLoss, LogSigma, MaskedKendallLoss, UnmaskedKendallLoss

TASKS = ("everywhere", "somewhere")
OTHER_LOSS = 0.5
FROZEN = ("local frozen", "frozen, no flag")
"""DistributedDataParallel keeps an absent gradient None only with ``find_unused_parameters=True``; else it is a 0."""


@dataclass(frozen=True)
class Case:
    """How a task's samples lie on the shards: one count and one mean loss per shard."""

    name: str
    counts: tuple[int, ...]
    losses: tuple[float, ...]

    def without(self) -> "Case":
        """The same shards without the task."""
        return replace(self, counts=(0,) * len(self.counts))


TWO = (
    Case("on one of 2", (8, 0), (3.0, 0.0)),
    Case("unequal on 2", (2, 14), (3.0, 1.0)),
)
FOUR = (
    Case("on one of 4", (0, 8, 0, 0), (0.0, 3.0, 0.0, 0.0)),
    Case("on three of 4", (4, 0, 4, 8), (1.0, 0.0, 2.0, 0.6)),
)


class ShardModel(nn.Module):
    """Two tasks, a gain that stands for the encoder, and a weighting that masks one shard in one way.

    The gain's gradient on a task is the sum of what multiplies that task's losses, so it measures how much of the task
    reaches an encoder.
    """

    def __init__(self, way: str) -> None:
        super().__init__()
        loss = UnmaskedKendallLoss if way == "unmasked" else FrozenKendallLoss if way in FROZEN else MaskedKendallLoss
        self.way = way
        self.weigh = loss(TASKS, LogSigma(), dtype=torch.float64)
        self.gain = nn.Parameter(torch.zeros(2, dtype=torch.float64))

    def forward(self, case: Case, shard: int) -> Tensor:
        """This shard's total; totals are averaged over shards, by whoever runs them."""
        shards, total = len(case.counts), sum(case.counts)
        count, loss = case.counts[shard], case.losses[shard]
        ours = count > 0
        if self.way == "global presence":
            share, present = float(ours), total > 0
        elif self.way == "global count":
            share, present = (shards * count / total if total else 0.0), total > 0
        else:
            share, present = float(ours), ours
        values = torch.tensor([OTHER_LOSS, loss if ours else 0.0], dtype=torch.float64) + self.gain
        values = values * torch.tensor([1.0, share], dtype=torch.float64)
        result: Tensor = self.weigh(values, torch.tensor([True, present]))
        return result
