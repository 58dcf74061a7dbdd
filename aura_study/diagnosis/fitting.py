r"""Masked, unmasked and solved dynamics, fitted to a log's weights.

A policy's path of the weights follows from the losses, the rates and each task's presence
(`aura_study.theory.driven.mean_path`). What the log leaves open is tried out, once for a run (parameterisation,
optimiser, rates) and once for a task (noise, presence), and each policy is granted its best case. Rates that nobody
tells are fitted record by record, to all tasks together; the fastest weight bounds their sum from below.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aura_study.diagnosis.columns import Log
from aura_study.diagnosis.reading import CannotRead
from aura_study.errors import did_you_mean
from aura_study.theory import forms
from aura_study.theory.driven import loss_curve, mean_path
from aura_study.theory.forms import Form
from aura_study.theory.optimizers import SGD, Adam, Optimizer

Array = NDArray[np.float64]
POLICIES = ("masked", "unmasked")
FORMS: dict[str, Form] = forms.FORMS | {
    "exp": replace(
        forms.LOG_VARIANCE,
        name="exp",
        term="L·exp(−s) + s",
        weight=lambda t: np.exp(-t),
        weight_slope=lambda t: -np.exp(-t),
        regularizer=lambda t: t + 0.0,
        regularizer_slope=lambda t: np.ones_like(t),
        curvature=lambda t: np.ones_like(t),
        at_weight=lambda w: -np.log(w),
    ),
    "exp_half": replace(
        forms.LOG_VARIANCE,
        name="exp_half",
        term="L·exp(−s) + s/2",
        weight=lambda t: np.exp(-t),
        weight_slope=lambda t: -np.exp(-t),
        settles=lambda a: np.log(2 * a),
        at_weight=lambda w: -np.log(w),
    ),
}
"""Forms of the term, those of the study and the two without the half that much published code has."""
OPTIMIZERS: dict[str, Optimizer] = {"adam": Adam(), "sgd": SGD()}
NOISES = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0), (0.0, *np.geomspace(0.05, 5, 24))
"""Coefficients of variation of a micro-batch's loss that are tried, first and at the rates that were found best."""
PRESENCES = (0.01, 0.03, 0.07, 0.15, 0.3, 0.5, 0.7, 0.85, 1.0), tuple(np.geomspace(0.01, 1, 33))
SCALES = np.geomspace(1, 300, 26)
"""Sums of rates that nobody tells, over the least that the weights' ways allow; see `_least`."""
ROUNDS = 5
"""In which such rates are fitted record by record."""
ADAM_MEMORY = 1386.0
"""Steps' worth of rate by which Adam can exceed a cold start's way: 2 ln 2 / (1 - b2), see `adam_phantom`."""
ROUGH = 0.1, 0.01
"""Share of a weight's way by which the path may be off, on the first grid of rates and where these are settled."""
VAGUE = 1 / 3
"""Share of the way above which a scatter explains nothing."""
SHORT, PARTS = 1500, 256
"""Records of single steps that are followed one by one; records, or parts of them, otherwise."""
SMALLEST = 1e-12


@dataclass(frozen=True)
class Known:
    """What the log does not say and somebody may know.

    Attributes:
        form: of the term, a key of `FORMS`; guessed where the log begins if not given.
        optimizer: a key of `OPTIMIZERS`; both are tried if not given.
        rate: constant learning rate.
        presence: share of micro-batches that hold a task, by task.
        accumulation: micro-batches a step.
        weight_decay: of AdamW.
    """

    form: str | None = None
    optimizer: str | None = None
    rate: float | None = None
    presence: Mapping[str, float] = field(default_factory=dict)
    accumulation: int = 1
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        for what, name, known in (("form", self.form, FORMS), ("optimizer", self.optimizer, OPTIMIZERS)):
            if name is not None and name not in known:
                raise CannotRead(f"unknown {what} {name!r}{did_you_mean(name, known)}")
        if self.rate is not None and not 0 < self.rate < np.inf:
            raise CannotRead(f"a learning rate is above 0, got {self.rate}")
        if wrong := {task: p for task, p in self.presence.items() if not 0 < p <= 1}:
            raise CannotRead(f"a presence is a share of batches above 0 and up to 1, got {wrong}")
        if self.accumulation < 1:
            raise CannotRead(f"accumulation is 1 or more, got {self.accumulation}")


