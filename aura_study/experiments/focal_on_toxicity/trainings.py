"""Toxicity alone on the AURA model, looked into while it trains: each comment's margin, loss and gradients."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from pydantic import Field
from sklearn.metrics import f1_score
from torch import Tensor

from aura_study.data import schedules
from aura_study.data.batches import Batch, Batches, dev_batches
from aura_study.data.tokenization import TokenizedSplit
from aura_study.losses import focal_loss
from aura_study.theory.focal import hardest
from aura_study.training.loop import TrainingSettings
from aura_study.training.model import AuraModel
from aura_study.training.runs import Prepared, Probe, TrainingJob, build_model, prepare
from aura_study.training.scores import predictions
from aura_study.training.task_gradients import watch_gradients

TASK = "toxicity"
LOOKS = (0.0, 0.125, 0.25, 0.5, 0.75, 1.0)
"""When the model is looked into, as shares of the steps."""
LONG_LOOKS = (0.0, 0.5, 1.0)
"""Looks at which development scores, gradients on the encoder and margins under dropout are taken as well."""


class ToxicityJob(TrainingJob):
    """One training on toxicity alone: which comments, how many wrong labels, what is looked at."""

    code = ("import aura_study.experiments.focal_on_toxicity.trainings",)

    condition: str = Field("as they are", description="name of the training set, for tables")
    comments: int | None = Field(None, ge=20, description="training comments; None: all there are")
    toxic_share: float | None = Field(None, gt=0, lt=1, description="share of toxic comments; None: the data's own")
    noise: float = Field(0.0, ge=0, lt=1, description="share of training labels that are flipped")
    probe_rows: int = Field(1000, ge=20, description="most training comments that are looked at")
    encoder_rows: int = Field(
        0, ge=0, description="easy comments whose encoder gradient is taken; 0: none, nor looks with dropout"
    )

    def batches(self, prepared: Prepared) -> Iterator[Batch]:
        """Of the chosen comments alone."""
        comments = training_comments(self)
        schedule = schedules.mixed({TASK: len(comments.split)}, self.batch_size, self.settings.seed)
        return Batches({TASK: comments.split}, schedule).iterate()

    def probe(self, prepared: Prepared, model: AuraModel) -> "Watcher":
        """Looks at the comments before the first step, and then on the way."""
        watcher = Watcher(self, training_comments(self), prepared.dev[TASK], build_model(self, prepared))
        watcher.look(0, model)
        return watcher


@dataclass(frozen=True)
class Comments:
    """Training comments with the labels they are trained on, and which of these were flipped."""

    split: TokenizedSplit
    flipped: np.ndarray


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
    return Comments(_take(full, rows, labels), flipped)


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
    """Looks at the training comments through a copy of the model; what is trained is not touched.

    Args:
        job, comments: what is trained, and on what.
        dev: development comments.
        copy: a model like the one that is trained.
    """

    def __init__(self, job: ToxicityJob, comments: Comments, dev: TokenizedSplit, copy: AuraModel) -> None:
        super().__init__(job.weighting(copy.device))
        self.job, self.comments, self.dev, self.copy = job, comments, dev, copy
        self.frames: list[pd.DataFrame] = []
        self.scores: list[dict[str, float]] = []
        self.looks = {round(share * job.settings.steps): share for share in LOOKS}
        split = comments.split
        rows = np.random.default_rng([job.settings.seed, 3]).permutation(len(split))[: job.probe_rows]
        self.rows = rows[np.argsort(split.lengths[rows], kind="stable")]  # the order in which `dev_batches` takes them
        self.split = _take(split, self.rows, split.labels[self.rows])
        self.pulls = EncoderPulls(copy, job.settings) if job.encoder_rows else None

    def updated(self, step: int, model: AuraModel, optimizer: torch.optim.Optimizer) -> None:
        """Look, if this is one of the steps to look after."""
        if step + 1 in self.looks:
            self.look(step + 1, model)

    def table(self, model: AuraModel) -> pd.DataFrame:
        """One row per look and comment.

        Columns: step, progress (0 to 1), dropout (whether it was on), row, label (as trained on), flipped, margin
        (logit of the given label less the other), loss, pull (gradient norm on the logits), encoder (gradient norm on
        all encoder parameters, NaN where not taken), stands_for (comments that an encoder norm speaks for). Losses and
        gradients are those of one comment under the job's own focal loss, alpha included.
        """
        return pd.concat(self.frames, ignore_index=True)

    def results(self, model: AuraModel) -> dict[str, Any]:
        """Development scores of the long looks, and how many comments there are, toxic and flipped."""
        toxic, flipped = float(self.comments.split.labels.mean()), int(self.comments.flipped.sum())
        about = {"count": len(self.comments.split), "toxic": toxic, "flipped": flipped}
        return {"dev": self.scores, "comments": about}

    def look(self, step: int, model: AuraModel) -> None:
        """Record margins, losses and pulls of the training comments after ``step``; more at the long looks."""
        self.copy.load_state_dict(model.state_dict())
        self.copy.eval()
        still = self._measured(step, dropout=False)
        self.frames.append(still)
        if self.looks[step] not in LONG_LOOKS:
            return
        self._score(step)
        if self.pulls is None:
            return
        still[["encoder", "stands_for"]] = self._encoder_norms(step, still["margin"].to_numpy())
        self.copy.train()
        with torch.random.fork_rng():
            torch.manual_seed(step)
            self.frames.append(self._measured(step, dropout=True))

    def _score(self, step: int) -> None:
        found, true = predictions(self.copy, TASK, self.dev)
        score = {"macro_f1": float(f1_score(true, found, average="macro", zero_division=0))}
        score |= {"called_toxic": float(found.mean()), "found_toxic": float(found[true == 1].mean())}
        self.scores.append({"step": step, "progress": self.looks[step], **score})

    def _measured(self, step: int, dropout: bool) -> pd.DataFrame:
        logits = torch.cat(list(_logits(self.copy, self.split)))
        seen = comment_losses(logits.double(), torch.from_numpy(self.split.labels), self.job.settings)
        place = {"step": step, "progress": self.looks[step], "dropout": dropout, "row": self.rows}
        given = {"label": self.split.labels, "flipped": self.comments.flipped[self.rows]}
        return pd.DataFrame({**place, **given, **seen, "encoder": np.nan, "stands_for": np.nan})

    def _encoder_norms(self, step: int, margin: np.ndarray) -> np.ndarray:
        """Gradient norms of all hard comments and of a sample of the others, and how many comments each stands for."""
        assert self.pulls is not None
        hard = hardest(margin)
        easy = np.random.default_rng([self.job.settings.seed, 4, step]).permutation(np.flatnonzero(~hard))
        sample = easy[: self.job.encoder_rows]
        norms = np.full((len(margin), 2), np.nan)
        taken = np.sort(np.concatenate([np.flatnonzero(hard), sample]))
        part = _take(self.split, taken, self.split.labels[taken])
        norms[taken, 0] = self.pulls.norms(part)
        norms[taken, 1] = np.where(hard[taken], 1.0, len(easy) / len(sample))
        return norms


def comment_losses(logits: Tensor, labels: Tensor, settings: TrainingSettings) -> dict[str, np.ndarray]:
    """Margin, loss and pull of each comment, from logits ``(comments, 2)``: measured, not by closed forms."""
    logits = logits.detach().requires_grad_()
    losses = _losses(logits, labels, settings)
    (gradient,) = torch.autograd.grad(losses.sum(), logits)
    given, other = (logits.detach().gather(1, which[:, None])[:, 0] for which in (labels, 1 - labels))
    found = {"margin": given - other, "loss": losses.detach(), "pull": gradient.norm(dim=1)}
    return {name: values.cpu().numpy() for name, values in found.items()}


def _losses(logits: Tensor, labels: Tensor, settings: TrainingSettings) -> Tensor:
    return focal_loss(logits, labels, settings.gamma, settings.alpha, reduction="none")


@torch.no_grad()
def _logits(model: AuraModel, split: TokenizedSplit) -> Iterator[Tensor]:
    for batch in dev_batches(TASK, split):
        yield model(batch.to(model.device))[TASK].cpu()


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
