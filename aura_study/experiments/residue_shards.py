"""Presence that differs per micro-batch and per rank (claim B3): what each way of masking settles at."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from aura_study.claims import Measurement
from aura_study.losses import FrozenKendallLoss, LogSigma, MaskedKendallLoss, UnmaskedKendallLoss
from aura_study.theory.shards import encoder_coefficient, settled_variance

TASKS = ("everywhere", "somewhere")
OTHER_LOSS = 0.5
LR = 0.2
WAYS = {
    "unmasked": "unmasked",
    "global presence": "global presence",
    "local mask": "local mask",
    "local frozen": "local mask",
    "global count": "global count",
}
"""Ways to mask, and the way of `aura_study.theory.shards` that predicts each."""
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


def micro_batches(steps: int) -> pd.DataFrame:
    """Every way on every case, the shards being micro-batches of one accumulated step."""
    return _with_theory(_accumulate(case, way, steps) for case in (*TWO, *FOUR) for way in WAYS)


def _accumulate(case: Case, way: str, steps: int) -> dict[str, Any]:
    model = ShardModel(way)
    optimizer = torch.optim.SGD(model.weigh.parameters(), lr=LR)
    shards = len(case.counts)
    for _ in range(steps):
        model.zero_grad()
        for shard in range(shards):
            (model(case, shard) / shards).backward()
        optimizer.step()
    gain = model.gain.grad
    assert gain is not None
    variance = float(model.weigh.sigma()[1] ** 2)
    kind = "micro-batches"
    return {"shards": kind, "case": case.name, "way": way, "sigma_squared": variance, "encoder": float(gain[1])}


def two_processes(steps: int) -> pd.DataFrame:
    """The cases on two shards in two real processes under DistributedDataParallel.

    Further columns: whether both ranks hold the same sigma, and how far AdamW's decay moves the task's parameter while
    no rank has it.
    """
    from aura_study.experiments.residue_ranks import run_ranks

    return _with_theory(run_ranks(TWO, [*WAYS, FROZEN[1]], steps, LR))


def _with_theory(rows: Iterable[dict[str, Any]]) -> pd.DataFrame:
    table = pd.DataFrame(list(rows))
    cases = {case.name: case for case in (*TWO, *FOUR)}
    pairs = [(WAYS.get(way, "local mask"), cases[name]) for way, name in zip(table["way"], table["case"], strict=True)]
    table["predicted"] = [settled_variance(way, case.counts, case.losses) for way, case in pairs]
    table["ratio"] = table["sigma_squared"] / table["predicted"]
    table["encoder_predicted"] = [encoder_coefficient(way, case.counts, case.losses) for way, case in pairs]
    return table


def b3_measurement(accumulated: pd.DataFrame, parallel: pd.DataFrame) -> Measurement:
    """Measured over predicted sigma^2 over all ways, cases and both kinds of shards."""
    ratios = pd.concat([accumulated["ratio"], parallel["ratio"]])
    farthest = ratios.iloc[(ratios - 1).abs().argmax()]
    return Measurement(
        float(farthest), float(ratios.min()), float(ratios.max()), "sigma^2 over its prediction, farthest cell", 1.0
    )
