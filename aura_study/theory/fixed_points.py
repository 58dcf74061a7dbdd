r"""Where sigma settles: the fixed points of the five forms, with the task present in every step or in some.

A task that is present in a step with probability p, independently of the past, feels the mean gradient
:math:`p\,w'(\theta)\,L + r'(\theta)` when unmasked and :math:`p\,(w'(\theta)\,L + r'(\theta))` when masked. The
unmasked fixed point is therefore the masked one at the loss p L, and the masked one does not depend on p:

===================  =================================================
form                 fixed point, with A = p L unmasked, A = L masked
===================  =================================================
sigma, log, log var  sigma^2 = A
AURA softplus        softplus(x) + 1e-8 = sqrt(2 A)
log(1+sigma^2)       sigma^2 = (A + sqrt(A^2 + 8 A)) / 4
===================  =================================================

Exact zeros of the mean gradient, hence the limit of SGD's and momentum's stationary distribution as eta -> 0. Adam's
limit differs a little, see `aura_study.theory.presence.adam_effective_presence`.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aura_study.theory.forms import Form

Array = NDArray[np.float64]


def fixed_point(form: Form, loss: ArrayLike, presence: ArrayLike = 1.0) -> Array:
    """Theta at which the mean gradient of an unmasked task vanishes; ``presence`` = 1 for a masked or frozen task.

    Args:
        form: parameterisation.
        loss: mean loss of the task where it is present, > 0, any shape.
        presence: probability of being present, in (0, 1], broadcast with ``loss``.

    Raises:
        ValueError: a loss or presence outside its range. At L = 0 or p = 0 sigma falls for ever: no fixed point.

    Example: present in half of the steps with a loss of 1, sigma^2 settles at 1/2.

    >>> from aura_study.theory.forms import FORMS
    >>> form = FORMS["log_sigma"]
    >>> round(float(form.sigma(fixed_point(form, loss=1.0, presence=0.5)) ** 2), 6)
    0.5
    """
    loss, presence = np.asarray(loss, float), np.asarray(presence, float)
    if not (loss > 0).all():
        raise ValueError(f"a fixed point needs a loss > 0, got {loss}")
    if not ((presence > 0) & (presence <= 1)).all():
        raise ValueError(f"presence must lie in (0, 1], got {presence}")
    return form.settles(presence * loss)


def curvature(form: Form, loss: ArrayLike, presence: ArrayLike = 1.0) -> Array:
    r"""Slope of the mean gradient at `fixed_point`, > 0: SGD relaxes to it as :math:`e^{-\eta\,\text{curvature}\,t}`.

    2 for log sigma and 1/2 for log variance whatever the loss; 2/A for sigma; sigmoid(x)^2 / (softplus(x) + 1e-8)
    for AURA softplus; (8 + 4 sigma^2)/(1 + sigma^2)^2 for log(1+sigma^2). SGD at rate eta is stable there
    only if eta * curvature < 2, and stays close to it only if eta * curvature is small.
    """
    return form.curvature(fixed_point(form, loss, presence))
