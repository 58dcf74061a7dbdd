"""A task's parameter driven by a known sequence of losses: the optimiser's recursion, for what has no closed form."""

from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aura_study.theory.adam import COLD_START, AdamState
from aura_study.theory.optimizers import SGD, Optimizer

Array = NDArray[np.float64]


class Driven(Protocol):
    """A term's slopes on its parameter, such as a `Form`'s."""

    def gradient(self, theta: ArrayLike, loss: ArrayLike) -> Array:
        """At a present loss."""
        ...

    def absent_gradient(self, theta: ArrayLike) -> Array:
        """Of an absent, unmasked task."""
        ...


def driven_path(
    form: Driven,
    theta0: float,
    losses: ArrayLike,
    rate: float,
    optimizer: Optimizer,
    *,
    masked: bool = False,
    state: AdamState = COLD_START,
) -> Array:
    """Theta before the first step and after each, shape ``(steps + 1,)``. Exact, but for rounding.

    Args:
        form: a parameterisation, or another term by its slopes.
        theta0: parameter at the start.
        losses: of each step, shape ``(steps,)``; NaN where the task is absent.
        rate: constant learning rate.
        optimizer: without weight decay, SGD without momentum.
        masked: whether an absent step's gradient is 0 instead of the regulariser's slope.
        state: Adam's memory at the start.

    Raises:
        ValueError: an optimiser with decay or momentum.
    """
    if optimizer.weight_decay or (isinstance(optimizer, SGD) and optimizer.momentum):
        raise ValueError(f"the recursion knows neither decay nor momentum, got {optimizer}")
    losses = np.asarray(losses, float)
    path = np.empty(losses.size + 1)
    path[0] = theta = theta0
    m, v = state.m, state.v
    for step, loss in enumerate(losses):
        here = np.asarray(theta)
        if np.isnan(loss):
            g = 0.0 if masked else float(form.absent_gradient(here))
        else:
            g = float(form.gradient(here, loss))
        if isinstance(optimizer, SGD):
            theta -= rate * g
        else:
            m += (1 - optimizer.beta1) * (g - m)
            v += (1 - optimizer.beta2) * (g * g - v)
            age = state.steps + step + 1
            corrected = v / (1 - optimizer.beta2**age)
            theta -= rate * m / (1 - optimizer.beta1**age) / (corrected**0.5 + optimizer.epsilon)
        path[step + 1] = theta
    return path
