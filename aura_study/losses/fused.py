r"""The sum of weighted terms as one node of the autograd graph, with its gradients in closed form.

.. math:: \sum_i w(\theta_i)\,m_i L_i + n_i\,r(\theta_i), \qquad
    \frac{\partial}{\partial L_i} = m_i\,w(\theta_i), \qquad
    \frac{\partial}{\partial \theta_i} = w'(\theta_i)\,m_i L_i + n_i\,r'(\theta_i),

with :math:`m_i = 1` for a present task and 0 for an absent one, and :math:`n = m` (masked) or :math:`n = 1` (unmasked):
the terms of `aura_study.losses.kendall`, which the tests hold it to.

Why not the plain operations: on a few tasks' values the arithmetic is free, and what costs is every operation's
dispatch, node and saved tensors, forward and backward. As one node the sum costs about four fifths of that
(``benchmarks/losses.py``).
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.forward_ad import unpack_dual
from torch.compiler import is_compiling
from torch.func import debug_unwrap

from aura_study.losses.parameterisation import ZERO, Parameterization


def fits(form: Parameterization, theta: Tensor, losses: Tensor, present: Tensor | None) -> bool:
    """Whether `weighted_sum` may stand in for the terms: reverse mode alone, and slopes that are the form's own.

    The compiler, ``torch.func`` and forward mode want to see the single operations. The node could give them rules of
    its own (``setup_context``, ``vmap``, ``jvp``), but PyTorch then reads its signature anew at every call, which
    alone costs more than the node saves.
    """
    return (
        "_slope" in vars(type(form))  # a subclass may have changed a term and is left to autograd
        and not is_compiling()
        and debug_unwrap(theta) is theta  # the documented way to tell a tensor that a transform follows
        and debug_unwrap(losses) is losses
        and (present is None or debug_unwrap(present) is present)
        and unpack_dual(theta).tangent is None
        and unpack_dual(losses).tangent is None
    )


def weighted_sum(
    form: Parameterization, theta: Tensor, losses: Tensor, present: Tensor | None, absent_keep_regularizer: bool
) -> Tensor:
    """The total as one node, differentiable any number of times; only where it `fits`.

    What stands in ``losses`` where ``present`` is False reaches neither the sum nor a gradient.

    Args:
        form: weight, regulariser and their slopes.
        theta: ``(tasks,)``.
        losses: ``(tasks,)``.
        present: boolean ``(tasks,)``; None if all are.
        absent_keep_regularizer: whether an absent task's regulariser stays in the sum.
    """
    total: Tensor = _WeightedSum.apply(form, theta, losses, present, not absent_keep_regularizer)
    return total


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
        by_theta = form._slope(theta, weight, weighted)
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
            by_theta = form._slope(theta, weight, weight * _kept(losses, present))
            by_theta = _kept(by_theta, present) if masked else by_theta
        return None, by_theta * gradients[0], by_loss * gradients[0], None, None


def _kept(values: Tensor, present: Tensor | None) -> Tensor:
    return values if present is None else torch.where(present, values, ZERO)
