"""When the phantom gradient matters: measured phases over phantom number and presence, and what theory predicts."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from aura_study.dynamics import grid, simulate
from aura_study.experiments.phase_diagram.parameters import WARM_UP, Array, PhaseDiagramParameters
from aura_study.theory.absence import absent_trajectory, adam_phantom
from aura_study.theory.adam import AdamState, adam_state_after
from aura_study.theory.fixed_points import fixed_point
from aura_study.theory.flow import absent_flow
from aura_study.theory.fluctuations import adam_memory
from aura_study.theory.forms import FORMS, Form
from aura_study.theory.optimizers import DEFAULT_ADAM, SGD, Adam, Optimizer
from aura_study.theory.recovery import adam_recovery_steps, recovery_phantom, return_step

PHASES = ("harmless", "inflated", "exploded", "slow recovery", "switched off", "NaN")
"""From mild to fatal; a cell is in the last one whose condition it meets, see `classify`."""
PANELS: tuple[tuple[str, Optimizer], ...] = (
    ("log_sigma", SGD()),
    ("log_sigma", Adam()),
    ("sigma", SGD()),
    ("aura_softplus", Adam()),
)
BAND = 2.0
"""Factor within which a weight counts as back."""
PHANTOMS = (0.5, 1.0, 2.0, 3.0)
LENGTHS = (60, 400, 1000)
"""Phantom numbers and lengths of the absences of `growth`."""
VARIATIONS = (0.05, 0.3, 0.5, 1.0)
"""Coefficients of variation of the task's loss, from quiet to noisy, in `growth`."""


def measured(p: PhaseDiagramParameters) -> pd.DataFrame:
    """One row per cell of the four diagrams: what happened, medians over the repeats, and the ``phase``.

    Columns: ``parameterization``, ``optimizer``, ``phantom``, ``presence``; ``inflation``, weight before the absence
    over the masked fixed point; ``growth`` of the weight over the absence; ``low``, least weight after the return over
    the masked fixed point; ``recovery``, steps to stay within a factor 2 of the weight before the absence, over the
    absence's; ``undefined``, share of runs whose term was undefined at some step.
    """
    frames = []
    for number, (name, optimizer) in enumerate(PANELS):
        form = FORMS[name]
        cells = grid(
            parameterization=name,
            optimizer=optimizer,
            presence=p.presences,
            absent_steps=p.absent_steps,
            rate=p.rate,
            noise=p.noise,
            absent_start=WARM_UP,
            loss=[p.loss] * p.repeats,
        )
        cells["theta0"] = fixed_point(form, p.loss, cells["presence"])
        cells["stream"] += number * len(cells)
        done = simulate(cells, p.steps, seed=p.seed, band=BAND)
        aim = float(form.weight(fixed_point(form, p.loss)))
        runs = pd.DataFrame(
            {
                "phantom": cells["absent_steps"] * p.rate,
                "presence": cells["presence"],
                "inflation": done["start_weight"] / aim,
                "growth": done["return_weight"] / done["start_weight"],
                "low": done["low_weight"] / aim,
                "recovery": done["settled_after"].where(done["settled_after"] >= 0, np.inf) / cells["absent_steps"],
                "undefined": (done["undefined_step"] >= 0).astype(float),
            }
        )
        medians = runs.groupby(["presence", "phantom"], sort=False).median().reset_index()
        frames.append(medians.assign(parameterization=name, optimizer=optimizer.name))
    table = pd.concat(frames, ignore_index=True)
    return table.assign(phase=classify(table))


def classify(table: pd.DataFrame) -> NDArray[np.int64]:
    """Index into `PHASES` of every row.

    ``inflated``: weight on return at least twice the masked fixed point's; ``exploded``: it grew at least tenfold over
    the absence; ``slow recovery``: besides, it took longer than the absence to come back; ``switched off``: afterwards
    it fell below a tenth of the masked fixed point's; ``NaN``: sigma <= 0 at some step.
    """
    exploded = table["growth"] >= 10
    conditions = [
        table["inflation"] * table["growth"] >= 2,
        exploded,
        exploded & (table["recovery"] > 1),
        table["low"] < 0.1,
        table["undefined"] >= 0.5,
    ]
    phase = np.zeros(len(table), int)
    for code, condition in enumerate(conditions, start=1):
        phase[condition.to_numpy(bool)] = code
    return phase


