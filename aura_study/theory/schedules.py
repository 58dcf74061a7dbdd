r"""Learning-rate sequences, and the phantom number that sums them over an absence.

A schedule is an array of shape ``(steps,)``: element t is the rate of the t-th optimiser step, counted from 0, when the
scheduler steps after the optimiser as PyTorch asks.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def constant(rate: float, steps: int) -> Array:
    """The same ``rate`` at every step."""
    _check(rate, steps)
    return np.full(steps, float(rate))


def linear_warmup_decay(peak: float, steps: int, warmup: int) -> Array:
    """0 to ``peak`` over ``warmup`` steps, then down to 0 at step ``steps`` (the first step's rate is 0).

    The ``get_linear_schedule_with_warmup`` of Hugging Face transformers, which AURA's V10 code used.
    """
    _check(peak, steps)
    if not 0 <= warmup <= steps:
        raise ValueError(f"warmup must lie in [0, steps = {steps}], got {warmup}")
    t = np.arange(steps, dtype=float)
    rising = t / max(warmup, 1)
    falling = (steps - t) / max(steps - warmup, 1)
    return peak * np.where(t < warmup, rising, np.maximum(falling, 0.0))


def _one_cycle(low: float, high: float, last: float, steps: int, rising_share: float) -> Array:
    """Half a cosine from ``low`` to ``high``, then half a cosine to ``last``."""
    if not 0 < rising_share < 1:
        raise ValueError(f"rising_share must lie strictly between 0 and 1, got {rising_share}")
    t = np.arange(steps, dtype=float)
    top, end = rising_share * steps - 1, steps - 1.0
    if top <= 0:
        raise ValueError(f"rising_share {rising_share} of {steps} steps leaves no step to rise in")
    rise = high + (low - high) / 2 * (1 + np.cos(np.pi * t / top))
    fall = last + (high - last) / 2 * (1 + np.cos(np.pi * (t - top) / (end - top)))
    return np.where(t <= top, rise, fall)


def one_cycle(
    peak: float, steps: int, rising_share: float = 0.3, div_factor: float = 25.0, final_div_factor: float = 1e4
) -> Array:
    """Rates of ``torch.optim.lr_scheduler.OneCycleLR`` (two phases, cosine): ``peak`` at 30 % by default.

    From ``peak / div_factor`` up to ``peak`` and down to ``peak / div_factor / final_div_factor``. PyTorch's own
    default ``rising_share`` (``pct_start``) is 0.3: the top is not midway.
    """
    _check(peak, steps)
    start = peak / div_factor
    return _one_cycle(start, peak, start / final_div_factor, steps, rising_share)


def one_cycle_momentum(
    steps: int, rising_share: float = 0.3, base_momentum: float = 0.85, max_momentum: float = 0.95
) -> Array:
    """Momentum (Adam: beta1) that ``OneCycleLR`` sets beside the rate: ``base_momentum`` where the rate peaks."""
    _check(max_momentum, steps)
    return _one_cycle(max_momentum, base_momentum, max_momentum, steps, rising_share)


def phantom_number(rates: ArrayLike, absent: ArrayLike | None = None) -> float:
    r"""Phantom number :math:`\Lambda = \sum_t \eta_t [\text{absent}_t]`, the control parameter of the effect.

    Args:
        rates: learning rates, shape ``(steps,)``.
        absent: boolean, shape ``(steps,)``: where the task was absent; everywhere if not given.

    Example:

    >>> phantom_number([0.25] * 4, [True, False, True, True])
    0.75
    """
    rates = np.asarray(rates, float)
    if absent is None:
        return float(rates.sum())
    absent = np.asarray(absent)
    if absent.dtype != np.bool_ or absent.shape != rates.shape:
        raise ValueError(f"absent must be boolean of shape {rates.shape}, got {absent.dtype} of shape {absent.shape}")
    return float(rates[absent].sum())


def _check(rate: float, steps: int) -> None:
    if not (rate >= 0 and np.isfinite(rate)):
        raise ValueError(f"the rate must be finite and >= 0, got {rate}")
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
