"""Fine-tuning a pre-trained encoder while watching how much of its pre-training is left.

A masked absence and an unmasked one have the same encoder, bit for bit, until the task returns: they differ in the
absent task's sigma alone, which no other parameter sees. So one fine-tuning goes as far as the return, and from there
one *arm* goes on for each state that sigma may be in, with the same batches and the same dropout.
"""

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Self, cast

import pandas as pd
import torch
from pydantic import Field
from torch import Tensor
from torch.nn.utils import get_total_norm, parameters_to_vector

from aura_study.data.batches import Batch
from aura_study.data.tasks import TASKS
from aura_study.data.tokenization import TokenizedSplit
from aura_study.experiments.pretraining.cka import linear_cka
from aura_study.experiments.pretraining.language_model import PretrainingJob, load_checkpoint, pretrain
from aura_study.losses import UnmaskedKendallLoss
from aura_study.runs.jobs import keep_table
from aura_study.training.loop import Stepper, task_losses
from aura_study.training.masked_lm import MaskedBatch, Masking, masked_texts, mlm_test
from aura_study.training.model import AuraModel
from aura_study.training.runs import Prepared, Probe, Texts, TrainingJob, prepare
from aura_study.training.scores import macro_f1
from aura_study.training.weighting import Weighting

Arm = Literal["masked", "unmasked", "alone"]
"""What the absence did to the task's sigma: next to nothing; what the phantom gradient does; or, as masked and then
`ALONE` lower in its logarithm, so much that no other task has a weight beside it."""
ALONE = 15.0


class ForgettingJob(TrainingJob):
    """One fine-tuning of a pre-trained encoder, masked as far as the return, and from there in several arms.

    ``encoder`` is a checkpoint with a language-model head, or ``"tiny"`` for the one that ``pretraining`` makes. Leaves
    the arms' tables (`PretrainingProbe.table`), one after the other.
    """

    code = ("import aura_study.experiments.pretraining.fine_tuning",)

    regime: str
    arms: tuple[Arm, ...]
    pretraining: PretrainingJob = PretrainingJob()
    probes: tuple[int, ...] = Field((), description="steps before which the pre-training is tested; the end always is")

    @property
    def checkpoint(self) -> str:
        """Folder or hub id of what is fine-tuned; pre-trained first where it is the one that ``pretraining`` makes."""
        return str(pretrain(self.pretraining, progress=None)) if self.encoder == "tiny" else self.encoder

    @property
    def texts(self) -> Texts:
        """What is read, in the checkpoint's own tokens."""
        return super().texts.model_copy(update={"tokenizer": self.checkpoint})

    def model(self, prepared: Prepared) -> AuraModel:
        """The pre-trained encoder under new heads."""
        encoder = load_checkpoint(self.checkpoint, self.max_length).encoder
        # Where the encoder goes without dropout on attention (`aura_study.training.model.TINY`), so do the heads.
        quiet = getattr(encoder.config, "attention_probs_dropout_prob", None) == 0.0
        tasks, seed = tuple(TASKS.values()), self.settings.seed
        model = AuraModel(encoder, tasks, attention_dropout=0.0 if quiet else None, seed=seed)
        return model.to("cuda" if torch.cuda.is_available() else "cpu")

    def probe(self, prepared: Prepared, model: AuraModel) -> "PretrainingProbe":
        """Tests on the development texts, with the same tokens hidden every time."""
        hidden = masked_texts(prepared.dev, Masking(prepared.tokenizer, only_mask=True))
        head = load_checkpoint(self.checkpoint, self.max_length).head.to(model.device)
        texts = [part.to(model.device) for part in hidden]
        return PretrainingProbe(self, model, head, texts, prepared.dev)