def predicted(p: PhaseDiagramParameters) -> pd.DataFrame:
    """The same table from closed forms alone, no simulation; see `_cell_theory` for what they neglect."""
    rows = []
    for name, optimizer in PANELS:
        form = FORMS[name]
        back = _adam_recoveries(p, form, optimizer) if isinstance(optimizer, Adam) else {}
        for presence in p.presences:
            start = _start(p, form, optimizer, float(presence))
            for steps in map(int, p.absent_steps):
                cell = {"parameterization": name, "optimizer": optimizer.name, "phantom": steps * p.rate}
                rows.append(cell | {"presence": presence} | _cell_theory(p, start, steps, back.get(steps, np.nan)))
    table = pd.DataFrame(rows)
    return table.assign(phase=classify(table))


@dataclass(frozen=True)
class _Start:
    """State before the absence and the paths that lead on from it."""

    form: Form
    optimizer: Optimizer
    presence: float
    theta: float
    path: Array
    """Theta after 0, 1, ... absent steps."""
    longest_gap: int
    """Longest run of absent steps to be expected while the run is watched."""
    memory: AdamState


def _start(p: PhaseDiagramParameters, form: Form, optimizer: Optimizer, presence: float) -> _Start:
    theta = float(fixed_point(form, p.loss, presence))
    longest = int(np.log(max(p.steps * presence, 1)) / -np.log1p(-presence)) if presence < 1 else 0
    steps = int(p.absent_steps[-1]) + longest + int(1 / presence) + 1
    settled = adam_memory(form, p.loss, presence, p.rate, p.noise) * form.absent_gradient(np.asarray(theta)) ** 2
    memory = AdamState(0.0, float(settled * (1 - DEFAULT_ADAM.beta2**WARM_UP)), WARM_UP)
    if isinstance(optimizer, Adam):
        path = absent_trajectory(form, theta, np.full(steps, p.rate), optimizer, memory)
    else:
        path = absent_flow(form, theta, p.rate * np.arange(steps + 1))
    return _Start(form, optimizer, presence, theta, path, longest, memory)


def _cell_theory(p: PhaseDiagramParameters, start: _Start, steps: int, adam_recovery: float) -> dict[str, float]:
    """Predicted columns of one cell.

    The task comes back 1/p - 1 steps after the absence on average, unless the longest gap of its ordinary coming and
    going is longer still. SGD's way back is the mean-field one, at the mean loss p L. Adam's is that of a task that
    is always there, without noise, and its bounded steps are taken never to switch a task off.
    """
    form = start.form
    aim = float(form.weight(fixed_point(form, p.loss)))
    before = float(form.weight(np.asarray(start.theta)))
    on_return = float(start.path[steps])
    met = float(start.path[max(steps + round(1 / start.presence - 1), start.longest_gap)])
    low, recovery = before / aim, adam_recovery
    if isinstance(start.optimizer, SGD) and not np.isnan(met):
        landed = float(return_step(form, met, p.rate, p.loss) + fixed_point(form, p.loss))
        low = min(low, float(form.weight(np.asarray(landed))) / aim)
        recovery = recovery_phantom(form, landed, start.presence * p.loss, BAND - 1) / p.rate / steps
    return {
        "inflation": before / aim,
        "growth": float(form.weight(np.asarray(on_return))) / before,
        "low": low,
        "recovery": recovery,
        "undefined": float(np.isnan(met)),
    }


def _adam_recoveries(p: PhaseDiagramParameters, form: Form, optimizer: Adam) -> dict[int, float]:
    """Recovery over absence, by length of the absence, of a task that is always there before and after."""
    start = _start(p, form, optimizer, 1.0)
    ratios = {}
    for steps in map(int, p.absent_steps):
        slopes = form.absent_gradient(start.path[:steps])
        memory = adam_state_after(slopes, optimizer, start.memory)
        taken = adam_recovery_steps(
            form, float(start.path[steps]), p.rate, memory, p.loss, BAND - 1, optimizer, limit=p.horizon
        )
        ratios[steps] = np.inf if taken is None else taken / steps
    return ratios


def moved(rate: float, absent_steps: float, presence: float, noise: float, *, adam: bool, age: float = np.inf) -> float:
    """How far log sigma falls over an absence: Lambda under SGD, `adam_phantom` of that age under Adam."""
    if not adam:
        return rate * absent_steps
    memory = float(adam_memory(FORMS["log_sigma"], 1.0, presence, rate, noise))
    return float(adam_phantom(np.full(round(absent_steps), rate), memory, age=age)[-1])


