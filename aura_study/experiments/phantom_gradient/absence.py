"""The phantom gradient itself (claims P1 and P2): its value, and where it takes sigma."""

import numpy as np
import pandas as pd
import torch

from aura_study.claims import Measurement
from aura_study.losses import PARAMETERIZATIONS, UnmaskedKendallLoss
from aura_study.theory.absence import absent_trajectory, collapse_step, precision_inflation
from aura_study.theory.forms import FORMS
from aura_study.theory.optimizers import OPTIMIZERS
from aura_study.theory.schedules import linear_warmup_decay, phantom_number
from aura_study.training.loop import AURA

RESOLVED = 1e12
"""Growth of a precision up to which measured and predicted are compared: there sigma is a millionth of its start, and
beyond, the rounding of a path that began at 1 is no longer small beside sigma itself."""


def absent_run(form_name: str, optimizer: str, rates: np.ndarray, sigma0: float = 1.0) -> pd.DataFrame:
    """Sigma of a task that stays away, step by step: the real module under the real optimiser, and the closed form.

    Columns: parameterization, optimizer, step, phantom_number (so far), sigma, precision_ratio (weight over its start),
    predicted_sigma, predicted_ratio. The run stops after the step that makes the total NaN.
    """
    form, closed = PARAMETERIZATIONS[form_name], FORMS[form_name]
    weigh = UnmaskedKendallLoss(["absent"], form, sigma0, dtype=torch.float64)
    stepper = getattr(torch.optim, optimizer)(weigh.parameters(), lr=1.0)
    thetas = [weigh.thetas().detach().clone()]
    for rate in rates:
        stepper.param_groups[0]["lr"] = float(rate)
        stepper.zero_grad()
        total = weigh({})
        if not torch.isfinite(total):
            break
        total.backward()
        stepper.step()
        thetas.append(weigh.thetas().detach().clone())
    theta = torch.cat(thetas)
    sigma, weight = form.sigma(theta).numpy(), form.weight(theta).numpy()
    path = absent_trajectory(closed, form.theta(sigma0), rates, OPTIMIZERS[optimizer])[: len(sigma)]
    with np.errstate(divide="ignore"):  # a sigma rounded to 0 has an infinite weight
        predicted_sigma = np.where(np.isnan(path), np.nan, closed.sigma(path))
        predicted_ratio = precision_inflation(closed, path[0], path)
    return pd.DataFrame(
        {
            "parameterization": form_name,
            "optimizer": optimizer,
            "step": np.arange(len(sigma)),
            "phantom_number": np.concatenate([[0.0], np.cumsum(rates)])[: len(sigma)],
            "sigma": sigma,
            "precision_ratio": weight / weight[0],
            "predicted_sigma": predicted_sigma,
            "predicted_ratio": predicted_ratio,
        }
    )


def collapse(lr: float, absent_steps: int) -> pd.DataFrame:
    """`absent_run` for every form under SGD and Adam at a constant rate, from sigma = 1."""
    rates = np.full(absent_steps, lr)
    return pd.concat([absent_run(form, name, rates) for form in FORMS for name in OPTIMIZERS], ignore_index=True)


def paths(runs: pd.DataFrame, most: int = 100) -> pd.DataFrame:
    """Sigma of every run of `collapse` at ``most`` steps, about: to be laid over the paths of another run."""
    every = max(1, int(runs["step"].max()) // most)
    return runs.loc[runs["step"] % every == 0, ["parameterization", "optimizer", "step", "sigma"]]


def aura_rates() -> np.ndarray:
    """The learning rates that AURA's published configuration gives sigma, step by step."""
    return linear_warmup_decay(AURA.lr_sigma, AURA.steps, int(AURA.warmup * AURA.steps))


def collapse_at_aura_rates(every: int = 20) -> pd.DataFrame:
    """`absent_run` for a task that AURA never sees, at AURA's own rates; every ``every``-th step is kept."""
    rates = aura_rates()
    runs = [absent_run(form, "Adam", rates) for form in ("log_sigma", "aura_softplus")]
    table = pd.concat(runs, ignore_index=True)
    return table[table["step"] % every == 0].reset_index(drop=True)


def collapse_summary(runs: pd.DataFrame, lr: float, absent_steps: int) -> pd.DataFrame:
    """End of every run of `collapse`: precision growth measured and predicted, or the step at which it broke.

    A run is followed until its precision has grown by `RESOLVED`; its phantom number is that of the step reached.
    """
    rows = []
    for (form, optimizer), run in runs.groupby(["parameterization", "optimizer"], sort=False):
        broke = len(run) <= absent_steps or not (run["sigma"].iloc[-1] > 0 or form == "log_one_plus_square")
        predicted_step = (
            collapse_step(1.0, np.full(absent_steps, lr)) if (form, optimizer) == ("sigma", "SGD") else None
        )
        resolved = run["precision_ratio"].cummax() <= RESOLVED
        last = run[resolved & np.isfinite(run["predicted_ratio"]) & (run["sigma"] > 0)].iloc[-1]
        measured = float(run["step"].iloc[-1]) if broke and predicted_step else float(last["precision_ratio"])
        predicted = float(predicted_step) if broke and predicted_step else float(last["predicted_ratio"])
        rows.append(
            {
                "parameterization": form,
                "optimizer": optimizer,
                "phantom_number": float(last["phantom_number"]),
                "quantity": "step of collapse" if broke and predicted_step else "precision growth",
                "measured": measured,
                "predicted": predicted,
                "ratio": measured / predicted,
            }
        )
    return pd.DataFrame(rows)


def measure_collapse(summary: pd.DataFrame, aura: pd.DataFrame) -> Measurement:
    """P2: measured over predicted growth (or collapse step) of every form and optimiser; growth at AURA's own rates."""
    return Measurement.over(
        summary["ratio"],
        "growth measured / growth predicted",
        predicted=1.0,
        limits={
            "precision growth at AURA's own rates": float(aura["precision_ratio"].max()),
            "phantom number at AURA's own rates": phantom_number(aura_rates()),
        },
    )
