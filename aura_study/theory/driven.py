"""A task's parameter driven by known losses: the optimiser's recursion, for what has no closed form.

Step by step where every loss is known (`driven_path`), and on average where a log gives means (`mean_path`).
"""

from typing import Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aura_study.theory.adam import COLD_START, AdamState
from aura_study.theory.forms import Form
from aura_study.theory.optimizers import SGD, Optimizer

Array = NDArray[np.float64]
Shape = Literal["steps", "smooth"]


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


def loss_curve(means: Array, steps: int, shape: Shape = "steps") -> Array:
    """Loss at every step from its epoch means: constant within an epoch, or smooth with the same means.

    Smooth: geometric between the middles of the epochs (at most half as high again before the first), rescaled epoch by
    epoch.
    """
    if shape == "steps":
        return np.repeat(means, steps)
    middles = (np.arange(means.size) + 0.5) * steps
    at = np.arange(means.size * steps) + 0.5
    logs = np.interp(at, middles, np.log(means))
    if means.size > 1:
        slope = (np.log(means[1]) - np.log(means[0])) / steps
        logs = np.where(at < middles[0], np.log(means[0]) + np.minimum(slope * (at - middles[0]), np.log(1.5)), logs)
    curve = np.exp(logs).reshape(means.size, steps)
    return (curve * (means / curve.mean(1))[:, None]).ravel()


def mean_path(
    form: Form,
    thetas: ArrayLike,
    losses: ArrayLike,
    rates: ArrayLike,
    optimizer: Optimizer,
    *,
    masked: ArrayLike,
    presence: ArrayLike = 1.0,
    noise: ArrayLike = 0.0,
    accumulation: int = 1,
    each: float = 1.0,
    held: int = 0,
) -> tuple[Array, Array]:
    r"""Mean path of theta where losses, presence and noise are known on average only, and the scatter about it.

    A micro-batch holds the task with probability p, at a loss of mean L and coefficient of variation c, so that its
    gradient has the moments

    .. math:: E[g] = p\,(w'L + r') + (1-p)\,a, \qquad
        E[g^2] = p\,\left((1+c^2)(w'L)^2 + 2w'L r' + r'^2\right) + (1-p)\,a^2,

    a = r' unmasked and 0 masked, and the step that of A micro-batches: E[g], and E[g]^2 + Var[g]/A. Adam's moments are
    filters of these. Exact where nothing is random; else the mean of m / sqrt(v) is taken for the ratio of the means.
    The scatter is that of the draw of who is present, with the mean loss of each part given.

    Args:
        form: parameterisation.
        thetas: start of each cell, shape ``(cells,)`` or one for all; its shape may be widened by what follows.
        losses: of each part of the way, shape ``(parts,)``.
        rates: learning rate there, shape ``(..., parts)`` against the cells.
        optimizer: without coupled decay.
        masked, noise: of each cell.
        presence: of each cell and part, ``(..., parts)``, or ``(..., 1)`` where it is the same in all parts.
        accumulation: micro-batches a step.
        each: steps a part stands for; with more than one a part never passes the fixed point.
        held: parts during which theta stays where it starts while Adam fills its memory.

    Returns:
        Theta before the first part and after each, shape ``(cells, parts + 1)``, and its standard deviation over draws.
    """
    losses, rates = np.asarray(losses, float), np.atleast_2d(np.asarray(rates, float))
    presence, masked, noise = np.atleast_2d(np.asarray(presence, float)), np.asarray(masked), np.asarray(noise, float)
    cells = np.broadcast_shapes(np.shape(thetas), masked.shape, noise.shape, rates.shape[:-1], presence.shape[:-1])
    theta = np.broadcast_to(np.asarray(thetas, float), cells).copy()
    m, v, scatter, age = np.zeros(cells), np.zeros(cells), np.zeros(cells), 0.0
    path, spread = np.empty((*cells, losses.size + 1)), np.zeros((*cells, losses.size + 1))
    path[..., 0] = theta
    for part, loss in enumerate(losses):
        p, rate = presence[..., part % presence.shape[-1]], rates[..., part % rates.shape[-1]]
        pull, slope = form.weight_slope(theta) * loss, form.regularizer_slope(theta)
        away = np.where(masked, 0.0, slope)
        mean = p * (pull + slope) + (1 - p) * away
        square = p * ((1 + noise**2) * pull**2 + 2 * pull * slope + slope**2) + (1 - p) * away**2
        variance = np.maximum(square - mean**2, 0.0) / accumulation
        if isinstance(optimizer, SGD):
            direction, size = mean / (1 - optimizer.momentum), np.full(cells, 1 - optimizer.momentum)
        else:
            age += each
            m += (1 - optimizer.beta1**each) * (mean - m)
            v += (1 - optimizer.beta2**each) * (mean**2 + variance - v)
            size = np.sqrt(v / (1 - optimizer.beta2**age)) + optimizer.epsilon
            direction = m / (1 - optimizer.beta1**age) / size
        if part >= held:
            moved = theta - each * rate * (direction + optimizer.weight_decay * theta)
            if each > 1:
                with np.errstate(divide="ignore", invalid="ignore"):
                    rest = form.settles(np.where(masked, loss, p * loss) + 0.0)
                moved = np.where((theta - rest) * (moved - rest) < 0, rest, moved)
            stiff = form.curvature(theta) * np.where(masked, p, 1.0)
            drawn = p * (1 - p) * (pull + slope - away) ** 2 / accumulation
            scatter = scatter * np.exp(-2 * each * rate * stiff / size) + each * drawn * (rate / size) ** 2
            theta = moved
        path[..., part + 1], spread[..., part + 1] = theta, np.sqrt(scatter)
    return path, spread
