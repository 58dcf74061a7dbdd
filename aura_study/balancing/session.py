"""A balancer in use: handed losses and gradients step by step, with something, or nothing, for the tasks away."""

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from aura_study.balancing.present_only import PresentOnly
from aura_study.balancing.registry import Kind


class Fill(StrEnum):
    """What stands in for an absent task: a constant with no graph behind it, or nothing at all.

    ``TINY`` is a loss of 1e-8 with a gradient of 0; ``LEFT_OUT`` hands the balancer fewer tasks than it was made for.
    """

    ZERO = "zero"
    TINY = "tiny"
    NAN = "NaN"
    LEFT_OUT = "left out"

    def losses(self, losses: Tensor, present: Tensor) -> Tensor:
        """Losses ``(tasks,)`` as a balancer gets them."""
        if self == Fill.LEFT_OUT:
            return losses[present]
        return losses.masked_fill(~present, {Fill.ZERO: 0.0, Fill.TINY: 1e-8}.get(self, math.nan))

    def gradients(self, gradients: Tensor, present: Tensor) -> Tensor:
        """Gradients ``(tasks, params)`` as a balancer gets them."""
        if self == Fill.LEFT_OUT:
            return gradients[present]
        return gradients.masked_fill(~present.unsqueeze(1), math.nan if self == Fill.NAN else 0.0)


class Answer(NamedTuple):
    """What a balancer did in one step.

    Attributes:
        update: of the shared parameters, ``(params,)``.
        weights: of the tasks, ``(tasks,)``: the derivative of the total by the loss, or the row's factor in the
            update; 0 for a task that the balancer was not handed, NaN for all where it has none.
        total: of the losses; None if the balancer forms none.
    """

    update: Tensor
    weights: Tensor
    total: float | None


class Session:
    """One balancer over a sequence of steps: in each `answer`, then the model moves, then `close`.

    Args:
        balancer: the balancer, or `PresentOnly` around it, which is told of an absence by its mask.
        kind: what it takes.
        fill: what stands in for absent tasks. `PresentOnly` reads nothing of it and so is given the worst.
        lr: of Adam on what the balancer learns by gradient; None leaves that to the caller.
        epoch: steps after which DWA's epoch ends.
    """

    def __init__(
        self, balancer: Any, kind: Kind, fill: Fill = Fill.NAN, lr: float | None = 0.05, epoch: int = 5
    ) -> None:
        self.balancer, self.kind, self.fill, self.epoch = balancer, kind, fill, epoch
        self.masked = isinstance(balancer, PresentOnly)
        self.inner = balancer.balancer if self.masked else balancer
        self.steps = 0
        learned = [] if lr is None else self.parameters()
        self._adam = torch.optim.Adam(learned, lr=lr) if learned else None  # type: ignore[arg-type]
        self._factors: Tensor | None = None
        weighting = getattr(self.inner, "weighting", None)
        if kind == Kind.GRADIENTS and isinstance(weighting, nn.Module):
            weighting.register_forward_hook(self._note)

    def parameters(self) -> list[nn.Parameter]:
        """What the balancer learns by gradient; FAMO has an optimiser of its own."""
        return [] if self.needs_losses_after else list(self.balancer.parameters())

    @property
    def needs_losses_after(self) -> bool:
        """Whether `close` reads its losses, as FAMO's update does."""
        return hasattr(self.inner, "update")

    def ask(self, losses: Tensor, gradients: Tensor | None, present: Tensor) -> Tensor:
        """The balancer's own answer, a total or an update, to losses and gradients as they are; no fill is put in."""
        first = gradients if self.kind == Kind.GRADIENTS else losses
        mask = [present] if self.masked else []
        both = [gradients] if self.kind == Kind.BOTH else []
        self._factors = None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the solvers', of what Nash-MTL's and FairGrad's code hand them
            told: Tensor = self.balancer(first, *mask, *both)
        return told

    def answer(self, losses: Tensor, gradients: Tensor, present: Tensor) -> Answer:
        """One step on the losses ``(tasks,)`` and gradients ``(tasks, params)`` of all tasks.

        The fill is put in, a total backpropagated and learned from. A total's update is the sum of the present tasks'
        gradients by the weights found.
        """
        leaf = self.fill.losses(losses, present).detach().clone().requires_grad_()
        told = self.ask(leaf, self.fill.gradients(gradients, present), present)
        if told.ndim:
            return Answer(told.detach(), self._of_all(self._factors, present), None)
        told.backward()
        if self._adam is not None:
            self._adam.step()
            self._adam.zero_grad()
        weights = self._of_all(leaf.grad, present)
        return Answer(weights[present] @ gradients[present], weights, float(told.detach()))

    def close(self, losses: Tensor, present: Tensor) -> None:
        """The end of a step, after the model moved: FAMO's update by the losses ``(tasks,)`` after it, DWA's epoch."""
        self.steps += 1
        if self.needs_losses_after:
            handed = self.fill.losses(losses, present)
            self.balancer.update(handed, *([present] if self.masked else []))
        if hasattr(self.inner, "step") and self.steps % self.epoch == 0:
            self.balancer.step()

    def _note(self, module: nn.Module, inputs: Sequence[Any], output: Tensor) -> None:
        self._factors = output.detach()

    def _of_all(self, found: Tensor | None, present: Tensor) -> Tensor:
        if found is None:
            return torch.full(present.shape, math.nan, device=present.device)
        if len(found) == len(present):
            return found
        return found.new_zeros(len(present)).masked_scatter(present, found)


@contextmanager
def same_draws(seed: int) -> Iterator[None]:
    """Random numbers that do not depend on how many tasks there are, so that two balancers compare draw by draw.

    Within the block, and in this thread alone, a random order is the given order (the problems draw the order of their
    tasks themselves), and k normal numbers are the first k of the same long row. The global generator is put back.
    """
    with torch.random.fork_rng(devices=[]), _SameDraws(seed):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed notes a stack for each kind of absent device
        yield


class _SameDraws(TorchFunctionMode):
    """PyTorch's own way to answer some of its functions otherwise within a block."""

    LONGEST = 1024

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._seed = seed

    @cached_property
    def normal(self) -> Tensor:
        """The row that is drawn from."""
        random = torch.Generator().manual_seed(self._seed)
        return torch.randn(self.LONGEST, generator=random, dtype=torch.float64)

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        options = dict(kwargs or {})
        if func is torch.randperm:
            return torch.arange(*args)
        if func is torch.randn:
            (count,) = args
            return self.normal[:count].to(dtype=options.get("dtype") or torch.get_default_dtype())
        return func(*args, **options)
