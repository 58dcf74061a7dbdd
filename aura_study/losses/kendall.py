r"""Kendall's uncertainty weighting under three absence policies.

The total is the sum over tasks of weight(theta_i) L_i + regularizer(theta_i) (Kendall et al., 2018, eq. 7; the guide,
section 2.1). The policies differ only in what a task that is absent from the step contributes:

=====================  ==============================================================================
`UnmaskedKendallLoss`  its loss counts as 0, its regulariser stays (AURA V10.1): the phantom gradient
`MaskedKendallLoss`    nothing (AURA V10.2); the gradient on its parameter is exactly 0.0
`FrozenKendallLoss`    nothing, and its parameter gets no gradient at all, so that no optimiser moves it
=====================  ==============================================================================

The name *phantom gradient* is AURA's; that of Geng et al. (2021, arXiv:2111.05177) is something else. Leaving an absent
task out is older than V10.2 (AURA's V9; Bachmann et al., 2022), and so is taking no step for it (Kokkinos, 2017;
PyTorch's ``zero_grad(set_to_none=True)``).

A task that is *present* with a loss of 0 is no absence: its key is there. Its sigma falls too, and rightly, until the
loss is exactly 0; ``loss_floor`` bounds it (see `KendallLoss`).

How all three are made, called and read out stands in `aura_study.losses.base`.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.compiler import is_compiling
from torch.func import debug_unwrap

from aura_study.losses.base import KendallLoss


class UnmaskedKendallLoss(KendallLoss):
    """AURA V10.1: an absent task's loss counts as 0, but its regulariser stays in the sum.

    Its parameter then feels the regulariser alone (the *phantom gradient*; the guide, section 3.1), which pulls sigma
    towards 0 for as long as the task stays away.
    """

    def _terms(self, theta: Tensor, losses: Tensor, present: Tensor) -> Tensor:
        weight, regularizer = self.parameterization.weight, self.parameterization.regularizer
        return weight(theta) * torch.where(present, losses, 0) + regularizer(theta)

    _absent_keep_regularizer = True


class MaskedKendallLoss(KendallLoss):
    """AURA V10.2: the whole term of an absent task is masked (the guide, section 3.2).

    The gradient on its parameter is exactly 0.0, which is not yet stillness: momentum and weight decay still move a
    parameter whose gradient is 0. `FrozenKendallLoss` stops those too. Prior art: MultiMAE (2022) masks tasks whose
    loss is exactly 0; openpifpaf skips losses that are ``None``.
    """

    def _terms(self, theta: Tensor, losses: Tensor, present: Tensor) -> Tensor:
        weight, regularizer = self.parameterization.weight, self.parameterization.regularizer
        # The outer mask hides a broken term, not its slope: 0 * NaN is NaN. So no absent theta may enter one either.
        theta = torch.where(present, theta, self.parameterization.initial_theta)
        return torch.where(present, weight(theta) * torch.where(present, losses, 0) + regularizer(theta), 0)

    _absent_keep_regularizer = False


class FrozenKendallLoss(MaskedKendallLoss):
    """The masked terms, and an absent task's parameter keeps ``grad = None``: no optimiser moves it.

    PyTorch's optimisers skip parameters whose gradient is ``None``: no momentum, no weight decay, no step count. This
    needs one scalar parameter per task (``theta.0``, ``theta.1``, ... in the state dict) and
    ``zero_grad(set_to_none=True)``, PyTorch's default. In the vectorised form the presence is read on the host, which
    waits for an accelerator and breaks the graph of ``torch.compile``. Function transforms (``torch.func``) know no
    ``None`` gradients: there it gives `MaskedKendallLoss`'s exact zeros.
    """

    def _learnt(self, present: Tensor | None) -> Tensor:
        # A presence that `vmap` batches has no one value. `debug_unwrap` is the documented way to tell.
        if present is None or not (is_compiling() or debug_unwrap(present) is present):
            return self.thetas()
        stacked: Tensor = _StackPresent.apply(present.tolist(), *self.theta)
        return stacked

    def _set_parameter(self, theta: Tensor) -> None:
        self.theta = nn.ParameterList(  # type: ignore[assignment]
            nn.Parameter(value.clone()) for value in theta.unbind()
        )

    def thetas(self) -> Tensor:
        """Learned parameters as one ``(tasks,)`` tensor, attached to the graph."""
        return torch.stack(tuple(self.theta))


class _StackPresent(torch.autograd.Function):
    """``torch.stack`` whose backward sends nothing to the absent, so that a leaf there keeps ``grad = None``.

    Detached they would keep it too, but leave the graph, and DistributedDataParallel waits for parameters outside it.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(present: list[bool], *thetas: Tensor) -> Tensor:
        return torch.stack(thetas)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.present = inputs[0]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        slopes = zip(gradients[0].unbind(), ctx.present, strict=True)
        return None, *(slope if here else None for slope, here in slopes)

    @staticmethod
    def jvp(ctx: Any, _: None, *tangents: Tensor) -> Tensor:
        return torch.stack(tangents)
