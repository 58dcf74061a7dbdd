r"""Presences and losses of a cell's micro-batches, drawn some way ahead.

They depend on nothing that the parameter does, so that they are drawn many at a time, in loops without branches that
the compiler turns into vector instructions; one by one they would take most of a cell's time.
"""

import math
from typing import Any

import numpy as np

from aura_study.dynamics.random import compiled, quantiles, stream_key, uniform

AHEAD = 256
"""Micro-batches drawn at a time."""
DRAWS = 2  # per micro-batch: one for the presence, one for the loss


@compiled
def fill_binomial(presence: float, batch: int, upto: Any) -> None:
    """``upto[n]`` becomes the chance that a micro-batch holds at most ``n`` of the task's samples."""
    chance = upto[0] = (1.0 - presence) ** batch
    for n in range(batch):
        chance *= (batch - n) / (n + 1.0) * presence / (1.0 - presence)
        upto[n + 1] = upto[n] + chance


@compiled
def log_variance_of_mean(noise: float, count: int) -> float:
    """Variance of the log of a lognormal whose coefficient of variation is ``noise / sqrt(count)``."""
    return math.log1p(noise * noise / count)


@compiled
def room(batch: int) -> Any:
    """Scratch arrays of `draw_steps` for micro-batches of at most so many samples."""
    rest = np.zeros(AHEAD), np.zeros(AHEAD), np.zeros(AHEAD, np.int64), np.zeros(AHEAD, np.int64)
    return np.zeros(AHEAD, np.int64), np.zeros(AHEAD), (*rest, np.zeros(batch + 1))


@compiled
def draw_ahead(key: Any, first: int, cell: Any, counts: Any, factors: Any, scratch: Any) -> None:
    """Draw micro-batches ``first`` to ``first + AHEAD - 1`` of a stream.

    ``counts`` gets the task's samples in each, ``factors`` what the level of the loss is to be multiplied by: 0 where
    the task is absent, 1 on average where it is present.
    """
    u, z, which, tails, of_count = scratch
    for k in range(AHEAD):
        u[k] = uniform(key, np.uint64((first + k) * DRAWS))
    if cell.presence >= 1.0:
        counts[:] = cell.batch
    elif cell.batch == 1:
        for k in range(AHEAD):
            counts[k] = u[k] > 1.0 - cell.presence
    else:  # the binomial quantile
        fill_binomial(cell.presence, cell.batch, of_count)
        for k in range(AHEAD):
            count = 0
            while count < cell.batch and u[k] > of_count[count]:
                count += 1
            counts[k] = count
    for k in range(AHEAD):
        factors[k] = counts[k] > 0
    if cell.noise == 0.0:
        return
    kept = 0
    for k in range(AHEAD):
        which[kept] = k
        kept += counts[k] > 0
    for i in range(kept):
        u[i] = uniform(key, np.uint64((first + which[i]) * DRAWS + 1))
    quantiles(u, kept, z, tails)
    of_count[: cell.batch + 1] = -1.0  # the variance for a count, once somebody asks for it
    for i in range(kept):
        count = counts[which[i]]
        if of_count[count] < 0.0:
            of_count[count] = log_variance_of_mean(cell.noise, count)
        spread = of_count[count]
        factors[which[i]] = math.exp(math.sqrt(spread) * z[i] - 0.5 * spread)


@compiled
def draw_steps(key: Any, start: int, cell: Any, profile: Any, here: Any, loss: Any, scratch: Any) -> None:
    """Sum up steps ``start`` to ``start + profile.size - 1``: ``here`` gets the number of micro-batches in which the
    task is present, ``loss`` the sum of their losses.
    """
    counts, factors, rest = scratch
    accumulation, level = cell.accumulation, cell.loss  # read once: the compiler cannot know that they stay
    leaves, back = cell.absent_start - start, cell.absent_start + cell.absent_steps - start
    if cell.presence >= 1.0 and cell.noise == 0.0:
        for s in range(profile.size):
            away = leaves <= s < back
            here[s], loss[s] = 0.0 if away else accumulation, 0.0 if away else accumulation * (level * profile[s])
        return
    first = -AHEAD
    for s in range(profile.size):
        present, total = 0, 0.0
        if not leaves <= s < back:
            for number in range((start + s) * accumulation, (start + s + 1) * accumulation):
                if number - first >= AHEAD:
                    first = number
                    draw_ahead(key, first, cell, counts, factors, rest)
                present += counts[number - first] > 0
                total += level * profile[s] * factors[number - first]
        here[s], loss[s] = present, total


@compiled
def draw(cells: Any, profile: Any, seed: Any, present: Any, losses: Any) -> None:
    """Fill ``present`` and ``losses``, shape ``(cells, steps, accumulation)``, with what the simulation draws."""
    counts, factors, rest = room(cells.batch.max())
    for i in range(cells.size):
        cell = cells[i]
        key = stream_key(seed, cell.stream)
        first = -AHEAD
        for t in range(profile.size):
            if cell.absent_start <= t < cell.absent_start + cell.absent_steps:
                continue
            for a in range(cell.accumulation):
                number = t * cell.accumulation + a
                if number - first >= AHEAD:
                    first = number
                    draw_ahead(key, first, cell, counts, factors, rest)
                present[i, t, a] = counts[number - first] > 0
                losses[i, t, a] = cell.loss * profile[t] * factors[number - first]
