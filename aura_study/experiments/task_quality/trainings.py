"""Training runs judged by their development scores: few reporting rows, many to judge by, scores on the way."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from pydantic import Field
from torch import Tensor
from torch.nn.utils import get_total_norm

from aura_study.data.aura import load_aura
from aura_study.data.corpus import Corpus, TaskSplit
from aura_study.data.embedded import DEV_ROWS, TRAIN_ROWS, generate
from aura_study.data.registry import load_corpus
from aura_study.data.tasks import TASK_NAMES
from aura_study.runs.parameters import Data
from aura_study.training.loop import TrainingSettings
from aura_study.training.model import AuraModel
from aura_study.training.recording import Recorder
from aura_study.training.runs import Prepared, Probe, Texts, TrainingJob
from aura_study.training.scores import development
from aura_study.training.weighting import Weighting

RARE = "reporting"
EVERY = 7
"""Steps from one look at the update to the next, in the second half of training; no multiple of the tasks' number."""


class QualityTexts(Texts):
    """Few training rows of reporting, many development rows."""

    reporting_rows: int | None
    reporting_dev: int

    def corpus(self) -> Corpus:
        """See `quality_corpus`."""
        return quality_corpus(self.data, self.rows, self.dev_rows, self.reporting_rows, self.reporting_dev)


class QualityJob(TrainingJob):
    """A training run that leaves scores and shares behind, rather than its trajectory."""

    code = ("import aura_study.experiments.task_quality.trainings",)

    reporting_rows: int | None = Field(
        None, ge=2, description="training rows of reporting; none keeps the corpus's own"
    )
    reporting_dev: int = Field(1000, ge=2, description="development rows of reporting")
    probes: tuple[int, ...] = Field((), description="steps before which the model is scored")
    scored: bool = Field(True, description="whether the model is scored at all; then its end always is")
    regime: str = ""

    @property
    def texts(self) -> QualityTexts:
        """What is read."""
        few, many = self.reporting_rows, self.reporting_dev
        return QualityTexts(**dict(super().texts), reporting_rows=few, reporting_dev=many)

    def probe(self, prepared: Prepared, model: AuraModel) -> "Scorer":
        """Scores, and what clipping leaves."""
        probes = (*self.probes, self.settings.steps) if self.scored else ()
        return Scorer(self.weighting(model.device), model.device, prepared, self.settings, probes)


def quality_corpus(
    data: Data,
    rows: int | None = None,
    dev_rows: int | None = None,
    reporting_rows: int | None = None,
    reporting_dev: int = 1000,
) -> Corpus:
    """The corpus with few rows of reporting to learn from and many to be judged by.

    AURA's own development set has 73 rows of reporting, on which one row is more than a point of macro-F1. For "aura"
    it is extended by rows of the published training file that AURA's mixture leaves out; the generator just writes
    more; another corpus is taken as it is. No row is in both sets, and fewer training rows are a subset of more.

    Args:
        data: corpus.
        rows, dev_rows: most rows per task; ``dev_rows`` does not limit reporting.
        reporting_rows: most training rows of reporting.
        reporting_dev: most development rows of reporting.
    """
    if data == "embedded":
        whole = generate(0, TRAIN_ROWS, {**DEV_ROWS, RARE: reporting_dev})
        train, dev = whole.train, whole.dev
    else:
        mixture = load_corpus(data)
        train, dev = mixture.train, dict(mixture.dev)
        if data == "aura":
            dev[RARE] = _extended(mixture, reporting_dev)
    limits = dict.fromkeys(TASK_NAMES, rows) | ({RARE: reporting_rows} if reporting_rows else {})
    dev_limits = dict.fromkeys(TASK_NAMES, dev_rows) | {RARE: reporting_dev}
    return Corpus(
        data,
        {task: _sample(split, limits[task], place) for place, (task, split) in enumerate(train.items())},
        {task: _sample(split, dev_limits[task], place) for place, (task, split) in enumerate(dev.items())},
    )


def _extended(mixture: Corpus, count: int) -> TaskSplit:
    """The published development rows of reporting first, then rows that the mixture does not train on."""
    published, everything = mixture.dev[RARE], load_aura().train[RARE]
    known = {text for split in mixture.train.values() for text in split.texts} | set(published.texts)
    spare = everything.take(np.array([row for row, text in enumerate(everything.texts) if text not in known], np.int64))
    more = _sample(spare, max(count - len(published), 0), 0)
    return TaskSplit(published.texts + more.texts, np.concatenate([published.labels, more.labels]))


def _sample(split: TaskSplit, limit: int | None, key: int) -> TaskSplit:
    """At most ``limit`` rows, the first of a shuffle that ``key`` decides, in their own order."""
    if limit is None or limit >= len(split):
        return split
    return split.take(np.sort(np.random.default_rng([0, key]).permutation(len(split))[:limit]))


