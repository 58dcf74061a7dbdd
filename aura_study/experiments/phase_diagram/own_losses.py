"""How far an absence carries under Adam on losses that the model itself had (claims P2a to P2d).

Until a task returns, nothing but its own past losses and its regulariser moves its log sigma, so that one training with
every task in every batch decides all absences: sigma goes through its recorded losses at the rate of each, from the
fixed point of their mean, and the task goes at any step.
"""

from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from aura_study.claims import Measurement
from aura_study.claims.statistics.intervals import Estimate, mean_interval, ratio_interval, raw_range, seeds
from aura_study.dynamics import grid, simulate, trajectories
from aura_study.experiments.phase_diagram.maps import LENGTHS, PHANTOMS, VARIATIONS
from aura_study.experiments.phase_diagram.parameters import Array, PhaseDiagramParameters
from aura_study.theory.absence import adam_phantom
from aura_study.theory.adam import AdamState, adam_directions, adam_state_after
from aura_study.theory.fixed_points import fixed_point
from aura_study.theory.fluctuations import adam_memory
from aura_study.theory.forms import LOG_SIGMA
from aura_study.theory.optimizers import DEFAULT_ADAM
from aura_study.training.loop import TrainingSettings
from aura_study.training.model import AuraModel
from aura_study.training.runs import Prepared, Presence, TrainingJob, load_runs

REMEMBERED = 1000
"""Steps over which the coefficient of variation of a loss is taken: 1 / (1 - b2)."""
LAG = DEFAULT_ADAM.beta1 / (1 - DEFAULT_ADAM.beta1)
"""Steps that a first moment carries on."""
NOISIEST = max(VARIATIONS)
"""Coefficient of variation up to which the losses alone are taken to decide."""
CELL = ["task", "phantom", "absent_steps"]


class LossesJob(TrainingJob):
    """A training whose losses are asked for, and not its scores."""

    code = ("import aura_study.experiments.phase_diagram.own_losses",)

    def results(self, prepared: Prepared, model: AuraModel) -> dict[str, Any]:
        """None."""
        return {}


def loss_jobs(p: PhaseDiagramParameters) -> list[LossesJob]:
    """One training a seed, every task in every batch."""
    return [
        LossesJob(
            name=f"losses-seed{seed}",
            presence=Presence(schedule="stretch"),
            settings=TrainingSettings(
                steps=p.before + p.recorded,
                accumulation=1,
                lr_encoder=p.lr_model,
                lr_heads=p.lr_model,
                lr_sigma=p.rate,
                weight_decay_sigma=0.0,
                schedule="constant",
                seed=seed,
            ),
            **p.on_model,
        )
        for seed in seeds(p.seed_count)
    ]


def absences(paths: Sequence[Path], p: PhaseDiagramParameters) -> pd.DataFrame:
    """`absences_from` for every task's losses in the trainings of ``paths``, with the columns seed and task."""
    runs = load_runs(paths)
    runs = runs[runs["step"] >= p.before].sort_values("step")
    losses = runs.groupby(["seed", "task"], sort=False)["loss"]
    tables = {key: absences_from(found.to_numpy()) for key, found in losses}
    return pd.concat(tables, names=["seed", "task"]).reset_index(["seed", "task"]).reset_index(drop=True)


