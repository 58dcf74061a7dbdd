"""What the mask leaves behind: momentum and decay at a gradient of 0 (claim B1)."""

import itertools
import math
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from aura_study.claims import Measurement
from aura_study.losses import KendallLoss, LogSigma, MaskedKendallLoss
from aura_study.theory.adam import AdamState, adam_coasting
from aura_study.theory.coasting import (
    coasting_distance,
    coasting_factor,
    coupled_decay,
    decoupled_decay,
    momentum_coasting,
)
from aura_study.theory.optimizers import Adam
from aura_study.theory.schedules import linear_warmup_decay, phantom_number
from aura_study.training.loop import AURA
from aura_study.training.weighting import POLICIES

BETAS = ((0.9, 0.999), (0.9, 0.99), (0.8, 0.999))
SHORT_PAST = (10, 100)
REST_LR, REST_STEPS, REST_DECAY, MOMENTUM = 1e-3, 50, 0.01, 0.9
DECAYS: dict[str, Any] = {"AdamW": torch.optim.AdamW, "Adam with L2": torch.optim.Adam}
LEAVING_OUT = ("masked", "frozen")
"""Policies that send an absent task no gradient."""


def coasting(paths: int, present_steps: int, absent_steps: int, lr: float, noise: float, seed: int) -> pd.DataFrame:
    """A masked task's parameter after its gradient has become exactly 0, under Adam.

    One row per betas, length of the past, path and absent step, with the displacement since the absence began, the
    exact path of theory and its limit for a long past and a long absence. Each path is a task of its own.
    """
    cells = [(betas, present_steps) for betas in BETAS] + [(BETAS[0], past) for past in SHORT_PAST]
    return pd.concat([_coast(*cell, paths, absent_steps, lr, noise, seed) for cell in cells], ignore_index=True)


def _coast(
    betas: tuple[float, float], past: int, paths: int, absent_steps: int, lr: float, noise: float, seed: int
) -> pd.DataFrame:
    names = [f"path {i}" for i in range(paths)]
    weigh = MaskedKendallLoss(names, LogSigma(), dtype=torch.float64)
    optimizer = torch.optim.Adam(weigh.parameters(), lr=lr, betas=betas)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(past):
        losses = torch.exp(noise * torch.randn(paths, generator=generator, dtype=torch.float64))
        _step(weigh, optimizer, losses, torch.ones(paths, dtype=torch.bool))
    memory = optimizer.state[weigh.theta]
    start = weigh.thetas().detach().clone()
    states = [AdamState(float(m), float(v), past) for m, v in zip(memory["exp_avg"], memory["exp_avg_sq"], strict=True)]
    trace = []
    for _ in range(absent_steps):
        _step(weigh, optimizer, torch.zeros(paths, dtype=torch.float64), torch.zeros(paths, dtype=torch.bool))
        trace.append((weigh.thetas().detach() - start).numpy())
    settings = Adam(*betas)
    rates = np.full(absent_steps, lr)
    return pd.DataFrame(
        {
            "beta1": betas[0],
            "beta2": betas[1],
            "past": past,
            "path": np.repeat(np.arange(paths), absent_steps),
            "absent_step": np.tile(np.arange(1, absent_steps + 1), paths),
            "displacement": np.stack(trace).T.ravel(),
            "predicted": np.concatenate([adam_coasting(state, rates, settings) for state in states]),
            "limit": np.repeat([coasting_distance(state, lr, settings) for state in states], absent_steps),
            "factor": coasting_factor(settings),
        }
    )


def _step(weigh: KendallLoss, optimizer: torch.optim.Optimizer, losses: Tensor, present: Tensor) -> None:
    optimizer.zero_grad()
    weigh(losses, present).backward()
    optimizer.step()


def coasting_summary(paths: pd.DataFrame) -> pd.DataFrame:
    """Last step of every absence: displacement over the exact path and over the limit, by betas and past."""
    last = paths[paths["absent_step"] == paths["absent_step"].max()]
    last = last.assign(
        over_exact=last["displacement"] / last["predicted"], over_limit=last["displacement"] / last["limit"]
    )
    grouped = last.groupby(["beta1", "beta2", "past", "factor"], sort=False)
    return grouped[["over_exact", "over_limit"]].agg(["min", "max"]).pipe(_flat).reset_index()


def _flat(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.set_axis([" ".join(column) for column in frame.columns.to_flat_index()], axis=1)


def decays(steps: int, lr: float, weight_decay: float) -> pd.DataFrame:
    """`decay_path` for both policies and both kinds of weight decay."""
    pairs = itertools.product(LEAVING_OUT, DECAYS)
    return pd.concat([decay_path(*pair, steps, lr, weight_decay) for pair in pairs], ignore_index=True)


def decay_path(policy: str, kind: str, steps: int, lr: float, weight_decay: float) -> pd.DataFrame:
    """Theta of an absent task from theta = 1 and a cold start, under one policy and one kind of weight decay."""
    weigh = POLICIES[policy](["absent", "present"], LogSigma(), initial_sigma=math.e, dtype=torch.float64)
    optimizer = DECAYS[kind](weigh.parameters(), lr=lr, weight_decay=weight_decay)
    trace = [float(weigh.thetas()[0].detach())]
    for _ in range(steps):
        _step(weigh, optimizer, torch.ones(2, dtype=torch.float64), torch.tensor([False, True]))
        trace.append(float(weigh.thetas()[0].detach()))
    masked = coupled_decay(1.0, lr, steps) if kind == "Adam with L2" else decoupled_decay(1.0, lr, weight_decay, steps)
    return pd.DataFrame(
        {
            "policy": policy,
            "optimizer": kind,
            "weight_decay": weight_decay,
            "step": np.arange(steps + 1),
            "theta": trace,
            "predicted": masked if policy == "masked" else np.ones(steps + 1),
        }
    )


def stillness(lr: float, noise: float, seed: int) -> pd.DataFrame:
    """Displacement of an absent task's parameter under each source of motion, masked and frozen, beside theory."""
    rows = []
    for policy in LEAVING_OUT:
        for source in ("Adam's momentum", "SGD's momentum"):
            moved, predicted = _after_momentum(policy, source, lr, noise, seed)
            rows.append((policy, source, moved, predicted if policy == "masked" else 0.0))
    for weight_decay in (REST_DECAY, 1.0):
        for policy, kind in itertools.product(LEAVING_OUT, DECAYS):
            end = decay_path(policy, kind, REST_STEPS, REST_LR, weight_decay).iloc[-1]
            moved, predicted = float(end["theta"]) - 1.0, float(end["predicted"]) - 1.0
            rows.append((policy, f"{kind}, decay {weight_decay:g}", moved, predicted))
    table = pd.DataFrame(rows, columns=["policy", "source", "displacement", "predicted"])
    return table.sort_values("policy", ascending=False, kind="stable", ignore_index=True)


def _after_momentum(policy: str, source: str, lr: float, noise: float, seed: int) -> tuple[float, float]:
    weigh = POLICIES[policy](["absent", "present"], LogSigma(), dtype=torch.float64)
    optimizer: torch.optim.Optimizer = (
        torch.optim.Adam(weigh.parameters(), lr=lr)
        if source == "Adam's momentum"
        else torch.optim.SGD(weigh.parameters(), lr=lr, momentum=MOMENTUM)
    )
    generator = torch.Generator().manual_seed(seed)
    past = 1000
    for _ in range(past):
        losses = torch.exp(noise * torch.randn(2, generator=generator, dtype=torch.float64))
        _step(weigh, optimizer, losses, torch.ones(2, dtype=torch.bool))
    memory = optimizer.state[next(iter(weigh.parameters()))]
    first = {name: float(value.reshape(-1)[0]) for name, value in memory.items()}
    start = float(weigh.thetas()[0].detach())
    for _ in range(500):
        _step(weigh, optimizer, torch.ones(2, dtype=torch.float64), torch.tensor([False, True]))
    moved = float(weigh.thetas()[0].detach()) - start
    if source == "Adam's momentum":
        return moved, coasting_distance(AdamState(first["exp_avg"], first["exp_avg_sq"], past), lr)
    return moved, momentum_coasting(first["momentum_buffer"], lr, MOMENTUM)


def at_aura_rates() -> pd.DataFrame:
    """What each source of motion amounts to in AURA's own run, for a task that it never saw; from theory.

    Largest change of s = log sigma, the coasting being that of a gradient as large as its root mean square.
    """
    rates = linear_warmup_decay(AURA.lr_sigma, AURA.steps, int(AURA.warmup * AURA.steps))
    budget = phantom_number(rates)
    decay = -math.expm1(-AURA.weight_decay_sigma * budget)
    rows = [
        ("phantom gradient (unmasked)", budget),
        ("Adam's momentum (masked)", AURA.lr_sigma * coasting_factor()),
        ("AdamW's decay (masked), from s = 1", decay),
        ("anything (frozen)", 0.0),
    ]
    table = pd.DataFrame(rows, columns=["source", "largest change of s"])
    return table.assign(weight_factor=np.exp(2 * table["largest change of s"]))


def b1_measurement(summary: pd.DataFrame, still: pd.DataFrame) -> Measurement:
    """Largest relative error of all predictions; a frozen parameter that moves at all counts as infinite."""
    long = summary[~summary["past"].isin(SHORT_PAST)]
    masked, frozen = still[still["policy"] == "masked"], still[still["policy"] == "frozen"]
    errors = [
        *(long["over_limit min"] - 1).abs(),
        *(long["over_limit max"] - 1).abs(),
        *(masked["displacement"] / masked["predicted"] - 1).abs(),
        *frozen["displacement"].map(lambda moved: 0.0 if moved == 0 else math.inf),
    ]
    return Measurement.over(errors, "largest |measured / predicted - 1|, frozen exactly 0", measured=max)
