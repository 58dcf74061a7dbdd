"""Toxicity alone on the AURA model, looked into while it trains: margins of training and of held-out comments."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from pydantic import Field
from torch import Tensor

from aura_study.data import schedules
from aura_study.data.batches import Batch, Batches, dev_batches
from aura_study.data.tokenization import TokenizedSplit
from aura_study.losses import focal_loss
from aura_study.theory.focal import hardest
from aura_study.training.loop import EndOfTraining, TrainingSettings
from aura_study.training.model import AuraModel
from aura_study.training.runs import Prepared, Probe, TrainingJob, build_model, prepare
from aura_study.training.task_gradients import watch_gradients

TASK = "toxicity"


class ToxicityJob(TrainingJob):
    """One training on toxicity alone: which comments, how many wrong labels, what is looked at, and when it ends."""

    code = ("import aura_study.experiments.focal_on_toxicity.trainings",)

    condition: str = Field("as they are", description="name of the training set, for tables")
    comments: int | None = Field(None, ge=20, description="training comments; None: all there are")
    toxic_share: float | None = Field(None, gt=0, lt=1, description="share of toxic comments; None: the data's own")
    noise: float = Field(0.0, ge=0, lt=1, description="share of training labels that are flipped")
    look_every: int = Field(8, ge=1, description="steps from one look to the next")
    patience: int | None = Field(
        None, ge=1, description="looks without a smaller held-out loss after which the training stops; None: never"
    )
    probe_rows: int = Field(1000, ge=20, description="most training comments that are looked at")
    encoder_rows: int = Field(0, ge=0, description="easy comments whose encoder gradient is taken at the end; 0: none")

    def batches(self, prepared: Prepared) -> Iterator[Batch]:
        """Of the chosen comments alone."""
        comments = training_comments(self)
        schedule = schedules.mixed({TASK: len(comments.split)}, self.batch_size, self.settings.seed)
        return Batches({TASK: comments.split}, schedule).iterate()

    def probe(self, prepared: Prepared, model: AuraModel) -> "Watcher":
        """Looks at the comments before the first step, and then on the way."""
        watcher = Watcher(self, training_comments(self), held_out_comments(self).split, build_model(self, prepared))
        watcher.look(0, model)
        return watcher


@dataclass(frozen=True)
class Comments:
    """Comments with the labels they go by, which of these were flipped, and their rows in the corpus."""

    split: TokenizedSplit
    flipped: np.ndarray
    rows: np.ndarray


def training_comments(job: ToxicityJob) -> Comments:
    """The comments of ``job`` and their labels; the seed decides both.

    Flipped labels are nested: those of a smaller noise are among those of a larger one.

    Raises:
        ValueError: more comments asked for than there are.
    """
    full = prepare(job).train[TASK]
    seed = job.settings.seed
    rows = _chosen(full.labels, job.comments, job.toxic_share, np.random.default_rng([seed, 1]))
    labels = full.labels[rows].copy()
    flipped = np.zeros(len(rows), bool)
    flipped[np.random.default_rng([seed, 2]).permutation(len(rows))[: round(job.noise * len(rows))]] = True
    labels[flipped] = 1 - labels[flipped]
    return Comments(_take(full, rows, labels), flipped, rows)


def held_out_comments(job: ToxicityJob) -> Comments:
    """The development comments, as many of them toxic as in training, with their own labels; the seed decides which."""
    full = prepare(job).dev[TASK]
    rows = _chosen(full.labels, None, job.toxic_share, np.random.default_rng([job.settings.seed, 5]))
    return Comments(_take(full, rows, full.labels[rows]), np.zeros(len(rows), bool), rows)


def _chosen(labels: np.ndarray, count: int | None, toxic_share: float | None, rng: np.random.Generator) -> np.ndarray:
    shuffled = rng.permutation(len(labels))
    if toxic_share is None:
        if count is not None and count > len(labels):
            raise ValueError(f"{count} comments asked for, but there are {len(labels)}")
        return shuffled[:count]
    toxic, other = shuffled[labels[shuffled] == 1], shuffled[labels[shuffled] == 0]
    most = int(min(len(toxic) / toxic_share, len(other) / (1 - toxic_share)))
    if count is not None and count > most:
        raise ValueError(f"{count} comments of which {toxic_share:.0%} are toxic asked for, but there are {most}")
    size = most if count is None else count
    ones = max(1, round(toxic_share * size))
    return rng.permutation(np.concatenate([toxic[:ones], other[: size - ones]]))


def _take(split: TokenizedSplit, rows: np.ndarray, labels: np.ndarray) -> TokenizedSplit:
    ids = [split.ids[split.offsets[row] : split.offsets[row + 1]] for row in rows]
    return TokenizedSplit(np.concatenate(ids), np.cumsum([0, *map(len, ids)]), labels, split.pad)


class Watcher(Probe):
    """Looks at comments through a copy of the model, which is not touched, and says when its training has ended.

    The *end* is the look with the smallest loss of the held-out comments, the loss that is trained with; where the job
    has a patience, the training stops once that many looks have found none smaller.

    Args:
        job, comments: what is trained, and on what.
        held_out: comments that are not trained on.
        copy: a model like the one that is trained.
    """

    def __init__(self, job: ToxicityJob, comments: Comments, held_out: TokenizedSplit, copy: AuraModel) -> None:
        super().__init__(job.weighting(copy.device))
        self.job, self.copy = job, copy
        rows = np.random.default_rng([job.settings.seed, 3]).permutation(len(comments.split))[: job.probe_rows]
        self.trained = _Watched(comments.split, comments.flipped, rows)
        self.held_out = _Watched(held_out, np.zeros(len(held_out), bool), np.arange(len(held_out)))
        self.about = {"count": len(comments.split), "toxic": float(comments.split.labels.mean())}
        self.frames: list[pd.DataFrame] = []
        self.end, self.least, self.looks_since = 0, np.inf, 0
        self.best: dict[str, Tensor] = {}

    def updated(self, step: int, model: AuraModel, optimizer: torch.optim.Optimizer) -> None:
        """Look, if it is time to; end the training, if its held-out loss has stopped falling."""
        if (step + 1) % self.job.look_every:
            return
        self.look(step + 1, model)
        if self.job.patience is not None and self.looks_since >= self.job.patience:
            raise EndOfTraining

    def table(self, model: AuraModel) -> pd.DataFrame:
        """One row per look and comment.

        Columns: step, held_out, row, label (as trained on), flipped, margin (logit of the given label less the other),
        encoder (norm of the gradient of the comment's loss on all encoder parameters; only training comments at the
        end, NaN where not taken), stands_for (comments that an encoder norm speaks for).
        """
        looks = pd.concat(self.frames, ignore_index=True).assign(encoder=np.nan, stands_for=np.nan)
        if self.job.encoder_rows:
            self.copy.load_state_dict(self.best)
            end = looks.index[(looks["step"] == self.end) & ~looks["held_out"]]
            looks.loc[end, ["encoder", "stands_for"]] = self._encoder_norms(looks.loc[end, "margin"].to_numpy())
        return looks

    def results(self, model: AuraModel) -> dict[str, Any]:
        """At which step the training had ended, whether it was seen to, and how many comments there are."""
        seen = self.job.patience is None or self.looks_since >= self.job.patience
        return {"end": self.end, "seen_to_end": seen, "comments": self.about}

    def look(self, step: int, model: AuraModel) -> None:
        """Record the margins of all watched comments after ``step``, without dropout; keep the best model so far."""
        self.copy.load_state_dict(model.state_dict())
        self.copy.eval()
        logits = {held_out: self._watched(held_out).logits(self.copy) for held_out in (False, True)}
        self.frames += [
            self._watched(held_out).seen(found).assign(step=step, held_out=held_out)
            for held_out, found in logits.items()
        ]
        labels = torch.from_numpy(self.held_out.split.labels)
        loss = float(_losses(logits[True], labels, self.job.settings).mean())
        self.looks_since += 1
        if step and loss < self.least:
            self.end, self.least, self.looks_since = step, loss, 0
            self.best = {name: values.clone() for name, values in self.copy.state_dict().items()}

    def _watched(self, held_out: bool) -> "_Watched":
        return self.held_out if held_out else self.trained

    def _encoder_norms(self, margin: np.ndarray) -> np.ndarray:
        """Gradient norms of all hard comments and of a sample of the others, and how many comments each stands for."""
        hard, split = hardest(margin), self.trained.split
        easy = np.random.default_rng([self.job.settings.seed, 4]).permutation(np.flatnonzero(~hard))
        sample = easy[: self.job.encoder_rows]
        norms = np.full((len(margin), 2), np.nan)
        taken = np.sort(np.concatenate([np.flatnonzero(hard), sample]))
        part = _take(split, taken, split.labels[taken])
        norms[taken, 0] = EncoderPulls(self.copy, self.job.settings).norms(part)
        norms[taken, 1] = np.where(hard[taken], 1.0, len(easy) / len(sample))
        return norms


class _Watched:
    """Some rows of ``split``, shortest first: the order in which `dev_batches` takes them."""

    def __init__(self, split: TokenizedSplit, flipped: np.ndarray, rows: np.ndarray) -> None:
        self.rows = rows[np.argsort(split.lengths[rows], kind="stable")]
        self.split = _take(split, self.rows, split.labels[self.rows])
        self.flipped = flipped[self.rows]

    @torch.no_grad()
    def logits(self, model: AuraModel) -> Tensor:
        """Logits ``(rows, 2)``, in float64."""
        batches = (batch.to(model.device) for batch in dev_batches(TASK, self.split))
        return torch.cat([model(batch)[TASK].double().cpu() for batch in batches])

    def seen(self, logits: Tensor) -> pd.DataFrame:
        """Row, label, flipped and margin of each comment."""
        given, other = _given_and_other(logits, torch.from_numpy(self.split.labels))
        margin = (given - other).numpy()
        return pd.DataFrame({"row": self.rows, "label": self.split.labels, "flipped": self.flipped, "margin": margin})


def comment_losses(logits: Tensor, labels: Tensor, settings: TrainingSettings) -> dict[str, np.ndarray]:
    """Loss and pull (gradient norm on the logits) of each comment, measured from logits ``(comments, 2)``."""
    logits = logits.detach().requires_grad_()
    losses = _losses(logits, labels, settings)
    (gradient,) = torch.autograd.grad(losses.sum(), logits)
    return {"loss": losses.detach().numpy(), "pull": gradient.norm(dim=1).numpy()}


def _given_and_other(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    given, other = (logits.gather(1, which[:, None])[:, 0] for which in (labels, 1 - labels))
    return given, other


def _losses(logits: Tensor, labels: Tensor, settings: TrainingSettings) -> Tensor:
    return focal_loss(logits, labels, settings.gamma, settings.alpha, reduction="none")


class EncoderPulls:
    """Norm of each comment's own gradient on all parameters of the encoder, a batch of them in one backward pass.

    Every comment is announced to the gradient watch as if it were a task of its own.
    """

    def __init__(self, model: AuraModel, settings: TrainingSettings) -> None:
        self.model, self.settings = model, settings
        size = sum(parameter.numel() for parameter in model.encoder.parameters())
        self.names = tuple(f"comment {place}" for place in range(max(1, min(32, 50_000_000 // size))))
        self.watch = watch_gradients(model.encoder, self.names)

    def norms(self, split: TokenizedSplit) -> np.ndarray:
        """Norms ``(comments,)`` of the gradient of each comment's loss, in the order of the split, without dropout."""
        self.model.eval()
        batches = Batches({TASK: split}, schedules.mixed({TASK: len(split)}, len(self.names), 0))
        found = []
        for start in range(0, len(split), len(self.names)):
            rows = np.arange(start, min(start + len(self.names), len(split)))
            batch = batches.collate({TASK: rows}).to(self.model.device)
            apart = {name: slice(place, place + 1) for place, name in enumerate(self.names[: len(rows)])}
            self.watch.begin(Batch(batch.input_ids, batch.attention_mask, apart, {}))
            losses = _losses(self.model(batch)[TASK], batch.labels[TASK], self.settings)
            self.watch.observe(dict(zip(apart, losses, strict=True)))
            losses.sum().backward()
            found.append(self.watch.finish()[: len(rows)].cpu().numpy())
            self.model.zero_grad()
        return np.concatenate(found)
