"""The return of a task after an absence: how long the way back takes, and when SGD overshoots."""

import numpy as np
import pandas as pd

from aura_study.dynamics import grid, simulate
from aura_study.experiments.phase_diagram.maps import BAND
from aura_study.experiments.phase_diagram.parameters import PhaseDiagramParameters
from aura_study.theory.absence import absent_trajectory
from aura_study.theory.adam import adam_state_after
from aura_study.theory.fixed_points import fixed_point
from aura_study.theory.forms import LOG_SIGMA
from aura_study.theory.optimizers import SGD, Adam, Optimizer
from aura_study.theory.recovery import adam_recovery_steps, recovery_phantom, return_step, whiplash_rate


def recovery_curves(p: PhaseDiagramParameters) -> pd.DataFrame:
    """Steps to return within a factor 2 after an absence: log sigma, without noise, from the fixed point and Adam cold.

    Columns: ``optimizer``, ``rate``, ``phantom``, ``absent_steps``, ``measured`` and ``predicted`` steps; NaN where the
    run was too short.
    """
    frames = []
    for optimizer, rate in ((SGD(), p.rate / 10), (SGD(), p.rate), (Adam(), p.rate)):
        lengths = np.unique(np.geomspace(0.5, p.largest_phantom, p.points) / rate).round().astype(int)
        cells = grid(optimizer=optimizer, rate=rate, loss=p.loss, absent_steps=lengths)
        cells["theta0"] = float(fixed_point(LOG_SIGMA, p.loss))
        done = simulate(cells, int(lengths[-1]) + 5 * p.horizon, band=BAND)
        frames.append(
            pd.DataFrame(
                {
                    "optimizer": optimizer.name,
                    "rate": rate,
                    "phantom": lengths * rate,
                    "absent_steps": lengths,
                    "measured": done["settled_after"].where(done["settled_after"] >= 0),
                    "predicted": [_recovery(p, optimizer, rate, int(steps)) for steps in lengths],
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def _recovery(p: PhaseDiagramParameters, optimizer: Optimizer, rate: float, steps: int) -> float:
    start = float(fixed_point(LOG_SIGMA, p.loss))
    if isinstance(optimizer, SGD):
        theta = start - rate * steps
        landed = float(return_step(LOG_SIGMA, theta, rate, p.loss)) + start
        return 1 + recovery_phantom(LOG_SIGMA, landed, p.loss, BAND - 1) / rate
    path = absent_trajectory(LOG_SIGMA, start, np.full(steps, rate), optimizer)
    after = adam_state_after(np.ones(steps), optimizer)
    taken = adam_recovery_steps(
        LOG_SIGMA, float(path[-1]), rate, after, p.loss, BAND - 1, optimizer, limit=5 * p.horizon
    )
    return np.nan if taken is None else float(taken)


def whiplash_border(table: pd.DataFrame, p: PhaseDiagramParameters) -> pd.DataFrame:
    """The rate above which the first step back overshoots, over `whiplash_map`'s phantom numbers: phantom, rate."""
    phantom = np.geomspace(table["phantom"].min(), table["phantom"].max(), 400)
    theta = fixed_point(LOG_SIGMA, p.loss) - phantom
    return pd.DataFrame({"phantom": phantom, "rate": whiplash_rate(LOG_SIGMA, theta, p.loss)})


def whiplash_map(p: PhaseDiagramParameters) -> pd.DataFrame:
    """SGD on log sigma: weight after the first step of the returning task, over phantom number and learning rate.

    Columns: ``phantom``, ``rate``, ``weight`` over the fixed point's, measured; ``predicted``, from `return_step`.
    """
    start = float(fixed_point(LOG_SIGMA, p.loss))
    frames = []
    for rate in np.geomspace(1e-4, 1, p.points):
        lengths = np.unique(np.geomspace(0.1, 2 * p.largest_phantom, p.points) / rate).round().astype(int)
        lengths = np.unique(lengths[lengths >= 1])
        cells = grid(rate=rate, loss=p.loss, absent_steps=lengths, theta0=start)
        weight = np.array(
            [simulate(cells.iloc[[row]], int(steps) + 1)["weight"].item() for row, steps in enumerate(lengths)]
        )
        landed = return_step(LOG_SIGMA, start - rate * lengths, rate, p.loss)
        frames.append(
            pd.DataFrame(
                {
                    "phantom": lengths * rate,
                    "rate": rate,
                    "weight": weight * 2 * p.loss,
                    "predicted": np.exp(-2 * landed),
                }
            )
        )
    return pd.concat(frames, ignore_index=True)