class Scorer(Probe):
    """Scores the model at chosen steps, and notes what clipping and Adam make of each task's pull on the encoder.

    Args:
        weighting: see `Probe`.
        device: of the training.
        prepared: has the development rows.
        settings: of the training.
        probes: steps before which to score; their number scores the end, with thresholds that suit the training rows.
    """

    def __init__(
        self,
        weighting: Weighting,
        device: torch.device,
        prepared: Prepared,
        settings: TrainingSettings,
        probes: tuple[int, ...] = (),
    ) -> None:
        super().__init__(weighting)
        self.recorder: Recorder = Recorder(TASK_NAMES, settings.policy, settings.seed, device)
        self.kept: list[float] = []
        self.scores: list[dict[str, Any]] = []
        self.pulls: dict[int, list[float]] = {}
        self._prepared, self._settings, self._probes = prepared, settings, set(probes)

    def gradients(self, step: int, model: AuraModel, optimizer: torch.optim.Optimizer) -> None:
        """Note the factor by which clipping will scale this step's gradient."""
        self._score(model, step)
        norm = float(get_total_norm([p.grad for p in model.parameters() if p.grad is not None]))
        bound = self._settings.clip_norm
        self.kept.append(1.0 if bound is None else min(1.0, bound / max(norm, 1e-12)))

    def updates(self, step: int, norms: Callable[[], Tensor]) -> None:
        """Now and then in the second half, note how strongly each task moves the encoder."""
        if step >= self._settings.steps // 2 and step % EVERY == 0:
            self.pulls[step] = norms().tolist()

    def memory(self) -> dict[str, Any]:
        """What clipping left, step by step, and the scores; nobody looks at updates in the first half."""
        return {"kept": self.kept, "scores": self.scores}

    def remember(self, memory: Mapping[str, Any]) -> None:
        """Take both over."""
        self.kept, self.scores = list(memory["kept"]), list(memory["scores"])

    def table(self, model: AuraModel) -> pd.DataFrame:
        """`shares` of the run."""
        return shares(self.recorder.frame(), np.array(self.kept), self.pulls)

    def results(self, model: AuraModel) -> dict[str, Any]:
        """All scores, and the number of rows."""
        self._score(model, self._settings.steps)
        return {
            "scores": self.scores,
            "dev_rows": {task: len(split) for task, split in self._prepared.dev.items()},
            "train_rows": self._prepared.corpus.sizes,
        }

    def _score(self, model: AuraModel, step: int) -> None:
        """`development` scores of the model as it stands before ``step``, if they are asked for."""
        if step not in self._probes:
            return
        learned_from = self._prepared.train if step == self._settings.steps else None
        for task, found in development(model, self._prepared.dev, learned_from).items():
            self.scores += [{"step": step, "task": task, "measure": name, "score": found[name]} for name in found]


def shares(trajectory: pd.DataFrame, kept: np.ndarray, pulls: Mapping[int, Sequence[float]]) -> pd.DataFrame:
    """How much each task counted in the second half of training, per task.

    Args:
        trajectory: one run's, as recorded.
        kept: ``(steps,)``, the factor that clipping left of each step's gradient.
        pulls: by step, each task's gradient norm as Adam scales it, in the order of the trajectory's tasks.

    Columns: task; presence (share of steps); loss (mean where present); weight (mean over all steps of weight x
    present); loss_share (the task's part of the sum of present weight x loss); gradient_share (its part of the sum of
    encoder gradient norms), clipped_share (the same, each step's norms scaled as clipping scaled them) and update_share
    (the same of ``pulls``: each element of the gradient divided by the root of Adam's second moment; NaN without any).
    """
    late = trajectory[trajectory["step"] >= trajectory["step"].max() // 2].copy()
    late["present"] = late["present"].astype(float)
    late["counted"] = late["weight"] * late["present"]
    late["pull"] = late["counted"] * late["loss"].fillna(0.0)
    late["gradient"] = late["gradient_norm"].fillna(0.0)
    late["clipped"] = late["gradient"] * kept[late["step"].to_numpy()]
    means = (
        late.astype({"task": str})
        .groupby("task", sort=False)[["present", "counted", "loss", "pull", "gradient", "clipped"]]
        .mean()
    )
    moved = sum((kept[step] * np.array(pull) for step, pull in pulls.items()), start=np.zeros(len(means)))
    return pd.DataFrame(
        {
            "task": means.index,
            "presence": means["present"],
            "loss": means["loss"],
            "weight": means["counted"],
            "loss_share": means["pull"] / means["pull"].sum(),
            "gradient_share": means["gradient"] / means["gradient"].sum(),
            "clipped_share": means["clipped"] / means["clipped"].sum(),
            "update_share": moved / moved.sum() if pulls else math.nan,
        }
    ).reset_index(drop=True)
