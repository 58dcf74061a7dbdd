"""Kendall's weighting without log sigma (claim K3, the guide's question 1): what is lost, and how."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from aura_study.claims import Measurement
from aura_study.experiments.kendall_weighting.regressions import (
    NOISE,
    TASKS,
    TwoRegressions,
    batches,
    names,
    sample,
    squared_errors,
)
from aura_study.losses import FrozenKendallLoss, KendallLoss, LogSigma, MaskedKendallLoss
from aura_study.theory.optimizers import Adam
from aura_study.theory.schedules import linear_warmup_decay
from aura_study.theory.unregularised import adam_speed, unregularised_flow
from aura_study.training.loop import AURA

CLEAN_SLOPE = 1 / 6
"""Last share of an Adam run over which the slope of s is read: by then it has settled to about 1 %."""


@dataclass(frozen=True)
class WithoutLog(LogSigma):
    """theta = s, weight exp(-2s)/2 and no regulariser: what the guide's question 1 asks about."""

    name: ClassVar[str] = "without_log"

    def regularizer(self, theta: Tensor) -> Tensor:
        """0 everywhere."""
        return torch.zeros_like(theta)


def rise_under_sgd(losses: list[float], lr: float, steps: int) -> pd.DataFrame:
    """s of always-present tasks with constant losses, plain SGD: one row per loss and about 60 of the steps."""
    level = torch.tensor(losses, dtype=torch.float64)
    weigh = MaskedKendallLoss([f"loss {loss:g}" for loss in losses], WithoutLog(), dtype=torch.float64)
    optimizer = torch.optim.SGD(weigh.parameters(), lr=lr)
    path = _train(weigh, optimizer, level, steps)
    frames = []
    for place, loss in enumerate(losses):
        kept = _kept(steps)
        predicted = unregularised_flow(0.0, lr * loss * kept)
        row = {"loss": loss, "step": kept, "s": path[kept, place], "predicted": predicted}
        frames.append(pd.DataFrame(row))
    table = pd.concat(frames, ignore_index=True)
    table["weight"], table["predicted_weight"] = (0.5 * np.exp(-2 * table[name]) for name in ("s", "predicted"))
    return table


def rise_under_adam(rates: list[float], beta2: float) -> pd.DataFrame:
    """s at a constant loss of 1 under Adam, for each rate, over 12 memories 1/(1-b2).

    ``slope`` and ``predicted_slope`` stand on every row: the measured one over the last sixth of the run, and
    `adam_speed`. ``predicted`` is the line of that slope through the run's end.
    """
    steps = round(12 / (1 - beta2))
    weigh = FrozenKendallLoss([f"rate {rate:g}" for rate in rates], WithoutLog(), dtype=torch.float64)
    groups = [{"params": [theta], "lr": rate} for theta, rate in zip(weigh.parameters(), rates, strict=True)]
    path = _train(weigh, torch.optim.Adam(groups, betas=(0.9, beta2)), torch.ones(len(rates)).double(), steps)
    frames, kept, settled = [], _kept(steps), round(steps * (1 - CLEAN_SLOPE))
    for place, rate in enumerate(rates):
        s, speed = path[:, place], adam_speed(rate, Adam(beta2=beta2))
        row = {"rate": rate, "step": kept, "s": s[kept], "predicted": s[-1] + speed * (kept - steps)}
        slope = (s[-1] - s[settled]) / (steps - settled)
        frames.append(pd.DataFrame(row).assign(slope=slope, predicted_slope=speed, ratio=slope / speed))
    return pd.concat(frames, ignore_index=True)


def fall_at_aura_rates() -> float:
    """Weight at the start over weight at the end of AURA's own run, its task present in every step of Adam."""
    weigh = MaskedKendallLoss(["task"], WithoutLog(), dtype=torch.float64)
    optimizer = torch.optim.Adam(weigh.parameters(), lr=AURA.lr_sigma)
    rates = linear_warmup_decay(AURA.lr_sigma, AURA.steps, int(AURA.warmup * AURA.steps))
    path = _train(weigh, optimizer, torch.ones(1, dtype=torch.float64), AURA.steps, rates)
    return float(np.exp(2 * (path[-1, 0] - path[0, 0])))


def _train(
    weigh: KendallLoss, optimizer: torch.optim.Optimizer, losses: Tensor, steps: int, rates: np.ndarray | None = None
) -> np.ndarray:
    """Parameters before every step and after the last, ``(steps + 1, tasks)``."""
    path = torch.empty(steps + 1, len(losses), dtype=torch.float64)
    for step in range(steps):
        path[step] = weigh.thetas().detach()
        if rates is not None:
            optimizer.param_groups[0]["lr"] = float(rates[step])
        optimizer.zero_grad()
        weigh(losses).backward()
        optimizer.step()
    path[steps] = weigh.thetas().detach()
    return path.numpy()


