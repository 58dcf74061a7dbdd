"""Fine-tuning a pre-trained encoder while watching how much of its pre-training is left."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from pydantic import Field
from torch import Tensor
from torch.nn.utils import get_total_norm, parameters_to_vector

from aura_study.data.tasks import TASK_NAMES, TASKS
from aura_study.experiments.pretraining.cka import linear_cka
from aura_study.experiments.pretraining.language_model import Checkpoint, PretrainingJob, load_checkpoint, pretrain
from aura_study.runs.jobs import keep_table
from aura_study.training.loop import train
from aura_study.training.masked_lm import MaskedBatch, Masking, masked_texts, mlm_test
from aura_study.training.model import AuraModel
from aura_study.training.runs import Prepared, TrainingJob, job_batches, prepare
from aura_study.training.scores import macro_f1
from aura_study.training.weighting import Weighting, build_weighting


class ForgettingJob(TrainingJob):
    """One fine-tuning of a pre-trained encoder.

    ``encoder`` is a checkpoint with a language-model head, or ``"tiny"`` for the one that ``pretraining`` makes;
    ``identity`` is a digest of what that name stood for when the job was made, so that another checkpoint under the
    same name is another job.
    """

    code = ("import aura_study.experiments.pretraining.fine_tuning",)

    pretraining: PretrainingJob = PretrainingJob()
    identity: str = ""
    probes: tuple[int, ...] = Field((), description="steps before which the pre-training is tested; the end always is")


def checkpoint_name(job: ForgettingJob) -> str:
    """Folder or hub id of the job's checkpoint."""
    return str(pretrain(job.pretraining, progress=None)) if job.encoder == "tiny" else job.encoder


class PretrainingProbe:
    """Tests, at chosen steps of a fine-tuning, what is left of the pre-training. An `Observer`.

    The language-model head is the pre-trained one, kept as it was (its output embeddings too, which pre-training ties
    to the encoder's): a fixed reader of the encoder's states. Texts and hidden tokens are the same at every test.

    Args:
        checkpoint: as pre-trained; the encoder in it is read once, here.
        texts: with tokens hidden.
        weighting: whose weight of ``absent`` is recorded.
        absent: task.
        probes: steps before which to test.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        texts: Sequence[MaskedBatch],
        weighting: Weighting,
        absent: str,
        probes: Sequence[int],
    ) -> None:
        self._head = checkpoint.head
        self._texts = texts
        self._weighting = weighting
        self._place = weighting.tasks.index(absent)
        self._probes = set(probes)
        loss, self._states = mlm_test(checkpoint.encoder, self._head, texts)
        self._start = _flat(checkpoint.encoder)
        self._before = self._start
        self._rows: list[dict[str, Any]] = [{"step": 0, "mlm_loss": loss, "cka": 1.0, "distance": 0.0}]

    def gradients(self, step: int, model: AuraModel, optimizer: torch.optim.Optimizer) -> None:
        """Note the task's weight and the norm of the encoder's gradient, before clipping."""
        gradients = [p.grad for p in model.encoder.parameters() if p.grad is not None]
        norm = float(get_total_norm(gradients)) if gradients else 0.0
        self._rows[-1] |= {"weight": float(self._weighting.weights()[self._place]), "gradient_norm": norm}
        self._before = _flat(model.encoder)

    def updated(self, step: int, model: AuraModel, optimizer: torch.optim.Optimizer) -> None:
        """Note how far the encoder moved, and test it if the next step is to be tested before."""
        self._rows[-1]["update"] = float((_flat(model.encoder) - self._before).square().mean().sqrt())
        self._rows.append({"step": step + 1})
        if step + 1 in self._probes:
            self._test(model)

    def frame(self, model: AuraModel) -> pd.DataFrame:
        """One row per step, and one for the end.

        Columns: step; of the encoder before that step, where it was tested, mlm_loss (nats), cka (to the pre-trained
        states) and distance (norm of the parameters' change over their norm); of the step, weight, gradient_norm (of
        the encoder, before clipping) and update (root mean square over the encoder's parameters).
        """
        if "mlm_loss" not in self._rows[-1]:
            self._test(model)
        columns = ["step", "mlm_loss", "cka", "distance", "weight", "gradient_norm", "update"]
        return pd.DataFrame(self._rows).reindex(columns=columns)

    def _test(self, model: AuraModel) -> None:
        loss, states = mlm_test(model.encoder, self._head, self._texts)
        moved = float((_flat(model.encoder) - self._start).norm() / self._start.norm())
        self._rows[-1] |= {"mlm_loss": loss, "cka": linear_cka(states, self._states), "distance": moved}


def _flat(encoder: torch.nn.Module) -> Tensor:
    return parameters_to_vector(encoder.parameters()).detach()


@lru_cache(maxsize=2)
def _texts(name: str, data: str, rows: int | None, dev_rows: int | None, max_length: int) -> tuple[Prepared, list]:
    job = TrainingJob.model_validate(
        {"name": "texts", "data": data, "rows": rows, "dev_rows": dev_rows, "encoder": name, "max_length": max_length}
    )
    prepared = prepare(job)
    return prepared, masked_texts(prepared.dev, Masking(prepared.tokenizer, only_mask=True))


def run_job(job: ForgettingJob, folder: Path) -> Path:
    """Fine-tune and test; leaves `PretrainingProbe.frame` at `job_path`, with macro-F1 per task beside it."""
    name = checkpoint_name(job)
    prepared, texts = _texts(name, job.data, job.rows, job.dev_rows, job.max_length)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    checkpoint = load_checkpoint(name, job.max_length)
    encoder, settings = checkpoint.encoder, job.settings
    checkpoint.head.to(device)
    torch.nn.Module.to(encoder, device)
    quiet = getattr(encoder.config, "attention_probs_dropout_prob", None) == 0.0  # see `aura_study.training.model.TINY`
    model = AuraModel(encoder, tuple(TASKS.values()), attention_dropout=0.0 if quiet else None, seed=settings.seed)
    weighting = build_weighting(settings.policy, settings.parameterization, TASK_NAMES, device)
    hidden = [part.to(device) for part in texts]
    probe = PretrainingProbe(checkpoint, hidden, weighting, job.presence.absent, job.probes)
    train(model.to(device), job_batches(job, prepared), settings, weighting=weighting, observer=probe)
    return keep_table(job, probe.frame(model), folder, macro_f1=macro_f1(model, prepared.dev))
