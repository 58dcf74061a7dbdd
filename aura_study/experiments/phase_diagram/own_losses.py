"""How far an absence carries under Adam on losses that the model itself had (claims P2a, P2b, P2c).

Until a task returns, nothing but its own past losses and its regulariser moves its log sigma, so that one training with
every task in every batch decides all absences: sigma goes through its recorded losses at the rate of each, from the
fixed point of their mean, and the task goes at any step.
"""

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from aura_study.claims import Measurement
from aura_study.claims.statistics.intervals import Estimate, ratio_interval, raw_range, seeds
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
    second moment and the age at the start predict, and ``from_losses``, which the variation does. ``single`` is the
    standard deviation of growth less from_memory, ``from_state`` the largest distance of any growth from what both
    moments predict.
    """
    starts = range(losses.size // 2, losses.size)
    theta0 = float(fixed_point(LOG_SIGMA, losses.mean()))
    before = [losses[max(0, start - REMEMBERED) : start] for start in starts]
    variation = np.array([part.std() / part.mean() for part in before])
    rows = []
    for phantom, steps in product(PHANTOMS, LENGTHS):
        rates = np.full(steps, phantom / steps)
        states = _states(losses, starts, rates[0], theta0)
        growth = _growth(losses, starts, rates, theta0)
        known = [_from_state(state, rates) for state in states]
        memory = np.array([2 * adam_phantom(rates, _noise(state), age=state.steps)[-1] for state in states])
        alone = [2 * _from_losses(c, rates, state.steps) for c, state in zip(variation, states, strict=True)]
        row = {"phantom": phantom, "absent_steps": steps, "rate": rates[0], "variation": variation.mean()}
        means = {"growth": growth.mean(), "from_memory": memory.mean(), "from_losses": np.mean(alone)}
        spread = {"single": (growth - memory).std(), "from_state": np.abs(growth - known).max()}
        rows.append(row | means | spread)
    return pd.DataFrame(rows)


def _states(losses: Array, starts: Sequence[int], rate: float, theta0: float) -> list[AdamState]:
    """Adam's memory before each of the steps ``starts``, every step before having held the task."""
    path = trajectories(grid(optimizer=DEFAULT_ADAM, rate=rate, theta0=theta0), losses.size, loss_profile=losses)[1][0]
    gradients = LOG_SIGMA.gradient(path[:-1], losses)
    return [adam_state_after(gradients[:start]) for start in starts]


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

    Geometric means of growth, and of measured / predicted with its interval: ``memory``, of the growth, from the second
    moment and the age; from the losses alone ``losses``, of the growth, and ``moved``, of the way of log sigma, where
    the losses vary no more than `NOISIEST`.
    """
    quiet = set(_quiet(table)["task"])
    rows = []
    for cell, found in table.groupby(CELL, sort=False):
        row = dict(zip(CELL, cell, strict=True)) | found[["rate", "variation", "single", "from_state"]].mean().to_dict()
        row |= np.exp(found[["growth", "from_memory", "from_losses"]].mean()).to_dict()
        for name in ("memory", "losses", "moved") if row["task"] in quiet else ("memory",):
            ratio = _ratio(found, name)
            row |= {name: ratio.mean, f"{name}_low": ratio.low, f"{name}_high": ratio.high}
        rows.append(row | {"seeds": len(found)})
    return pd.DataFrame(rows)


def _ratio(found: pd.DataFrame, name: str) -> Estimate:
    """Measured over predicted for one task and absence, as `cells` names it; the rows of ``found`` are seeds."""
    if name == "moved":
        return ratio_interval(found["growth"], found["from_losses"])
    return ratio_interval(np.exp(found["growth"]), np.exp(found[f"from_{name}"]))


def measure_memory(table: pd.DataFrame) -> Measurement:
    """P2a: growth measured / predicted from the second moment and the age, where it reaches furthest from 1."""
    return _furthest(table, "memory", "weight's growth, measured / predicted")


def measure_moved(table: pd.DataFrame) -> Measurement:
    """P2b: fall of log sigma measured / predicted from the losses alone, where it reaches furthest from 1."""
    return _furthest(_quiet(table), "moved", "fall of log sigma, measured / predicted")


def measure_losses(table: pd.DataFrame) -> Measurement:
    """P2c: growth measured / predicted from the losses alone, where it reaches furthest from 1."""
    return _furthest(_quiet(table), "losses", "weight's growth, measured / predicted")


def _quiet(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of the tasks whose losses vary no more than `NOISIEST`, over all seeds."""
    return table[table.groupby("task")["variation"].transform("mean") <= NOISIEST]


def _furthest(table: pd.DataFrame, name: str, what: str) -> Measurement:
    """The ratio ``name`` of the task and absence whose interval reaches furthest from 1."""
    unit = f"{what}, for the task and absence where its interval reaches furthest from 1"
    if table.empty:
        void = f"no task's loss has a coefficient of variation of {NOISIEST:g} or less"
        return Measurement(np.nan, np.nan, np.nan, unit, predicted=1.0, void=void)
    ratios = [_ratio(found, name) for _, found in table.groupby(CELL, sort=False)]
    worst = max(ratios, key=lambda ratio: max(ratio.high, 1 / ratio.low if ratio.low else np.inf))
    limits = {"tasks": float(table["task"].nunique()), **raw_range(np.exp(table["growth"]))}
    return Measurement.of(worst, unit, predicted=1.0, limits=limits, logarithmic=True)