def absences_from(losses: Array) -> pd.DataFrame:
    """A row for each phantom number and length: absences that begin at every step of the second half of ``losses``.

    Means over these: ``variation`` of the losses before; log ``growth`` of the weight, ``from_memory``, which the
    second moment and the age at the start predict, and ``from_losses``, which the variation does; ``momentum``, what a
    first moment that follows the mean step of log sigma, not 0, adds to it. Of single absences
    the mean distance of log growth from what the latter predicts, ``off``, and the largest from what both moments do,
    ``from_state``.
    """
    starts = range(losses.size // 2, losses.size)
    theta0 = float(fixed_point(LOG_SIGMA, losses.mean()))
    before = [losses[max(0, start - REMEMBERED) : start] for start in starts]
    variation = np.array([part.std() / part.mean() for part in before])
    rows = []
    for phantom, steps in product(PHANTOMS, LENGTHS):
        rates = np.full(steps, phantom / steps)
        path = _path(losses, rates[0], theta0)
        gradients = LOG_SIGMA.gradient(path[:-1], losses)
        states = [adam_state_after(gradients[:start]) for start in starts]
        falling = (path[starts[0]] - path[starts[-1]]) / len(starts)
        growth = _growth(losses, starts, rates, theta0)
        known = [_from_state(state, rates) for state in states]
        memory = np.array([2 * adam_phantom(rates, _noise(state), age=state.steps)[-1] for state in states])
        alone = np.array([2 * _from_losses(c, rates, state.steps) for c, state in zip(variation, states, strict=True)])
        row = {"phantom": phantom, "absent_steps": steps, "rate": rates[0], "variation": variation.mean()}
        means = {
            "growth": growth.mean(),
            "from_memory": memory.mean(),
            "from_losses": alone.mean(),
            "momentum": 2 * LAG * falling,
        }
        spread = {"off": np.abs(growth - alone).mean(), "from_state": np.abs(growth - known).max()}
        rows.append(row | means | spread)
    return pd.DataFrame(rows)


def _path(losses: Array, rate: float, theta0: float) -> Array:
    """Log sigma before each step that holds the task, and after the last."""
    cell = grid(optimizer=DEFAULT_ADAM, rate=rate, theta0=theta0)
    return trajectories(cell, losses.size, loss_profile=losses)[1][0]


def _growth(losses: Array, starts: Sequence[int], rates: Array, theta0: float) -> Array:
    """Log of the weight's growth over absences that begin at ``starts``, simulated."""
    cells = grid(optimizer=DEFAULT_ADAM, rate=rates[0], theta0=theta0, absent_start=starts, absent_steps=rates.size)
    profile = np.concatenate([losses, np.full(rates.size, losses[-1])])
    done = simulate(cells, profile.size, loss_profile=profile)
    return np.log(done["return_weight"].to_numpy() / done["start_weight"].to_numpy())


def _noise(state: AdamState) -> float:
    """The second moment, corrected for its age, over the squared pull, which is 1 on log sigma."""
    return state.v / (1 - DEFAULT_ADAM.beta2**state.steps)


def _from_state(state: AdamState, rates: Array) -> float:
    """Log growth that both moments and the age decide, exactly."""
    return float(2 * (rates * adam_directions(np.ones(rates.size), DEFAULT_ADAM, state)).sum())


def _from_losses(variation: float, rates: Array, age: int) -> float:
    """How far log sigma falls by the coefficient of variation of its losses."""
    memory = float(adam_memory(LOG_SIGMA, 1.0, 1.0, rates[0], variation))
    return float(adam_phantom(rates, memory, age=age)[-1])


def cells(table: pd.DataFrame) -> pd.DataFrame:
    """Over the seeds of `absences`: one row for each task, phantom number and length.

    Means of rate, variation, ``off`` and ``from_state``; geometric means of the growths, and of measured / predicted
    with its interval: ``memory``, of growth, from the second moment and the age; ``losses``, of the way of log sigma,
    from the losses alone, where they vary no more than `NOISIEST`.
    """
    quiet = set(_quiet(table)["task"])
    rows = []
    for cell, found in table.groupby(CELL, sort=False):
        row = dict(zip(CELL, cell, strict=True)) | found[["rate", "variation", "off", "from_state"]].mean().to_dict()
        row |= np.exp(found[["growth", "from_memory", "from_losses", "momentum"]].mean()).to_dict()
        losses = _by_losses(found) if row["task"] in quiet else Estimate(np.nan, np.nan, np.nan, 0)
        for name, ratio in {"memory": _by_memory(found), "losses": losses}.items():
            row |= {name: ratio.mean, f"{name}_low": ratio.low, f"{name}_high": ratio.high}
        rows.append(row | {"seeds": len(found)})
    return pd.DataFrame(rows)


def _by_memory(found: pd.DataFrame) -> Estimate:
    """Growth, measured over predicted from the second moment and the age; the rows of ``found`` are seeds."""
    return ratio_interval(np.exp(found["growth"]), np.exp(found["from_memory"]))


def _by_losses(found: pd.DataFrame) -> Estimate:
    """Way of log sigma, measured over predicted from the losses alone; the rows of ``found`` are seeds."""
    return ratio_interval(found["growth"], found["from_losses"])


def measure_memory(table: pd.DataFrame) -> Measurement:
    """P2a: growth measured / predicted from the second moment and the age, where it reaches furthest from 1."""
    unit = "weight's growth, measured / predicted, for the task and absence where its interval reaches furthest from 1"
    return _furthest(table, _by_memory, unit, logarithmic=True, predicted=1.0)


def measure_way(table: pd.DataFrame) -> Measurement:
    """P2b: way of log sigma measured / predicted from the losses alone, where it reaches furthest from 1."""
    unit = (
        "fall of log sigma, measured / predicted, for the task and absence where its interval reaches furthest from 1"
    )
    return _furthest(_quiet(table), _by_losses, unit, logarithmic=True, predicted=1.0)


def measure_single(table: pd.DataFrame) -> Measurement:
    """P2c: mean distance of single log growths from what the losses alone predict, where it is largest."""
    unit = "mean |ln(growth measured / predicted)| of single absences, for the task and absence where it is largest"
    return _furthest(_quiet(table), lambda found: mean_interval(found["off"]), unit)


def measure_state(table: pd.DataFrame) -> Measurement:
    """P2d: the ratio of any growth measured and predicted from both moments and the age, the larger over the less."""
    unit = "growth measured over predicted or predicted over measured, largest of a task's absences of one length"
    return Measurement.over(np.exp(table["from_state"]), unit, predicted=1.0, measured=max)


def _quiet(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of the tasks whose losses vary no more than `NOISIEST`, over all seeds."""
    return table[table.groupby("task")["variation"].transform("mean") <= NOISIEST]


def _furthest(
    table: pd.DataFrame,
    estimate: Callable[[pd.DataFrame], Estimate],
    unit: str,
    *,
    logarithmic: bool = False,
    predicted: float | None = None,
) -> Measurement:
    """The estimate over seeds of the task and absence where it is worst: a ratio's interval furthest from 1."""
    if table.empty:
        void = f"no task's loss has a coefficient of variation of {NOISIEST:g} or less"
        return Measurement(np.nan, np.nan, np.nan, unit, predicted, void=void)

    def far(found: Estimate) -> float:
        return max(found.high, 1 / found.low if found.low else np.inf) if logarithmic else found.mean

    worst = max((estimate(found) for _, found in table.groupby(CELL, sort=False)), key=far)
    limits = {"tasks": float(table["task"].nunique()), **raw_range(np.exp(table["growth"]))}
    return Measurement.of(worst, unit, predicted, limits, logarithmic=logarithmic)
