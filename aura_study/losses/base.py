"""What the absence policies of `aura_study.losses.kendall` share: tasks, learned parameters, how they are called."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from aura_study.losses.arguments import check_tasks, check_vectors, initial_thetas, vectors
from aura_study.losses.fused import fits, weighted_sum
from aura_study.losses.parameterisation import LogSigma, Parameterization


class KendallLoss(nn.Module, ABC):
    """Total of uncertainty-weighted losses over named tasks; subclasses say what an absent task contributes.

    Args:
        tasks: distinct task names, in the order of every ``(tasks,)`` tensor of this module.
        parameterization: form of the weight and the regulariser; `LogSigma` if not given.
        initial_sigma: start value or values of sigma, > 0; the parameterisation's published start if not given.
        loss_floor: added to every present task's loss, so that the sigma of one that is solved comes to rest: Kendall's
            at its square root, with a weight of 1 / (2 loss_floor). See "Present, and solved" below.
        device, dtype: of the parameters.

    Call it in one of two forms, which give the same number:

    - ``weigh({"toxicity": loss, ...})``: scalar losses by name; a task whose key is missing is absent;
    - ``weigh(losses, present)``: ``losses`` of shape ``(tasks,)`` and boolean ``present`` of that shape (all present if
      not given). What stands in ``losses`` where ``present`` is False is never read: it may be 0, NaN or infinite.

    Returns a scalar tensor in the wider of the losses' and the parameters' dtype.

    Present, and solved: a key that is there with a loss of 0 is no absence, under any policy. Its sigma falls with the
    loss, rightly, and goes on falling for as long as the loss is 0; what it weighs when a hard row comes is as
    unbounded as what the phantom gradient leaves behind, and no mask helps. ``loss_floor``, the loss at which a task
    counts as solved, bounds the weight and leaves the gradients on the losses as they are (claim A8a;
    `aura_study.theory.solved` says why it and no clamp). The total is larger by weight times floor.

    Raises:
        ValueError: unknown, repeated or no task names; losses or presence of the wrong shape or device; a floor that is
            not finite and >= 0.
        TypeError: losses that are not floating point, presence that is not boolean.
    """

    def __init__(
        self,
        tasks: Sequence[str],
        parameterization: Parameterization | None = None,
        initial_sigma: float | Sequence[float] | None = None,
        *,
        loss_floor: float = 0.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if not 0 <= loss_floor < math.inf:
            raise ValueError(f"loss_floor must be finite and >= 0, got {loss_floor}")
        self.loss_floor = loss_floor
        self.tasks = check_tasks(tasks)
        self.parameterization = parameterization if parameterization is not None else LogSigma()
        start = initial_thetas(self.parameterization, self.tasks, initial_sigma)
        self._set_parameter(torch.tensor(start, device=device, dtype=dtype or torch.get_default_dtype()))

    def _set_parameter(self, theta: Tensor) -> None:
        self.theta = nn.Parameter(theta)

    def thetas(self) -> Tensor:
        """Learned parameters as one ``(tasks,)`` tensor, attached to the graph."""
        return self.theta

    @abstractmethod
    def _terms(self, theta: Tensor, losses: Tensor, present: Tensor) -> Tensor:
        """Each task's summand, ``(tasks,)``."""

    _absent_keep_regularizer: ClassVar[bool]
    """The policy of `_terms`, for the sum that stands in for them."""

    def _learnt(self, present: Tensor | None) -> Tensor:
        """The thetas that the terms are computed from."""
        return self.thetas()

    def forward(self, losses: Mapping[str, Tensor] | Tensor, present: Tensor | None = None) -> Tensor:
        """Total loss; see the class."""
        # In this order: isinstance of an abstract class takes as long as an operation on the losses.
        if isinstance(losses, Tensor):
            check_vectors(self.tasks, losses, present)
        elif not isinstance(losses, Mapping):
            raise TypeError(f"losses must be a mapping or a tensor, got {type(losses).__name__}")
        elif present is not None:
            raise ValueError("a mapping's keys are the presence: give either a mapping or losses with `present`")
        else:
            losses, present = vectors(self.tasks, losses, next(self.parameters()))
        return self._total(self._learnt(present), losses, present)

    def _total(self, theta: Tensor, losses: Tensor, present: Tensor | None) -> Tensor:
        if losses.device != theta.device:
            raise ValueError(f"losses is on {losses.device}, the uncertainty parameters are on {theta.device}")
        if self.loss_floor:
            losses = losses + self.loss_floor  # the policies read it where a task is present
        if fits(self.parameterization, theta, losses, present):
            return weighted_sum(self.parameterization, theta, losses, present, self._absent_keep_regularizer)
        everywhere = torch.ones_like(losses, dtype=torch.bool) if present is None else present
        return self._terms(theta, losses, everywhere).sum()

    @torch.no_grad()
    def sigma(self) -> Tensor:
        """Uncertainties, ``(tasks,)``, detached: weight = 1 / (2 sigma^2) for every parameterisation."""
        return self.parameterization.sigma(self.thetas()).detach().clone()

    @torch.no_grad()
    def weights(self) -> Tensor:
        """Weights d total / d L_i of present tasks, ``(tasks,)``, detached."""
        return self.parameterization.weight(self.thetas()).detach().clone()

    def extra_repr(self) -> str:
        """Task names, parameterisation, and the floor if there is one."""
        floor = f", loss_floor={self.loss_floor:g}" if self.loss_floor else ""
        return f"tasks={list(self.tasks)}, parameterization={self.parameterization!r}{floor}"
