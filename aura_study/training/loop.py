"""One training loop for the AURA model under any absence policy."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Literal, NamedTuple, Protocol, Self, runtime_checkable

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
from aura_study.training.state import TrainingState
from aura_study.training.task_gradients import (
    GradientWatch,
    TaskGradientNorms,
    adams_scale,
    unread_gradients,
    watch_gradients,
)
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


class EndOfTraining(Exception):
    """An `Observer` raises it once a step is done: the training ends there."""


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


def task_losses(model: AuraModel, batch: Batch, settings: TrainingSettings) -> dict[str, Tensor]:
    """`task_loss` of every task in ``batch``, in float32 whatever the precision of the forward pass."""
    gamma, smoothing, alpha = settings.gamma, settings.label_smoothing, {"toxicity": settings.alpha}
    return {
        task: task_loss(TASKS[task], logits.float(), batch.labels[task], gamma, smoothing, alpha.get(task))
        for task, logits in model(batch).items()
    }


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
        """Called after the optimiser has moved; may raise `EndOfTraining`."""
        ...


@runtime_checkable
class UpdateObserver(Observer, Protocol):
    """One that asks as well how strongly each task pulls on the encoder once Adam has scaled its gradient."""

    def updates(self, step: int, norms: Callable[[], Tensor]) -> None:
        """Called after `updated`, under AdamW, in a recorded run of an encoder without padding.

        Args:
            step: its number.
            norms: gives the norms of the tasks' gradients, before clipping, times `adams_scale`; ``(tasks,)``.
        """
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


class StepValues(NamedTuple):
    """What `Recorder.record` takes of one optimiser step; values before its update, ``(tasks,)`` in `TASKS`' order."""

    sigma: Tensor
    weight: Tensor
    loss: Tensor
    gradient_norm: Tensor
    present: list[bool]
    lr: float


class Stepper:
    """The optimiser and the schedule of a run, moved one step at a time.

    Args:
        model, weighting: what they move.
        settings: see `TrainingSettings`.
        observer: looks at gradients and parameters at every step.
    """

    def __init__(
        self, model: AuraModel, weighting: Weighting, settings: TrainingSettings, observer: Observer | None = None
    ) -> None:
        self.model, self.weighting, self.settings, self.observer = model, weighting, settings, observer
        self.optimizer = build_optimizer(model, weighting, settings)
        self.schedule = build_schedule(self.optimizer, settings)

    def resume(self, state: TrainingState) -> None:
        """Go on from a state of a training with the same settings; model and weighting take its values."""
        self.skip(state.step)
        state.restore(self.model, self.optimizer)

    def skip(self, steps: int) -> None:
        """Bring the schedule to where it is after some steps, without moving anything."""
        for _ in range(steps):
            self.optimizer.step()  # there is no gradient
            self.schedule.step()

    def step(self, number: int, passes: Iterable[Mapping[str, Tensor]]) -> StepValues:
        """Accumulate, clip and move.

        Args:
            number: of the step.
            passes: losses of one micro-batch after another, each given once its backward pass is done.

        Returns the step's values; gradient norms, which are not measured here, are NaN.
        """
        sigma, weight = self.weighting.sigma(), self.weighting.weights()
        self.optimizer.zero_grad()
        count = torch.zeros(len(TASKS))
        sums = torch.zeros(len(TASKS), device=self.model.device)
        for losses in passes:
            for place, task in enumerate(TASK_NAMES):
                if task in losses:
                    sums[place] += losses[task].detach()
                    count[place] += 1
        if self.observer is not None:
            self.observer.gradients(number, self.model, self.optimizer)
        if self.settings.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip_norm)
        lr = float(self.optimizer.param_groups[2]["lr"])
        self.optimizer.step()
        self.schedule.step()
        if self.observer is not None:
            self.observer.updated(number, self.model, self.optimizer)
        unmeasured = torch.full_like(sums, torch.nan)
        return StepValues(
            sigma, weight, sums / count.clamp_min(1).to(sums.device), unmeasured, (count > 0).tolist(), lr
        )


def train(
    model: AuraModel,
    batches: Iterator[Batch],
    settings: TrainingSettings,
    recorder: Recorder | None = None,
    progress: str | None = None,
    weighting: Weighting | None = None,
    observer: Observer | None = None,
    start: TrainingState | None = None,
    stop: int | None = None,
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
        start: what to go on from, instead of ``model`` as it is; ``batches`` begin where it was taken.
        stop: number of steps after which to leave off, all rates being those of the whole training.

    Raises:
        NonFiniteError: a task's loss, or its weighted term, is not finite; names task and step.
    """
    if weighting is None:
        weighting = build_weighting(settings.policy, settings.parameterization, TASK_NAMES, model.device)
    watch: GradientWatch | None = None
    if not isinstance(weighting, GradientWeighting):
        watch = (watch_gradients if recorder is not None else unread_gradients)(model.encoder, TASK_NAMES)
    stepper = Stepper(model, weighting, settings, observer)
    passes = _Passes(model, weighting, settings, watch)
    trained = Trained(model, weighting)
    model.train()
    with torch.random.fork_rng(), suppress(EndOfTraining):
        torch.manual_seed(settings.seed)
        if start is not None:
            stepper.resume(start)
        first = start.step if start else 0
        bar = tqdm(range(first, stop or settings.steps), desc=progress, disable=progress is None, mininterval=1.0)
        for step in bar:
            if step in (first, settings.frozen_encoder_steps):
                model.encoder.requires_grad_(step >= settings.frozen_encoder_steps)
            values = stepper.step(step, passes.run(batches, step))
            trained.lr_sigma.append(values.lr)
            if recorder is not None:
                if isinstance(watch, TaskGradientNorms) and isinstance(observer, UpdateObserver):
                    observer.updates(step, partial(watch.norms, adams_scale(stepper.optimizer)))
                norms = values.gradient_norm if watch is None else watch.finish()
                recorder.record(*values._replace(gradient_norm=norms))
    return trained


@dataclass
class _Passes:
    """Forward and backward of one optimiser step's micro-batches."""

    model: AuraModel
    weighting: Weighting
    settings: TrainingSettings
    watch: GradientWatch | None

    def run(self, batches: Iterator[Batch], step: int) -> Iterator[dict[str, Tensor]]:
        """Accumulate the step's gradients; the losses of each micro-batch."""
        share = 1 / self.settings.accumulation
        for _ in range(self.settings.accumulation):
            batch = next(batches).to(self.model.device)
            if self.watch is not None:
                self.watch.begin(batch)
            losses = task_losses(self.model, batch, self.settings)
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
            yield losses

    def _check(self, losses: Mapping[str, Tensor], total: Tensor, step: int) -> None:
        if torch.isfinite(total):
            return
        for task, loss in losses.items():
            if not torch.isfinite(loss):
                raise NonFiniteError(f"the loss of {task} is {loss.item()} at step {step}")
        sigma = dict(zip(self.weighting.tasks, self.weighting.sigma().tolist(), strict=True))
        raise NonFiniteError(f"the weighted total is {total.item()} at step {step}: the sigmas are {sigma}")
