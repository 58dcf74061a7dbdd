r"""Where an absent, unmasked task's parameter goes under SGD, momentum, Adam and AdamW, at any learning rates.

The gradient is the regulariser's slope r'(theta) alone: the phantom gradient. That a scale falls to 0 with its residual
is an old degeneracy (Kiefer and Wolfowitz, 1956; Day, 1969; Seitzer et al., 2022) in another place.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.signal import lfilter

from aura_study.theory.adam import COLD_START, AdamState, adam_directions, warm_start_factor
from aura_study.theory.flow import check_start
from aura_study.theory.forms import Form
from aura_study.theory.optimizers import DEFAULT_ADAM, PLAIN_SGD, Adam, Optimizer

Array = NDArray[np.float64]


def absent_trajectory(
    form: Form,
    theta0: float,
    rates: ArrayLike,
    optimizer: Optimizer = PLAIN_SGD,
    state: AdamState = COLD_START,
) -> Array:
    r"""Theta over an absent stretch, shape ``(steps + 1,)``, the start included. Exact, up to rounding.

    With directions d_k that do not depend on theta the path is a sum,

    .. math:: \theta_n = P_n\left(\theta_0 - \sum_{k \le n} \frac{\eta_k d_k}{P_k}\right), \qquad
        P_k = \prod_{j \le k} (1 - \eta_j \lambda),

    lambda being the decoupled decay of AdamW (P = 1 without). On log sigma and log variance the slope g is constant:

    =============  =============================================  =========================================
    optimiser      d_k                                            displacement at a constant rate
    =============  =============================================  =========================================
    SGD            g                                              g Lambda
    SGD, momentum  g (1 - mu^k) / (1 - mu)                        -> g Lambda / (1 - mu)
    Adam, cold     g / (abs(g) + epsilon)                         Lambda, whatever g
    Adam, warm     g/abs(g) times `warm_start_factor`             `adam_phantom`
    =============  =============================================  =========================================

    Elsewhere d_k is the filtered slope along the path itself, which Picard sweeps find: directions on a first path,
    the path from those directions, and so on until it stands still. Sweep n is right for the first n steps at least,
    and elsewhere its error falls factorially. `absent_flow` is the closed form for small steps. Adam's step then
    exceeds eta where the slope grows (sigma) and falls short of it where the slope fades (softplus, log(1+sigma^2)).

    The sigma form is NaN from its collapse onwards.

    Args:
        form: parameterisation.
        theta0: parameter when the task goes absent.
        rates: learning rates of the absent steps, shape ``(steps,)``.
        optimizer: `SGD`, from rest, or `Adam`.
        state: Adam's memory when the task goes absent; a cold start if not given.

    Raises:
        ValueError: a start outside the form's domain; rates that are not a vector.
    """
    rates = np.asarray(rates, float)
    if rates.ndim != 1:
        raise ValueError(f"rates must be a vector, got shape {rates.shape}")
    decay = optimizer.weight_decay if isinstance(optimizer, Adam) and optimizer.decoupled else 0.0
    coupled = optimizer.weight_decay - decay
    kept = np.concatenate([[1.0], np.cumprod(1 - rates * decay)])
    path = np.full(rates.size + 1, check_start(form, theta0))
    for _ in range(rates.size + 1):
        gradients = form.absent_gradient(path[:-1]) + coupled * path[:-1]
        if isinstance(optimizer, Adam):
            directions = adam_directions(gradients, optimizer, state)
        else:
            directions = lfilter([1.0], [1.0, -optimizer.momentum], gradients)
        moved = np.concatenate([[0.0], np.cumsum(rates * directions / kept[1:])])
        previous, path = path, kept * (theta0 - moved)
        alive = _leading(path > 0) if form.name == "sigma" else path.size
        if np.allclose(path[:alive], previous[:alive], rtol=0, atol=1e-13):
            break
    path[alive:] = np.nan
    return path


def _leading(true: NDArray[np.bool_]) -> int:
    """Number of elements before the first False."""
    return true.size if true.all() else int(true.argmin())


def momentum_phantom(rates: ArrayLike, momentum: float) -> Array:
    r"""Phantom number that momentum makes of ``rates``, cumulative, shape ``(steps,)``; plain SGD's at momentum 0.

    From rest, v_k = g (1 - mu^k)/(1 - mu) for a constant slope g, so that
    :math:`\Lambda_\mu = \sum_k \eta_k (1-\mu^k)/(1-\mu)` takes the place of Lambda: exact for a constant slope;
    elsewhere, in `absent_flow`, valid while the slope changes little over 1/(1 - mu) steps. Momentum multiplies the
    effect by 1/(1 - mu).
    """
    rates = np.asarray(rates, float)
    k = np.arange(1, rates.size + 1)
    return np.cumsum(rates * (1 - momentum**k) / (1 - momentum))


def adam_phantom(rates: ArrayLike, noise: float, optimizer: Adam = DEFAULT_ADAM, age: float = np.inf) -> Array:
    r"""Phantom number that a settled Adam's memory makes of ``rates``, cumulative, shape ``(steps,)``.

    On log sigma and log variance :math:`\Lambda_A = \sum_k \eta_k r_k = \Lambda + \sum_k \eta_k (r_k - 1)` takes the
    place of Lambda, r_k the `warm_start_factor`: the weight grows by exp(2 Lambda_A), exp(Lambda_A) on log variance.
    At a constant rate three numbers decide: Lambda, the absence times 1 - b2, and rho, about the squared coefficient of
    variation of the task's loss. Derived here. In units of Lambda it is largest after short absences; in all, a long
    one goes further than Lambda by

    .. math:: \frac{2\eta}{1-b_2} \ln\frac{2}{1+\sqrt\rho} - \frac{\eta}{\sqrt\rho}\,\frac{b_1}{1-b_1},

    the integral of r_k - 1, whose second term is the lag of the first moment; to 2 % of the first term where rho is
    above (1-b2)/(1-b1). A cold start (age 0) gives Lambda, a task that was rarely there (rho > 1) less.

    Growth is an exponential: 1 % of displacement is 2 Lambda_A % of growth.

    Example: after a quiet loss, a thousand steps at 0.001 count for nearly twice their Lambda of 1.

    >>> round(float(adam_phantom([1e-3] * 1000, noise=0.01)[-1]), 3)
    1.909

    Args:
        rates: learning rates of the absent steps, shape ``(steps,)``.
        noise, optimizer, age: as in `warm_start_factor`.
    """
    rates = np.asarray(rates, float)
    return np.cumsum(rates * warm_start_factor(rates.size, noise, optimizer, age))


def precision_inflation(form: Form, start: ArrayLike, end: ArrayLike) -> Array:
    r"""Factor weight(end) / weight(start) by which a task's precision 1/(2 sigma^2) has grown; exact.

    Over an absence of phantom number Lambda: exp(2 Lambda) for SGD on log sigma, exp(Lambda/2) on log variance,
    1/(1 - 2 Lambda/sigma_0^2) on sigma. Adam from a cold start: exp(2 Lambda) on log sigma, exp(Lambda) on log
    variance; from a settled state with `adam_phantom` in the place of Lambda.

    Example: a hundred steps at 0.01, Lambda = 1.

    >>> from aura_study.theory.forms import FORMS
    >>> path = absent_trajectory(FORMS["log_sigma"], 0.0, [0.01] * 100)
    >>> round(float(precision_inflation(FORMS["log_sigma"], path[0], path[-1])), 4)
    7.3891
    """
    return form.weight(np.asarray(end, float)) / form.weight(np.asarray(start, float))


def collapse_step(sigma0: float, rates: ArrayLike) -> int | None:
    r"""Number of plain SGD steps after which the `sigma` form's absent parameter is <= 0, or None if it stays positive.

    From then on log sigma is undefined and the total is NaN (the gradient 1/sigma is not: it throws sigma about).

    The flow reaches 0 at Lambda = sigma_0^2/2. A step gives sigma^2 - 2 eta + eta^2/sigma^2; summing the last term
    along the flow delays the crossing by (eta/4) log(sigma_0^2/eta), and the last steps, where nothing is small, by
    0.41 eta more (a number of the map x -> x - 1/x, found by iterating it). An approximation, to the step at a
    constant rate eta <= sigma_0^2 / 10; rates that change along the stretch are good to a few steps.
    """
    if not sigma0 > 0:
        raise ValueError(f"sigma0 must be > 0, got {sigma0}")
    rates = np.asarray(rates, float)
    delay = 0.41 * rates + rates * np.log(np.maximum(sigma0**2 / np.maximum(rates, np.finfo(float).tiny), 1)) / 4
    crossed = np.flatnonzero(np.cumsum(rates) >= sigma0**2 / 2 + delay)
    return int(crossed[0]) + 1 if crossed.size else None