def rule_of_thumb(
    rate: float, absent_steps: float, presence: float, noise: float, *, adam: bool, age: float = np.inf
) -> int:
    """Index into `PHASES` by mental arithmetic, for sigma learned as its logarithm.

    Multiply the learning rate of sigma by the longest absence in steps: Lambda. Under Adam, multiply it by what its
    memory of the task's loss makes of it (`moved`): more than 1 after a quiet loss, less for a rare task. The task
    comes back with about exp(2 Lambda) / p times its proper weight. Below 2 that is harmless. Lambda above 1.15 is a
    tenfold growth by the absence alone, which Adam unlearns more slowly than it came. Under SGD a rate times that
    factor above 5, the wait rate / p included in Lambda, throws the task out.
    """
    phantom = moved(rate, absent_steps, presence, noise, adam=adam, age=age)
    if not adam and rate * np.exp(2 * (phantom + rate / presence)) / presence > 5:
        return PHASES.index("switched off")
    if phantom > np.log(10) / 2:
        return PHASES.index("slow recovery" if adam else "exploded")
    return PHASES.index("inflated" if np.exp(2 * phantom) / presence >= 2 else "harmless")


def growth(phantoms: Sequence[float] = PHANTOMS, lengths: Sequence[int] = LENGTHS) -> pd.DataFrame:
    """Growth of the weight over an absence on log sigma: by Lambda, its length and the loss's coefficient of variation.

    Closed forms alone, for a task that was always there before. Columns: ``phantom``, ``absent_steps``, ``rate``;
    ``sgd``, exp(2 Lambda); ``adam_0.05`` and so on, for an old Adam and a loss of that coefficient of variation.
    """
    rows = []
    for phantom, steps in product(phantoms, lengths):
        rate = phantom / steps
        row = {"phantom": phantom, "absent_steps": steps, "rate": rate, "sgd": np.exp(2 * phantom)}
        under_adam = {f"adam_{c:g}": np.exp(2 * moved(rate, steps, 1.0, c, adam=True)) for c in VARIATIONS}
        rows.append(row | under_adam)
    return pd.DataFrame(rows)


def agreement(p: PhaseDiagramParameters, table: pd.DataFrame, theory: pd.DataFrame) -> pd.DataFrame:
    """Share of cells whose measured phase is the predicted one, and the rule of thumb's, per diagram.

    ``mild_or_severe`` counts agreement on the question that matters: harmless or inflated, against the rest.
    """
    rows = []
    severe = PHASES.index("exploded")
    for name, optimizer in PANELS:
        label = optimizer.name
        here = (table["parameterization"] == name) & (table["optimizer"] == label)
        seen, said = table.loc[here, "phase"].to_numpy(), theory.loc[here, "phase"].to_numpy()
        row = {
            "parameterization": name,
            "optimizer": label,
            "cells": int(here.sum()),
            "theory_agrees": (seen == said).mean(),
            "mild_or_severe": ((seen >= severe) == (said >= severe)).mean(),
            "rule_of_thumb_agrees": np.nan,
        }
        if name == "log_sigma":
            rule = [
                rule_of_thumb(p.rate, phantom / p.rate, presence, p.noise, adam=label == "Adam", age=WARM_UP)
                for phantom, presence in zip(table.loc[here, "phantom"], table.loc[here, "presence"], strict=True)
            ]
            row["rule_of_thumb_agrees"] = (seen == np.array(rule)).mean()
        rows.append(row)
    return pd.DataFrame(rows)


def practice(p: PhaseDiagramParameters) -> pd.DataFrame:
    """The rule of thumb applied to settings one meets, with losses as noisy as those of the maps.

    ``moved``, how far log sigma falls, is what the phantom number becomes under Adam; a task that is absent throughout
    finds Adam's memory empty.
    """
    cases = (
        ("AURA's run, a task absent for one epoch", 5e-5, 826, 0.25, True, np.inf),
        ("AURA's run, a task absent throughout", 5e-5, 12_390 / 2, 1.0, True, 0),
        ("fine-tuning, balanced batches, no long absence", 1e-4, 10, 0.9, True, np.inf),
        ("fine-tuning, a rare task", 1e-4, 500, 0.02, True, np.inf),
        ("sigma at 1e-3, a task absent for an epoch", 1e-3, 1000, 0.5, True, np.inf),
        ("sigma at 1e-2, a curriculum of 300 steps", 1e-2, 300, 1.0, True, np.inf),
        ("SGD at 0.1, tasks in turn", 0.1, 3, 0.25, False, np.inf),
        ("SGD at 0.1, 20 steps without a task", 0.1, 20, 0.5, False, np.inf),
    )
    rows = []
    for setting, rate, steps, presence, adam, age in cases:
        fall = moved(rate, steps, presence, p.noise, adam=adam, age=age)
        rows.append(
            {
                "setting": setting,
                "optimizer": "Adam" if adam else "SGD",
                "rate": rate,
                "absent_steps": round(steps),
                "presence": presence,
                "phantom_number": rate * steps,
                "moved": fall,
                "weight_factor": np.exp(2 * fall) / presence,
                "phase": PHASES[rule_of_thumb(rate, steps, presence, p.noise, adam=adam, age=age)],
            }
        )
    return pd.DataFrame(rows)
