"""The slow, obvious twin of the grid: one cell through the real loss modules, autograd and ``torch.optim``."""

import math

import numpy as np
import pandas as pd
import torch

from aura_study.dynamics import micro_batches
from aura_study.losses import PARAMETERIZATIONS, FrozenKendallLoss, MaskedKendallLoss, UnmaskedKendallLoss
from aura_study.theory.optimizers import SGD, Optimizer

LOSSES = {"unmasked": UnmaskedKendallLoss, "masked": MaskedKendallLoss, "frozen": FrozenKendallLoss}


def torch_optimizer(parameters, settings: Optimizer) -> torch.optim.Optimizer:
    """The PyTorch optimiser with the same settings; its rate is set at every step."""
    if isinstance(settings, SGD):
        return torch.optim.SGD(parameters, lr=1.0, momentum=settings.momentum, weight_decay=settings.weight_decay)
    kind = torch.optim.AdamW if settings.decoupled else torch.optim.Adam
    return kind(
        parameters,
        lr=1.0,
        betas=(settings.beta1, settings.beta2),
        eps=settings.epsilon,
        weight_decay=settings.weight_decay,
    )


def theta_of(weigh) -> float:
    """The module's only parameter."""
    return weigh.thetas().item()


def absent_path(form: str, theta0: float, rates, settings: Optimizer) -> np.ndarray:
    """Theta of an unmasked task that stays absent, shape (steps + 1,)."""
    weigh = UnmaskedKendallLoss(["task"], PARAMETERIZATIONS[form], dtype=torch.float64)
    with torch.no_grad():
        weigh.theta.fill_(theta0)
    optimizer = torch_optimizer(weigh.parameters(), settings)
    path = [theta0]
    for rate in rates:
        optimizer.param_groups[0]["lr"] = float(rate)
        optimizer.zero_grad()
        weigh({}).backward()
        optimizer.step()
        path.append(theta_of(weigh))
    return np.array(path)


def simulate_cell(cells: pd.DataFrame, row: int, steps: int, schedule, profile, seed: int) -> np.ndarray:
    """Theta of one row before every step and after the last, shape (steps + 1,), from the grid's own draws."""
    cell = cells.iloc[row]
    present, losses = micro_batches(cells.iloc[[row]], steps, loss_profile=profile, seed=seed)
    weigh = LOSSES[cell["policy"]](["task"], PARAMETERIZATIONS[cell["parameterization"]], dtype=torch.float64)
    parameters = list(weigh.parameters())
    if not np.isnan(cell["theta0"]):
        with torch.no_grad():
            parameters[0].fill_(cell["theta0"])
    optimizer = torch_optimizer(parameters, cell["optimizer"])
    path = [theta_of(weigh)]
    for here, values, rate in zip(present[0], losses[0], cell["rate"] * schedule, strict=True):
        optimizer.param_groups[0]["lr"] = float(rate)
        optimizer.zero_grad()
        for one, value in zip(here, values, strict=True):
            total = weigh({"task": torch.tensor(value)} if one else {}) / len(here)
            if total.requires_grad:
                total.backward()
        optimizer.step()
        path.append(theta_of(weigh))
    return np.array(path)


def adam_without_log(rate: float, steps: int, beta1: float, beta2: float, loss: float = 1.0) -> list[float]:
    """s under Adam without regulariser, before every step and after the last, written out."""
    s, m, v, path = 0.0, 0.0, 0.0, [0.0]
    for k in range(1, steps + 1):
        gradient = -math.exp(-2 * s) * loss
        m, v = beta1 * m + (1 - beta1) * gradient, beta2 * v + (1 - beta2) * gradient**2
        s -= rate * (m / (1 - beta1**k)) / math.sqrt(v / (1 - beta2**k))
        path.append(s)
    return path