def _kept(steps: int) -> np.ndarray:
    return np.unique(np.linspace(0, steps, 61).round().astype(int))


def measure_rise(sgd: pd.DataFrame, adam: pd.DataFrame, fall: float) -> Measurement:
    """K3: weight at the end over its closed form (SGD), slope over its closed form (Adam); all cells."""
    last = sgd[sgd["step"] == sgd["step"].max()]
    ratios = np.concatenate([last["weight"] / last["predicted_weight"], adam.groupby("rate")["ratio"].first()])
    return Measurement.over(
        ratios,
        "measured / predicted: final weight under SGD, slope of s under Adam",
        predicted=1.0,
        limits={"fall of the weight over AURA's own run": fall},
    )


def train_regressions(seeds: Sequence[int], samples: int, steps: int, lr: float, width: int) -> pd.DataFrame:
    """Kendall's two regressions on small batches, with and without log sigma, all by SGD or all by Adam.

    The arms of a seed share its data, batches and start. One row per optimiser, arm, seed, task and step: weight,
    ``gradient`` (norm of the task's weighted gradient on the shared layer) and ``error`` (batch mean squared error over
    the noise variance; 1 is perfect).
    """
    frames = []
    for optimizer in ("sgd", "adam"):
        for arm, form in (("with log", LogSigma()), ("without log", WithoutLog())):
            model, weigh = TwoRegressions(seeds, width), MaskedKendallLoss(names(seeds), form)
            record = _train_regressions(model, weigh, sample(seeds, samples), steps, optimizer, lr)
            frames.append(_tidy(record, seeds).assign(optimizer=optimizer, arm=arm))
    return pd.concat(frames, ignore_index=True)


def _train_regressions(
    model: TwoRegressions, weigh: KendallLoss, data: tuple[Tensor, Tensor], steps: int, name: str, lr: float
) -> Tensor:
    """Weight, gradient norm and error, ``(steps, 3, seeds, 2)``."""
    kind = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[name]
    optimizer = kind([*model.parameters(), *weigh.parameters()], lr=lr)
    (x, y), shared = data, [model.hidden, model.bias]
    record = torch.empty(steps, 3, x.shape[0], 2)
    for step, chosen in enumerate(batches(x.shape[1], steps, size=32)):
        optimizer.zero_grad()
        losses = squared_errors(model, x[:, chosen], y[:, chosen])
        weight = weigh.weights().view_as(losses)
        for place in range(2):
            parts = torch.autograd.grad((weight * losses)[:, place].sum(), shared, retain_graph=True)
            record[step, 1, :, place] = torch.cat([part.flatten(1) for part in parts], dim=1).norm(dim=1)
        record[step, 0], record[step, 2] = weight, losses.detach() / torch.tensor(NOISE).square()
        weigh(losses.flatten()).backward()
        optimizer.step()
    return record


def _tidy(record: Tensor, seeds: Sequence[int]) -> pd.DataFrame:
    steps = record.shape[0]
    index = pd.MultiIndex.from_product([range(steps), seeds, TASKS], names=["step", "seed", "task"])
    columns = {name: record[:, place].flatten().numpy() for place, name in enumerate(("weight", "gradient", "error"))}
    return pd.DataFrame(columns, index=index).reset_index()


def signal(runs: pd.DataFrame) -> pd.DataFrame:
    """How each task's training signal behaved, one row per optimiser, arm, task and seed.

    ``rises``: share of steps on which the weight rose; ``kept``: mean norm of the last tenth over that of the first;
    ``final_error``: mean of the last tenth, in units of the noise variance.
    """
    rows = []
    for keys, group in runs.groupby(["optimizer", "arm", "task", "seed"]):
        tenth = max(1, len(group) // 10)
        gradient, weight = group["gradient"].to_numpy(), group["weight"].to_numpy()
        rows.append(
            {
                **dict(zip(("optimizer", "arm", "task", "seed"), keys, strict=True)),
                "rises": (np.diff(weight) > 0).mean(),
                "kept": gradient[-tenth:].mean() / gradient[:tenth].mean(),
                "final_weight": weight[-1],
                "final_error": group["error"].to_numpy()[-tenth:].mean(),
            }
        )
    return pd.DataFrame(rows)


def signal_curves(runs: pd.DataFrame, block: int = 20) -> pd.DataFrame:
    """Gradient norm and error of `train_regressions`, mean over seeds and over blocks of steps."""
    blocks = runs.assign(step=runs["step"] // block * block + block / 2)
    keys = ["optimizer", "arm", "task", "step"]
    return blocks.groupby(keys, as_index=False)[["gradient", "error", "weight"]].mean()
