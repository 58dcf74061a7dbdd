r"""The grid's inner loop, compiled: a block of cells' parameters through all their steps, in constant memory.

A step's gradient is the mean over its micro-batches of w'(theta) L + r'(theta), where an absent micro-batch
contributes r'(theta) (unmasked) or nothing (masked, frozen). Written out independently of ``aura_study.losses``,
``aura_study.theory`` and ``torch.optim``, which test it.

One step of one cell is a chain in which each operation waits for the one before. A few cells advance side by side, so
that the processor works on one's chain while another's waits, and small functions are copied into the loop, because a
call with a record costs as much as a division. What is drawn does not wait for anything: see
``aura_study.dynamics.draws``.
"""

import math
from typing import Any

import numpy as np

from aura_study.dynamics.draws import AHEAD, draw_steps, room
from aura_study.dynamics.random import compiled, copied, stream_key

SIGMA, LOG_SIGMA, LOG_VARIANCE, AURA_SOFTPLUS, LOG_ONE_PLUS_SQUARE = range(5)
FORM_CODES = {
    "sigma": SIGMA,
    "log_sigma": LOG_SIGMA,
    "log_variance": LOG_VARIANCE,
    "aura_softplus": AURA_SOFTPLUS,
    "log_one_plus_square": LOG_ONE_PLUS_SQUARE,
}
UNMASKED, MASKED, FROZEN = range(3)
ABSENCE_CODES = {"unmasked": UNMASKED, "masked": MASKED, "frozen": FROZEN}
EPSILON = 1e-8  # of AURA's softplus weight

CELL = np.dtype(
    [
        ("stream", np.uint64),
        *((name, np.int64) for name in ("form", "policy")),
        *((name, np.bool_) for name in ("adam", "decoupled")),
        *((name, np.float64) for name in ("momentum", "beta2", "epsilon")),  # SGD's momentum or Adam's beta1
        *((name, np.float64) for name in ("weight_decay", "presence", "rate", "loss", "noise")),
        *((name, np.int64) for name in ("batch", "accumulation", "absent_start", "absent_steps")),
        ("theta0", np.float64),
    ]
)
OUTCOME = np.dtype(
    [
        *((name, np.float64) for name in ("theta", "weight", "mean_theta", "mean_weight", "mean_present_weight")),
        *((name, np.float64) for name in ("max_weight", "start_weight", "return_weight", "low_weight")),
        *((name, np.int64) for name in ("settled_after", "undefined_step")),
    ]
)

STATE = np.dtype(
    [
        ("key", np.uint64),
        *((name, np.float64) for name in ("theta", "weight", "slope", "pull", "m", "v")),
        *((name, np.float64) for name in ("left1", "left2")),  # beta^steps, what Adam's moments still lack
        *((name, np.float64) for name in ("share", "floor", "ceiling")),  # the last two: of the band that is settled
        *((name, np.int64) for name in ("returned", "outside")),  # outside: last step outside the band
    ]
)
SIDE_BY_SIDE = 8


@compiled
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


