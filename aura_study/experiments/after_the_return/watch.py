r"""One training run with its returning task's gradient kept apart from the others', step by step.

Adam's first moment is linear in the gradients, so the encoder's update splits exactly: :math:`u = u_r + u_o` with
:math:`u_k = \eta\,\hat m_k / (\sqrt{\hat v} + \epsilon)`, the returning task's and the others' moments being filtered
apart. The second moment does not split. What the spike does to it is measured against a second one, kept beside it on
the very same gradients, in which the task came back with its *proper* weight: the one that the mask would have left.
"""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from pydantic import model_validator
from torch import Tensor

from aura_study.experiments.after_the_return.split_weighting import SplitWeighting, flat
from aura_study.training.loop import TrainingSettings
from aura_study.training.model import AuraModel
from aura_study.training.runs import Prepared, Probe, TrainingJob

CLASSES = 80
"""Classes of `Memory.classes`, even in log q."""


class ReturnJob(TrainingJob):
    """A training run through an absence; one micro-batch a step."""

    code = ("import aura_study.experiments.after_the_return.watch",)

    @model_validator(mode="after")
    def _one_batch_a_step(self) -> "ReturnJob":
        if self.settings.accumulation != 1:
            raise ValueError(f"a run that keeps gradients apart takes accumulation 1, got {self.settings.accumulation}")
        return self

    def probe(self, prepared: Prepared, model: AuraModel) -> "ReturnWatch":
        """Keeps the absent task's gradient apart."""
        split = SplitWeighting(self.settings, self.presence.absent, model.device)
        return ReturnWatch(split, self.settings)


class Memory:
    """Adam's moments of the encoder with the returning task apart, and those it would have with its proper weight.

    Args:
        m, v: the optimiser's moments before the return, ``(parameters,)``.
        steps: that it has made.
        betas, epsilon: its settings.
        parts: of the parameters, by name: the damage is told for each on its own as well.

    The task's part of m is taken as 0 at the return: exact to beta1 to the power of the absence.
    """

    def __init__(
        self,
        m: Tensor,
        v: Tensor,
        steps: int,
        betas: tuple[float, float],
        epsilon: float,
        parts: Mapping[str, slice] | None = None,
    ) -> None:
        self.betas, self.epsilon, self.parts = betas, epsilon, dict(parts or {})
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
        of their part over that of the same m through the proper v; ``left_in_layers`` and so on, that of each part.
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
        part_proper, through_proper = scale * self.m_others_proper / root_proper, scale * self.m_others / root_proper
        self._pull_squares += (kept_proper * proper).square()
        self._others_squares += part_proper.square()
        return {
            "others_update": part.norm().item(),
            "others_proper": part_proper.norm().item(),
            "others_share": _projection(part, whole),
            "left_by_v": (part.norm() / through_proper.norm()).item(),
        } | {
            f"left_in_{name}": (part[place].norm() / through_proper[place].norm()).item()
            for name, place in self.parts.items()
        }

    def _root(self, v: Tensor) -> Tensor:
        return (v / (1 - self.betas[1] ** self.steps)).sqrt() + self.epsilon

    def classes(self) -> dict[str, list[float]]:
        """Distribution of q, the task's mean squared proper gradient since its return over v.

        ``q`` of each class, and what it holds: ``shares``, of all parameters, ``layers_shares`` and so on, of each
        part. A parameter counts by the others' squared proper updates of it.
        """
        edges = np.geomspace(0.99e-8, 1.01e8, CLASSES + 1)
        told = {"q": np.sqrt(edges[1:] * edges[:-1]).tolist()}
        places = {"shares": slice(None)} | {f"{name}_shares": place for name, place in self.parts.items()}
        for name, chosen in places.items():
            weights = self._others_squares[chosen]
            v = (self.v_proper[chosen] / (1 - self.betas[1] ** self.steps))[weights > 0]
            q = (self._pull_squares[chosen][weights > 0] / self.since_return / v).clamp(1e-8, 1e8)
            held, _ = np.histogram(q.cpu().numpy(), edges, weights=weights[weights > 0].double().cpu().numpy())
            told[name] = (held / held.sum()).tolist()
        return told


def _projection(part: Tensor, whole: Tensor) -> float:
    return (part @ whole / (whole @ whole)).item()


class ReturnWatch(Probe):
    """Looks at a run with a `SplitWeighting`: fills its rows, keeps `Memory` under Adam.

    Columns that it adds, from the return on: ``pull_norm`` and ``others_norm``, encoder gradients of the task and of
    the others, before clipping; ``proper_all`` and ``others_all``, the same with the heads and at the task's proper
    weight; ``kept`` and ``kept_proper``, what clipping leaves; and what `Memory.add` returns. Under SGD, which has
    no v, an update is the clipped gradient.
    """

    def __init__(self, weighting: SplitWeighting, settings: TrainingSettings) -> None:
        self.weighting: SplitWeighting = weighting
        self.settings = settings
        self.apart: Memory | None = None

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
            if self.apart is None:
                self.apart = _memory(model, optimizer)
            row |= self.apart.add(others, task, proper, kept, kept_proper)
        else:
            norm = row["others_norm"]
            row |= {"others_update": kept * norm, "others_proper": kept_proper * norm}
            row |= {"others_share": _projection(others, others + task)}
        split.rows[-1] |= row

    def _kept(self, encoder: Tensor, *heads: float) -> float:
        """What clipping leaves of a gradient, as ``torch.nn.utils.clip_grad_norm_`` does it."""
        bound = self.settings.clip_norm
        return (
            1.0 if bound is None else min(1.0, bound / (float(np.hypot.reduce([encoder.norm().item(), *heads])) + 1e-6))
        )

    def table(self, model: AuraModel) -> pd.DataFrame:
        """A row per step."""
        return pd.DataFrame(self.weighting.rows)

    def results(self, model: AuraModel) -> dict[str, Any]:
        """The classes of q under Adam."""
        return {"classes": self.apart.classes() if self.apart is not None else None}


def _memory(model: AuraModel, optimizer: torch.optim.Optimizer) -> Memory:
    states = [optimizer.state[parameter] for parameter in model.encoder.parameters()]
    group = optimizer.param_groups[0]
    m, v = (flat([state[name] for state in states]) for name in ("exp_avg", "exp_avg_sq"))
    return Memory(m, v, int(states[0]["step"]), group["betas"], group["eps"], encoder_parts(model))


def encoder_parts(model: AuraModel) -> dict[str, slice]:
    """Places in the flat encoder, by name.

    ``embeddings``, which come first and whose rows one text touches and another does not; ``layers``, all that follows,
    which every text touches; and of these ``layer_1``, ``layer_2`` and so on, each on its own.
    """
    ends: dict[str, int] = {}
    at = 0
    for name, parameter in model.encoder.named_parameters():
        at += parameter.numel()
        layer = re.search(r"\blayer\.(\d+)\.", name)
        ends["embeddings" if name.startswith("embeddings.") else f"layer_{int(layer[1]) + 1}" if layer else "rest"] = at
    parts = {name: slice(start, end) for start, (name, end) in zip([0, *ends.values()], ends.items(), strict=False)}
    return {"layers": slice(ends.get("embeddings", 0), at), **parts}
