r"""Kendall's uncertainty weighting under three absence policies.

The total is the sum over tasks of weight(theta_i) L_i + regularizer(theta_i) (Kendall et al., 2018, eq. 7; the guide,
section 2.1). The policies differ only in what a task that is absent from the step contributes:

=====================  ==============================================================================
`UnmaskedKendallLoss`  its loss counts as 0, its regulariser stays (AURA V10.1): the phantom gradient
`MaskedKendallLoss`    nothing (AURA V10.2); the gradient on its parameter is exactly 0.0
`FrozenKendallLoss`    nothing, and its parameter gets no gradient at all, so that no optimiser moves it
=====================  ==============================================================================
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from aura_study.losses.fused import weighted_sum
from aura_study.losses.parameterisation import LogSigma, Parameterization


class KendallLoss(nn.Module, ABC):
    """Total of uncertainty-weighted losses over named tasks; subclasses say what an absent task contributes.

    Args:
        tasks: distinct task names, in the order of every ``(tasks,)`` tensor of this module.
        parameterization: form of the weight and the regulariser; `LogSigma` if not given.
        initial_sigma: start value or values of sigma, > 0; the parameterisation's published start if not given.
        device, dtype: of the parameters.

    Call it in one of two forms, which give the same number:

    - ``weigh({"toxicity": loss, ...})``: scalar losses by name; a task whose key is missing is absent;
    - ``weigh(losses, present)``: ``losses`` of shape ``(tasks,)`` and boolean ``present`` of that shape (all present if
      not given). What stands in ``losses`` where ``present`` is False is never read: it may be 0, NaN or infinite.

    Returns a scalar tensor in the wider of the losses' and the parameters' dtype.

    Raises:
        ValueError: unknown, repeated or no task names; losses or presence of the wrong shape or device.
        TypeError: losses that are not floating point, presence that is not boolean.
    """

    def __init__(
        self,
        tasks: Sequence[str],
        parameterization: Parameterization | None = None,
        initial_sigma: float | Sequence[float] | None = None,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if isinstance(tasks, str) or not all(isinstance(task, str) for task in tasks):
            raise TypeError(f"tasks must be a sequence of names, got {tasks!r}")
        if not tasks:
            raise ValueError("tasks must name at least one task")
        if repeated := sorted({task for task in tasks if list(tasks).count(task) > 1}):
            raise ValueError(f"task names must be distinct, repeated: {repeated}")
        self.tasks = tuple(tasks)
        self.parameterization = parameterization if parameterization is not None else LogSigma()
        self._set_parameter(
            torch.tensor(self._initial_theta(initial_sigma), device=device, dtype=dtype or torch.get_default_dtype())
        )

    def _initial_theta(self, initial_sigma: float | Sequence[float] | None) -> list[float]:
        if initial_sigma is None:
            return [self.parameterization.initial_theta] * len(self.tasks)
        sigmas = (
            [float(initial_sigma)] * len(self.tasks)
            if isinstance(initial_sigma, int | float)
            else list(map(float, initial_sigma))
        )
        if len(sigmas) != len(self.tasks):
            raise ValueError(f"initial_sigma holds {len(sigmas)} values for {len(self.tasks)} tasks {self.tasks}")
        if bad := [sigma for sigma in sigmas if not (sigma > 0 and math.isfinite(sigma))]:
            raise ValueError(f"initial_sigma must be finite and > 0, got {bad}")
        return [self.parameterization.theta(sigma) for sigma in sigmas]

    def _set_parameter(self, theta: Tensor) -> None:
        self.theta = nn.Parameter(theta)

    def thetas(self) -> Tensor:
        """Learned parameters as one ``(tasks,)`` tensor, attached to the graph."""
        return self.theta

    @abstractmethod
    def _total(self, losses: Tensor, present: Tensor | None) -> Tensor:
        """Sum of the terms; all tasks are present if ``present`` is None."""

    def forward(self, losses: Mapping[str, Tensor] | Tensor, present: Tensor | None = None) -> Tensor:
        """Total loss; see the class."""
        # In this order: isinstance of an abstract class takes as long as an operation on the losses.
        if isinstance(losses, Tensor):
            self._check_vectors(losses, present)
            return self._total(losses, present)
        if not isinstance(losses, Mapping):
            raise TypeError(f"losses must be a mapping or a tensor, got {type(losses).__name__}")
        if present is not None:
            raise ValueError("a mapping's keys are the presence: give either a mapping or losses with `present`")
        return self._total(*self._from_mapping(losses))

    def _from_mapping(self, losses: Mapping[str, Tensor]) -> tuple[Tensor, Tensor | None]:
        if unknown := [task for task in losses if task not in self.tasks]:
            raise ValueError(f"unknown tasks {unknown}; this loss knows {list(self.tasks)}")
        theta = next(self.parameters())
        for task, loss in losses.items():
            if not isinstance(loss, Tensor):
                raise TypeError(f"the loss of {task!r} must be a tensor, got {type(loss).__name__}")
            if not loss.is_floating_point():
                raise TypeError(f"the loss of {task!r} must be floating point, got {loss.dtype}")
            if loss.device != theta.device:
                raise ValueError(
                    f"the loss of {task!r} is on {loss.device}, the uncertainty parameters are on {theta.device}"
                )
            if loss.ndim:
                raise ValueError(
                    f"the loss of {task!r} must be a scalar, got shape {tuple(loss.shape)}: reduce it first"
                )
        zero = theta.new_zeros(())
        vector = torch.stack([losses.get(task, zero) for task in self.tasks])
        if len(losses) == len(self.tasks):
            return vector, None
        return vector, torch.tensor([task in losses for task in self.tasks], device=theta.device)

    def _check_vectors(self, losses: Tensor, present: Tensor | None) -> None:
        if not losses.is_floating_point():
            raise TypeError(f"losses must be floating point, got {losses.dtype}")
        if losses.shape != (len(self.tasks),):
            raise ValueError(
                f"losses must have shape ({len(self.tasks)},), one per task of {self.tasks}, got {tuple(losses.shape)}"
            )
        if present is None:
            return
        if not isinstance(present, Tensor) or present.dtype != torch.bool:
            kind = present.dtype if isinstance(present, Tensor) else type(present).__name__
            raise TypeError(f"present must be a boolean tensor, got {kind}")
        if present.shape != losses.shape:
            raise ValueError(f"present must have the shape of losses {tuple(losses.shape)}, got {tuple(present.shape)}")

    @torch.no_grad()
    def sigma(self) -> Tensor:
        """Uncertainties, ``(tasks,)``, detached: weight = 1 / (2 sigma^2) for every parameterisation."""
        return self.parameterization.sigma(self.thetas()).detach().clone()

    @torch.no_grad()
    def weights(self) -> Tensor:
        """Weights d total / d L_i of present tasks, ``(tasks,)``, detached."""
        return self.parameterization.weight(self.thetas()).detach().clone()

    def extra_repr(self) -> str:
        """Task names and parameterisation."""
        return f"tasks={list(self.tasks)}, parameterization={self.parameterization!r}"


class UnmaskedKendallLoss(KendallLoss):
    """AURA V10.1: an absent task's loss counts as 0, but its regulariser stays in the sum.

    Its parameter then feels the regulariser alone (the *phantom gradient*; the guide, section 3.1), which pulls sigma
    towards 0 for as long as the task stays away.
    """

    def _total(self, losses: Tensor, present: Tensor | None) -> Tensor:
        return weighted_sum(self.parameterization, self.thetas(), losses, present, masked=False)


class MaskedKendallLoss(KendallLoss):
    """AURA V10.2: the whole term of an absent task is masked (the guide, section 3.2).

    The gradient on its parameter is exactly 0.0, which is not yet stillness: momentum and weight decay still move a
    parameter whose gradient is 0. `FrozenKendallLoss` stops those too. Prior art: MultiMAE (2022) masks tasks whose
    loss is exactly 0; openpifpaf skips losses that are ``None``.
    """

    def _total(self, losses: Tensor, present: Tensor | None) -> Tensor:
        return weighted_sum(self.parameterization, self.thetas(), losses, present)


class _StackPresent(torch.autograd.Function):
    """``torch.stack`` whose backward sends nothing to the absent, so that a leaf there keeps ``grad = None``."""

    @staticmethod
    def forward(ctx: Any, present: list[bool], *thetas: Tensor) -> Tensor:
        ctx.present = present
        return torch.stack(thetas)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        slopes = zip(gradients[0].unbind(), ctx.present, strict=True)
        return None, *(slope if here else None for slope, here in slopes)


class FrozenKendallLoss(KendallLoss):
    """An absent task contributes nothing and its parameter's ``grad`` stays ``None``: no optimiser moves it.

    PyTorch's optimisers skip parameters whose gradient is ``None``: no momentum, no weight decay, no step count. This
    needs one scalar parameter per task (``theta.0``, ``theta.1``, ... in the state dict) and
    ``zero_grad(set_to_none=True)``, PyTorch's default. In the vectorised form the presence is read on the host, which
    waits for an accelerator and breaks the graph of ``torch.compile``. Function transforms (``torch.func``) know no
    ``None`` gradients: there it gives `MaskedKendallLoss`'s exact zeros.
    """

    def _set_parameter(self, theta: Tensor) -> None:
        self.theta = nn.ParameterList(  # type: ignore[assignment]
            nn.Parameter(value.clone()) for value in theta.unbind()
        )

    def thetas(self) -> Tensor:
        """Learned parameters as one ``(tasks,)`` tensor, attached to the graph."""
        return torch.stack(tuple(self.theta))

    def _total(self, losses: Tensor, present: Tensor | None) -> Tensor:
        try:
            theta = self.thetas() if present is None else _StackPresent.apply(present.tolist(), *self.theta)
        except RuntimeError:  # torch.func forbids reading a transformed tensor
            theta = self.thetas()
        return weighted_sum(self.parameterization, theta, losses, present)
