"""Learning-rate schedules: their shapes (claim S1) and the phantom number under OneCycleLR (claim S3)."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR
from transformers import get_linear_schedule_with_warmup

from aura_study.claims import Measurement
from aura_study.losses import LogSigma, UnmaskedKendallLoss
from aura_study.theory.schedules import constant, linear_warmup_decay, one_cycle, one_cycle_momentum, phantom_number

AURA_WARMUP = 0.1
"""Share of the steps that AURA's V10 code warms up linearly, by ``get_linear_schedule_with_warmup``."""
PHASES = {"first 30 %": (0.0, 0.3), "middle 40 %": (0.3, 0.7), "last 30 %": (0.7, 1.0)}
SCHEDULES = ("onecycle", "linear", "constant")


def rates_of(name: str, steps: int, peak: float = 1.0) -> np.ndarray:
    """Closed form of a schedule's rates, ``(steps,)``, for the names of ``TrainingSettings.schedule``."""
    if name == "onecycle":
        return one_cycle(peak, steps)
    return linear_warmup_decay(peak, steps, int(AURA_WARMUP * steps)) if name == "linear" else constant(peak, steps)


def scheduler_of(name: str, optimizer: torch.optim.Optimizer, steps: int) -> LRScheduler:
    """PyTorch's own scheduler of that name, the optimiser's rate being the peak."""
    if name == "onecycle":
        return OneCycleLR(optimizer, optimizer.param_groups[0]["lr"], total_steps=steps)
    if name == "linear":
        return get_linear_schedule_with_warmup(optimizer, int(AURA_WARMUP * steps), steps)
    return LambdaLR(optimizer, lambda step: 1.0)


def shapes(lengths: Sequence[int]) -> pd.DataFrame:
    """Rate (peak 1) and Adam's beta1 at every step, read off PyTorch's own schedulers, beside the closed forms."""
    frames = []
    for name in SCHEDULES:
        for steps in lengths:
            optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
            scheduler, seen = scheduler_of(name, optimizer, steps), []
            for _ in range(steps):
                seen.append((optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["betas"][0]))
                optimizer.step()
                scheduler.step()
            frame = pd.DataFrame(seen, columns=["rate", "beta1"]).assign(schedule=name, steps=steps)
            frame["share"] = np.arange(steps) / (steps - 1)
            frame["predicted"] = rates_of(name, steps)
            frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def shape_table(table: pd.DataFrame) -> pd.DataFrame:
    """Start, peak, end, where the peak stands, beta1's range, and the mean rate (Lambda of the whole run over its
    steps); one row per schedule and length.
    """
    rows = []
    for (name, steps), group in table.groupby(["schedule", "steps"], sort=False):
        rate = group["rate"].to_numpy()
        rows.append(
            {
                "schedule": name,
                "steps": steps,
                "start": rate[0],
                "peak": rate.max(),
                "end": rate[-1],
                "peak_position": group["share"].to_numpy()[rate.argmax()],
                "lowest_beta1": group["beta1"].min(),
                "highest_beta1": group["beta1"].max(),
                "mean_rate": rate.mean(),
                "closed_form_error": (group["rate"] - group["predicted"]).abs().max(),
            }
        )
    return pd.DataFrame(rows)


def measure_peak(table: pd.DataFrame) -> Measurement:
    """S1: where OneCycleLR's peak stands, as a share of the run, over all run lengths; the guide says half."""
    rows = table[table["schedule"] == "onecycle"]
    return Measurement.over(
        rows["peak_position"],
        "position of the peak, share of the run",
        predicted=0.5,
        limits={name: float(rows[name].iloc[-1]) for name in ("start", "end")},
    )


def absences(lengths: Sequence[int], budget: float = 3.0) -> pd.DataFrame:
    """Displacement of log sigma over an absence under OneCycleLR, by the real unmasked module in float64.

    One row per run length, window and optimiser. Before its window the task's parameter has had no gradient (Adam is
    cold), so that the absence alone moves it. ``budget`` is the sum of the rates over the whole run. ``phantom`` is
    Lambda over the window, ``predicted`` the exact displacement with cycled beta1 taken into account.
    """
    rows = []
    for steps in lengths:
        peak = budget / one_cycle(1.0, steps).sum()
        for window, (start, stop) in {**PHASES, "first 5 %": (0.0, 0.05), "whole run": (0.0, 1.0)}.items():
            first, last = round(start * steps), round(stop * steps)
            lost = np.zeros(steps, bool)
            lost[first:last] = True
            phantom = phantom_number(one_cycle(peak, steps), lost)
            for name, cycled in (("SGD", False), ("Adam", False), ("Adam, cycled beta1", True)):
                directions = cycled_directions(steps, first, last) if cycled else np.ones(last - first)
                rows.append(
                    {
                        "steps": steps,
                        "window": window,
                        "optimizer": name,
                        "phantom": phantom,
                        "predicted": float(np.sum(one_cycle(peak, steps)[first:last] * directions)),
                        "measured": _displacement(steps, first, last, peak, name.split(",")[0], cycled),
                    }
                )
    table = pd.DataFrame(rows)
    return table.assign(over_phantom=table["measured"] / table["phantom"], ratio=table["measured"] / table["predicted"])


def cycled_directions(steps: int, first: int, last: int) -> np.ndarray:
    r"""Adam's steps over eta for a constant gradient from a cold start at ``first``, beta1 cycled by OneCycleLR.

    :math:`m_k = g (1 - \prod_{j \le k} b_{1,j})`, which PyTorch corrects by :math:`1 - b_{1,k}^k` as though the current
    beta1 had held in all k steps; v is exact. With a constant beta1 both are equal and the step is eta.
    """
    beta1 = one_cycle_momentum(steps)[first:last]
    k = np.arange(1, last - first + 1)
    return (1 - np.cumprod(beta1)) / (1 - beta1**k)


def _displacement(steps: int, first: int, last: int, peak: float, name: str, cycled: bool) -> float:
    weigh = UnmaskedKendallLoss(["task"], LogSigma(), dtype=torch.float64)
    kind = {"SGD": torch.optim.SGD, "Adam": torch.optim.Adam}[name]
    optimizer = kind(weigh.parameters(), lr=peak)
    scheduler = OneCycleLR(optimizer, peak, total_steps=steps, cycle_momentum=cycled)
    for step in range(last):
        if step >= first:
            optimizer.zero_grad()
            weigh({}).backward()
        optimizer.step()
        scheduler.step()
    return float(-weigh.thetas().detach()[0])


def measure_absences(table: pd.DataFrame) -> Measurement:
    """S3: displacement over its prediction, over all run lengths, windows and optimisers."""
    cycled = table[table["optimizer"] == "Adam, cycled beta1"]
    return Measurement.over(
        table["ratio"],
        "displacement of log sigma / predicted",
        predicted=1.0,
        limits={"least displacement over Lambda with cycled beta1": float(cycled["over_phantom"].min())},
    )