@compiled
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
    states = np.zeros(SIDE_BY_SIDE, STATE)
    here, loss = np.zeros((SIDE_BY_SIDE, AHEAD), np.int64), np.zeros((SIDE_BY_SIDE, AHEAD))
    scratch = room()
    for first in range(0, cells.size, SIDE_BY_SIDE):
        last = min(first + SIDE_BY_SIDE, cells.size)
        for i in range(first, last):
            begin(cells[i], states[i - first], outcomes[i], seed)
        for start in range(0, steps, AHEAD):
            stop = min(start + AHEAD, steps)
            for j in range(last - first):
                draw_steps(states[j].key, start, cells[first + j], profile[start:stop], here[j], loss[j], scratch)
            for t in range(start, stop):
                for j in range(last - first):
                    i = first + j
                    if every > 0 and t % every == 0:
                        traces[i, t // every] = states[j].theta
                    watch(cells[i], states[j], outcomes[i], t, band)
                    step(
                        cells[i],
                        states[j],
                        outcomes[i],
                        here[j, t - start],
                        loss[j, t - start],
                        schedule[t],
                        t >= burn_in,
                    )
        for i in range(first, last):
            finish(cells[i], states[i - first], outcomes[i], steps, burn_in)
            if every > 0:
                traces[i, (steps - 1) // every + 1] = outcomes[i].theta


@compiled
def begin(cell: Any, state: Any, out: Any, seed: Any) -> None:
    """Set a cell's state and outcomes before its first step."""
    state.key = stream_key(seed, cell.stream)
    state.share = 1.0 / cell.accumulation
    state.returned = cell.absent_start + cell.absent_steps
    state.theta, state.m, state.v = cell.theta0, 0.0, 0.0
    state.left1, state.left2 = 1.0, 1.0
    state.floor, state.ceiling = math.nan, math.nan
    state.outside = -1
    out.mean_theta, out.mean_weight, out.mean_present_weight = 0.0, 0.0, 0.0
    out.max_weight, out.low_weight = 0.0, math.inf
    out.start_weight, out.return_weight = math.nan, math.nan
    out.undefined_step = -1


@copied
def watch(cell: Any, state: Any, out: Any, t: int, band: float) -> None:
    """Compute weight and slopes at the state's theta and note what the outcomes say of them."""
    weight, state.slope, state.pull = slopes(cell.form, state.theta)
    state.weight = weight
    if out.undefined_step < 0 and (not math.isfinite(weight) or (cell.form == SIGMA and state.theta <= 0.0)):
        out.undefined_step = t
    if t == cell.absent_start:
        out.start_weight = weight
        state.floor, state.ceiling = weight / band, weight * band
    if t == state.returned:
        out.return_weight = weight
    if t >= state.returned:
        out.low_weight = min(out.low_weight, weight)
        if not state.floor <= weight <= state.ceiling:
            state.outside = t
    out.max_weight = max(out.max_weight, weight)


@copied
def step(cell: Any, state: Any, out: Any, here: int, loss: float, rate: float, counts: bool) -> None:
    """Move theta; ``counts`` says whether the step enters the means."""
    if counts:  # sums until `finish`
        out.mean_theta += state.theta
        out.mean_weight += state.weight
        out.mean_present_weight += state.weight * here * state.share
    if cell.policy != FROZEN or here > 0:
        terms = cell.accumulation if cell.policy == UNMASKED else here
        gradient = (state.slope * loss + state.pull * terms) * state.share if terms > 0 else 0.0
        move(cell, state, gradient, cell.rate * rate)


@copied
def move(cell: Any, state: Any, gradient: float, rate: float) -> None:
    """One optimiser step, as ``torch.optim`` takes it."""
    theta = state.theta
    if cell.decoupled:
        theta *= 1.0 - rate * cell.weight_decay
    else:
        gradient += cell.weight_decay * theta
    if cell.adam:
        state.left1 *= cell.momentum
        state.left2 *= cell.beta2
        state.m += (1.0 - cell.momentum) * (gradient - state.m)
        state.v = cell.beta2 * state.v + (1.0 - cell.beta2) * gradient * gradient
        root = math.sqrt(1.0 - state.left2)
        theta -= rate * root / (1.0 - state.left1) * state.m / (math.sqrt(state.v) + cell.epsilon * root)
    else:
        state.m = cell.momentum * state.m + gradient
        theta -= rate * state.m
    state.theta = theta


@compiled
def finish(cell: Any, state: Any, out: Any, steps: int, burn_in: int) -> None:
    """Turn sums into means and states into outcomes after the last step."""
    kept = steps - burn_in
    out.theta = state.theta
    out.weight = slopes(cell.form, state.theta)[0]
    out.mean_theta /= kept
    out.mean_weight /= kept
    out.mean_present_weight /= kept
    out.settled_after = -1 if state.outside == steps - 1 else max(state.outside + 1 - state.returned, 0)
