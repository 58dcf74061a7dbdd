"""A task that comes and goes (claim P5): where its precision settles, what that amounts to, and where theory ends."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from aura_study.dynamics import grid, simulate, trajectories
from aura_study.experiments.presence.parameters import PresenceParameters
from aura_study.theory.fixed_points import fixed_point
from aura_study.theory.fluctuations import rate_for_jitter, relaxation_steps
from aura_study.theory.forms import FORMS, Form
from aura_study.theory.optimizers import OPTIMIZERS, Adam, Optimizer
from aura_study.theory.presence import adam_effective_presence, presence_inflation, time_average_weight

MEMORY = 3000
"""Steps of 1/(1 - b2) = 1000 in which Adam's second moment finds its level."""


def small_step_runs(p: PresenceParameters) -> pd.DataFrame:
    """Weights of unmasked and masked tasks at steps small enough for the theory; one row per run.

    Columns: ``parameterization``, ``optimizer``, ``presence``, ``cell``; the time means ``unmasked``, ``masked`` and
    ``inflation`` (their ratio); ``predicted`` inflation and the ``ratio`` to it; ``unmasked_share`` and
    ``masked_share``, the time means of the weight with absent steps counting as 0, and their predictions.
    """
    rows = []
    first_stream = 0
    for form in FORMS.values():
        for optimizer in OPTIMIZERS.values():
            for presence in p.presences:
                runs = {}
                for masked in (False, True):
                    runs[masked] = _settled(p, form, optimizer, float(presence), masked, first_stream)
                    first_stream += p.cells
                rows.append(_compare(p, form, optimizer, float(presence), runs[False], runs[True]))
    return pd.concat(rows, ignore_index=True)


def _settled(
    p: PresenceParameters, form: Form, optimizer: Optimizer, presence: float, masked: bool, first_stream: int
) -> pd.DataFrame:
    """Runs that start at the fixed point and last ``p.relaxations`` relaxation times."""
    kind = (form, p.loss, presence)
    rate = rate_for_jitter(*kind, p.jitter, optimizer, p.noise, masked=masked)
    steps = int(p.relaxations * relaxation_steps(*kind, rate, optimizer, p.noise, masked=masked)) + MEMORY
    cells = grid(
        parameterization=form.name,
        policy="masked" if masked else "unmasked",
        optimizer=optimizer,
        presence=presence,
        rate=float(rate),
        noise=p.noise,
        theta0=float(fixed_point(form, p.loss, 1.0 if masked else presence)),
        loss=[p.loss] * p.cells,
    )
    cells["stream"] = np.arange(first_stream, first_stream + p.cells)
    return simulate(cells, steps, seed=p.seed, burn_in=MEMORY + (steps - MEMORY) // 10)


def _compare(
    p: PresenceParameters,
    form: Form,
    optimizer: Optimizer,
    presence: float,
    unmasked: pd.DataFrame,
    masked: pd.DataFrame,
) -> pd.DataFrame:
    effective = float(adam_effective_presence(presence, p.noise)) if isinstance(optimizer, Adam) else presence
    predicted = float(presence_inflation(form, effective, p.loss))
    inflation = unmasked["mean_weight"] / masked["mean_weight"]
    return pd.DataFrame(
        {
            "parameterization": form.name,
            "optimizer": optimizer.name,
            "presence": presence,
            "cell": np.arange(p.cells),
            "unmasked": unmasked["mean_weight"],
            "masked": masked["mean_weight"],
            "inflation": inflation,
            "plain": float(presence_inflation(form, presence, p.loss)),
            "predicted": predicted,
            "ratio": inflation / predicted,
            "unmasked_share": unmasked["mean_present_weight"],
            "masked_share": masked["mean_present_weight"],
            "predicted_unmasked_share": float(time_average_weight(form, p.loss, presence, masked=False)),
            "predicted_masked_share": float(time_average_weight(form, p.loss, presence, masked=True)),
        }
    )


def large_step_runs(p: PresenceParameters) -> pd.DataFrame:
    """Inflation at any learning rate, small or not, of log sigma and AURA's softplus; one row per kind.

    Columns: ``parameterization``, ``optimizer``, ``presence``, ``rate``; ``mean`` and ``typical``, the inflation of the
    time-averaged weight and of the weight at the time-averaged parameter, over that of plain theory (1/p, 1/sqrt(p)).
    """
    frames = []
    for name in ("log_sigma", "aura_softplus"):
        form = FORMS[name]
        presences = [float(value) for value in p.presences if value < 1]
        cells = grid(
            parameterization=name,
            optimizer=list(OPTIMIZERS.values()),
            presence=presences,
            rate=np.geomspace(1e-4, 1.0, 13),
            noise=p.noise,
            loss=[p.loss] * 8,
        )
        cells["theta0"] = fixed_point(form, p.loss, cells["presence"])
        done = simulate(cells, p.sweep_steps, seed=p.seed + 1, burn_in=p.sweep_steps // 4)
        plain = presence_inflation(form, cells["presence"], p.loss) * float(form.weight(fixed_point(form, p.loss)))
        frames.append(
            cells.assign(
                optimizer=[optimizer.name for optimizer in cells["optimizer"]],
                mean=done["mean_weight"] / plain,
                typical=form.weight(done["mean_theta"].to_numpy()) / plain,
            )
        )
    keys = ["parameterization", "optimizer", "presence", "rate"]
    means = pd.concat(frames).astype({"parameterization": str}).groupby(keys, sort=False)[["mean", "typical"]].mean()
    return means.reset_index()


def paths(p: PresenceParameters, presence: float = 0.1, steps: int = 3000) -> pd.DataFrame:
    """Weight of one unmasked and one masked task over time, at small and at large SGD steps; same presences."""
    form = FORMS["log_sigma"]
    return pd.concat(_paths(form, p, presence, steps), ignore_index=True)


def _paths(form: Form, p: PresenceParameters, presence: float, steps: int) -> Iterator[pd.DataFrame]:
    for rate in (0.05 * presence, 0.5 * presence):
        cells = grid(policy=["unmasked", "masked"], presence=presence, rate=rate, noise=p.noise, loss=p.loss)
        cells["theta0"] = float(fixed_point(form, p.loss))
        cells["stream"] = 0
        kept, thetas = trajectories(cells, steps, every=2, seed=p.seed)
        for policy, theta in zip(cells["policy"], thetas, strict=True):
            weight = form.weight(theta)
            yield pd.DataFrame(
                {"rate": rate, "presence": presence, "policy": policy, "step": kept, "weight": weight, "loss": p.loss}
            )
