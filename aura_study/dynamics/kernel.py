r"""The grid's inner loop, compiled: a block of cells' parameters through all their steps, in constant memory.

A step's gradient is the mean over its micro-batches of w'(theta) L + r'(theta), where an absent micro-batch
contributes r'(theta) (unmasked) or nothing (masked, frozen). Written out independently of ``aura_study.losses``,
``aura_study.theory`` and ``torch.optim``, which test it.

One step of one cell is a chain in which each operation waits for the one before. So cells of one kind (one form, policy
and optimiser) advance side by side, each quantity a column of theirs, through loops without branches that the compiler
turns into vector instructions. What is drawn does not wait for anything: see ``aura_study.dynamics.draws``.
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

KIND = np.dtype(
    [
        *((name, np.int64) for name in ("form", "policy")),
        *((name, np.bool_) for name in ("adam", "decoupled")),
        *((name, np.float64) for name in ("momentum", "beta2", "epsilon", "weight_decay")),  # SGD's or Adam's beta1
    ]
)
"""What cells that advance side by side have in common."""
CELL = np.dtype(
    [
        ("stream", np.uint64),
        *((name, np.float64) for name in ("presence", "rate", "loss", "noise")),
        *((name, np.int64) for name in ("batch", "accumulation", "absent_start", "absent_steps")),
        ("theta0", np.float64),
    ]
)
FOLLOWED = (
    *("theta", "weight", "mean_theta", "mean_weight", "mean_present_weight"),
    *("max_weight", "start_weight", "return_weight", "low_weight"),
)
OUTCOME = np.dtype(
    [*((name, np.float64) for name in FOLLOWED), *((name, np.int64) for name in ("settled_after", "undefined_step"))]
)

SIDE_BY_SIDE = 16
_OWN = (
    *("rate", "share", "accumulation", "absent", "returned"),  # constant
    *("slope", "pull", "gradient", "moves", "m", "v"),
    *("left1", "left2"),  # beta^steps, what Adam's moments still lack
    *("floor", "ceiling", "outside", "undefined_step"),  # the band that is settled, the last step outside of it
)
COLUMNS = np.dtype(
    [
        ("key", np.uint64, (SIDE_BY_SIDE,)),
        *((name, np.float64, (SIDE_BY_SIDE,)) for name in (*FOLLOWED, *_OWN)),
        *((name, np.float64, (AHEAD, SIDE_BY_SIDE)) for name in ("here", "loss")),
    ]
)
"""A block of cells, a column each; numbers of steps are floats too, since they are compared side by side."""


@copied
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
    kind: Any,
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
    blocks = np.zeros(1, COLUMNS)
    scratch = room(cells.batch.max())
    for first in range(0, cells.size, SIDE_BY_SIDE):
        count, block = min(SIDE_BY_SIDE, cells.size - first), blocks[0]
        for j in range(count):
            begin(cells[first + j], block, j, seed)
        for start in range(0, steps, AHEAD):
            stop = min(start + AHEAD, steps)
            for j in range(count):
                here, loss = block.here[:, j], block.loss[:, j]
                draw_steps(block.key[j], start, cells[first + j], profile[start:stop], here, loss, scratch)
            for t in range(start, stop):
                if every > 0 and t % every == 0:
                    for j in range(count):
                        traces[first + j, t // every] = block.theta[j]
                look(kind, block, count)
                watch(kind, block, count, t, band)
                if t >= burn_in:
                    add(block, count, t - start)
                pull(kind, block, count, t - start)
                move(kind, block, count, schedule[t])
        look(kind, block, count)
        for j in range(count):
            finish(block, j, outcomes[first + j], steps, burn_in)
            if every > 0:
                traces[first + j, (steps - 1) // every + 1] = block.theta[j]


@compiled
def begin(cell: Any, block: Any, j: int, seed: Any) -> None:
    """A cell's column before the first step."""
    block.key[j] = stream_key(seed, cell.stream)
    block.theta[j] = cell.theta0
    block.m[j], block.v[j], block.left1[j], block.left2[j] = 0.0, 0.0, 1.0, 1.0
    block.rate[j], block.accumulation[j], block.share[j] = cell.rate, cell.accumulation, 1.0 / cell.accumulation
    block.absent[j], block.returned[j] = cell.absent_start, cell.absent_start + cell.absent_steps
    block.mean_theta[j] = block.mean_weight[j] = block.mean_present_weight[j] = 0.0
    block.max_weight[j], block.low_weight[j] = 0.0, math.inf
    block.start_weight[j] = block.return_weight[j] = math.nan
    block.floor[j], block.ceiling[j] = math.nan, math.nan
    block.outside[j], block.undefined_step[j] = -1, -1


