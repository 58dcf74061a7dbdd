r"""What a task's gradient spike does to Adam's memory in shared parameters, and to everyone else's updates.

A parameter's second moment :math:`v` holds the squared gradients of all tasks together, so a task that returns with
:math:`R` times its proper weight leaves its own mark on the step size of the others. With :math:`g` the task's gradient
at its proper weight, :math:`q = g^2/\hat v` and gradients of different tasks orthogonal in the mean,

.. math::

    \frac{\hat v_\text{spiked}}{\hat v} = 1 + \kappa q, \qquad
    \kappa_n = \frac{1-b_2}{1-b_2^{t+n}} \sum_{j \le n} b_2^{n-j} (R_j^2 - 1),

:math:`t` steps having been made before the return and :math:`n` since. The others' part of the update, which is linear
in their gradients, shrinks by :math:`1/\sqrt{1+\kappa q}`. Adam's normalisation thus hides the spike's size, which no
step feels beyond the learning rate, and moves the damage into the time after it.

One spike of ratio R poisons a parameter only if :math:`R^2 q > 1/(1-b_2)`: R above 32 at q = 1 and the default
:math:`b_2`. While :math:`\kappa q \gg 1` the shrinkage fades by a factor e in :math:`2/(1-b_2)` steps, twice the
memory of v, for it is a square root.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.signal import lfilter

from aura_study.theory.optimizers import DEFAULT_ADAM, Adam

Array = NDArray[np.float64]


def spike_in_memory(ratios: ArrayLike, steps_before: float, optimizer: Adam = DEFAULT_ADAM) -> Array:
    r"""Kappa after each step since the return, shape of ``ratios``; see the module.

    Args:
        ratios: R_j, the task's gradient over its proper gradient at each step since the return, ``(steps,)``; 1 where
            it has its proper weight.
        steps_before: steps that Adam made before the return; infinity for a memory in its steady state.
        optimizer: whose beta2 counts.
    """
    excess = np.asarray(ratios, float) ** 2 - 1
    b2 = optimizer.beta2
    held = lfilter([1 - b2], [1, -b2], excess)
    age = steps_before + np.arange(1, excess.size + 1)
    return held / (1 - b2**age)


def shrinkage(kappa: ArrayLike, q: ArrayLike, shares: ArrayLike = 1.0) -> Array:
    r"""Norm of the others' updates over what it would be without the spike, shape of ``kappa``.

    :math:`\sqrt{\sum_i \omega_i / (1+\kappa q_i)}`, with weights :math:`\omega_i` of sum 1.

    Args:
        kappa: see `spike_in_memory`.
        q: squared proper gradient over v of each parameter, or of each class of them, ``(classes,)``.
        shares: of the others' squared update that falls to each class, ``(classes,)``; in any unit.
    """
    q, kappa = np.atleast_1d(np.asarray(q, float)), np.asarray(kappa, float)
    omega = np.broadcast_to(np.asarray(shares, float), q.shape)
    return np.sqrt((omega / omega.sum() / (1 + kappa[..., None] * q)).sum(-1))


def steps_shrunk(ratio: float, q: float, shrunk_to: float = 0.9, optimizer: Adam = DEFAULT_ADAM) -> float:
    r"""Steps after one spike until the others' updates are back at ``shrunk_to`` of their size; 0 if never below.

    :math:`n = \log\frac{(1-b_2)(R^2-1)\,q}{f^{-2} - 1} \Big/ \log\frac{1}{b_2}`: it grows with the spike's logarithm
    only. For a memory in its steady state; exact in the model of the module.

    Raises:
        ValueError: ``shrunk_to`` outside (0, 1).
    """
    if not 0 < shrunk_to < 1:
        raise ValueError(f"shrunk_to must lie in (0, 1), got {shrunk_to}")
    excess = (1 - optimizer.beta2) * (ratio**2 - 1) * q
    bound = shrunk_to**-2 - 1
    return float(max(np.log(excess / bound) / -np.log(optimizer.beta2), 0.0)) if excess > bound else 0.0


def clipped_part(others: ArrayLike, task: ArrayLike, ratio: ArrayLike, bound: float | None) -> Array:
    r"""Factor by which clipping scales everyone down because one task comes with ``ratio`` times its proper weight.

    :math:`c(R) / c(1)` with :math:`c(R) = \min(1, C / \sqrt{\|g_o\|^2 + R^2 \|g\|^2})`; 1 without clipping. Gradients
    of different tasks are taken as orthogonal.

    Args:
        others: norm of all other tasks' gradient together.
        task: norm of the returning task's gradient at its proper weight.
        ratio: R.
        bound: the largest norm C, or None.
    """
    others, task, ratio = (np.asarray(value, float) for value in (others, task, ratio))
    if bound is None:
        return np.ones(np.broadcast_shapes(others.shape, task.shape, ratio.shape))
    kept = [np.minimum(1.0, bound / np.hypot(others, r * task)) for r in (ratio, np.ones_like(ratio))]
    return kept[0] / kept[1]
