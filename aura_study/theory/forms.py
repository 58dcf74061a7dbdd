r"""Weight, regulariser and their slopes for the five parameterisations, in closed form.

The numpy counterpart of ``aura_study.losses.parameterisation``, written out independently of it so that each can test
the other. A task's gradient on its parameter is

.. math:: g(\theta, L) = \text{weight}'(\theta)\, L + \text{regularizer}'(\theta),

so the *absent gradient* (the phantom gradient: L = 0 with the regulariser kept) is regularizer'(theta): 1/sigma, 1,
1/2, sigmoid(x)/2 and 2 sigma/(1 + sigma^2). All functions are element-wise over float arrays.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Form:
    """One parameterisation: term = ``weight(theta) * L + regularizer(theta)``, with slopes d/d theta."""

    name: str
    initial_theta: float
    weight: Callable[[Array], Array]
    weight_slope: Callable[[Array], Array]
    regularizer: Callable[[Array], Array]
    regularizer_slope: Callable[[Array], Array]
    latex: str
    """The absent gradient, as LaTeX."""

    def gradient(self, theta: ArrayLike, loss: ArrayLike) -> Array:
        """d term / d theta at a present loss."""
        theta = np.asarray(theta, float)
        return self.weight_slope(theta) * np.asarray(loss, float) + self.regularizer_slope(theta)

    def absent_gradient(self, theta: ArrayLike) -> Array:
        """d term / d theta at L = 0: what an unmasked absent task feels."""
        return self.regularizer_slope(np.asarray(theta, float))

    def sigma(self, theta: ArrayLike) -> Array:
        """Uncertainty for which the weight is 1 / (2 sigma^2)."""
        return 1 / np.sqrt(2 * self.weight(np.asarray(theta, float)))


def softplus(x: ArrayLike) -> Array:
    """log(1 + exp(x)) without overflow."""
    return np.logaddexp(0, np.asarray(x, float))


AURA_EPSILON = 1e-8

SIGMA = Form(
    "sigma", 1.0, lambda t: 0.5 / t**2, lambda t: -1 / t**3, lambda t: np.log(t), lambda t: 1 / t, r"\frac{1}{\sigma}"
)
LOG_SIGMA = Form(
    "log_sigma",
    0.0,
    lambda t: 0.5 * np.exp(-2 * t),
    lambda t: -np.exp(-2 * t),
    lambda t: t + 0.0,
    lambda t: np.ones_like(t),
    "1",
)
LOG_VARIANCE = Form(
    "log_variance",
    0.0,
    lambda t: 0.5 * np.exp(-t),
    lambda t: -0.5 * np.exp(-t),
    lambda t: 0.5 * t,
    lambda t: np.full_like(t, 0.5),
    r"\frac{1}{2}",
)
AURA_SOFTPLUS = Form(
    "aura_softplus",
    0.0,
    lambda t: 1 / (softplus(t) + AURA_EPSILON),
    lambda t: -expit(t) / (softplus(t) + AURA_EPSILON) ** 2,
    lambda t: 0.5 * softplus(t),
    lambda t: 0.5 * expit(t),
    r"\frac{1}{2}\,\mathrm{sigmoid}(x)",
)
LOG_ONE_PLUS_SQUARE = Form(
    "log_one_plus_square",
    1.0,
    lambda t: 0.5 / t**2,
    lambda t: -1 / t**3,
    lambda t: np.log1p(t**2),
    lambda t: 2 * t / (1 + t**2),
    r"\frac{2\sigma}{1+\sigma^2}",
)
FORMS: dict[str, Form] = {
    form.name: form for form in (SIGMA, LOG_SIGMA, LOG_VARIANCE, AURA_SOFTPLUS, LOG_ONE_PLUS_SQUARE)
}
