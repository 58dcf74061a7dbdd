"""A present task's loss that falls by itself, and ways to bound its weight, without a network (claims A8, A8a)."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from aura_study.claims import Measurement
from aura_study.dynamics import grid, micro_batches, trajectories
from aura_study.experiments.aura_later_logs.parameters import AuraLaterLogsParameters
from aura_study.theory.driven import driven_path
from aura_study.theory.optimizers import SGD, Adam
from aura_study.theory.solved import FallingLoss

Array = NDArray[np.float64]

OPTIMIZERS = {"SGD": SGD(), "Adam": Adam()}
RATES = (0.005, 0.02)
PACES = (0.1, 0.5, 0.8, 1.25, 2.0, 5.0)
"""k / 2 eta: how fast the loss falls, over the fastest that sigma can follow."""
NOISE = (0.0, 0.3)
COLUMNS = ["optimizer", "rate", "pace", "noise", "measured", "predicted", "of_phantom", "ratio", "rest"]
DOSE = 100
"""Sum of the learning rates over a descent."""
KEPT = 200
FLOOR, SOLVED_RATE, RETURNED_WITHIN, LONGER = 1e-2, 0.01, 2.0, 8
STRETCH, AFTER = 200, 10
CAUSES = {
    "absent, unmasked": ("unmasked", True, 0.0),
    "absent, masked": ("masked", True, 0.0),
    "solved, slowly": ("masked", False, 0.5),
    "solved, fast": ("masked", False, 3.0),
}
"""Policy, whether the task is away, and the pace of its loss."""
MIDDLE = 0.5 * math.log(FLOOR)


def descents() -> pd.DataFrame:
    """The grid's sigma beside a loss that falls by a factor exp(-k) a step, from its fixed point at a loss of 1.

    Columns: optimizer, rate, pace, noise, step, s, theory (`FallingLoss`), log_ratio (mean loss over variance).
    """
    frames = []
    for rate in RATES:
        steps = round(DOSE / rate)
        for pace in PACES:
            decay = 2 * rate * pace
            cells = grid(optimizer=list(OPTIMIZERS.values()), noise=NOISE, rate=rate, policy="masked", theta0=0.0)
            profile = np.exp(-decay * np.arange(steps))
            at, paths = trajectories(cells, steps, every=steps // KEPT, loss_profile=profile)
            theory = FallingLoss(rate, decay).sigma(at)
            for name, noise, s in zip(np.repeat(list(OPTIMIZERS), len(NOISE)), NOISE * 2, paths, strict=True):
                kept: dict[str, Any] = {"optimizer": name, "rate": rate, "pace": pace, "noise": noise, "step": at}
                frames.append(pd.DataFrame(kept | {"s": s, "theory": theory, "log_ratio": -decay * at - 2 * s}))
    return pd.concat(frames, ignore_index=True)


def speeds(table: pd.DataFrame) -> pd.DataFrame:
    """Fall of s a step over the second half of each descent: measured and predicted, and the ratio at the end."""
    rows = []
    for _, path in table.groupby(["optimizer", "rate", "pace", "noise"], sort=False):
        name, rate, pace, noise = path.iloc[0][["optimizer", "rate", "pace", "noise"]]
        late = path[path["step"] >= path["step"].max() / 2]
        measured = float(-np.polyfit(late["step"], late["s"], 1)[0])
        falling = FallingLoss(rate, 2 * rate * pace)
        ratio = float(np.exp(late["log_ratio"]).mean())
        rows.append((name, rate, pace, noise, measured, falling.speed, measured / rate, ratio, falling.rest))
    return pd.DataFrame(rows, columns=COLUMNS)


def measure_speeds(table: pd.DataFrame) -> Measurement:
    """A8: measured over predicted speed of s, over optimisers, rates, paces and noise."""
    return Measurement.over(table["measured"] / table["predicted"], "fall of log sigma over the predicted", 1.0)


@dataclass(frozen=True)
class Bounded:
    """Kendall's term with sigma or the weight held from below: its gradient on s, and its weight."""

    slope: Callable[[Array, Array], Array]
    weight: Callable[[Array], Array]

    def gradient(self, theta: ArrayLike, loss: ArrayLike) -> Array:
        """d term / d s at a present loss."""
        return self.slope(np.asarray(theta, float), np.asarray(loss, float))

    def absent_gradient(self, theta: ArrayLike) -> Array:
        """The same at a loss of 0."""
        return self.gradient(theta, 0.0)


