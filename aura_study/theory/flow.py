r"""Gradient flow of the regulariser alone: what a small-step optimiser does to an absent task.

With L = 0 the gradient is r'(theta), and small steps follow :math:`d\theta/d\Lambda = -r'(\theta)`, where
:math:`\Lambda` is the sum of the learning rates so far. Separating variables gives theta as a function of Lambda:

===================  =============================================================================================
form                 solution
===================  =============================================================================================
sigma                sigma^2 = sigma_0^2 - 2 Lambda, which ends at Lambda = sigma_0^2 / 2
log sigma            s = s_0 - Lambda
log variance         u = u_0 - Lambda / 2
AURA softplus        x - exp(-x) = x_0 - exp(-x_0) - Lambda / 2
log(1+sigma^2)       log sigma^2 + sigma^2 = log sigma_0^2 + sigma_0^2 - 4 Lambda
===================  =============================================================================================

The last two are solved by Wright's omega function, omega(c) + log omega(c) = c.

Exact for SGD on log sigma and log variance, whose slope is constant. For the other three SGD's finite step adds an
error of first order in eta: it is largest for sigma near its collapse, where the slope 1/sigma diverges.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aura_study.theory.forms import Form

Array = NDArray[np.float64]


def absent_flow(form: Form, theta0: float, phantom: ArrayLike) -> Array:
    """Theta after an absence of phantom number ``phantom`` (any shape, >= 0), by gradient flow; see the module.

    For the sigma form NaN from the collapse onwards, where log sigma is undefined.

    Raises:
        ValueError: a start outside the form's domain (sigma and log(1+sigma^2) need theta0 > 0).
    """
    phantom = np.asarray(phantom, float)
    return form.flow(check_start(form, theta0), phantom)


def check_start(form: Form, theta0: float) -> float:
    """``theta0``, if it lies in the form's domain."""
    if form.positive and not theta0 > 0:
        raise ValueError(f"{form.name} needs theta0 = sigma > 0, got {theta0}")
    return float(theta0)
