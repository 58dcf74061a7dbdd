"""Presence that differs per micro-batch and per rank (claim B3): what each way of masking settles at."""

from collections.abc import Iterable
from typing import Any

import pandas as pd
import torch

from aura_study.claims import Measurement
from aura_study.experiments.beyond_the_mask.shard_model import FOUR, FROZEN, TWO, Case, ShardModel
from aura_study.theory.shards import encoder_coefficient, settled_variance

LR = 0.2
WAYS = {
    "unmasked": "unmasked",
    "global presence": "global presence",
    "local mask": "local mask",
    "local frozen": "local mask",
    "global count": "global count",
}
"""Ways to mask, and the way of `aura_study.theory.shards` that predicts each."""


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
    from aura_study.experiments.beyond_the_mask.ranks import run_ranks

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
    return Measurement.over(ratios, "sigma^2 over its prediction, farthest cell", 1.0, measured=_farthest)


def _farthest(ratios: list[float]) -> float:
    return max(ratios, key=lambda ratio: abs(ratio - 1))
