r"""Sigma dynamics of a whole grid of cells at once, without a network.

A cell is one task's uncertainty parameter with all that acts on it, one row of a table:

===================  ===============================================================================================
``parameterization``  name of the form, as in ``aura_study.theory.forms.FORMS``
``policy``            ``unmasked``, ``masked`` or ``frozen``
``optimizer``         `SGD` or `Adam` of ``aura_study.theory.optimizers``
``presence``          probability that a sample is one of the task's, in (0, 1]
``rate``              learning rate, multiplied by ``schedule[t]``
``loss``              mean loss of the task where present, multiplied by ``loss_profile[t]``
``noise``             coefficient of variation of one sample's loss (lognormal); sqrt(n) smaller for a mean of n
``batch``             samples a micro-batch, of all tasks together, at most a million
``accumulation``      micro-batches a step; the step's gradient is their mean
``absent_start``      first step of an absent stretch
``absent_steps``      its length; 0 for none
``theta0``            start of the parameter; the form's published start if NaN
``stream``            names the cell's random numbers: equal streams see equal presences and losses
===================  ===============================================================================================

All sampling is independent from sample to sample. Results depend on a cell's row and on ``seed``, never on the other
rows: a grid may be split, reordered or extended at will. Everything is float64 and memory does not grow with the steps.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from aura_study.dynamics.draws import draw
from aura_study.dynamics.kernel import ABSENCE_CODES, CELL, FORM_CODES, KIND, OUTCOME, run
from aura_study.theory.forms import FORMS
from aura_study.theory.optimizers import SGD, Adam, Optimizer

DEFAULTS: Mapping[str, Any] = {
    "parameterization": "log_sigma",
    "policy": "unmasked",
    "optimizer": SGD(),
    "presence": 1.0,
    "rate": 1e-2,
    "loss": 1.0,
    "noise": 0.0,
    "batch": 1,
    "accumulation": 1,
    "absent_start": 0,
    "absent_steps": 0,
    "theta0": np.nan,
}
CHUNK = 2048
"""Cells a worker takes at a time, at most."""


def grid(**axes: Any) -> pd.DataFrame:
    """Cells for every combination of the given values, the last axis running fastest; defaults for the other columns.

    An axis is one value or a sequence of values. Every cell gets its own ``stream``.

    Raises:
        ValueError: an unknown column or an axis without values.
    """
    if unknown := sorted(set(axes) - set(DEFAULTS)):
        raise ValueError(f"unknown columns {unknown}; a cell has {list(DEFAULTS)}")
    values = {name: _values(axes.get(name, default)) for name, default in DEFAULTS.items()}
    if empty := [name for name, column in values.items() if not column]:
        raise ValueError(f"axes without values: {empty}")
    order = [name for name in DEFAULTS if name not in axes] + list(axes)
    positions = np.indices([len(values[name]) for name in order]).reshape(len(order), -1)
    columns: dict[str, Any] = {}
    for name, position in zip(order, positions, strict=True):
        if name in ("parameterization", "policy", "optimizer"):
            columns[name] = pd.Categorical.from_codes(position, pd.Index(_distinct(name, values[name])))
        else:
            columns[name] = np.asarray(values[name])[position]
    cells = pd.DataFrame({name: columns[name] for name in DEFAULTS})
    return cells.assign(stream=np.arange(len(cells), dtype=np.uint64))


def simulate(
    cells: pd.DataFrame,
    steps: int,
    *,
    schedule: ArrayLike | None = None,
    loss_profile: ArrayLike | None = None,
    seed: int = 0,
    burn_in: int = 0,
    band: float = 2.0,
    workers: int | None = None,
) -> pd.DataFrame:
    """Run every cell for ``steps`` optimiser steps.

    Args:
        cells: as made by `grid`; extra columns are ignored.
        steps: optimiser steps, the absent stretch included.
        schedule: factor on every cell's rate, shape ``(steps,)``; 1 if not given.
        loss_profile: factor on every cell's loss, shape ``(steps,)``; 1 if not given.
        seed: of all random numbers.
        burn_in: steps left out of the means.
        band: factor that counts as settled, > 1.
        workers: threads; the usable processors if not given.

    Returns:
        One row per cell, same index: ``theta`` and ``weight`` after the last step; ``mean_theta``, ``mean_weight`` and
        ``mean_present_weight`` (absent micro-batches counting as 0) over the steps after ``burn_in``; ``max_weight``
        over all steps; ``start_weight`` and ``return_weight`` at the beginning of the absent stretch and at the first
        step after it, ``low_weight`` from then on; ``settled_after``, steps from the return until the weight stays
        within a factor ``band`` of ``start_weight``, -1 if it does not within the run; ``undefined_step``, the first
        step whose term is not a number (sigma <= 0) or not finite, -1 if none.

    Raises:
        ValueError: values outside their range, missing columns, sequences of the wrong length.
    """
    kinds, which, compiled = _compiled(cells)
    schedule, profile = _sequence("schedule", schedule, steps), _sequence("loss_profile", loss_profile, steps)
    if not 0 <= burn_in < steps:
        raise ValueError(f"burn_in must lie in [0, steps = {steps}), got {burn_in}")
    if not band > 1:
        raise ValueError(f"band must be > 1, got {band}")
    outcomes = np.zeros(compiled.size, OUTCOME)
    nothing = np.zeros((0, 0))

    def work(kind: int, part: NDArray[np.intp]) -> None:
        found = np.zeros(part.size, OUTCOME)
        run(kinds[kind], compiled[part], found, nothing, 0, schedule, profile, np.uint64(seed), burn_in, band)
        outcomes[part] = found

    _in_parts(which, workers, work)
    return pd.DataFrame({name: outcomes[name] for name in OUTCOME.fields or ()}, index=cells.index)


def trajectories(
    cells: pd.DataFrame,
    steps: int,
    *,
    every: int = 1,
    schedule: ArrayLike | None = None,
    loss_profile: ArrayLike | None = None,
    seed: int = 0,
    workers: int | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Theta of every cell before steps 0, ``every``, 2 ``every``, ... and after the last.

    Returns:
        Steps of shape ``(kept,)`` and parameters of shape ``(cells, kept)``.
    """
    kinds, which, compiled = _compiled(cells)
    schedule, profile = _sequence("schedule", schedule, steps), _sequence("loss_profile", loss_profile, steps)
    if every < 1:
        raise ValueError(f"every must be at least 1, got {every}")
    kept = np.append(np.arange(0, steps, every), steps)
    traces = np.zeros((compiled.size, kept.size))

    def work(kind: int, part: NDArray[np.intp]) -> None:
        found, outcomes = np.zeros((part.size, kept.size)), np.zeros(part.size, OUTCOME)
        run(kinds[kind], compiled[part], outcomes, found, every, schedule, profile, np.uint64(seed), 0, 2.0)
        traces[part] = found

    _in_parts(which, workers, work)
    return kept, traces


