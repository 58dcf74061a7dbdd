r"""What a task's gradient spike does to Adam's memory in shared parameters, and to everyone else's updates.

A parameter's second moment :math:`v` holds the squared gradients of all tasks together, so a task that returns with
:math:`R` times its proper weight leaves its own mark on the step size of the others. With :math:`q = g^2/\hat v` of the
task's mean squared proper gradient :math:`g^2`, and gradients of different tasks orthogonal in the mean,

.. math::

    \frac{\hat v_\text{spiked}}{\hat v} = 1 + q \sum_{j \le n} \kappa_{nj} z_j^2, \qquad
    \kappa_{nj} = \frac{(1-b_2)\,b_2^{n-j}}{1-b_2^{t+n}}\,(R_j^2 - 1)\,\rho_j,

:math:`t` steps having been made before the return and :math:`n` since; :math:`\rho_j` is the squared norm of the task's
proper gradient at step j over its mean, and :math:`z_j` the parameter's own share of that step, of mean square 1. The
others' part of the update, which is linear in their gradients, shrinks by the root of that factor. Adam's normalisation
thus hides the spike's size, which no step feels beyond the learning rate, and moves the damage into the time after it.

If every parameter got its mean square, the shrinkage would be :math:`1/\sqrt{1+\kappa q}` (`shrinkage`), :math:`\kappa`
the sum over j. It is less, for a spike is a few steps long, and by chance some parameters get off lightly: normal
:math:`z_j` give `chance_shrinkage`. After a single step it is of the order of :math:`(\kappa q)^{-1/4}`.

One spike of ratio R poisons a parameter only if :math:`R^2 q > 1/(1-b_2)`: R above 32 at q = 1 and the default
:math:`b_2`. While :math:`\kappa q \gg 1` the mean form fades by a factor e in :math:`2/(1-b_2)` steps, twice the memory
of v, for it is a square root.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aura_study.theory.optimizers import DEFAULT_ADAM, Adam

Array = NDArray[np.float64]


def spike_parts(
    ratios: ArrayLike, steps_before: float, optimizer: Adam = DEFAULT_ADAM, sizes: ArrayLike = 1.0
) -> Array:
    r"""What each step of the spike has in the memory after each step: kappa_nj, ``(steps, steps)``, 0 for j > n.

    Args:
        ratios: R_j, the task's weight over its proper weight at each step since the return, ``(steps,)``; below 1 it
            counts as 1.
        steps_before: steps that Adam made before the return; infinity for a memory in its steady state.
        optimizer: whose beta2 counts.
        sizes: rho_j, ``(steps,)``.
    """
    excess = np.maximum(np.asarray(ratios, float) ** 2 - 1, 0.0) * np.asarray(sizes, float)
    b2, n = optimizer.beta2, np.arange(excess.size)
    held = np.tril(b2 ** np.maximum(n[:, None] - n, 0))
    return (1 - b2) * held * excess / (1 - b2 ** (steps_before + n[:, None] + 1))


def shrinkage(kappa: ArrayLike, q: ArrayLike, shares: ArrayLike = 1.0) -> Array:
    r"""Norm of the others' updates over what it would be without the spike, if all get their mean; shape of ``kappa``.

    :math:`\sqrt{\sum_i \omega_i / (1+\kappa q_i)}`, with weights :math:`\omega_i` of sum 1.

    Args:
        kappa: sum of a row of `spike_parts`.
        q: squared proper gradient over v of each parameter, or of each class of them, ``(classes,)``.
        shares: of the others' squared update that falls to each class, ``(classes,)``; in any unit.
    """
    q, kappa = np.atleast_1d(np.asarray(q, float)), np.asarray(kappa, float)
    omega = np.broadcast_to(np.asarray(shares, float), q.shape)
    return np.sqrt((omega / omega.sum() / (1 + kappa[..., None] * q)).sum(-1))


def chance_shrinkage(parts: ArrayLike, q: ArrayLike, shares: ArrayLike = 1.0) -> Array:
    r"""The same for gradients that are normal from step to step, ``(rows,)`` for ``parts`` ``(rows, steps)``.

    .. math::

        \left(\sum_i \omega_i\,E\left[\frac{1}{1 + q_i \sum_j \kappa_j z_j^2}\right]\right)^{1/2}, \qquad
        E[\ldots] = \int_0^\infty e^{-\tau} \prod_j (1 + 2 q_i \kappa_j \tau)^{-1/2}\,d\tau,

    from :math:`E\,e^{-a z^2} = (1+2a)^{-1/2}`. Exact in the model; the integral to 1e-3. Other arguments as in
    `shrinkage`, with every q > 0.
    """
    log_q = np.log(np.atleast_1d(np.asarray(q, float)))
    omega = np.broadcast_to(np.asarray(shares, float), log_q.shape)
    x, width = np.linspace(-45, 5, 201, retstep=True)  # log tau; the trapezoidal rule converges exponentially here
    density = np.exp(x - np.exp(x)) * width
    at = log_q[:, None] + x
    points = np.arange(at.min(), at.max() + 0.05, 0.05)
    kept = []
    for row in np.atleast_2d(np.asarray(parts, float)):
        told = row[row > 1e-9 * row.max()]
        product = -0.5 * np.log1p(2 * told[:, None] * np.exp(points)).sum(0)
        kept.append(omega / omega.sum() @ (np.exp(np.interp(at, points, product)) @ density))
    return np.sqrt(np.array(kept))


def steps_shrunk(ratio: float, q: float, shrunk_to: float = 0.9, optimizer: Adam = DEFAULT_ADAM) -> float:
    r"""Steps after one spike until the mean form is back at ``shrunk_to``; 0 if it is never below.

    :math:`n = \log\frac{(1-b_2)(R^2-1)\,q}{f^{-2} - 1} / \log\frac{1}{b_2}`: it grows with the spike's logarithm
    only. For a memory in its steady state.

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
