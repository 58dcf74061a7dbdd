"""Fine-tuning a pre-trained encoder through an absence, while watching how much of its pre-training is left.

Up to the return of the absent task all arms are one training (`aura_study.training.fork`), which is done once. From
there each goes on with the sigma that its own absence has left, with the same batches and the same dropout.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import pandas as pd
import torch
from pydantic import Field
from torch import Tensor
from torch.nn.utils import get_total_norm, parameters_to_vector

from aura_study.data.tasks import TASKS
from aura_study.data.tokenization import TokenizedSplit
from aura_study.experiments.pretraining.cka import linear_cka
from aura_study.experiments.pretraining.language_model import PretrainingJob, load_checkpoint, pretrain
from aura_study.training.fork import ArmJob
from aura_study.training.masked_lm import MaskedBatch, Masking, masked_texts, mlm_test
from aura_study.training.model import AuraModel, training_device
from aura_study.training.runs import Prepared, Probe, Texts, TrainingJob
from aura_study.training.scores import macro_f1

ArmName = Literal["masked", "unmasked", "alone"]
"""What the absence did to the task's sigma: next to nothing; what the phantom gradient does; or, as masked and then
`ALONE` lower in its logarithm, so much that no other task has a weight beside it."""
ALONE = 15.0
CODE = "import aura_study.experiments.pretraining.fine_tuning"


class WatchedJob(TrainingJob):
    """One fine-tuning of a pre-trained encoder that is looked at on the way."""

    regime: str = Field("", description="what it is compared with others of; part of the tables")
    arm: ArmName = "masked"
    rates: float = Field(0.0, ge=0, description="sum of sigma's rates over the absence, of an unmasked arm: Lambda")
    looks: tuple[int, ...] = Field((), description="steps before which the encoder is looked at; its end always is")


class ReturnJob(WatchedJob, ArmJob):
    """One fine-tuning through an absence, or through several.

    What its arms share is looked at where it ends, before the return.
    """

    after_return: ClassVar[tuple[str, ...]] = (*ArmJob.after_return, "regime", "arm", "rates", "looks")


class WatchingProbe(Probe):
    """Looks at the encoder before some of the steps of a `WatchedJob`.

    Args:
        job: says when to look.
        model: before any step.
    """

    def __init__(self, job: WatchedJob, model: AuraModel) -> None:
        super().__init__(job.weighting(model.device))
        self._looks = {*job.looks, job.settings.steps}
        self._rows: list[dict[str, Any]] = [{"step": 0}]

    @abstractmethod
    def look(self, model: AuraModel) -> dict[str, float]:
        """What is seen of the encoder; JSON-ready."""

    def updated(self, step: int, model: AuraModel, optimizer: torch.optim.Optimizer) -> None:
        """Look, if the next step is to be looked at before."""
        self._rows.append({"step": step + 1})
        if step + 1 in self._looks:
            self._rows[-1] |= self.look(model)

    def table(self, model: AuraModel) -> pd.DataFrame:
        """One row per step, and one for the end, with what was seen of the encoder before that step."""
        return pd.DataFrame(self._rows)

    def memory(self) -> dict[str, Any]:
        """The rows so far."""
        return {"rows": self._rows}

    def remember(self, memory: Mapping[str, Any]) -> None:
        """Go on after them."""
        self._rows = [dict(row) for row in memory["rows"]]


class LanguageModelJob(WatchedJob):
    """One fine-tuning of a masked language model, tested on hidden words.

    ``encoder`` is a checkpoint with a language-model head, or ``"tiny"`` for the one that ``pretraining`` makes.
    """

    code = (CODE,)

    pretraining: PretrainingJob = PretrainingJob()

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
        return model.to(training_device())

    def probe(self, prepared: Prepared, model: AuraModel) -> "PretrainingProbe":
        """Tests on the development texts, with the same tokens hidden every time."""
        hidden = masked_texts(prepared.dev, Masking(prepared.tokenizer, only_mask=True))
        head = load_checkpoint(self.checkpoint, self.max_length).head.to(model.device)
        return PretrainingProbe(self, model, head, [part.to(model.device) for part in hidden], prepared.dev)


class ForgettingJob(ReturnJob, LanguageModelJob):
    """One fine-tuning of a masked language model through an absence."""

    code = (CODE,)


class PretrainingProbe(WatchingProbe):
    """Tests, at chosen steps of a fine-tuning, what is left of the pre-training.

    The language-model head is the pre-trained one, kept as it was (its output embeddings too, which pre-training ties
    to the encoder's): a fixed reader of the encoder's states. Texts and hidden tokens are the same at every test.

    Args:
        job: says when to test, and whose weight is recorded.
        model: as pre-trained; it is read here.
        head: the pre-trained language-model head.
        texts: with tokens hidden.
        dev: development rows, for the final scores.
    """

    def __init__(
        self,
        job: LanguageModelJob,
        model: AuraModel,
        head: torch.nn.Module,
        texts: Sequence[MaskedBatch],
        dev: Mapping[str, TokenizedSplit],
    ) -> None:
        self._head, self._texts, self._dev = head, texts, dev
        self._states: Tensor | None = None
        self._start = self._before = _flat(model.encoder)
        super().__init__(job, model)
        self._rows[0] |= self.look(model)
        self._place = self.weighting.tasks.index(job.presence.absent)

    def look(self, model: AuraModel) -> dict[str, float]:
        """mlm_loss (nats), cka (to the pre-trained states), distance (the parameters' change over their norm)."""
        loss, states = mlm_test(model.encoder, self._head, self._texts)
        if self._states is None:
            self._states = states
        moved = float((_flat(model.encoder) - self._start).norm() / self._start.norm())
        return {"mlm_loss": loss, "cka": linear_cka(states, self._states), "distance": moved}

    def gradients(self, step: int, model: AuraModel, optimizer: torch.optim.Optimizer) -> None:
        """Note the task's weight and the norm of the encoder's gradient, before clipping."""
        gradients = [p.grad for p in model.encoder.parameters() if p.grad is not None]
        norm = float(get_total_norm(gradients)) if gradients else 0.0
        self._rows[-1] |= {"weight": float(self.weighting.weights()[self._place]), "gradient_norm": norm}
        self._before = _flat(model.encoder)

    def updated(self, step: int, model: AuraModel, optimizer: torch.optim.Optimizer) -> None:
        """Note how far the encoder moved (root mean square over its parameters), and go on."""
        self._rows[-1]["update"] = float((_flat(model.encoder) - self._before).square().mean().sqrt())
        super().updated(step, model, optimizer)

    def table(self, model: AuraModel) -> pd.DataFrame:
        """Columns: step; of the encoder before it `look`; of the step weight, gradient_norm and update."""
        columns = ["step", "mlm_loss", "cka", "distance", "weight", "gradient_norm", "update"]
        return super().table(model).reindex(columns=columns)

    def results(self, model: AuraModel) -> dict[str, Any]:
        """Macro-F1 per task at the end."""
        return {"macro_f1": macro_f1(model, self._dev)}


def _flat(encoder: torch.nn.Module) -> Tensor:
    return parameters_to_vector(encoder.parameters()).detach()
