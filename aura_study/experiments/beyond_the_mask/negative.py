"""A negative total: when it is sound, when it is the phantom gradient, and what popular cures do (claims B4 to B4d)."""

import math
from collections.abc import Callable, Mapping
from itertools import product

import numpy as np
import pandas as pd
import torch
from scipy.special import lambertw
from torch import Tensor, nn

from aura_study.claims import Measurement
from aura_study.claims.statistics.intervals import ratio_interval, seeds
from aura_study.experiments.beyond_the_mask.parameters import BeyondTheMaskParameters
from aura_study.losses import KendallLoss, LogOnePlusSquare, LogSigma, MaskedKendallLoss, UnmaskedKendallLoss
from aura_study.theory.fixed_points import fixed_point
from aura_study.theory.forms import LOG_ONE_PLUS_SQUARE

OPTIMIZERS: Mapping[str, Callable[..., torch.optim.Optimizer]] = {"SGD": torch.optim.SGD, "Adam": torch.optim.Adam}
LOSSES = (0.3, 0.1, 0.02)
"""Of the tasks, in the geometric mean below 1/e; the last one goes away."""
FIXES: Mapping[str, Callable[[Tensor], Tensor]] = {
    "plain": lambda total: total,
    "abs": torch.abs,
    "clamp at 0": lambda total: total.clamp(min=0),
}
"""What is descended in place of the total."""
SHORT = ("abs", "clamp at 0")
SMALL = (0.3, 0.1, 0.01)
RATE, STEPS = 5e-4, 800
SETTLE, WATCHED = 0.02, 800
AWAY = {"SGD": 800, "Adam": 5000}
NOISE, ROWS, LEARNED = 0.1, 64, 1000


def _descend(
    weigh: KendallLoss, losses: Mapping[str, float], optimizer: torch.optim.Optimizer, steps: int, fix: str = "plain"
) -> list[float]:
    """Totals of ``steps`` steps on constant losses."""
    values = {task: torch.tensor(loss, dtype=torch.float64) for task, loss in losses.items()}
    totals = []
    for _ in range(steps):
        optimizer.zero_grad()
        total = weigh(values)
        FIXES[fix](total).backward()
        optimizer.step()
        totals.append(total.item())
    return totals


def _kendall(kind: type[KendallLoss], tasks: list[str], form: LogSigma | LogOnePlusSquare | None = None) -> KendallLoss:
    return kind(tasks, form or LogSigma()).double()


def totals() -> pd.DataFrame:
    """Totals with every task there, and after one has gone and is not masked.

    One row per optimiser, kind (``sound`` or ``phantom``) and step: ``total``; ``theory``, where a sound one settles,
    of all tasks or of those that are left; ``moved``, by how much the terms of these differ from it in the end.
    """
    frames = []
    tasks = [f"task {number}" for number in range(len(LOSSES))]
    held = dict(zip(tasks, LOSSES, strict=True))
    left = dict(list(held.items())[:-1])
    for name, make in OPTIMIZERS.items():
        weigh = _kendall(UnmaskedKendallLoss, tasks)
        optimizer = make(weigh.parameters(), lr=SETTLE)
        for kind, losses, steps in (("sound", held, WATCHED), ("phantom", left, AWAY[name])):
            path = _descend(weigh, losses, optimizer, steps)
            theory = sum(0.5 * (1 + math.log(loss)) for loss in losses.values())
            sigma = dict(zip(tasks, weigh.sigma().tolist(), strict=True))
            terms = sum(loss / (2 * sigma[task] ** 2) + math.log(sigma[task]) for task, loss in losses.items())
            cell = {"optimizer": name, "kind": kind, "theory": theory, "moved": abs(terms - theory)}
            frames.append(pd.DataFrame({**cell, "step": range(steps), "total": path}))
    return pd.concat(frames, ignore_index=True)


