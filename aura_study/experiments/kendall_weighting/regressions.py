"""Kendall's own two regressions (claim K2): do the learned sigmas find the true noise?

y1 = 2x + 8 with noise 10 and y2 = 3x + 3 with noise 1, x standard normal, on one shared hidden layer: the example code
of Kendall et al. (2018). It has 100 samples; here their number is a variable.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import repeat

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from aura_study.claims import Measurement
from aura_study.claims.statistics.intervals import Estimate, mean_interval
from aura_study.losses import KendallLoss, MaskedKendallLoss

SLOPES, OFFSETS, NOISE = (2.0, 3.0), (8.0, 3.0), (10.0, 1.0)
"""Of y1 and y2."""
TASKS = ("y1", "y2")
BATCH = 500


class TwoRegressions(nn.Module):
    """One small network per seed, side by side: a shared hidden layer (ReLU) and two linear outputs.

    Parameters carry a leading axis of seeds and meet nowhere, so that each network trains as it would alone.
    """

    def __init__(self, seeds: Sequence[int], width: int) -> None:
        super().__init__()
        hidden, bias, out = [], [], []
        for seed in seeds:
            generator = torch.Generator().manual_seed(seed)
            hidden.append(torch.randn(1, width, generator=generator))
            bias.append(torch.randn(1, width, generator=generator))
            out.append(torch.randn(width, 2, generator=generator) / math.sqrt(width))
        self.hidden, self.bias, self.out = (nn.Parameter(torch.stack(part)) for part in (hidden, bias, out))
        self.offset = nn.Parameter(torch.zeros(len(seeds), 1, 2))

    def forward(self, x: Tensor) -> Tensor:
        """Predictions ``(seeds, samples, 2)`` of x ``(seeds, samples, 1)``."""
        shared = torch.relu(torch.baddbmm(self.bias, x, self.hidden))
        return torch.baddbmm(self.offset, shared, self.out)


def sample(seeds: Sequence[int], samples: int) -> tuple[Tensor, Tensor]:
    """x ``(seeds, samples, 1)`` and noisy y ``(seeds, samples, 2)``, drawn afresh for each seed."""
    draws = []
    for seed in seeds:
        draws.append(torch.randn(samples, 3, generator=torch.Generator().manual_seed(10_000 + seed)))
    x, noise = torch.stack(draws).split([1, 2], dim=-1)
    return x, x * torch.tensor(SLOPES) + torch.tensor(OFFSETS) + noise * torch.tensor(NOISE)


def names(seeds: Sequence[int]) -> list[str]:
    """One weighted task per seed and regression, in the order of ``losses.flatten()``."""
    return [f"{task}, seed {seed}" for seed in seeds for task in TASKS]


def learn_noise(samples: list[int], seeds: Sequence[int], steps: int, lr: float, width: int) -> pd.DataFrame:
    """Networks and sigmas trained together by Adam, on batches of at most `BATCH`; a row per count, seed, task.

    Adam's b2 is 0.99. The first gradients on s are a hundred times the later ones, and with the default 0.999 they
    would shorten its steps for thousands of steps (`aura_study.theory.unregularised.adam_speed` has the reason).

    ``residual`` is the root mean squared error that the network ends with on its own data, ``ratio`` the learned sigma
    over the true noise.
    """
    frames = []
    for count in samples:
        x, y = sample(seeds, count)
        model, weigh = TwoRegressions(seeds, width), MaskedKendallLoss(names(seeds))
        parameters = [*model.parameters(), *weigh.parameters()]
        optimizer = torch.optim.Adam(parameters, lr=lr, betas=(0.9, 0.99))
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for chosen in batches(count, steps):
            optimizer.zero_grad()
            losses = squared_errors(model, x[:, chosen], y[:, chosen])
            weigh(losses.flatten()).backward()
            optimizer.step()
            schedule.step()
        with torch.no_grad():
            residual = squared_errors(model, x, y).sqrt().numpy()
        frames.append(_learned(count, seeds, weigh, residual))
    return pd.concat(frames, ignore_index=True)


def batches(samples: int, steps: int, size: int = BATCH) -> Iterator[Tensor | slice]:
    """``steps`` batches of positions from freshly shuffled passes; everything where one batch holds it all."""
    if samples <= size:
        yield from repeat(slice(None), steps)
        return
    generator = torch.Generator().manual_seed(samples)
    order, place = torch.randperm(samples, generator=generator), 0
    for _ in range(steps):
        if place + size > samples:
            order, place = torch.randperm(samples, generator=generator), 0
        yield order[place : place + size]
        place += size


def squared_errors(model: TwoRegressions, x: Tensor, y: Tensor) -> Tensor:
    """Mean squared errors, ``(seeds, 2)``."""
    return (model(x) - y).square().mean(dim=1)


def _learned(samples: int, seeds: Sequence[int], weigh: KendallLoss, residual: np.ndarray) -> pd.DataFrame:
    sigma, weight = (values.numpy().reshape(-1, 2) for values in (weigh.sigma(), weigh.weights()))
    frames = [
        pd.DataFrame(
            {
                "samples": samples,
                "seed": list(seeds),
                "task": task,
                "noise": NOISE[place],
                "sigma": sigma[:, place],
                "weight": weight[:, place],
                "residual": residual[:, place],
                "ratio": sigma[:, place] / NOISE[place],
            }
        )
        for place, task in enumerate(TASKS)
    ]
    return pd.concat(frames, ignore_index=True)


def errors(table: pd.DataFrame) -> pd.DataFrame:
    """Error of sigma over seeds, by sample count and task, beside 1/sqrt(2N).

    ``error`` is the root mean square of ratio - 1, ``bias`` its mean; ``off_residual`` is the largest deviation of the
    learned sigma from the network's own residual, which has nothing to do with N.
    """
    rows = []
    for (samples, task), group in table.groupby(["samples", "task"]):
        off = group["ratio"] - 1
        rows.append(
            {
                "samples": samples,
                "task": task,
                "sigma": group["sigma"].mean(),
                "weight": group["weight"].mean(),
                "bias": off.mean(),
                "error": float(np.sqrt((off**2).mean())),
                "predicted_error": 1 / math.sqrt(2 * float(str(samples))),
                "off_residual": (group["sigma"] / group["residual"] - 1).abs().max(),
            }
        )
    return pd.DataFrame(rows)


def measure_noise(table: pd.DataFrame) -> Measurement:
    """K2: learned sigma over true noise at the largest sample count: the task furthest off, intervals of both."""
    largest = table[table["samples"] == table["samples"].max()]
    estimates = [mean_interval(group["ratio"]) for _, group in largest.groupby("task")]
    worst = max(estimates, key=lambda estimate: abs(estimate.mean - 1))
    noisy, quiet = (largest[largest["task"] == task].set_index("seed") for task in TASKS)
    ordered = (noisy["sigma"] > quiet["sigma"]) & (noisy["weight"] < quiet["weight"])
    low, high = min(estimate.low for estimate in estimates), max(estimate.high for estimate in estimates)
    return Measurement.of(
        Estimate(worst.mean, low, high, worst.count),
        "learned sigma / true noise",
        predicted=1.0,
        limits={"share of seeds whose noisier task has the larger sigma and the smaller weight": float(ordered.mean())},
    )
