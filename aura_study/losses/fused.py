r"""The sum of weighted terms as one node of the autograd graph, with its gradients in closed form.

.. math:: \sum_i w(\theta_i)\,m_i L_i + n_i\,r(\theta_i), \qquad
    \frac{\partial}{\partial L_i} = m_i\,w(\theta_i), \qquad
    \frac{\partial}{\partial \theta_i} = w'(\theta_i)\,m_i L_i + n_i\,r'(\theta_i),

with :math:`m_i = 1` for a present task and 0 for an absent one, and :math:`n = m` (masked) or :math:`n = 1` (unmasked).

Why not eight plain operations: on a few tasks' values the arithmetic is free, and what costs is every operation's
dispatch, node and saved tensors, forward and backward. As one node the sum costs about four fifths of that
(``benchmarks/losses.py``).
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.compiler import is_compiling

from aura_study.losses.parameterisation import (
    HALF,
    ONE,
    TWO,
    ZERO,
    AuraSoftplus,
    LogOnePlusSquare,
    LogSigma,
    LogVariance,
    Parameterization,
    Sigma,
)

# w' L + r' from theta, w and w L. Keyed by exact type: a subclass may have changed a term and is left to autograd.
SLOPES: Mapping[type[Parameterization], Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    Sigma: lambda theta, weight, weighted: torch.sub(ONE, weighted, alpha=2) / theta,
    LogSigma: lambda theta, weight, weighted: torch.sub(ONE, weighted, alpha=2),
    LogVariance: lambda theta, weight, weighted: HALF - weighted,
    AuraSoftplus: lambda theta, weight, weighted: torch.sigmoid(theta) * (HALF - weight * weighted),
    LogOnePlusSquare: lambda theta, weight, weighted: TWO * (theta / (ONE + theta.square()) - weighted / theta),
}


def weighted_sum(
    form: Parameterization, theta: Tensor, losses: Tensor, present: Tensor | None, masked: bool = True
) -> Tensor:
    """Sum of ``form.term(theta, losses)``, where an absent task gives nothing, or its regulariser if not ``masked``.

    What stands in ``losses`` where ``present`` is False reaches neither the sum nor a gradient. Differentiable any
    number of times; `composed_sum` stands in under ``torch.compile`` and where a transform (``torch.func``, forward
    mode) or a form without closed slopes needs to see the single operations.

    Args:
        form: weight and regulariser.
        theta: ``(tasks,)``.
        losses: ``(tasks,)``.
        present: boolean ``(tasks,)``; None if all are.
        masked: whether an absent task's regulariser is left out too.

    Raises:
        ValueError: losses and theta on different devices.
    """
    if losses.device != theta.device:
        raise ValueError(f"losses is on {losses.device}, the uncertainty parameters are on {theta.device}")
    if type(form) not in SLOPES or is_compiling():
        return composed_sum(form, theta, losses, present, masked)
    try:
        return _WeightedSum.apply(form, theta, losses, present, masked)
    except RuntimeError:  # under a transform, which one node gives no rule for
        return composed_sum(form, theta, losses, present, masked)


def composed_sum(
    form: Parameterization, theta: Tensor, losses: Tensor, present: Tensor | None, masked: bool = True
) -> Tensor:
    """`weighted_sum` of plain operations."""
    # An absent loss must not reach the term: 0 * NaN is NaN, and so is the gradient of where(mask, NaN term, 0).
    terms = form.term(theta, _kept(losses, present))
    return (_kept(terms, present) if masked else terms).sum()


def _kept(values: Tensor, present: Tensor | None) -> Tensor:
    return values if present is None else torch.where(present, values, ZERO)


class _WeightedSum(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, form: Parameterization, theta: Tensor, losses: Tensor, present: Tensor | None, masked: bool
    ) -> Tensor:
        weight = form.weight(theta)
        weighted = weight * losses
        absent = None if present is None else ~present  # filling in place costs half of `torch.where`
        if absent is not None and not masked:
            weighted.masked_fill_(absent, ZERO)
        by_theta = SLOPES[type(form)](theta, weight, weighted)
        terms = weighted.add_(form.regularizer(theta))
        if absent is not None:
            weight.masked_fill_(absent, ZERO)
            if masked:
                terms.masked_fill_(absent, ZERO)
                by_theta.masked_fill_(absent, ZERO)
        ctx.save_for_backward(theta, losses)
        ctx.rest = form, present, masked, by_theta, weight
        return terms.sum()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        form, present, masked, by_theta, by_loss = ctx.rest
        if torch.is_grad_enabled():  # create_graph: what forward left has no graph of its own
            theta, losses = ctx.saved_tensors
            weight = form.weight(theta)
            by_loss = _kept(weight, present)
            by_theta = SLOPES[type(form)](theta, weight, weight * _kept(losses, present))
            by_theta = _kept(by_theta, present) if masked else by_theta
        return None, by_theta * gradients[0], by_loss * gradients[0], None, None
