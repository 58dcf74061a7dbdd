r"""The parameterisations in closed form: weight, regulariser, slopes, absent flow and fixed point.

The numpy counterpart of ``aura_study.losses.parameterisation``, written out independently of it so that each can test
the other. A task's gradient on its parameter is

.. math:: g(\theta, L) = \text{weight}'(\theta)\, L + \text{regularizer}'(\theta),

so the *absent gradient* (the phantom gradient: L = 0 with the regulariser kept) is regularizer'(theta): 1/sigma, 1,
1/2, sigmoid(x)/2 and 2 sigma/(1 + sigma^2). What the flow and the fixed point solve stands in
`aura_study.theory.flow` and `aura_study.theory.fixed_points`. All functions are element-wise over float arrays.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, wrightomega

Array = NDArray[np.float64]
Function = Callable[[Array], Array]


@dataclass(frozen=True)
class Form:
    """One parameterisation: term = ``weight(theta) * L + regularizer(theta)``.

    Attributes:
        name: that of the torch class.
        label, term: what theta is and the summand at a loss L, in plain characters for readers.
        initial_theta: where published code starts the parameter.
        weight, weight_slope: w and dw / d theta.
        regularizer, regularizer_slope: r and dr / d theta.
        symbolic: w and r as texts in ``theta`` that sympy reads.
        flow: theta after an absence, of its start and the phantom number; see `aura_study.theory.flow`.
        settles: theta at which ``w'(theta) A + r'(theta)`` vanishes, of A; see `aura_study.theory.fixed_points`.
        curvature: slope of that gradient there, of theta.
        at_weight: theta of a weight, the inverse of w.
        steepness: -d log w / d theta, where that is the same everywhere.
        positive: whether theta is sigma itself and must start above 0.
    """

    name: str
    label: str
    term: str
    initial_theta: float
    weight: Function
    weight_slope: Function
    regularizer: Function
    regularizer_slope: Function
    symbolic: tuple[str, str]
    flow: Callable[[float, Array], Array]
    settles: Function
    curvature: Function
    at_weight: Function
    steepness: float | None = None
    positive: bool = False

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


def _falling_square(sigma0: float, phantom: Array) -> Array:
    square = sigma0**2 - 2 * phantom
    return np.sqrt(np.where(square > 0, square, np.nan))


def _softplus_flow(x0: float, phantom: Array) -> Array:
    # With z = exp(-x): z + log z = c, so z = omega(c) and x = -log z = omega(c) - c.
    c = np.exp(-x0) - x0 + phantom / 2
    return -np.log(wrightomega(c))


def _inverse_softplus(value: Array) -> Array:
    return value + np.log(-np.expm1(-value))


SIGMA = Form(
    name="sigma",
    label="σ itself",
    term="L/(2σ²) + log σ",
    initial_theta=1.0,
    weight=lambda t: 0.5 / t**2,
    weight_slope=lambda t: -1 / t**3,
    regularizer=lambda t: np.log(t),
    regularizer_slope=lambda t: 1 / t,
    symbolic=("1 / (2 * theta**2)", "log(theta)"),
    flow=_falling_square,
    settles=np.sqrt,
    curvature=lambda t: 2 / t**2,
    at_weight=lambda w: np.sqrt(0.5 / w),
    positive=True,
)
LOG_SIGMA = Form(
    name="log_sigma",
    label="s = log σ",
    term="L·exp(−2s)/2 + s",
    initial_theta=0.0,
    weight=lambda t: 0.5 * np.exp(-2 * t),
    weight_slope=lambda t: -np.exp(-2 * t),
    regularizer=lambda t: t + 0.0,
    regularizer_slope=lambda t: np.ones_like(t),
    symbolic=("exp(-2 * theta) / 2", "theta"),
    flow=lambda s0, phantom: s0 - phantom,
    settles=lambda a: 0.5 * np.log(a),
    curvature=lambda t: np.full_like(t, 2.0),
    at_weight=lambda w: -0.5 * np.log(2 * w),
    steepness=2.0,
)
LOG_VARIANCE = Form(
    name="log_variance",
    label="u = log σ²",
    term="L·exp(−u)/2 + u/2",
    initial_theta=0.0,
    weight=lambda t: 0.5 * np.exp(-t),
    weight_slope=lambda t: -0.5 * np.exp(-t),
    regularizer=lambda t: 0.5 * t,
    regularizer_slope=lambda t: np.full_like(t, 0.5),
    symbolic=("exp(-theta) / 2", "theta / 2"),
    flow=lambda u0, phantom: u0 - phantom / 2,
    settles=np.log,
    curvature=lambda t: np.full_like(t, 0.5),
    at_weight=lambda w: -np.log(2 * w),
    steepness=1.0,
)
AURA_SOFTPLUS = Form(
    name="aura_softplus",
    label="AURA’s softplus",
    term="L/softplus(x) + softplus(x)/2",
    initial_theta=0.0,
    weight=lambda t: 1 / (softplus(t) + AURA_EPSILON),
    weight_slope=lambda t: -expit(t) / (softplus(t) + AURA_EPSILON) ** 2,
    regularizer=lambda t: 0.5 * softplus(t),
    regularizer_slope=lambda t: 0.5 * expit(t),
    symbolic=("1 / (log(1 + exp(theta)) + 1e-8)", "log(1 + exp(theta)) / 2"),
    flow=_softplus_flow,
    settles=lambda a: _inverse_softplus(np.sqrt(2 * a) - AURA_EPSILON),
    curvature=lambda t: expit(t) ** 2 / (softplus(t) + AURA_EPSILON),
    at_weight=lambda w: _inverse_softplus(1 / w - AURA_EPSILON),
)
LOG_ONE_PLUS_SQUARE = Form(
    name="log_one_plus_square",
    label="log(1 + σ²)",
    term="L/(2σ²) + log(1 + σ²)",
    initial_theta=1.0,
    weight=lambda t: 0.5 / t**2,
    weight_slope=lambda t: -1 / t**3,
    regularizer=lambda t: np.log1p(t**2),
    regularizer_slope=lambda t: 2 * t / (1 + t**2),
    symbolic=("1 / (2 * theta**2)", "log(1 + theta**2)"),
    flow=lambda sigma0, phantom: np.sqrt(wrightomega(2 * np.log(sigma0) + sigma0**2 - 4 * phantom)),
    settles=lambda a: np.sqrt((a + np.sqrt(a * a + 8 * a)) / 4),
    curvature=lambda t: (8 + 4 * t**2) / (1 + t**2) ** 2,
    at_weight=lambda w: np.sqrt(0.5 / w),
    positive=True,
)
FORMS: dict[str, Form] = {
    form.name: form for form in (SIGMA, LOG_SIGMA, LOG_VARIANCE, AURA_SOFTPLUS, LOG_ONE_PLUS_SQUARE)
}
