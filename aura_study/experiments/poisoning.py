r"""One training run with its returning task's gradient kept apart from the others', step by step.

Adam's first moment is linear in the gradients, so the encoder's update splits exactly: :math:`u = u_r + u_o` with
:math:`u_k = \eta\,\hat m_k / (\sqrt{\hat v} + \epsilon)`, the returning task's and the others' moments being filtered
apart. The second moment does not split. What the spike does to it is measured against a second one, kept beside it on
the very same gradients, in which the task came back with its *proper* weight: the one that the mask would have left.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from pydantic import model_validator
from torch import Tensor, nn

from aura_study.data.tasks import TASK_NAMES
from aura_study.data.tokenization import TokenizedSplit
from aura_study.evaluation import macro_f1
from aura_study.experiments.training_runs import TrainingJob, build_model, job_batches, prepare
from aura_study.jobs import keep_table
from aura_study.losses import KendallLoss
from aura_study.model import AuraModel
from aura_study.training import TrainingSettings, train
from aura_study.weighting import PARAMETERIZATIONS, POLICIES

CLASSES = 80
"""Classes of `Memory.classes`, even in log q."""


class ReturnJob(TrainingJob):
    """A training run through an absence, with development scores after some steps; one micro-batch a step."""

    code = ("import aura_study.experiments.poisoning",)

    checkpoints: tuple[int, ...] = ()
    """Steps after which the model is scored."""

    @model_validator(mode="after")
    def _one_batch_a_step(self) -> "ReturnJob":
        if self.settings.accumulation != 1:
            raise ValueError(f"a run that keeps gradients apart takes accumulation 1, got {self.settings.accumulation}")
        return self


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
    return _flat(gradients)


def _flat(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([tensor.detach().reshape(-1) for tensor in tensors])


class Memory:
    """Adam's moments of the encoder with the returning task apart, and those it would have with its proper weight.

    Args:
        m, v: the optimiser's moments before the return, ``(parameters,)``.
        steps: that it has made.
        betas, epsilon: its settings.

    The task's part of m is taken as 0 at the return: exact to beta1 to the power of the absence.
    """

    def __init__(self, m: Tensor, v: Tensor, steps: int, betas: tuple[float, float], epsilon: float) -> None:
        self.betas, self.epsilon = betas, epsilon
        self.steps, self.since_return = steps, 0
        self.m_task = torch.zeros_like(m)
        self.m_others, self.m_others_proper = m.clone(), m.clone()
        self.v, self.v_proper = v.clone(), v.clone()
        self._pull_squares, self._others_squares = torch.zeros_like(v), torch.zeros_like(v)

    def add(self, others: Tensor, task: Tensor, proper: Tensor, kept: float, kept_proper: float) -> dict[str, float]:
        """Add one step's gradients and say what the others' part of the update is, in units of the learning rate.

        Args:
            others, task, proper: gradients of the others, of the task, and of the task with its proper weight.
            kept, kept_proper: what clipping leaves of the sum with ``task``, and with ``proper``.

        Returns ``others_update`` and ``others_proper``, norms of the others' part as it is and as it would be with the
        proper weight; ``others_share``, its projection on the whole update over that update's norm; ``left_by_v``, norm
        of their part over that of the same m through the proper v.
        """
        b1, b2 = self.betas
        self.steps, self.since_return = self.steps + 1, self.since_return + 1
        self.m_task.lerp_(kept * task, 1 - b1)
        self.m_others.lerp_(kept * others, 1 - b1)
        self.m_others_proper.lerp_(kept_proper * others, 1 - b1)
        self.v.lerp_((kept * (others + task)).square(), 1 - b2)
        self.v_proper.lerp_((kept_proper * (others + proper)).square(), 1 - b2)
        scale, root, root_proper = 1 / (1 - b1**self.steps), self._root(self.v), self._root(self.v_proper)
        part, whole = scale * self.m_others / root, scale * (self.m_others + self.m_task) / root
        part_proper = scale * self.m_others_proper / root_proper
        self._pull_squares += (kept_proper * proper).square()
        self._others_squares += part_proper.square()
        return {
            "others_update": part.norm().item(),
            "others_proper": part_proper.norm().item(),
            "others_share": _projection(part, whole),
            "left_by_v": (part.norm() / (scale * self.m_others / root_proper).norm()).item(),
        }

    def _root(self, v: Tensor) -> Tensor:
        return (v / (1 - self.betas[1] ** self.steps)).sqrt() + self.epsilon

    def classes(self) -> dict[str, list[float]]:
        """Distribution of q, the task's mean squared proper gradient since its return over v: ``q`` and ``shares``.

        A parameter counts by the others' squared proper updates of it.
        """
        moved = self._others_squares > 0
        v = self.v_proper[moved] / (1 - self.betas[1] ** self.steps)
        q = (self._pull_squares[moved] / self.since_return / v).clamp(1e-8, 1e8).double().cpu().numpy()
        edges = np.geomspace(0.99e-8, 1.01e8, CLASSES + 1)
        held, _ = np.histogram(q, edges, weights=self._others_squares[moved].double().cpu().numpy())
        return {"q": np.sqrt(edges[1:] * edges[:-1]).tolist(), "shares": (held / held.sum()).tolist()}


def _projection(part: Tensor, whole: Tensor) -> float:
    return (part @ whole / (whole @ whole)).item()


class ReturnWatch:
    """Observer of a run with a `SplitWeighting`: fills its rows, keeps `Memory` under Adam, scores at checkpoints.

    Columns that it adds, from the return on: ``pull_norm`` and ``others_norm``, encoder gradients of the task and of
    the others, before clipping; ``proper_all`` and ``others_all``, the same with the heads and at the task's proper
    weight; ``kept`` and ``kept_proper``, what clipping leaves; and what `Memory.add` returns. Under SGD an update is
    the clipped gradient, and v leaves all.
    """

    def __init__(
        self,
        weighting: SplitWeighting,
        settings: TrainingSettings,
        dev: Mapping[str, TokenizedSplit],
        checkpoints: Sequence[int] = (),
    ) -> None:
        self.weighting, self.settings = weighting, settings
        self.dev, self.checkpoints = dev, checkpoints
        self.memory: Memory | None = None
        self.scores: dict[int, dict[str, float]] = {}

    def gradients(self, step: int, model: AuraModel, optimizer: torch.optim.Optimizer) -> None:
        """Take the step's gradients apart, from the return on."""
        split = self.weighting
        if split.pull is None:
            return
        size = sum(parameter.numel() for parameter in model.encoder.parameters())
        pull, others = split.pull[:size], split.others[:size]
        task, proper = split.weight * pull, split.proper_weight * pull
        heads = split.others[size:].norm().item(), split.pull[size:].norm().item()
        kept = self._kept(others + task, heads[0], split.weight * heads[1])
        kept_proper = self._kept(others + proper, heads[0], split.proper_weight * heads[1])
        row = {
            "pull_norm": task.norm().item(),
            "others_norm": others.norm().item(),
            "proper_all": split.proper_weight * split.pull.norm().item(),
            "others_all": split.others.norm().item(),
            "kept": kept,
            "kept_proper": kept_proper,
        }
        if self.settings.optimizer == "adamw":
            if self.memory is None:
                self.memory = _memory(model, optimizer)
            row |= self.memory.add(others, task, proper, kept, kept_proper)
        else:
            norm = row["others_norm"]
            row |= {"others_update": kept * norm, "others_proper": kept_proper * norm, "left_by_v": 1.0}
            row["others_share"] = _projection(others, others + task)
        split.rows[-1] |= row

    def _kept(self, encoder: Tensor, *heads: float) -> float:
        """What clipping leaves of a gradient, as ``torch.nn.utils.clip_grad_norm_`` does it."""
        bound = self.settings.clip_norm
        return (
            1.0 if bound is None else min(1.0, bound / (float(np.hypot.reduce([encoder.norm().item(), *heads])) + 1e-6))
        )

    def updated(self, step: int, model: AuraModel, optimizer: torch.optim.Optimizer) -> None:
        """Score the model on the development texts at a checkpoint."""
        if step in self.checkpoints:
            self.scores[step] = macro_f1(model, self.dev)


def _memory(model: AuraModel, optimizer: torch.optim.Optimizer) -> Memory:
    states = [optimizer.state[parameter] for parameter in model.encoder.parameters()]
    group = optimizer.param_groups[0]
    m, v = (_flat([state[name] for state in states]) for name in ("exp_avg", "exp_avg_sq"))
    return Memory(m, v, int(states[0]["step"]), group["betas"], group["eps"])


def run_return(job: ReturnJob, folder: Path) -> Path:
    """Train one job; its table has a row per step, its metadata the development scores and the classes of q."""
    prepared = prepare(job)
    model = build_model(job, prepared)
    split = SplitWeighting(job.settings, job.presence.absent, next(model.parameters()).device)
    watch = ReturnWatch(split, job.settings, prepared.dev, job.checkpoints)
    train(model, job_batches(job, prepared), job.settings, weighting=split, observer=watch)
    classes = watch.memory.classes() if watch.memory is not None else None
    return keep_table(job, pd.DataFrame(split.rows), folder, dev=watch.scores, classes=classes)
