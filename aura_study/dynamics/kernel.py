r"""The grid's inner loop, compiled: one cell's parameter through all its steps, in constant memory.

A step's gradient is the mean over its micro-batches of w'(theta) L + r'(theta), where an absent micro-batch
contributes r'(theta) (unmasked) or nothing (masked, frozen). Written out independently of ``aura_study.losses``,
``aura_study.theory`` and ``torch.optim``, which test it.
"""

import math
from typing import Any

import numpy as np
from numba import njit

from aura_study.dynamics.random import normal, stream_key, uniform

FORMS = ("sigma", "log_sigma", "log_variance", "aura_softplus", "log_one_plus_square")
SIGMA, LOG_SIGMA, LOG_VARIANCE, AURA_SOFTPLUS = range(4)
POLICIES = ("unmasked", "masked", "frozen")
UNMASKED, MASKED, FROZEN = range(3)
EPSILON = 1e-8  # of AURA's softplus weight
DRAWS = np.uint64(2)  # per micro-batch: one for the presence, one for the loss

CELL = np.dtype(
    [
        ("stream", np.uint64),
        ("form", np.int64),
        ("policy", np.int64),
        ("adam", np.bool_),
        ("decoupled", np.bool_),
        ("momentum", np.float64),  # SGD's momentum or Adam's beta1
        ("beta2", np.float64),
        ("epsilon", np.float64),
        ("weight_decay", np.float64),
        ("presence", np.float64),
        ("rate", np.float64),
        ("loss", np.float64),
        ("noise", np.float64),
        ("batch", np.int64),
        ("accumulation", np.int64),
        ("absent_start", np.int64),
        ("absent_steps", np.int64),
        ("theta0", np.float64),
    ]
)
OUTCOME = np.dtype(
    [
        ("theta", np.float64),
        ("weight", np.float64),
        ("mean_theta", np.float64),
        ("mean_weight", np.float64),
        ("mean_present_weight", np.float64),
        ("max_weight", np.float64),
        ("start_weight", np.float64),
        ("return_weight", np.float64),
        ("low_weight", np.float64),
        ("settled_after", np.int64),
        ("undefined_step", np.int64),
    ]
)


@njit(nogil=True)
def slopes(form: int, theta: float) -> tuple[float, float, float]:
    """Weight, its slope and the regulariser's slope at ``theta``."""
    if form == LOG_SIGMA:
        weight = 0.5 * math.exp(-2.0 * theta)
        return weight, -2.0 * weight, 1.0
    if form == LOG_VARIANCE:
        weight = 0.5 * math.exp(-theta)
        return weight, -weight, 0.5
    if form == AURA_SOFTPLUS:
        small = math.exp(-abs(theta))
        softplus = max(theta, 0.0) + math.log1p(small)
        sigmoid = (1.0 if theta >= 0 else small) / (1.0 + small)
        weight = 1.0 / (softplus + EPSILON)
        return weight, -sigmoid * weight * weight, 0.5 * sigmoid
    inverse = 1.0 / theta if theta != 0.0 else math.inf
    weight = 0.5 * inverse * inverse
    slope = -2.0 * weight * inverse
    if form == SIGMA:
        return weight, slope, inverse
    return weight, slope, 2.0 * theta / (1.0 + theta * theta)


@njit(nogil=True)
def samples_present(u: float, presence: float, batch: int, none: float) -> int:
    """Number of the task's samples in a micro-batch: the binomial quantile of ``u``; ``none`` = (1 - p)^batch."""
    if presence >= 1.0:
        return batch
    if u <= none:
        return 0
    chance, below = none, none
    count = 0
    while u > below and count < batch:
        chance *= (batch - count) / (count + 1.0) * presence / (1.0 - presence)
        below += chance
        count += 1
    return count


@njit(nogil=True)
def log_variance_of_mean(noise: float, count: int) -> float:
    """Variance of the log of a lognormal whose coefficient of variation is ``noise / sqrt(count)``."""
    return math.log1p(noise * noise / count)


@njit(nogil=True)
def micro_batch(key: Any, number: Any, cell: Any, none: float, single: float, level: float) -> tuple[bool, float]:
    """Presence and mean loss of micro-batch ``number`` of a stream.

    ``none`` is the chance that the task has no sample in it, ``single`` the `log_variance_of_mean` of one sample.
    """
    first = number * DRAWS
    count = samples_present(uniform(key, first), cell.presence, cell.batch, none)
    if count == 0:
        return False, 0.0
    if cell.noise == 0.0:
        return True, level
    spread = single if count == 1 else log_variance_of_mean(cell.noise, count)
    return True, level * math.exp(math.sqrt(spread) * normal(key, first + np.uint64(1)) - 0.5 * spread)


@njit(nogil=True)
def run(
    cells: Any,
    outcomes: Any,
    traces: Any,
    every: int,
    schedule: Any,
    profile: Any,
    seed: Any,
    burn_in: int,
    band: float,
) -> None:
    """Simulate ``cells`` and fill ``outcomes``; every ``every``-th theta goes to ``traces`` unless that is 0."""
    steps = schedule.size
    for i in range(cells.size):
        cell = cells[i]
        out = outcomes[i]
        key = stream_key(seed, cell.stream)
        none, single = (1.0 - cell.presence) ** cell.batch, log_variance_of_mean(cell.noise, 1)
        returned = cell.absent_start + cell.absent_steps
        theta, m, v = cell.theta0, 0.0, 0.0
        left1, left2 = 1.0, 1.0
        sum_theta, sum_weight, sum_present = 0.0, 0.0, 0.0
        out.max_weight, out.low_weight = 0.0, math.inf
        out.start_weight, out.return_weight = math.nan, math.nan
        floor, ceiling = math.nan, math.nan
        share = 1.0 / cell.accumulation
        outside, undefined = -1, -1
        for t in range(steps):
            weight, weight_slope, pull = slopes(cell.form, theta)
            if undefined < 0 and (not math.isfinite(weight) or (cell.form == SIGMA and theta <= 0.0)):
                undefined = t
            if every > 0 and t % every == 0:
                traces[i, t // every] = theta
            if t == cell.absent_start:
                out.start_weight = weight
                floor, ceiling = weight / band, weight * band
            if t == returned:
                out.return_weight = weight
            if t >= returned:
                out.low_weight = min(out.low_weight, weight)
                if not floor <= weight <= ceiling:
                    outside = t
            out.max_weight = max(out.max_weight, weight)

            here, loss = 0, 0.0
            if t < cell.absent_start or t >= returned:
                for a in range(cell.accumulation):
                    present, value = micro_batch(
                        key, np.uint64(t * cell.accumulation + a), cell, none, single, cell.loss * profile[t]
                    )
                    if present:
                        here += 1
                        loss += value
            if t >= burn_in:
                sum_theta += theta
                sum_weight += weight
                sum_present += weight * here * share

            if cell.policy == FROZEN and here == 0:
                continue
            terms = cell.accumulation if cell.policy == UNMASKED else here
            gradient = (weight_slope * loss + pull * terms) * share if terms > 0 else 0.0
            rate = cell.rate * schedule[t]
            if cell.decoupled:
                theta *= 1.0 - rate * cell.weight_decay
            else:
                gradient += cell.weight_decay * theta
            if cell.adam:
                left1 *= cell.momentum
                left2 *= cell.beta2
                m += (1.0 - cell.momentum) * (gradient - m)
                v = cell.beta2 * v + (1.0 - cell.beta2) * gradient * gradient
                root = math.sqrt(1.0 - left2)
                theta -= rate * root / (1.0 - left1) * m / (math.sqrt(v) + cell.epsilon * root)
            else:
                m = cell.momentum * m + gradient
                theta -= rate * m
        out.theta = theta
        out.weight = slopes(cell.form, theta)[0]
        if every > 0:
            traces[i, (steps - 1) // every + 1] = theta
        kept = steps - burn_in
        out.mean_theta, out.mean_weight, out.mean_present_weight = (
            sum_theta / kept,
            sum_weight / kept,
            sum_present / kept,
        )
        out.settled_after = -1 if outside == steps - 1 else max(outside + 1 - returned, 0)
        out.undefined_step = undefined


@njit(nogil=True)
def draw(cells: Any, profile: Any, seed: Any, present: Any, losses: Any) -> None:
    """Fill ``present`` and ``losses``, shape ``(cells, steps, accumulation)``, with what `run` draws."""
    for i in range(cells.size):
        cell = cells[i]
        key = stream_key(seed, cell.stream)
        none, single = (1.0 - cell.presence) ** cell.batch, log_variance_of_mean(cell.noise, 1)
        for t in range(profile.size):
            if cell.absent_start <= t < cell.absent_start + cell.absent_steps:
                continue
            for a in range(cell.accumulation):
                number = np.uint64(t * cell.accumulation + a)
                present[i, t, a], losses[i, t, a] = micro_batch(key, number, cell, none, single, cell.loss * profile[t])