def run_forgetting(job: ForgettingJob, folder: Path) -> Path:
    """Fine-tune; the arms' tables at `aura_study.runs.jobs.job_path`, with macro-F1 by arm and task beside them."""
    prepared, presence = prepare(job), job.presence
    model, batches = job.model(prepared), job.batches(prepared)
    probe = job.probe(prepared, model)
    stepper = Stepper(model, probe.weighting, job.settings, probe)
    tables, scores = [], {}
    with torch.random.fork_rng():
        torch.manual_seed(job.settings.seed)
        advance(stepper, islice(batches, presence.start))
        phantom = phantom_sigma(stepper, presence.absent, presence.stop - presence.start)
        advance(stepper, islice(batches, presence.stop - presence.start), presence.start)
        rest = list(islice(batches, job.settings.steps - presence.stop))
        for arm in job.arms:
            torch.manual_seed(job.settings.seed)
            branch = fork(stepper)
            if arm != "masked":
                set_sigma(branch, presence.absent, *(phantom if arm == "unmasked" else shifted(branch, -ALONE)))
            advance(branch, rest, presence.stop)
            seen = cast(PretrainingProbe, branch.observer)
            tables.append(seen.table(branch.model).assign(policy=arm))
            scores[arm] = seen.results(branch.model)["macro_f1"]
    return keep_table(job, pd.concat(tables, ignore_index=True), folder, macro_f1=scores)


def advance(stepper: Stepper, batches: Iterable[Batch], first: int = 0) -> None:
    """One optimiser step for each batch; ``first`` is the number of the first of them."""
    stepper.model.train()
    for number, batch in enumerate(batches, first):
        stepper.step(number, _pass(stepper, batch.to(stepper.model.device)))


def _pass(stepper: Stepper, batch: Batch) -> Iterator[dict[str, Tensor]]:
    losses = task_losses(stepper.model, batch, stepper.settings)
    stepper.weighting(losses).backward()
    yield losses


def fork(stepper: Stepper) -> Stepper:
    """A twin in the same state, of model, weighting, optimiser, schedule and probe, that shares nothing with it."""
    model, weighting = copy.deepcopy(stepper.model), copy.deepcopy(stepper.weighting)
    twin = Stepper(model, weighting, stepper.settings, cast(PretrainingProbe, stepper.observer).branch(weighting))
    twin.optimizer.load_state_dict(copy.deepcopy(stepper.optimizer.state_dict()))
    twin.schedule.load_state_dict(stepper.schedule.state_dict())
    return twin


SigmaState = tuple[Tensor, Mapping[str, Any]]
"""The learned parameter of a weighting, ``(tasks,)``, and what the optimiser remembers of it."""


def _sigma_state(stepper: Stepper) -> tuple[torch.nn.Parameter, dict[str, Any]]:
    (parameter,) = stepper.optimizer.param_groups[2]["params"]
    return parameter, stepper.optimizer.state[parameter]


def phantom_sigma(stepper: Stepper, absent: str, steps: int) -> SigmaState:
    """What an unmasked absence that begins now makes of the absent task's sigma; of the others it says nothing.

    Needs no network: the absent task's parameter feels its regulariser alone.
    """
    parameter, memory = _sigma_state(stepper)
    loss = UnmaskedKendallLoss(stepper.weighting.tasks, device=parameter.device)
    loss.theta.data.copy_(parameter.detach())
    group = {**stepper.optimizer.param_groups[2], "params": [loss.theta]}
    like: Callable[..., torch.optim.Optimizer] = type(stepper.optimizer)
    optimizer = like([group])
    optimizer.state[loss.theta] = copy.deepcopy(memory)
    others = {task: torch.zeros((), device=parameter.device) for task in loss.tasks if task != absent}
    for _ in range(steps):
        optimizer.zero_grad()
        loss(others).backward()
        optimizer.step()
    return loss.theta.detach(), optimizer.state[loss.theta]


def shifted(stepper: Stepper, shift: float) -> SigmaState:
    """The sigmas' present state with ``shift`` added to the parameters."""
    parameter, memory = _sigma_state(stepper)
    return parameter.detach() + shift, copy.deepcopy(memory)


