"""One training loop for the AURA model under any absence policy."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, Self, runtime_checkable

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR
from tqdm import tqdm
from transformers import get_linear_schedule_with_warmup

from aura_study.data.batches import Batch
from aura_study.data.tasks import TASK_NAMES, TASKS, Task
from aura_study.losses import ParameterizationName, focal_loss
from aura_study.training.model import AuraModel
from aura_study.training.recording import Recorder
from aura_study.training.task_gradients import GradientWatch, unread_gradients, watch_gradients
from aura_study.training.weighting import Weighting, WeightingName, build_weighting

OptimizerName = Literal["adamw", "sgd"]


class TrainingSettings(BaseModel):
    """Everything that decides a training run but its data; defaults are AURA's own (config of its V10 notebook)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    policy: WeightingName = "masked"
    parameterization: ParameterizationName = "log_sigma"
    steps: int = Field(1000, ge=1, description="optimiser steps")
    accumulation: int = Field(4, ge=1, description="micro-batches per optimiser step")
    optimizer: OptimizerName = "adamw"
    momentum: float = Field(0.0, ge=0, lt=1, description="of SGD")
    lr_encoder: float = Field(1e-5, ge=0)
    lr_heads: float = Field(5e-5, ge=0)
    lr_sigma: float = Field(5e-5, ge=0)
    weight_decay: float = Field(0.01, ge=0, description="decoupled, of the encoder and the heads")
    weight_decay_sigma: float = Field(0.01, ge=0, description="decoupled, of the uncertainty parameters")
    schedule: Literal["constant", "linear", "onecycle"] = "linear"
    warmup: float = Field(0.1, ge=0, lt=1, description="share of the steps the linear schedule warms up")
    clip_norm: float | None = Field(
        1.0, gt=0, description="largest gradient norm of encoder and heads; None: no clipping"
    )
    frozen_encoder_epochs: int = Field(0, ge=0, description="epochs before the encoder starts to train")
    steps_per_epoch: int | None = Field(
        None, ge=1, description="optimiser steps of one epoch, for frozen_encoder_epochs"
    )
    gamma: float = Field(2.0, ge=0, description="focal loss of toxicity and sentiment")
    alpha: float | None = Field(None, ge=0, le=1, description="focal loss's weight of toxicity's class 1; None: none")
    label_smoothing: float = Field(0.1, ge=0, lt=1, description="of toxicity and sentiment")
    dropout: float | None = Field(None, ge=0, lt=1, description="of every dropout layer; None: the model's own")
    seed: int = Field(0, ge=0, description="of dropout")

    @model_validator(mode="after")
    def _epochs_have_a_length(self) -> Self:
        if self.frozen_encoder_epochs and self.steps_per_epoch is None:
            raise ValueError("frozen_encoder_epochs counts epochs: give steps_per_epoch as well")
        return self

    @property
    def frozen_encoder_steps(self) -> int:
        """Optimiser steps before the encoder starts to train."""
        return self.frozen_encoder_epochs * (self.steps_per_epoch or 0)


AURA = TrainingSettings(frozen_encoder_epochs=1, steps_per_epoch=826, steps=15 * 826)
"""AURA's V10.2 run: 15 epochs of 826 steps, the encoder frozen for the first."""


class NonFiniteError(ArithmeticError):
    """A loss or a weight stopped being a number."""


@dataclass
class Trained:
    """What training leaves behind: the model and the weighting, in place, and the rates each step used."""

    model: AuraModel
    weighting: Weighting
    lr_sigma: list[float] = field(default_factory=list)


def task_loss(
    task: Task,
    logits: Tensor,
    labels: Tensor,
    gamma: float = 2.0,
    label_smoothing: float = 0.0,
    alpha: float | None = None,
) -> Tensor:
    """Mean loss of one task's rows: focal loss for class indices, binary cross-entropy for 0/1 labels."""
    if task.kind == "multiclass":
        return focal_loss(logits, labels, gamma=gamma, alpha=alpha, label_smoothing=label_smoothing)
    return binary_cross_entropy_with_logits(logits.reshape(labels.shape), labels)


@runtime_checkable
class GradientWeighting(Weighting, Protocol):
    """A weighting that combines the tasks' gradients rather than their losses."""

    def backward(self, losses: Mapping[str, Tensor], model: AuraModel, share: float) -> None:
        """Add ``share`` times the combined gradient to every parameter's ``grad``, in place of a total's backward.

        Its encoder gradient norms per task are not recorded.
        """
        ...


class Observer(Protocol):
    """Looks at a training run from inside; must not change what it is shown."""

    def gradients(self, step: int, model: AuraModel, optimizer: torch.optim.Optimizer) -> None:
        """Called with the step's whole gradient, before clipping and before the optimiser moves."""
        ...

    def updated(self, step: int, model: AuraModel, optimizer: torch.optim.Optimizer) -> None:
        """Called after the optimiser has moved."""
        ...


def build_optimizer(model: AuraModel, weighting: Weighting, settings: TrainingSettings) -> torch.optim.Optimizer:
    """Three parameter groups, encoder, heads and sigmas, each with its learning rate and weight decay."""
    decay, sigma_decay = settings.weight_decay, settings.weight_decay_sigma
    groups = [
        {"params": list(model.encoder.parameters()), "lr": settings.lr_encoder, "weight_decay": decay},
        {"params": list(model.heads.parameters()), "lr": settings.lr_heads, "weight_decay": decay},
        {"params": list(weighting.parameters()), "lr": settings.lr_sigma, "weight_decay": sigma_decay},
    ]
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(groups, fused=True)  # one pass over the parameters instead of a dozen
    return torch.optim.SGD(groups, momentum=settings.momentum)


