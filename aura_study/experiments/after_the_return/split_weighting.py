"""Kendall's loss with one task's gradient kept apart from the others', and the mask's weights beside it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from aura_study.data.tasks import TASK_NAMES
from aura_study.losses import PARAMETERIZATIONS, KendallLoss
from aura_study.training.loop import TrainingSettings
from aura_study.training.model import AuraModel
from aura_study.training.weighting import POLICIES


class SplitWeighting:
    """Kendall's loss under some policy, with one task's gradient kept apart from its return on.

    Beside it runs its *shadow*: the masked loss, trained on the same losses by the same optimiser. Its weights are
    those that the mask would have left.

    Args:
        settings: policy, form and optimiser of sigma.
        task: the one to keep apart.
        device: of the parameters.

    Attributes:
        pull: gradient of the task's bare loss, on all encoder parameters, then on its head's, flat; None until its
            return.
        others: gradient of all other weighted terms, on the encoder's parameters, then on their heads'.
        weight, proper_weight: of the task at this step, and its shadow's.
        rows: what each step was computed with.
    """

    def __init__(self, settings: TrainingSettings, task: str, device: torch.device | str | None = None) -> None:
        form = PARAMETERIZATIONS[settings.parameterization]
        self.kendall: KendallLoss = POLICIES[settings.policy](TASK_NAMES, form, device=device)
        self.shadow: KendallLoss = POLICIES["masked"](TASK_NAMES, form, device=device)
        self.tasks = self.kendall.tasks
        self.task = task
        self.pull: Tensor | None = None
        self.others = torch.empty(0)
        self.weight = self.proper_weight = float("nan")
        self.rows: list[dict[str, Any]] = []
        self._place = self.tasks.index(task)
        self._shadow_optimizer = _sigma_optimizer(self.shadow, settings)
        self._was_away = False

    def __call__(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Total loss."""
        return self.kendall(losses)

    def parameters(self) -> Iterator[nn.Parameter]:
        """The policy's own parameters, without its shadow's."""
        return self.kendall.parameters()

    def sigma(self) -> Tensor:
        """Uncertainties, ``(tasks,)``."""
        return self.kendall.sigma()

    def weights(self) -> Tensor:
        """Weights, ``(tasks,)``."""
        return self.kendall.weights()

    def backward(self, losses: Mapping[str, Tensor], model: AuraModel, share: float) -> None:
        """Every parameter's gradient as the total's backward pass gives it; the task's and the others' apart."""
        bare = {task: loss.detach() for task, loss in losses.items()}
        weights = dict(zip(self.tasks, self.kendall.weights(), strict=True))
        self._record(bare)
        (share * self.kendall(bare)).backward()
        self._move_shadow(bare, share)
        self._was_away = self._was_away or self.task not in losses
        split = self._was_away and self.task in losses
        together = [task for task in losses if not (split and task == self.task)]
        term = torch.stack([weights[task] * losses[task] for task in together]).sum()
        self.others = _add_gradients(share * term, _reached(model, together), keep_graph=split)
        if split:
            # The bare loss, not the weighted: a weight of 0, after a whiplash, would leave no gradient to scale.
            self.pull = _add_gradients(losses[self.task], _reached(model, [self.task]), share * weights[self.task])

    def _record(self, losses: Mapping[str, Tensor]) -> None:
        self.weight = self.kendall.weights()[self._place].item()
        self.proper_weight = self.shadow.weights()[self._place].item()
        self.rows.append(
            {
                "step": len(self.rows),
                "present": self.task in losses,
                "loss": losses[self.task].item() if self.task in losses else np.nan,
                "others_loss": sum(loss.item() for task, loss in losses.items() if task != self.task),
                "theta": self.kendall.thetas()[self._place].item(),
                "weight": self.weight,
                "proper_weight": self.proper_weight,
            }
        )

    def _move_shadow(self, losses: Mapping[str, Tensor], share: float) -> None:
        self._shadow_optimizer.zero_grad()
        (share * self.shadow(losses)).backward()
        self._shadow_optimizer.step()


def _sigma_optimizer(kendall: KendallLoss, settings: TrainingSettings) -> torch.optim.Optimizer:
    common: dict[str, Any] = {"lr": settings.lr_sigma, "weight_decay": settings.weight_decay_sigma}
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(kendall.parameters(), **common, fused=True)
    return torch.optim.SGD(kendall.parameters(), momentum=settings.momentum, **common)


def _reached(model: AuraModel, tasks: Sequence[str]) -> list[nn.Parameter]:
    """Parameters that the losses of ``tasks`` depend on, the encoder's first."""
    return [*model.encoder.parameters(), *(p for task in tasks for p in model.heads[task].parameters())]


def _add_gradients(
    term: Tensor, parameters: Sequence[nn.Parameter], scale: Tensor | float = 1.0, *, keep_graph: bool = False
) -> Tensor:
    """Add ``scale`` times the term's gradient to every ``grad``; returns the bare gradient, flat."""
    found = torch.autograd.grad(term, parameters, retain_graph=keep_graph, allow_unused=True)
    gradients = [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)]
    for parameter, gradient in zip(parameters, gradients, strict=True):
        scaled = scale * gradient
        parameter.grad = scaled if parameter.grad is None else parameter.grad + scaled
    return flat(gradients)


def flat(tensors: Sequence[Tensor]) -> Tensor:
    """All numbers of some tensors as one vector, detached."""
    return torch.cat([tensor.detach().reshape(-1) for tensor in tensors])
