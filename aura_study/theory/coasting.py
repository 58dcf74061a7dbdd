r"""What moves a parameter whose gradient is exactly 0: momentum that has not run out, and weight decay.

Adam with g = 0 lets both moments decay, so step k moves theta by :math:`\eta\,(\hat m/\sqrt{\hat v})\,r^k` with
:math:`r = b_1/\sqrt{b_2}`, the bias corrections apart; `aura_study.theory.adam.adam_coasting` is the exact path. A
parameter whose gradient is None (the frozen policy) is skipped by PyTorch's optimisers and moves by exactly 0.
"""

import math

import numpy as np
from numpy.typing import NDArray

from aura_study.theory.adam import AdamState
from aura_study.theory.optimizers import DEFAULT_ADAM, Adam

Array = NDArray[np.float64]


def coasting_factor(optimizer: Adam = DEFAULT_ADAM) -> float:
    r"""Whole way of the coasting over :math:`\eta\,\hat m/\sqrt{\hat v}`: :math:`r/(1-r)`, 9.05 at Adam's defaults.

    The limit of a long absence after a long past, where the bias corrections are 1.

    Raises:
        ValueError: b1 >= sqrt(b2), where the coasting would never end.
    """
    r = optimizer.beta1 / np.sqrt(optimizer.beta2)
    if not r < 1:
        raise ValueError(f"coasting ends only for beta1 < sqrt(beta2), got {optimizer.beta1} and {optimizer.beta2}")
    return float(r / (1 - r))


def coasting_distance(state: AdamState, lr: float, optimizer: Adam = DEFAULT_ADAM) -> float:
    r"""Displacement :math:`-\eta\,(\hat m/\sqrt{\hat v})\,r/(1-r)`, from the bias-corrected moments of ``state``."""
    m_hat = state.m / -np.expm1(state.steps * np.log(optimizer.beta1))
    v_hat = state.v / -np.expm1(state.steps * np.log(optimizer.beta2))
    return float(-lr * m_hat / np.sqrt(v_hat) * coasting_factor(optimizer))


def momentum_coasting(velocity: float, lr: float, momentum: float) -> float:
    r"""The same for SGD with momentum: :math:`-\eta\,v\,\mu/(1-\mu)`, ``velocity`` v being the last buffer."""
    return -lr * velocity * momentum / (1 - momentum)


def decoupled_decay(theta: float, lr: float, weight_decay: float, steps: int) -> Array:
    r"""AdamW at a gradient of 0: :math:`\theta_k = \theta_0 (1 - \eta\lambda)^k`, shape ``(steps + 1,)``; exact.

    About :math:`\theta_0 e^{-\lambda\Lambda}`: theta goes to 0, whatever 0 means for the parameterisation.
    """
    return np.asarray(theta * (1 - lr * weight_decay) ** np.arange(steps + 1), float)


def coupled_decay(theta: float, lr: float, steps: int) -> Array:
    r"""Adam's L2 decay from a cold start: :math:`\theta_k = \theta_0 - \eta k\,\mathrm{sign}\,\theta_0`, for any decay.

    The gradient is lambda theta alone, and Adam divides it by its own size, so lambda cancels: full speed. While the
    way is short against theta, and lambda abs(theta) large against epsilon; shape ``(steps + 1,)``.
    """
    return np.asarray(theta - lr * math.copysign(1.0, theta) * np.arange(steps + 1), float)
