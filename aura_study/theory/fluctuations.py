r"""How far the weight of a task that comes and goes jitters about its fixed point, and the rate that keeps it close.

Linearised about the fixed point, SGD is an autoregression with decay eta kappa (the `curvature`) driven by the
gradient's noise, so that theta has the stationary variance :math:`\eta E[g^2] / (2\kappa)`. Adam's step is the
gradient over :math:`\sqrt{E[g^2]}`: eta is replaced by :math:`\eta / \sqrt{E[g^2]}`.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aura_study.theory.fixed_points import curvature, fixed_point
from aura_study.theory.forms import Form
from aura_study.theory.optimizers import DEFAULT_ADAM, PLAIN_SGD, Adam, Optimizer

Array = NDArray[np.float64]


def gradient_noise(
    form: Form, loss: ArrayLike, presence: ArrayLike, noise: float = 0.0, *, masked: bool = False
) -> Array:
    r"""E[g^2] of one step at the fixed point, the loss having the coefficient of variation ``noise`` where present.

    Unmasked :math:`r'^2\,[(1+c^2)/p - 1]`: g is r' on absent steps and r'(1 - X/p) on present ones. Masked
    :math:`r'^2\,p\,c^2`: 0 on absent steps, r'(1 - X) on present ones. Exact.
    """
    presence = np.asarray(presence, float)
    pull = form.absent_gradient(fixed_point(form, loss, 1.0 if masked else presence))
    return pull**2 * (presence * noise**2 if masked else (1 + noise**2) / presence - 1)


def weight_jitter(
    form: Form,
    loss: ArrayLike,
    presence: ArrayLike,
    rate: ArrayLike,
    optimizer: Optimizer = PLAIN_SGD,
    noise: float = 0.0,
    *,
    masked: bool = False,
) -> Array:
    r"""Relative standard deviation of the weight about its fixed point.

    For SGD on log sigma, unmasked: :math:`\sqrt{\eta\,[(1+c^2)/p - 1]}`. The stationary regime of small steps is
    therefore eta << p; at eta of the order of p the task lives in bursts, and the typical weight is no longer the fixed
    point's. First order in eta; without momentum or decay.
    """
    stiffness = _stiffness(form, loss, presence, masked)
    drive = gradient_noise(form, loss, presence, noise, masked=masked)
    effective = np.asarray(rate, float) / (np.sqrt(drive) if isinstance(optimizer, Adam) else 1.0)
    theta = fixed_point(form, loss, 1.0 if masked else presence)
    slope = np.abs(form.weight_slope(theta) / form.weight(theta))
    return slope * np.sqrt(effective * drive / (2 * stiffness))


def adam_memory(form: Form, loss: ArrayLike, presence: ArrayLike, rate: ArrayLike, noise: float = 0.0) -> Array:
    r"""Adam's settled second moment over the squared absent gradient, unmasked: rho of `warm_start_factor`.

    .. math:: \rho = \frac{1 + c^2}{p}\,(1 + J^2) - 1,

    c the loss's coefficient of variation where present and J the `weight_jitter`: g is r'(1 - X w/w^*) with X, of mean
    square (1+c^2)/p, independent of the weight w. For a task that is always there, on log sigma, about c^2 + eta c: the
    squared coefficient of variation and what the parameter's own jitter adds, at a quiet loss and a large rate as much
    again. Derived here, for a constant slope r' and an old Adam, to first order in J^2: within 3 % of torch's where
    5 eta < c and p, and 11 % too large at eta = c = 1/20.
    """
    jitter = weight_jitter(form, loss, presence, rate, DEFAULT_ADAM, noise)
    return (1 + noise**2) / np.asarray(presence, float) * (1 + jitter**2) - 1


def rate_for_jitter(
    form: Form,
    loss: ArrayLike,
    presence: ArrayLike,
    jitter: float,
    optimizer: Optimizer = PLAIN_SGD,
    noise: float = 0.0,
    *,
    masked: bool = False,
) -> Array:
    """The learning rate at which `weight_jitter` is ``jitter``."""
    return (jitter / weight_jitter(form, loss, presence, 1.0, optimizer, noise, masked=masked)) ** 2


def relaxation_steps(
    form: Form,
    loss: ArrayLike,
    presence: ArrayLike,
    rate: ArrayLike,
    optimizer: Optimizer = PLAIN_SGD,
    noise: float = 0.0,
    *,
    masked: bool = False,
) -> Array:
    """Steps in which a small deviation from the fixed point falls by a factor e. First order in the rate."""
    stiffness = _stiffness(form, loss, presence, masked)
    drive = gradient_noise(form, loss, presence, noise, masked=masked)
    return (np.sqrt(drive) if isinstance(optimizer, Adam) else 1.0) / (np.asarray(rate, float) * stiffness)


def _stiffness(form: Form, loss: ArrayLike, presence: ArrayLike, masked: bool) -> Array:
    """Slope of the mean pull at the fixed point."""
    held = curvature(form, loss, 1.0 if masked else presence)
    return held * np.asarray(presence, float) if masked else held