def set_sigma(stepper: Stepper, task: str, theta: Tensor, memory: Mapping[str, Any]) -> None:
    """Put one task's part of such a state into ``stepper``."""
    place = stepper.weighting.tasks.index(task)
    parameter, own = _sigma_state(stepper)
    parameter.data[place] = theta[place]
    for name, value in memory.items():
        if isinstance(value, Tensor) and value.ndim:  # not the number of steps, which is common to the tasks
            own[name][place] = value[place]


class PretrainingProbe(Probe):
    """Tests, at chosen steps of a fine-tuning, what is left of the pre-training.

    The language-model head is the pre-trained one, kept as it was (its output embeddings too, which pre-training ties
    to the encoder's): a fixed reader of the encoder's states. Texts and hidden tokens are the same at every test.

    Args:
        job: says how the losses are weighted, whose weight is recorded, and when to test.
        model: as pre-trained; it is read here.
        head: the pre-trained language-model head.
        texts: with tokens hidden.
        dev: development rows, for the final scores.
    """

    def __init__(
        self,
        job: ForgettingJob,
        model: AuraModel,
        head: torch.nn.Module,
        texts: Sequence[MaskedBatch],
        dev: Mapping[str, TokenizedSplit],
    ) -> None:
        super().__init__(job.weighting(model.device))
        self._head, self._texts, self._dev = head, texts, dev
        self._place = self.weighting.tasks.index(job.presence.absent)
        self._probes = set(job.probes)
        loss, self._states = mlm_test(model.encoder, self._head, texts)
        self._start = _flat(model.encoder)
        self._before = self._start
        self._rows: list[dict[str, Any]] = [{"step": 0, "mlm_loss": loss, "cka": 1.0, "distance": 0.0}]

    def gradients(self, step: int, model: AuraModel, optimizer: torch.optim.Optimizer) -> None:
        """Note the task's weight and the norm of the encoder's gradient, before clipping."""
        gradients = [p.grad for p in model.encoder.parameters() if p.grad is not None]
        norm = float(get_total_norm(gradients)) if gradients else 0.0
        self._rows[-1] |= {"weight": float(self.weighting.weights()[self._place]), "gradient_norm": norm}
        self._before = _flat(model.encoder)

    def updated(self, step: int, model: AuraModel, optimizer: torch.optim.Optimizer) -> None:
        """Note how far the encoder moved, and test it if the next step is to be tested before."""
        self._rows[-1]["update"] = float((_flat(model.encoder) - self._before).square().mean().sqrt())
        self._rows.append({"step": step + 1})
        if step + 1 in self._probes:
            self._test(model)

    def table(self, model: AuraModel) -> pd.DataFrame:
        """One row per step, and one for the end.

        Columns: step; of the encoder before that step, where it was tested, mlm_loss (nats), cka (to the pre-trained
        states) and distance (norm of the parameters' change over their norm); of the step, weight, gradient_norm (of
        the encoder, before clipping) and update (root mean square over the encoder's parameters).
        """
        if "mlm_loss" not in self._rows[-1]:
            self._test(model)
        columns = ["step", "mlm_loss", "cka", "distance", "weight", "gradient_norm", "update"]
        return pd.DataFrame(self._rows).reindex(columns=columns)

    def results(self, model: AuraModel) -> dict[str, Any]:
        """Macro-F1 per task at the end."""
        return {"macro_f1": macro_f1(model, self._dev)}

    def branch(self, weighting: Weighting) -> Self:
        """A probe that has seen the same so far and goes on alone, with a model weighted by ``weighting``."""
        twin = copy.copy(self)
        twin.weighting, twin._rows = weighting, copy.deepcopy(self._rows)
        return twin

    def _test(self, model: AuraModel) -> None:
        loss, states = mlm_test(model.encoder, self._head, self._texts)
        moved = float((_flat(model.encoder) - self._start).norm() / self._start.norm())
        self._rows[-1] |= {"mlm_loss": loss, "cka": linear_cka(states, self._states), "distance": moved}


def _flat(encoder: torch.nn.Module) -> Tensor:
    return parameters_to_vector(encoder.parameters()).detach()
