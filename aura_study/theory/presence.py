r"""A task that comes and goes: by how much the phantom gradient inflates its precision, and what that amounts to."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aura_study.theory.fixed_points import fixed_point
from aura_study.theory.forms import Form

Array = NDArray[np.float64]


def presence_inflation(form: Form, presence: ArrayLike, loss: ArrayLike = 1.0) -> Array:
    r"""Unmasked over masked precision of a task present with probability p: weight at p L over weight at L.

    A corollary of sigma^2 = E[L] (Kirchdorfer et al., 2024, arXiv:2408.07985): an absent task's zeros count in E[L].
    It is 1/p for sigma, log sigma and log variance; 1/sqrt(p) for AURA softplus; for log(1+sigma^2) it depends on the
    loss, from 1/p at large p L down to 1/sqrt(p) at small L. The limit of small eta, for SGD; Adam: pass
    `adam_effective_presence`.

    For SGD on log sigma and log variance the *time average* of the weight is 1/(2 p L) at any eta that leaves a
    stationary distribution, not just a small one: E[theta_{t+1} - theta_t] = 0 says E[weight] p L = 1/2, since presence
    and loss of a step are independent of theta before it. The typical (median) weight then falls below the average.

    Example: in one step of ten, under SGD; in one of a hundred, under Adam.

    >>> from aura_study.theory.forms import FORMS
    >>> round(float(presence_inflation(FORMS["log_sigma"], 0.1)), 3)
    10.0
    >>> round(float(presence_inflation(FORMS["log_sigma"], adam_effective_presence(0.01))), 1)
    104.9
    """
    masked = form.weight(fixed_point(form, loss))
    return form.weight(fixed_point(form, loss, presence)) / masked


def time_average_weight(form: Form, loss: ArrayLike, presence: ArrayLike, *, masked: bool) -> Array:
    """Mean over all steps of the factor on the task's loss, absent steps counting as 0, at the fixed point.

    p / (2 L) masked against 1 / (2 L) unmasked for sigma, log sigma and log variance: the phantom gradient hands the
    task the weight that it would have if it were always there, an undeclared inverse-frequency reweighting. For AURA
    softplus p / sqrt(2 L) against sqrt(p) / sqrt(2 L): half of that, on a logarithmic scale. Small eta.
    """
    presence = np.asarray(presence, float)
    effective = np.ones_like(presence) if masked else presence
    return presence * form.weight(fixed_point(form, loss, effective))


def adam_effective_presence(presence: ArrayLike, noise: float = 0.0, beta2: float = 0.999) -> Array:
    r"""Presence p' at which SGD's fixed point is Adam's for the unmasked task, to first order in 1 - b2:

    .. math:: p' = p / \left(1 - \frac{1-b_2}{2} \frac{E[h^3]}{E[h^2]}\right),

    h being the gradient over the regulariser's slope: 1 on absent steps and 1 - X/p on present ones, X = L / E[L].

    Adam divides by sqrt(v), and v rises with each rare, large gradient of a present step just when that gradient acts:
    present steps are weighed down, and the precision is inflated a little more than 1/p (5 % more at p = 0.01).
    Derivation: for small eta stationarity reads E[h / sqrt(v)] = 0. With v = V + (1-b2) h^2 and V independent of the
    step, expanding the root gives E[h] = (1-b2) E[h^3] / (2 E[h^2]), and E[h] = 1 - p R with R = -w' E[L] / r'; the
    moments are taken at R = 1/p, where :math:`E[h^2] = (1+c^2)/p - 1` and, for a lognormal loss,
    :math:`E[h^3] = 3(1+c^2)/p - (1+c^2)^3/p^2 - 2`. Without noise p' = p / (1 + (1-b2)(1-2p)/(2p)).

    Asks for many presences within v's memory, p >> 1-b2; v's own fluctuations, of second order, are neglected.

    Args:
        presence: p, in (0, 1].
        noise: coefficient of variation c of the loss where the task is present.
        beta2: Adam's.
    """
    presence = np.asarray(presence, float)
    if not ((presence > 0) & (presence <= 1)).all():
        raise ValueError(f"presence must lie in (0, 1], got {presence}")
    spread = 1 + noise**2
    second = spread / presence - 1
    third = 3 * spread / presence - spread**3 / presence**2 - 2
    with np.errstate(invalid="ignore"):
        shift = np.where(second > 0, (1 - beta2) / 2 * third / second, 0.0)
    return np.minimum(presence / (1 - shift), 1.0)
