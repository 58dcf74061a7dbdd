"""Fine-tuning a pre-trained encoder while watching how much of its pre-training is left."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import torch
from pydantic import Field
from torch import Tensor
from torch.nn.utils import get_total_norm, parameters_to_vector

from aura_study.data.tasks import TASKS
from aura_study.data.tokenization import TokenizedSplit
from aura_study.experiments.pretraining.cka import linear_cka
from aura_study.experiments.pretraining.language_model import PretrainingJob, load_checkpoint, pretrain
from aura_study.training.masked_lm import MaskedBatch, Masking, masked_texts, mlm_test
from aura_study.training.model import AuraModel
from aura_study.training.runs import Prepared, Probe, Texts, TrainingJob
from aura_study.training.scores import macro_f1


class ForgettingJob(TrainingJob):
    """One fine-tuning of a pre-trained encoder.

    ``encoder`` is a checkpoint with a language-model head, or ``"tiny"`` for the one that ``pretraining`` makes;
    ``identity`` is a digest of what that name stood for when the job was made, so that another checkpoint under the
    same name is another job.
    """

    code = ("import aura_study.experiments.pretraining.fine_tuning",)

    regime: str
    arm: str
    """What happens to the absent task's sigma: a policy, or ``control`` where no task is ever absent."""
    pretraining: PretrainingJob = PretrainingJob()
    identity: str = ""
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

    def _test(self, model: AuraModel) -> None:
        loss, states = mlm_test(model.encoder, self._head, self._texts)
        moved = float((_flat(model.encoder) - self._start).norm() / self._start.norm())
        self._rows[-1] |= {"mlm_loss": loss, "cka": linear_cka(states, self._states), "distance": moved}


def _flat(encoder: torch.nn.Module) -> Tensor:
    return parameters_to_vector(encoder.parameters()).detach()
