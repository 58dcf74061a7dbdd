"""A balancer in the training loop: weighs the losses, or combines the tasks' gradients on the encoder."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

from aura_study.balancing import Balancer, Kind, PresentOnly
from aura_study.balancing.session import Fill, Session
from aura_study.data.batches import Batch
from aura_study.training.loop import NonFiniteError
from aura_study.training.model import AuraModel
from aura_study.training.task_gradients import watch_gradients


class ModelBalancer(nn.Module):
    r"""A published balancer as a weighting that `aura_study.training.loop.train` takes.

    What takes losses forms a total, whose backward pass reaches encoder and heads. What takes gradients (and DB-MTL,
    GradNorm, which take both) is handed the Jacobian of the losses on the encoder's parameters and gives the encoder
    its update; each head belongs to one task and gets its task's own gradient.

    Args:
        entry: which balancer.
        tasks: names, in order.
        model: whose encoder is shared.
        cured: hand it the present tasks only (`PresentOnly`); else a loss, and a row, of 0 stands for an absent task.
        epoch: steps after which DWA's epoch ends.

    Pass batches through `watched` and call `moved` when the optimiser has moved; one micro-batch a step.

    Attributes:
        rows: one per step and task: step, task, present, loss, weight (derivative of the total by the loss, or the
            row's factor in the update; NaN where the balancer has none), pull (norm of the weighted gradient on the
            encoder) and update (norm of the whole, the same for all tasks of a step).
    """

    def __init__(self, entry: Balancer, tasks: Sequence[str], model: AuraModel, cured: bool, epoch: int = 10) -> None:
        super().__init__()
        self.tasks, self.name = tuple(tasks), entry.name
        self.rows: list[dict[str, Any]] = []
        self.batch: Batch | None = None
        self._device = next(model.parameters()).device
        made = entry.make(len(self.tasks)).to(self._device)
        balancer = PresentOnly(made).to(self._device) if cured else made
        self.session = Session(balancer, entry.kind, Fill.ZERO, lr=None, epoch=epoch)
        self._watch = watch_gradients(model.encoder, self.tasks) if entry.kind == Kind.LOSSES else None

    def parameters(self, recurse: bool = True) -> Iterator[nn.Parameter]:
        """What the optimiser is to learn."""
        return iter(self.session.parameters())

    def forward(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Total of the losses, of a balancer that takes losses.

        Raises:
            TypeError: of one that takes gradients.
        """
        if self._watch is None:
            raise TypeError(f"{self.name} takes {self.session.kind} and has no total")
        values, present = self._of_all(losses)
        return self.session.ask(values, None, present)

    def sigma(self) -> Tensor:
        """Ones, ``(tasks,)``: most balancers know no uncertainty."""
        return torch.ones(len(self.tasks), device=self._device)

    def weights(self) -> Tensor:
        """Of the last step, ``(tasks,)``; NaN before it."""
        last = [row["weight"] for row in self.rows[-len(self.tasks) :]] or [torch.nan] * len(self.tasks)
        return torch.tensor(last, device=self._device)

    def watched(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """The same batches, each noted before its forward pass."""
        for batch in batches:
            self.batch = batch.to(self._device)
            if self._watch is not None:
                self._watch.begin(self.batch)
            yield self.batch

    def backward(self, losses: Mapping[str, Tensor], model: AuraModel, share: float) -> None:
        """Add ``share`` times the balanced gradient to every parameter's ``grad``, and note the step.

        Raises:
            NonFiniteError: a total, or an update, that is not finite.
            ValueError: a frozen encoder, for a balancer that takes gradients.
        """
        if self._watch is not None:
            self._by_total(losses, model, share)
        else:
            self._by_rows(losses, model, share)

    def moved(self, losses: Mapping[str, Tensor]) -> None:
        """The end of a step: FAMO's update by the losses after it, DWA's epoch."""
        self.session.close(*self._of_all(losses))

    @property
    def steps(self) -> int:
        """How many were made."""
        return len(self.rows) // len(self.tasks)

    def _by_total(self, losses: Mapping[str, Tensor], model: AuraModel, share: float) -> None:
        values, present = self._of_all(losses)
        values.retain_grad()
        total = self.session.ask(values, None, present)
        if not bool(total.isfinite()):
            raise NonFiniteError(f"the total of {self.name} is {total.item()} at step {self.steps}")
        (share * total).backward()
        assert values.grad is not None
        assert self._watch is not None
        pulls = self._watch.finish() / share
        whole = get_total_norm([p.grad for p in model.encoder.parameters() if p.grad is not None]) / share
        self._note(losses, values.grad / share, pulls, whole)

    def _by_rows(self, losses: Mapping[str, Tensor], model: AuraModel, share: float) -> None:
        shared = [parameter for parameter in model.encoder.parameters() if parameter.requires_grad]
        if not shared:
            raise ValueError(f"{self.name} combines gradients on the encoder, which is frozen")
        jacobian = torch.zeros(len(self.tasks), sum(p.numel() for p in shared), device=self._device)
        for task, loss in losses.items():
            wanted = [*shared, *model.heads[task].parameters()]
            found = torch.autograd.grad(loss, wanted, retain_graph=True, allow_unused=True)
            gradients = [torch.zeros_like(p) if g is None else g for p, g in zip(wanted, found, strict=True)]
            torch.cat([g.flatten() for g in gradients[: len(shared)]], out=jacobian[self.tasks.index(task)])
            for parameter, gradient in zip(wanted[len(shared) :], gradients[len(shared) :], strict=True):
                _add(parameter, share * gradient)
        values, present = self._of_all(losses)
        update, weights, _ = self.session.answer(values, jacobian, present)
        if not bool(update.isfinite().all()):
            raise NonFiniteError(f"the update of {self.name} is not finite at step {self.steps}")
        for parameter, part in zip(shared, update.split([p.numel() for p in shared]), strict=True):
            _add(parameter, share * part.view_as(parameter))
        self._note(losses, weights, weights.abs() * jacobian.norm(dim=1), update.norm())

    def _of_all(self, losses: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Losses of all tasks with 0 for the absent ones, and who is there."""
        zero = torch.zeros((), device=self._device)
        present = torch.tensor([task in losses for task in self.tasks], device=self._device)
        return torch.stack([losses.get(task, zero) for task in self.tasks]), present

    def _note(self, losses: Mapping[str, Tensor], weights: Tensor, pulls: Tensor, whole: Tensor) -> None:
        step, update = self.steps, whole.item()
        bare = [losses[task].item() if task in losses else torch.nan for task in self.tasks]
        values = zip(self.tasks, bare, weights.tolist(), pulls.tolist(), strict=True)
        self.rows += [
            {"step": step, "task": task, "present": task in losses, "loss": loss}
            | {"weight": weight, "pull": pull, "update": update}
            for task, loss, weight, pull in values
        ]


def _add(parameter: nn.Parameter, gradient: Tensor) -> None:
    parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient
