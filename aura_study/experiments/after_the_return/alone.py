r"""Sigma alone, without the model: how long SGD and Adam need to bring a returned task's weight back (claim P7e).

A task that was always there goes absent and comes back; its loss has mean 1 and a coefficient of variation. How long
the way back takes under the two optimisers depends on what they make of the first gradient with the task back: SGD
takes it whole (whiplash), Adam one burst of it, and remembers it.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from aura_study.dynamics import grid, trajectories
from aura_study.experiments.after_the_return.parameters import AfterTheReturnParameters
from aura_study.experiments.after_the_return.tables import BAND
from aura_study.theory.absence import absent_trajectory
from aura_study.theory.adam import AdamState, adam_state_after
from aura_study.theory.fixed_points import fixed_point
from aura_study.theory.fluctuations import adam_memory
from aura_study.theory.forms import LOG_SIGMA
from aura_study.theory.optimizers import DEFAULT_ADAM, OPTIMIZERS
from aura_study.theory.recovery import adam_recovery_steps, recovery_phantom, return_step

START = float(fixed_point(LOG_SIGMA, 1.0))
WARM_UP = 300
"""Steps before the absence."""
VARIATIONS = (0.3, 1.0)
"""Coefficients of variation of a quiet and of a noisy loss."""
PHANTOMS = np.arange(0.5, 4.6, 0.5)


def ways_back(p: AfterTheReturnParameters) -> pd.DataFrame:
    """Steps back within a factor 2 under SGD and Adam, measured and predicted; a row per cell and repeat.

    Columns: ``rate``, ``phantom``, ``noise``, ``repeat``, ``strength`` (eta exp(2 Lambda) / Lambda: 1 is the whiplash
    threshold, nearly); ``SGD``, ``Adam`` and ``SGD_predicted``, ``Adam_predicted``, NaN beyond ``p.horizon``.
    """
    return pd.concat(_cells(p), ignore_index=True)


def _cells(p: AfterTheReturnParameters) -> Iterator[pd.DataFrame]:
    for rate in np.geomspace(0.01, 0.2, p.rates):
        for phantom in PHANTOMS:
            steps = max(round(phantom / rate), 1)
            for noise in VARIATIONS:
                yield pd.DataFrame(
                    {
                        "rate": rate,
                        "phantom": phantom,
                        "noise": noise,
                        "repeat": np.arange(p.repeats),
                        "strength": rate * np.exp(2 * phantom) / phantom,
                        **{name: _measured(p, name, rate, steps, noise) for name in OPTIMIZERS},
                        "SGD_predicted": _within(p.horizon, _sgd(rate, steps)),
                        "Adam_predicted": _within(p.horizon, _adam(rate, steps, noise, p.horizon)),
                    }
                )


def _measured(
    p: AfterTheReturnParameters, optimizer: str, rate: float, absent: int, noise: float
) -> NDArray[np.float64]:
    cells = grid(
        optimizer=OPTIMIZERS[optimizer],
        rate=rate,
        noise=noise,
        theta0=START,
        absent_start=WARM_UP,
        absent_steps=absent,
        loss=[1.0] * p.repeats,
    )
    _, thetas = trajectories(cells, WARM_UP + absent + p.horizon, seed=0)
    back = np.abs(2 * (thetas[:, WARM_UP + absent :] - START)) <= np.log(BAND)
    return np.where(back.any(1), back.argmax(1), np.nan)


def _sgd(rate: float, absent: int) -> float:
    """The exact first step, then the flow."""
    landed = float(return_step(LOG_SIGMA, START - rate * absent, rate, 1.0)) + START
    return 1 + recovery_phantom(LOG_SIGMA, landed, 1.0, BAND - 1) / rate


def _adam(rate: float, absent: int, noise: float, limit: int) -> float:
    """The recursion at a loss of 1 from a memory that knows of its noise."""
    memory = float(adam_memory(LOG_SIGMA, 1.0, 1.0, rate, noise))
    state = AdamState(0.0, memory * (1 - DEFAULT_ADAM.beta2**WARM_UP), WARM_UP)
    path = absent_trajectory(LOG_SIGMA, START, np.full(absent, rate), DEFAULT_ADAM, state)
    after = adam_state_after(np.ones(absent), DEFAULT_ADAM, state)
    taken = adam_recovery_steps(LOG_SIGMA, float(path[-1]), rate, after, 1.0, BAND - 1, limit=limit)
    return np.inf if taken is None else float(taken)


def _within(horizon: int, steps: float) -> float:
    return steps if steps <= horizon else np.nan


def order(table: pd.DataFrame, horizon: int) -> pd.DataFrame:
    """Of `ways_back`, the rows in which the two differ by a factor 2 or more by theory.

    With ``sooner``, measured, and ``sooner_predicted``: SGD or Adam; neither, where both were watched in vain.
    """
    sgd, adam, said_sgd, said_adam = (
        table[name].fillna(horizon + 1).to_numpy() for name in ("SGD", "Adam", "SGD_predicted", "Adam_predicted")
    )
    sooner, later = np.minimum(said_sgd, said_adam), np.maximum(said_sgd, said_adam)
    apart = (sooner >= 1) & (later >= 2 * sooner)
    names = np.array(["Adam", "neither", "SGD"])
    told = {"sooner": np.sign(adam - sgd), "sooner_predicted": np.sign(said_adam - said_sgd)}
    return table.assign(**{name: names[(sign + 1).astype(int)] for name, sign in told.items()})[apart]