@dataclass(frozen=True)
class Fit:
    """A policy's best case.

    Attributes:
        policy: of `POLICIES`.
        form, optimizer: names.
        phantom: sum of the learning rates over the log.
        misses: root mean square of predicted less logged log weight, by task.
        floors: what rounding, the draw of the batches and a course that is known by its means explain of that.
        presence, noise: at the best.
        paths: predicted weights after each kept record, by task.
    """

    policy: str
    form: str
    optimizer: str
    phantom: float
    misses: Mapping[str, float]
    floors: Mapping[str, float]
    presence: Mapping[str, float]
    noise: Mapping[str, float]
    paths: Mapping[str, Array]

    @property
    def unlikely(self) -> float:
        """Negative log likelihood of the misses, up to a constant, each counted once."""
        return sum(unlikelihood(self.misses[task], floor) for task, floor in self.floors.items())


def unlikelihood(miss: Any, floor: Any) -> Any:
    """Of a normal deviation: half its square in its own size, and the logarithm of that size."""
    return (miss / floor) ** 2 / 2 + np.log(floor)


@dataclass(frozen=True)
class Course:
    """A log made ready: records thinned, losses without gaps, presences where they are known.

    Attributes:
        tasks: that have losses.
        weights: logged, by task, those without losses too, shape ``(records,)``.
        steps: optimiser's steps in each record, and whether they are known.
        losses, presence: by task, shape ``(records,)``; a presence of NaN is not known.
        rates: mean learning rate of each record; None where unknown.
        single: whether a record is a step.
        at: places of the records in the log.
    """

    tasks: tuple[str, ...]
    weights: Mapping[str, Array]
    digits: Mapping[str, float]
    steps: Array
    steps_known: bool
    losses: Mapping[str, Array]
    presence: Mapping[str, Array]
    rates: Array | None
    single: bool
    at: NDArray[np.int64]


def weights_of(log: Log, form: Form) -> Array:
    """The weight that multiplies the loss, from whatever the columns hold."""
    with np.errstate(all="ignore"):
        if log.scale == "weight":
            weights = log.values
        elif log.scale == "precision":
            weights = log.values * float(form.weight(np.asarray(form.at_weight(np.asarray(0.5)))))
        elif log.scale in ("log_variance", "log_sigma"):
            s = log.values if log.scale == "log_variance" else 2 * log.values
            weights = np.exp(-s) * (1.0 if form.name.startswith("exp") else 0.5)
        else:
            weights = 0.5 / (log.values if log.scale == "variance" else log.values**2)
    positive = np.isfinite(weights) & (weights > 0) & (log.scale.startswith("log") | (log.values > 0))
    if (bad := np.isfinite(log.values) & ~positive).any():
        task, record = (int(place[0]) for place in np.nonzero(bad))
        value = log.values[task, record]
        raise CannotRead(f"{log.scale.replace('_', ' ')} of {log.tasks[task]}, record {record + 1}: {value:g} is none")
    return weights


def candidate_forms(log: Log, known: Known) -> list[str]:
    """Forms whose weights can have begun where the log's do; those of Kendall's formula if none fits."""
    if known.form:
        return [known.form]
    if log.scale == "weight":
        first = float(np.nanmedian(np.log(np.maximum(log.values[:, 0], SMALLEST))))
        starts = {"aura_softplus": 1 / np.log(2), "exp": 1.0}
        for name, start in starts.items():
            if abs(first - np.log(start)) < 0.2:
                return [name]
        return ["log_sigma", "log_variance", "sigma"]
    if log.scale == "log_variance":
        return ["log_variance"]
    return ["log_sigma"] if log.scale == "log_sigma" else ["log_sigma", "log_variance", "sigma"]