def build_schedule(optimizer: torch.optim.Optimizer, settings: TrainingSettings) -> LRScheduler:
    """Constant, linear warm-up then linear decay, or PyTorch's OneCycleLR with each group's rate as its peak."""
    if settings.schedule == "linear":
        return get_linear_schedule_with_warmup(optimizer, int(settings.warmup * settings.steps), settings.steps)
    if settings.schedule == "onecycle":
        peaks = [group["lr"] for group in optimizer.param_groups]
        cycles = settings.optimizer == "adamw" or settings.momentum > 0
        return OneCycleLR(optimizer, peaks, total_steps=settings.steps, cycle_momentum=cycles)
    return LambdaLR(optimizer, lambda step: 1.0)


def train(
    model: AuraModel,
    batches: Iterator[Batch],
    settings: TrainingSettings,
    recorder: Recorder | None = None,
    progress: str | None = None,
    weighting: Weighting | None = None,
    observer: Observer | None = None,
) -> Trained:
    """Train ``model`` in place, on the device it stands on.

    Args:
        model: the network.
        batches: micro-batches, ``settings.steps * settings.accumulation`` of them at least.
        settings: see `TrainingSettings`.
        recorder: open recorder for every step's values; it changes nothing in what is trained.
        progress: label of a progress bar; none if not given.
        weighting: takes the place of the one that ``settings`` names; all four tasks, in the order of `TASKS`.
        observer: looks at gradients and parameters at every step.

    Raises:
        NonFiniteError: a task's loss, or its weighted term, is not finite; names task and step.
    """
    tasks = TASK_NAMES
    if weighting is None:
        weighting = build_weighting(settings.policy, settings.parameterization, tasks, model.device)
    optimizer = build_optimizer(model, weighting, settings)
    schedule = build_schedule(optimizer, settings)
    watch: GradientWatch | None = None
    if not isinstance(weighting, GradientWeighting):
        watch = (watch_gradients if recorder is not None else unread_gradients)(model.encoder, tasks)
    loop = _Loop(model, weighting, settings, watch)
    trained = Trained(model, weighting)
    model.train()
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        bar = tqdm(range(settings.steps), desc=progress, disable=progress is None, mininterval=1.0)
        for step in bar:
            if step in (0, settings.frozen_encoder_steps):
                model.encoder.requires_grad_(step >= settings.frozen_encoder_steps)
            sigma, weight = weighting.sigma(), weighting.weights()
            optimizer.zero_grad()
            losses, present, norms = loop.backward(batches, step)
            if observer is not None:
                observer.gradients(step, model, optimizer)
            if settings.clip_norm is not None:
                nn.utils.clip_grad_norm_(model.parameters(), settings.clip_norm)
            trained.lr_sigma.append(optimizer.param_groups[2]["lr"])
            if recorder is not None:
                recorder.record(sigma, weight, losses, norms, present, trained.lr_sigma[-1])
            optimizer.step()
            schedule.step()
            if observer is not None:
                observer.updated(step, model, optimizer)
    return trained


@dataclass
class _Loop:
    """Forward and backward of one optimiser step."""

    model: AuraModel
    weighting: Weighting
    settings: TrainingSettings
    watch: GradientWatch | None

    def backward(self, batches: Iterator[Batch], step: int) -> tuple[Tensor, list[bool], Tensor]:
        """Accumulate the step's gradients; mean losses, presence and encoder gradient norms per task."""
        device = self.model.device
        count = torch.zeros(len(TASKS))
        sums = torch.zeros(len(TASKS), device=device)
        for _ in range(self.settings.accumulation):
            batch = next(batches).to(device)
            if self.watch is not None:
                self.watch.begin(batch)
            losses = self._losses(batch)
            share = 1 / self.settings.accumulation
            if isinstance(self.weighting, GradientWeighting):
                self._check(losses, torch.stack(list(losses.values())).sum(), step)
                self.weighting.backward(losses, self.model, share)
            else:
                total = self.weighting(losses)
                self._check(losses, total, step)
                if self.watch is not None:
                    weights = dict(zip(self.weighting.tasks, self.weighting.weights(), strict=True))
                    self.watch.observe({task: share * weights[task] * loss for task, loss in losses.items()})
                (share * total).backward()
            for place, task in enumerate(TASK_NAMES):
                if task in losses:
                    sums[place] += losses[task].detach()
                    count[place] += 1
        norms = self.watch.finish() if self.watch is not None else torch.full((len(TASKS),), torch.nan)
        return sums / count.clamp_min(1).to(device), (count > 0).tolist(), norms

    def _losses(self, batch: Batch) -> dict[str, Tensor]:
        logits = self.model(batch)
        gamma, smoothing = self.settings.gamma, self.settings.label_smoothing
        alpha = {"toxicity": self.settings.alpha}
        return {
            task: task_loss(TASKS[task], outputs, batch.labels[task], gamma, smoothing, alpha.get(task))
            for task, outputs in logits.items()
        }

    def _check(self, losses: Mapping[str, Tensor], total: Tensor, step: int) -> None:
        if torch.isfinite(total):
            return
        for task, loss in losses.items():
            if not torch.isfinite(loss):
                raise NonFiniteError(f"the loss of {task} is {loss.item()} at step {step}")
        sigma = dict(zip(self.weighting.tasks, self.weighting.sigma().tolist(), strict=True))
        raise NonFiniteError(f"the weighted total is {total.item()} at step {step}: the sigmas are {sigma}")