def ends(table: pd.DataFrame) -> pd.DataFrame:
    """Of `totals`, by optimiser and kind: ``last`` total; ``fall`` a step, over the rate, in the last tenth; ``moved``;
    and ``ratio``, of the last total to theory's for a sound one, the fall for the phantom's.
    """
    rows = []
    for (optimizer, kind), path in table.groupby(["optimizer", "kind"], sort=False):
        late = path.tail(len(path) // 10)
        last, theory = float(late["total"].iloc[-1]), float(late["theory"].iloc[-1])
        fall = -float(np.polyfit(late["step"], late["total"], 1)[0]) / SETTLE
        ratio = last / theory if kind == "sound" else fall
        moved = float(late["moved"].iloc[-1])
        rows.append((optimizer, kind, last, theory, fall, moved, ratio))
    return pd.DataFrame(rows, columns=["optimizer", "kind", "last", "theory", "fall", "moved", "ratio"])


def fixed_weights() -> pd.DataFrame:
    """Weights of two tasks of one loss after the plain total and its cures, in parts of what the loss asks for.

    Columns: ``fix``, ``optimizer``, ``loss``, ``weight``, ``asked`` (1/(2L)), ``kept`` and ``predicted``, both over it.
    """
    rows = []
    ways = (*FIXES, "log(1 + sigma^2)")
    for fix, (name, make), loss in product(ways, OPTIMIZERS.items(), SMALL):
        plain = fix in FIXES
        weigh = _kendall(MaskedKendallLoss, ["one", "two"], LogSigma() if plain else LogOnePlusSquare())
        held = {"one": loss, "two": loss}
        free = fix not in SHORT
        rate, steps = (SETTLE, WATCHED) if free else (RATE if name == "Adam" else 10 * RATE, STEPS)
        _descend(weigh, held, make(weigh.parameters(), lr=rate), steps, fix if plain else "plain")
        weight, asked = float(weigh.weights()[0]), 0.5 / loss
        rows.append(
            {
                "fix": fix,
                "optimizer": name,
                "loss": loss,
                "weight": weight,
                "asked": asked,
                "kept": weight / asked,
                "predicted": _predicted(fix, loss) / asked,
            }
        )
    return pd.DataFrame(rows)


def _predicted(fix: str, loss: float) -> float:
    """The weight that theory expects; where the total is 0 for the two cures that stop there."""
    if fix in SHORT:
        return float(0.5 * np.exp(-lambertw(-loss).real)) if loss < np.exp(-1) else 0.5 / loss
    if fix == "plain":
        return 0.5 / loss
    return float(LOG_ONE_PLUS_SQUARE.weight(fixed_point(LOG_ONE_PLUS_SQUARE, loss)))


def learned(p: BeyondTheMaskParameters) -> pd.DataFrame:
    """Error of two linear regressions trained with the plain total and with its cures, in units of the noise variance.

    One row per seed and fix: ``error``, mean over the tasks on fresh rows.
    """
    rows = []
    for seed, fix in product(seeds(p.problems), FIXES):
        generator = torch.Generator().manual_seed(p.seed * 1000 + seed)
        truth = torch.randn(8, 2, generator=generator) / 8**0.5
        torch.manual_seed(seed)
        model, weigh = nn.Linear(8, 2), MaskedKendallLoss(["one", "two"])
        optimizer = torch.optim.Adam([*model.parameters(), *weigh.parameters()], lr=0.01)
        for _ in range(LEARNED):
            inputs = torch.randn(ROWS, 8, generator=generator)
            noise = NOISE * torch.randn(ROWS, 2, generator=generator)
            square = (model(inputs) - inputs @ truth - noise).square().mean(0)
            optimizer.zero_grad()
            FIXES[fix](weigh({"one": square[0], "two": square[1]})).backward()
            optimizer.step()
        inputs = torch.randn(4096, 8, generator=generator)
        with torch.no_grad():
            error = float((model(inputs) - inputs @ truth).square().mean()) + NOISE**2
        rows.append({"seed": seed, "fix": fix, "error": error / NOISE**2})
    return pd.DataFrame(rows)


def measure_sound(table: pd.DataFrame, weights: pd.DataFrame) -> Measurement:
    """B4: settled totals over theory's, and weights over those at the fixed point."""
    plain = weights[weights["fix"] == "plain"]
    cells = [*table[table["kind"] == "sound"]["ratio"], *(plain["kept"] / plain["predicted"])]
    return Measurement.over(cells, "settled total over theory's, and weight over 1/(2L)", 1.0)


def measure_fall(table: pd.DataFrame) -> Measurement:
    """B4a: fall of the total a step over the learning rate."""
    phantom = table[table["kind"] == "phantom"]
    limits = {"farthest that the present tasks' terms moved": float(phantom["moved"].max())}
    return Measurement.over(phantom["ratio"], "fall of the total a step over the learning rate", 1.0, limits)


def measure_stopped(weights: pd.DataFrame) -> Measurement:
    """B4b: weights under the absolute value and the clamp over those at which the total is 0."""
    rows = weights[weights["fix"].isin(SHORT)]
    limits = {"least share of the weight that the loss asks for": float(rows["kept"].min())}
    return Measurement.over(rows["kept"] / rows["predicted"], "weight over that at a total of 0", 1.0, limits)


def measure_bent(weights: pd.DataFrame) -> Measurement:
    """B4c: weights under log(1 + sigma^2) over theory's."""
    rows = weights[weights["fix"] == "log(1 + sigma^2)"]
    limits = {"least share of the weight that the loss asks for": float(rows["kept"].min())}
    return Measurement.over(rows["kept"] / rows["predicted"], "weight over theory's", 1.0, limits)


def measure_learned(table: pd.DataFrame) -> Measurement:
    """B4d: error over that of the plain total, of the cure that does better, over seeds."""
    errors = table.pivot_table(index="seed", columns="fix", values="error")
    means = {str(fix): float(mean) for fix, mean in errors.mean().items()}
    least = min(SHORT, key=lambda fix: means[fix])
    limits = {f"error under {fix}, in noise variances": means[fix] for fix in FIXES}
    estimate = ratio_interval(errors[least], errors["plain"])
    return Measurement.of(estimate, "error over that of the plain total", limits=limits, logarithmic=True)