@copied
def look(kind: Any, block: Any, count: int) -> None:
    """Weight and slopes at every theta."""
    form = kind.form  # read once, as in the functions below: the compiler cannot know that the loop leaves it alone
    for j in range(count):
        block.weight[j], block.slope[j], block.pull[j] = slopes(form, block.theta[j])


@copied
def watch(kind: Any, block: Any, count: int, t: int, band: float) -> None:
    """Note what the outcomes say of the weights before step ``t``."""
    positive = kind.form == SIGMA
    for j in range(count):
        weight = block.weight[j]
        broken = not math.isfinite(weight) or (positive and block.theta[j] <= 0.0)
        block.undefined_step[j] = t if block.undefined_step[j] < 0 and broken else block.undefined_step[j]
        leaves = t == block.absent[j]
        block.start_weight[j] = weight if leaves else block.start_weight[j]
        block.floor[j] = weight / band if leaves else block.floor[j]
        block.ceiling[j] = weight * band if leaves else block.ceiling[j]
        block.return_weight[j] = weight if t == block.returned[j] else block.return_weight[j]
        back = t >= block.returned[j]
        block.low_weight[j] = weight if back and weight < block.low_weight[j] else block.low_weight[j]
        block.outside[j] = t if back and not (block.floor[j] <= weight <= block.ceiling[j]) else block.outside[j]
        block.max_weight[j] = weight if weight > block.max_weight[j] else block.max_weight[j]


@copied
def add(block: Any, count: int, s: int) -> None:
    """Sums, until `finish`."""
    for j in range(count):
        block.mean_theta[j] += block.theta[j]
        block.mean_weight[j] += block.weight[j]
        block.mean_present_weight[j] += block.weight[j] * block.here[s, j] * block.share[j]


@copied
def pull(kind: Any, block: Any, count: int, s: int) -> None:
    """Gradients of the step, and whose parameter it moves."""
    everywhere, always = kind.policy == UNMASKED, kind.policy != FROZEN
    for j in range(count):
        here = block.here[s, j]
        terms = block.accumulation[j] if everywhere else here
        gradient = (block.slope[j] * block.loss[s, j] + block.pull[j] * terms) * block.share[j]
        block.gradient[j] = gradient if terms > 0 else 0.0
        block.moves[j] = 1.0 if always or here > 0 else 0.0


@copied
def move(kind: Any, block: Any, count: int, schedule: float) -> None:
    """One optimiser step, as ``torch.optim`` takes it."""
    adam, decoupled, momentum, beta2 = kind.adam, kind.decoupled, kind.momentum, kind.beta2
    epsilon, weight_decay = kind.epsilon, kind.weight_decay
    for j in range(count):
        rate, theta, gradient = block.rate[j] * schedule, block.theta[j], block.gradient[j]
        moves = block.moves[j] > 0
        if decoupled:
            theta *= 1.0 - rate * weight_decay
        else:
            gradient += weight_decay * theta
        if adam:
            left1, left2 = block.left1[j] * momentum, block.left2[j] * beta2
            m = block.m[j] + (1.0 - momentum) * (gradient - block.m[j])
            v = beta2 * block.v[j] + (1.0 - beta2) * gradient * gradient
            root = math.sqrt(1.0 - left2)
            theta -= rate * root / (1.0 - left1) * m / (math.sqrt(v) + epsilon * root)
            block.left1[j] = left1 if moves else block.left1[j]
            block.left2[j] = left2 if moves else block.left2[j]
            block.v[j] = v if moves else block.v[j]
        else:
            m = momentum * block.m[j] + gradient
            theta -= rate * m
        block.m[j] = m if moves else block.m[j]
        block.theta[j] = theta if moves else block.theta[j]


@compiled
def finish(block: Any, j: int, out: Any, steps: int, burn_in: int) -> None:
    """Turn a column into its cell's outcomes after the last step."""
    kept = steps - burn_in
    out.theta, out.weight = block.theta[j], block.weight[j]
    out.mean_theta, out.mean_weight = block.mean_theta[j] / kept, block.mean_weight[j] / kept
    out.mean_present_weight = block.mean_present_weight[j] / kept
    out.start_weight, out.return_weight = block.start_weight[j], block.return_weight[j]
    out.low_weight, out.max_weight = block.low_weight[j], block.max_weight[j]
    out.undefined_step = block.undefined_step[j]
    settled = block.outside[j] + 1 - block.returned[j]
    out.settled_after = -1 if block.outside[j] == steps - 1 else max(settled, 0)