def micro_batches(
    cells: pd.DataFrame, steps: int, *, loss_profile: ArrayLike | None = None, seed: int = 0
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """The presences and losses that `simulate` draws, two arrays of shape ``(cells, steps, accumulation)``.

    Raises:
        ValueError: cells with different accumulation.
    """
    _, _, compiled = _compiled(cells)
    profile = _sequence("loss_profile", loss_profile, steps)
    if len(accumulation := set(compiled["accumulation"].tolist())) > 1:
        raise ValueError(f"micro_batches needs one accumulation for all cells, got {sorted(accumulation)}")
    shape = (compiled.size, steps, *accumulation)
    present, losses = np.zeros(shape, np.bool_), np.zeros(shape)
    draw(compiled, profile, np.uint64(seed), present, losses)
    return present, losses


def _in_parts(kinds: NDArray[np.intp], workers: int | None, work: Callable[[int, NDArray[np.intp]], None]) -> None:
    """Call ``work`` on cells of one kind at a time until all are done, in threads: the kernel holds no lock."""
    workers = workers or len(os.sched_getaffinity(0))
    size = min(CHUNK, -(-kinds.size // workers))
    parts = [
        (kind, of_kind[first : first + size])
        for kind in range(kinds.max() + 1)
        for of_kind in [np.flatnonzero(kinds == kind)]
        for first in range(0, of_kind.size, size)
    ]
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(lambda part: work(*part), parts))


def _values(axis: Any) -> list[Any]:
    if isinstance(axis, str | SGD | Adam) or np.ndim(axis) == 0:
        return [axis]
    return list(axis)


def _distinct(name: str, values: Sequence[Any]) -> list[Any]:
    if len(set(values)) < len(values):
        raise ValueError(f"the values of {name} must be distinct, got {list(map(str, values))}")
    return list(values)


def _sequence(name: str, values: ArrayLike | None, steps: int) -> NDArray[np.float64]:
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    sequence = np.ones(steps) if values is None else np.asarray(values, float)
    if sequence.shape != (steps,) or not (np.isfinite(sequence) & (sequence >= 0)).all():
        raise ValueError(f"{name} must hold {steps} finite values >= 0, got shape {sequence.shape}")
    return sequence


def _compiled(cells: pd.DataFrame) -> tuple[NDArray[Any], NDArray[np.intp], NDArray[Any]]:
    """The kernel's records, checked: the kinds there are, each cell's kind, and what the cells have of their own."""
    if missing := [name for name in (*DEFAULTS, "stream") if name not in cells]:
        raise ValueError(f"cells lack the columns {missing}")
    if not len(cells):
        raise ValueError("there are no cells")
    _check(cells)
    records = np.zeros(len(cells), CELL)
    for name in CELL.names or ():
        records[name] = cells[name].to_numpy()
    optimizers = pd.Categorical(cells["optimizer"])
    settings = np.array([_optimizer_settings(optimizer) for optimizer in optimizers.categories], dtype=float)
    forms, policies = _codes(cells, "parameterization", FORM_CODES), _codes(cells, "policy", ABSENCE_CODES)
    shape = len(FORM_CODES), len(ABSENCE_CODES), len(settings)
    each, which = np.unique(np.ravel_multi_index((forms, policies, optimizers.codes), shape), return_inverse=True)
    form, policy, optimizer = np.unravel_index(each, shape)
    kinds = np.zeros(each.size, KIND)
    for name, column in zip(KIND.names or (), (form, policy, *settings[optimizer].T), strict=True):
        kinds[name] = column
    starts = np.array([FORMS[form].initial_theta for form in FORM_CODES])
    records["theta0"] = np.where(np.isnan(records["theta0"]), starts[forms], records["theta0"])
    return kinds, which, records


_RANGES: dict[str, tuple[Callable[[NDArray[np.float64]], NDArray[np.bool_]], str]] = {
    "presence": (lambda x: (x > 0) & (x <= 1), "in (0, 1]"),
    "rate": (lambda x: (x >= 0) & np.isfinite(x), "finite and >= 0"),
    "loss": (lambda x: (x >= 0) & np.isfinite(x), "finite and >= 0"),
    "noise": (lambda x: (x >= 0) & np.isfinite(x), "finite and >= 0"),
    "batch": (lambda x: (x >= 1) & (x <= 1e6) & (x == np.floor(x)), "a whole number in [1, 1,000,000]"),
    "accumulation": (lambda x: (x >= 1) & (x == np.floor(x)), "a whole number >= 1"),
    "absent_start": (lambda x: (x >= 0) & (x == np.floor(x)), "a whole number >= 0"),
    "absent_steps": (lambda x: (x >= 0) & (x == np.floor(x)), "a whole number >= 0"),
}


def _check(cells: pd.DataFrame) -> None:
    for name, (holds, wanted) in _RANGES.items():
        values = cells[name].to_numpy(float)
        if not (good := holds(values)).all():
            raise ValueError(f"{name} must be {wanted}, got {values[~good][0]}")


def _codes(cells: pd.DataFrame, name: str, known: Mapping[str, int]) -> NDArray[Any]:
    column = pd.Categorical(cells[name])
    if unknown := [value for value in column.categories if value not in known]:
        raise ValueError(f"unknown {name} {unknown}; known: {list(known)}")
    return np.array([known[value] for value in column.categories])[column.codes]


def _optimizer_settings(optimizer: Optimizer) -> tuple[float, ...]:
    if isinstance(optimizer, Adam):
        decoupled = optimizer.decoupled
        return 1, decoupled, optimizer.beta1, optimizer.beta2, optimizer.epsilon, optimizer.weight_decay
    if isinstance(optimizer, SGD):
        return 0, 0, optimizer.momentum, 0, 0, optimizer.weight_decay
    raise ValueError(f"optimizer must be an SGD or Adam of aura_study.theory.optimizers, got {optimizer!r}")
