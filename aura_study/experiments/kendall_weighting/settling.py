"""Kendall's weighting with every task present (claims K1 and K1a): where the learned uncertainty settles, and what its
weight is."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch

from aura_study.claims import Measurement
from aura_study.losses import PARAMETERIZATIONS, MaskedKendallLoss
from aura_study.theory.fixed_points import fixed_point
from aura_study.theory.forms import FORMS


def settle(lowest_loss: float, highest_loss: float, levels: int, steps: int, lr: float) -> pd.DataFrame:
    """Every parameterisation trained on constant losses: one row per form, level and tenth of the run.

    Each level is a task of its own, always present, so that one module trains them all side by side.
    """
    losses = torch.logspace(np.log10(lowest_loss), np.log10(highest_loss), levels, dtype=torch.float64)
    names = [f"task {place}" for place in range(levels)]
    frames = []
    for form in PARAMETERIZATIONS.values():
        weigh = MaskedKendallLoss(names, form, dtype=torch.float64)
        optimizer = torch.optim.Adam(weigh.parameters(), lr=lr)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for step in range(steps + 1):
            if step % max(1, steps // 50) == 0 or step == steps:
                frames.append(_snapshot(form.name, step, losses, weigh))
            optimizer.zero_grad()
            weigh(losses).backward()
            optimizer.step()
            if step < steps:
                schedule.step()
    return pd.concat(frames, ignore_index=True)


def _snapshot(form: str, step: int, losses: torch.Tensor, weigh: MaskedKendallLoss) -> pd.DataFrame:
    weight = weigh.weights().numpy()
    predicted = FORMS[form].weight(fixed_point(FORMS[form], losses.numpy()))
    return pd.DataFrame(
        {
            "parameterization": form,
            "loss": losses.numpy(),
            "step": step,
            "sigma_squared": 1 / (2 * weight),
            "weight": weight,
            "predicted_weight": predicted,
            "ratio": weight / predicted,
        }
    )


def settled(trajectories: pd.DataFrame) -> pd.DataFrame:
    """The last step of `settle`: where each uncertainty ended, next to its fixed point."""
    last = trajectories[trajectories["step"] == trajectories["step"].max()]
    return last.assign(
        predicted_sigma_squared=1 / (2 * last["predicted_weight"]), weighted_loss=last["weight"] * last["loss"]
    ).drop(columns="step")


def measure_fixed_points(table: pd.DataFrame) -> Measurement:
    """K1: measured over predicted weight, over every form and loss level."""
    return Measurement.over(table["ratio"], "weight reached / weight predicted", predicted=1.0)


def factor_and_precision(sigmas: Sequence[float]) -> pd.DataFrame:
    """The weight that the module gives a task, beside the precision of Gaussian noise of the same sigma.

    The precision is the curvature of -log N(y; mu, sigma^2) in mu, by autograd. Columns: sigma, factor, precision,
    excess (factor / precision - 1).
    """
    level = torch.tensor(sigmas, dtype=torch.float64)
    weigh = MaskedKendallLoss([f"sigma {sigma:g}" for sigma in sigmas], dtype=torch.float64)
    weigh.theta.data.copy_(level.log())
    mu = torch.zeros_like(level, requires_grad=True)
    surprise = -torch.distributions.Normal(mu, level).log_prob(torch.ones_like(level)).sum()
    (slope,) = torch.autograd.grad(surprise, mu, create_graph=True)
    (precision,) = torch.autograd.grad(slope.sum(), mu)
    table = pd.DataFrame({"sigma": level, "factor": weigh.weights(), "precision": precision})
    return table.assign(excess=table["factor"] / table["precision"] - 1)


def measure_precision(table: pd.DataFrame) -> Measurement:
    """K1a: how far the factor lies above the precision, over every sigma."""
    return Measurement.over(table["excess"], "1/(2 sigma^2) over the precision of the noise, minus 1", predicted=-0.5)


def objective(loss: float, points: int = 300) -> pd.DataFrame:
    """The term each form minimises, over sigma, at one loss: the bowl and its bottom."""
    sigma = np.geomspace(0.05, 20, points)
    frames = []
    for name, form in PARAMETERIZATIONS.items():
        theta = torch.tensor([form.theta(value) for value in sigma], dtype=torch.float64)
        term = form.term(theta, torch.tensor(loss, dtype=torch.float64)).numpy()
        lowest = float(FORMS[name].sigma(fixed_point(FORMS[name], loss)))
        frames.append(pd.DataFrame({"parameterization": name, "sigma": sigma, "term": term, "predicted_sigma": lowest}))
    return pd.concat(frames, ignore_index=True)
