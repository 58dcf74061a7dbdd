r"""Kendall's term without its log sigma: weight exp(-2s)/2 times L, and nothing to hold s back.

The gradient on s is :math:`-e^{-2s} L < 0` at any loss L > 0: s rises for ever, whatever the optimiser. How fast:

==========  ==========================================================================================
SGD         :math:`e^{2s} = e^{2 s_0} + 2\sum_t \eta_t L_t` (gradient flow): the weight falls like 1/t
Adam        x a step in the end, see `adam_speed`: the weight falls like exp(-2 x t)
==========  ==========================================================================================

Under SGD the weights' *ratio* tends to Kendall's own, :math:`w_i / w_j \to L_j / L_i`, on a scale that decays like 1/t.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq

from aura_study.theory.optimizers import DEFAULT_ADAM, Adam

Array = NDArray[np.float64]


def unregularised_flow(s0: float, dose: ArrayLike) -> Array:
    r"""s after the dose :math:`\sum_t \eta_t L_t`, any shape: half the log of :math:`e^{2 s_0} + 2\,\text{dose}`.

    From ds = e^{-2s} d(dose), hence d(e^{2s}) = 2 d(dose). SGD's finite steps overshoot: e^{2s} is larger by
    2 eta^2 sum of L^2 / e^{2s}, a relative error of order eta L e^{-2 s_0}.
    """
    return 0.5 * np.log(np.exp(2 * s0) + 2 * np.asarray(dose, float))


def adam_speed(rate: float, optimizer: Adam = DEFAULT_ADAM) -> float:
    r"""Steps of s that Adam settles at, in the limit of many steps at a constant loss, whatever the loss.

    If s grows by x a step, the gradient falls by e^{-2x} a step; Adam's moments of that geometric sequence are
    :math:`m = g (1-b_1)/(1 - b_1 e^{2x})` and :math:`v = g^2 (1-b_2)/(1 - b_2 e^{4x})`, so x solves

    .. math:: x = \eta\,\frac{1-b_1}{1 - b_1 e^{2x}} \sqrt{\frac{1 - b_2 e^{4x}}{1 - b_2}} .

    x is eta for :math:`\eta \ll (1-b_2)/4`, and :math:`-\frac14\log b_2 \approx (1-b_2)/4` for large rates: there v
    forgets the early gradients more slowly than they fade, and shortens the steps. The approach takes some 1/(1-b2)
    steps, and longer for large rates. Without epsilon, that is, while the gradient is far above it.

    Raises:
        ValueError: a rate <= 0; beta2 < beta1^2, where the first moment would lag behind the second.
    """
    if not rate > 0:
        raise ValueError(f"the rate must be > 0, got {rate}")
    b1, b2 = optimizer.beta1, optimizer.beta2
    if b2 < b1**2 or b2 == 0:
        raise ValueError(f"beta2 must be at least beta1 squared and above 0, got {b1} and {b2}")
    fastest = -np.log(b2) / 4

    def surplus(x: float) -> float:
        lag = (1 - b1) / (1 - b1 * np.exp(2 * x))
        return x - rate * lag * np.sqrt(max(0.0, 1 - b2 * np.exp(4 * x)) / (1 - b2))

    return float(brentq(surplus, 0.0, fastest, xtol=1e-18, rtol=1e-12))