def _plain(s: Array, loss: Array) -> Array:
    return np.asarray(1 - loss * np.exp(-2 * s))


def _softened(s: Array, loss: Array) -> Array:
    variance = FLOOR + np.exp(2 * s)
    return np.asarray(np.exp(2 * s) / variance * (1 - loss / variance))


WAYS = {
    "no bound": Bounded(_plain, lambda s: 0.5 * np.exp(-2 * s)),
    "floor on the loss": Bounded(lambda s, loss: _plain(s, loss + FLOOR), lambda s: 0.5 * np.exp(-2 * s)),
    "clamp on s": Bounded(
        lambda s, loss: np.where(s >= MIDDLE, _plain(s, loss), 0.0), lambda s: 0.5 * np.exp(-2 * np.maximum(s, MIDDLE))
    ),
    "softened variance": Bounded(_softened, lambda s: 0.5 / (FLOOR + np.exp(2 * s))),
}
"""Ways to bound the weight of a solved task; all but the first allow 1 / (2 FLOOR) at most."""


def floors(p: AuraLaterLogsParameters) -> pd.DataFrame:
    """A task under Adam with a loss of 1 at first, of 0 for a stretch, and of 1 again, for each of the ``WAYS``.

    One row per way and length of the stretch: the ``weight`` at its end over that at the start, ``s`` there, and
    ``back``, the steps until the weight stays within a factor of two of what a loss of 1 asks for; infinite if it does
    not in as many steps as the longer stretch has.
    """
    rows = []
    watched = LONGER * p.solved_steps
    for name, way in WAYS.items():
        for stretch in (p.solved_steps, watched):
            losses = np.concatenate([np.zeros(stretch), np.ones(watched)])
            with np.errstate(over="ignore", invalid="ignore"):
                path = driven_path(way, 0.0, losses, SOLVED_RATE, Adam())
                weights = way.weight(path[stretch:]) / 0.5
            outside = ~((weights >= 1 / RETURNED_WITHIN) & (weights <= RETURNED_WITHIN))
            last = int(np.flatnonzero(outside).max(initial=-1))
            back = math.inf if last == len(weights) - 1 else last + 1
            rows.append({"way": name, "stretch": stretch, "weight": weights[0], "s": path[stretch], "back": back})
    return pd.DataFrame(rows)


def measure_floor(table: pd.DataFrame) -> Measurement:
    """A8a: with a floor on the loss, the steps back after the longer stretch over those after the shorter."""
    short, long = table[table["way"] == "floor on the loss"].sort_values("stretch")["back"]
    return Measurement.over([long / short], "steps back, longer stretch over shorter", 1.0)


def signs() -> pd.DataFrame:
    """What a log shows of each cause of a falling sigma, under Adam and a noisy loss; one row per cause.

    Columns: ``fall``, of log sigma over the learning rates of the stretch; ``during`` and ``after``, the median loss
    over variance in the stretch's last quarter and in the steps right after it, where the task has rows.
    """
    still, fallen = np.ones(STRETCH), np.arange(1, STRETCH + 1)
    rows = []
    for cause, (policy, absent, pace) in CAUSES.items():
        falling = np.exp(-2 * SOLVED_RATE * pace * fallen)
        profile = np.concatenate([still, falling, np.full(AFTER, falling[-1])])
        cell = grid(policy=policy, optimizer=Adam(), rate=SOLVED_RATE, noise=0.3, absent_start=STRETCH,
                    absent_steps=STRETCH if absent else 0, theta0=0.0)  # fmt: skip
        _, (s,) = trajectories(cell, profile.size, loss_profile=profile)
        present, losses = micro_batches(cell, profile.size, loss_profile=profile)
        ratio = np.where(present[0, :, 0], losses[0, :, 0] * np.exp(-2 * s[:-1]), np.nan)
        end = 2 * STRETCH
        late = ratio[end - STRETCH // 4 : end]
        during = math.nan if np.isnan(late).all() else float(np.nanmedian(late))
        fall = float(s[STRETCH] - s[end]) / (SOLVED_RATE * STRETCH)
        rows.append({"cause": cause, "fall": fall, "during": during, "after": float(np.nanmedian(ratio[end:]))})
    return pd.DataFrame(rows)