def marked_absent(losses: Array, by_step: bool) -> NDArray[np.bool_]:
    """Records whose loss says that the task was not there: missing or 0, where it is not elsewhere.

    A loss of 0 to which the loss has fallen through small numbers is one of a task that is solved.
    """
    zero = losses == 0
    last = losses[: int(np.argmax(np.cumsum(~zero & np.isfinite(losses))) + 1)] if np.isfinite(losses).any() else losses
    if zero.any() and zero[len(last) :].all() and last.size and np.isfinite(last[-1]) and last[-1] < 1e-3:
        zero = zero & (np.arange(losses.size) < last.size)
    marks = zero | (np.isnan(losses) if by_step else np.zeros(losses.size, bool))
    return marks if 0 < marks.sum() < marks.size else np.zeros(losses.size, bool)


def prepare(log: Log, known: Known, form: Form) -> Course:
    """The `Course` of a log under one form.

    Raises:
        CannotRead: a presence for a task that the log does not have, or fewer than three records.
    """
    if unknown := [task for task in known.presence if task not in log.tasks]:
        raise CannotRead(f"presence of an unknown task {unknown[0]!r}{did_you_mean(unknown[0], log.tasks)}")
    records = log.values.shape[1]
    if records < 3:
        raise CannotRead(f"the log has {records} records with weights; three at least show a movement")
    weights = weights_of(log, form)
    single = log.by_step and records <= SHORT
    ends = np.unique(np.linspace(0, records - 1, records if single else min(records, PARTS)).round().astype(int))
    steps = np.ones(records) * 1000.0 if log.steps is None else np.diff(log.steps, prepend=np.nan)
    steps[0] = steps[1]
    if not (steps > 0).all():
        raise CannotRead("steps must rise from record to record")
    rates = log.rates if known.rate is None else np.full(records, known.rate)
    if rates is not None:
        rates = rates if single else (rates + np.append(max(2 * rates[0] - rates[1], 0.0), rates[:-1])) / 2
    losses, presence = {}, {}
    for place, task in enumerate(log.tasks):
        here = log.losses[place]
        if not np.isfinite(here).any() or (here[np.isfinite(here)] < 0).any():
            continue
        absent = marked_absent(here, log.by_step)
        told = log.presence[place]
        if task in known.presence:
            told = np.full(records, known.presence[task])
        elif np.isnan(told).all() and log.by_step:
            told = np.where(absent, 0.0, 1.0)
        elif np.isnan(told).all() and absent.any():
            told = np.full(records, 1 - absent.mean())
        there = np.where(absent | np.isnan(here), np.nan, here)
        losses[task] = _blocks(there, ends, np.ones(records))
        losses[task] = _filled(losses[task])
        presence[task] = _blocks(told, ends, np.ones(records))
    return Course(
        tasks=tuple(losses),
        weights={task: weights[place, ends] for place, task in enumerate(log.tasks)},
        digits={task: _log_digits(log, place) for place, task in enumerate(log.tasks)},
        steps=_sums(steps, ends),
        steps_known=log.steps is not None,
        losses=losses,
        presence=presence,
        rates=None if rates is None else _blocks(rates, ends, steps),
        single=single,
        at=ends,
    )


def _blocks(values: Array, ends: NDArray[np.int64], sizes: Array) -> Array:
    """Mean over the records up to each end, gaps left out, NaN where there is nothing else."""
    here = np.isfinite(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        return _sums(np.where(here, values, 0.0) * sizes, ends) / _sums(here * sizes, ends)


def _sums(values: Array, ends: NDArray[np.int64]) -> Array:
    return np.diff(np.cumsum(values)[ends], prepend=0.0)


def _filled(losses: Array) -> Array:
    known = np.isfinite(losses)
    places = np.arange(losses.size)
    logs = np.log(np.maximum(losses[known], SMALLEST))
    return np.exp(np.interp(places, places[known], logs))


def _log_digits(log: Log, place: int) -> float:
    """Standard deviation of the log weight that rounding leaves."""
    size = float(np.nanmedian(np.abs(log.values[place]))) if not log.scale.startswith("log") else 1.0
    twice = 2.0 if log.scale in ("sigma", "log_sigma") else 1.0
    return twice * log.digits[place] / np.sqrt(12) / max(size, SMALLEST)


def fits(log: Log, known: Known) -> dict[str, Fit]:
    """The best case of either policy; empty if no task has losses beside its weights."""
    best: dict[str, Fit] = {}
    for name in candidate_forms(log, known):
        course = prepare(log, known, FORMS[name])
        if not course.tasks:
            return {}
        for optimizer in [known.optimizer] if known.optimizer else OPTIMIZERS:
            for fit in _fits(course, FORMS[name], optimizer, known):
                if fit.policy not in best or fit.unlikely < best[fit.policy].unlikely:
                    best[fit.policy] = fit
    return best


def _fits(course: Course, form: Form, optimizer: str, known: Known) -> list[Fit]:
    """Both policies at the rates that suit each best over all tasks."""
    if course.rates is not None and course.steps_known:
        return _settled(course, np.stack([course.rates] * len(POLICIES)), form, optimizer, known)
    least = _least(course, form, optimizer)
    ways = _rates(course, form, least)
    cases = [_cases(course, task, ways, form, optimizer, known, settled=False) for task in course.tasks]
    rates = ways[[sum(case.unlikely[place].min((0, 1)) for case in cases).argmin() for place in range(len(POLICIES))]]
    best: list[Fit] = []
    for _ in range(ROUNDS):
        found = _settled(course, rates, form, optimizer, known)
        best = [min(pair, key=lambda fit: fit.unlikely) for pair in zip(best or found, found, strict=True)]
        rates = np.stack([_corrected(course, fit, of_fit, least) for fit, of_fit in zip(found, rates, strict=True)])
    return best


def _settled(course: Course, rates: Array, form: Form, optimizer: str, known: Known) -> list[Fit]:
    """Either policy at its own ``rates``, shape ``(policies, records)``."""
    cases = {task: _cases(course, task, rates, form, optimizer, known, settled=True) for task in course.tasks}
    found = []
    for place, policy in enumerate(POLICIES):
        chosen = {task: case.at(place, place) for task, case in cases.items()}
        columns = {key: {task: one[key] for task, one in chosen.items()} for key in chosen[course.tasks[0]]}
        phantom = float((rates[place] * course.steps)[1:].sum())
        found.append(Fit(policy, form.name, optimizer, phantom, **columns))
    return found


def _least(course: Course, form: Form, optimizer: str) -> float:
    """Least sum of rates that lets the weights have gone their ways, those of tasks without losses too.

    Adam goes a rate a step, and by its memory no more than `ADAM_MEMORY` steps' worth further; SGD's theta falls no
    faster than the regulariser pulls it.
    """
    thetas = np.stack([form.at_weight(weights) for weights in course.weights.values()])
    if optimizer == "sgd":
        falls = np.nanmax(thetas[:, :1] - thetas, axis=1) / np.nanmax(form.regularizer_slope(thetas), axis=1)
        return max(float(falls.max()), 1e-9)
    steps = float(course.steps[1:].sum())
    return max(float(np.nanmax(np.abs(thetas - thetas[:, :1]))) * steps / (steps + ADAM_MEMORY), 1e-9)


def _rates(course: Course, form: Form, least: float) -> Array:
    """Learning rates of each record that are tried, shape ``(ways, records)``: scales on the shapes that there are."""
    thetas = np.stack([form.at_weight(weights) for weights in course.weights.values()])
    moved = np.nan_to_num(np.abs(np.diff(thetas, prepend=thetas[:, :1]))).max(0)
    shapes = [course.rates] if course.rates is not None else [moved / course.steps, np.ones(course.steps.size)]
    whole = [shape / (shape * course.steps)[1:].sum() for shape in shapes if shape[1:].sum() > 0]
    return np.stack([scale * least * shape for shape, scale in product(whole, SCALES)])


def _corrected(course: Course, fit: Fit, rates: Array, least: float) -> Array:
    """Rates by which the tasks' predicted movements, record by record, come nearest to the logged ones."""
    with np.errstate(all="ignore"):
        logged = np.diff(np.log(np.stack([course.weights[task] for task in course.tasks])), prepend=np.nan)
        predicted = np.diff(np.log(np.stack([fit.paths[task] for task in course.tasks])), prepend=np.nan)
        axis = None if course.rates is not None else 0  # a course of the rates that is told keeps its shape
        factor = np.asarray(np.nansum(logged * predicted, axis) / np.nansum(predicted**2, axis))
    rates = rates * np.clip(np.nan_to_num(factor, nan=1.0), 0.5, 2.0)
    return rates * max(1.0, least / (rates * course.steps)[1:].sum())


@dataclass(frozen=True)
class _Cases:
    """Misses of one task, shape ``(policies, noises, presences, ways)``, and what belongs to each."""

    miss: Array
    floor: Array
    paths: Array
    noises: Sequence[float]
    presences: Sequence[float]

    @property
    def unlikely(self) -> Array:
        """See `unlikelihood`."""
        return np.asarray(unlikelihood(self.miss, self.floor))

    def at(self, policy: int, way: int) -> dict[str, Any]:
        """The best case of a policy at one way."""
        of_way = self.unlikely[policy, :, :, way]
        noise, presence = (int(place) for place in np.unravel_index(of_way.argmin(), of_way.shape))
        cell = (policy, noise, presence, way)
        return {
            "misses": float(self.miss[cell]),
            "floors": float(self.floor[cell]),
            "presence": float(self.presences[presence]),
            "noise": float(self.noises[noise]),
            "paths": self.paths[cell],
        }


def _cases(
    course: Course, task: str, ways: Array, form: Form, optimizer: str, known: Known, *, settled: bool
) -> _Cases:
    records = course.steps.size
    parts = 1 if course.single else max(1, min(16, 2 * PARTS // records))
    told = course.presence[task]
    if np.isnan(told).any():
        presences = PRESENCES[settled]
        presence = np.array(presences).reshape(1, 1, -1, 1, 1)
    else:
        presences, presence = (float(told.mean()),), np.repeat(told, parts).reshape(1, 1, 1, 1, -1)
    noises = (0.0,) if course.single else NOISES[settled]
    logged = course.weights[task]
    each = 1.0 if course.single else float(np.median(course.steps)) / parts
    chosen = OPTIMIZERS[optimizer]
    path, spread = mean_path(
        form,
        float(form.at_weight(logged[0])),
        loss_curve(np.maximum(course.losses[task], SMALLEST), parts, "steps" if course.single else "smooth"),
        np.repeat(ways * course.steps / np.median(course.steps), parts, axis=1),
        replace(chosen, weight_decay=known.weight_decay) if isinstance(chosen, Adam) else chosen,
        masked=np.array([policy == "masked" for policy in POLICIES]).reshape(2, 1, 1, 1),
        presence=presence,
        noise=np.array(noises).reshape(1, -1, 1, 1),
        accumulation=known.accumulation,
        each=each,
        held=parts,
    )
    thetas, spread = path[..., parts::parts], spread[..., parts::parts]
    with np.errstate(all="ignore"):
        weights = form.weight(thetas)
        off = np.log(weights) - np.log(logged)
        scatter = spread * np.abs(form.weight_slope(thetas)) / weights
    here = np.isfinite(logged)
    here[0] = False
    miss = np.sqrt(np.mean(np.nan_to_num(off[..., here], nan=1e3, posinf=1e3, neginf=-1e3) ** 2, axis=-1))
    way = float(np.sqrt(np.mean(np.log(logged[here] / logged[0]) ** 2)))
    rough = 0.0 if course.single and settled else ROUGH[settled] * way
    explained = course.digits[task] ** 2 + rough**2 + SMALLEST**2
    drawn = np.sqrt(np.mean(np.minimum(np.nan_to_num(scatter[..., here]), 1e3) ** 2, axis=-1))
    floor = np.sqrt(np.minimum(drawn, VAGUE * way) ** 2 + explained)
    return _Cases(miss, floor, weights, noises, presences)
