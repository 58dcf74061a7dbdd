"""Training jobs: what decides one run of the AURA model, and what many of them leave behind."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from aura_study.data import schedules
from aura_study.data.batches import Batch, Batches
from aura_study.data.corpus import Corpus
from aura_study.data.encoders import encoder_files, encoder_folder
from aura_study.data.registry import BUILT, DEFAULT_DATASET, load_corpus
from aura_study.data.tasks import TASK_NAMES, TASKS, TaskName
from aura_study.data.tokenization import TokenizedSplit, corpus_tokenizer, pretrained_tokenizer, tokenize_splits
from aura_study.runs.jobs import Job, footer, job_metadata, job_path, keep_table, run_jobs
from aura_study.runs.parameters import Data
from aura_study.training.frozen_layers import FrozenLayers, train_above
from aura_study.training.loop import TrainingSettings, train
from aura_study.training.model import AuraModel, build_encoder, training_device
from aura_study.training.recording import Recorder, TrajectoryRecorder, read_trajectories
from aura_study.training.scores import macro_f1, samples_f1
from aura_study.training.state import TrainingState
from aura_study.training.weighting import Weighting, build_weighting

PresenceName = Literal["mixed", "stretch", "alternating"]
"""All tasks in proportion in every batch; one of them away for a stretch of steps; one task per batch."""


class Presence(BaseModel):
    """Which tasks stand in which batch; ``start`` and ``stop`` count optimiser steps."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schedule: PresenceName = "mixed"
    absent: TaskName = "reporting"
    start: int = Field(0, ge=0)
    stop: int = Field(0, ge=0)
    every: int | None = Field(None, ge=1, description="steps from the start of an absence to the next; none: only one")

    @model_validator(mode="after")
    def _comes_back(self) -> "Presence":
        if self.every is not None and self.every <= self.stop - self.start:
            raise ValueError(f"an absence of {self.stop - self.start} steps cannot begin again every {self.every}")
        return self

    def build(self, sizes: dict[str, int], batch_size: int, seed: int, accumulation: int) -> schedules.Schedule:
        """The schedule over micro-batches."""
        if self.schedule == "stretch":
            first, last = self.start * accumulation, self.stop * accumulation
            every = self.every and self.every * accumulation
            return schedules.stretch(sizes, batch_size, seed, self.absent, first, last, every)
        return {"mixed": schedules.mixed, "alternating": schedules.alternating}[self.schedule](sizes, batch_size, seed)


class Texts(BaseModel):
    """Which texts a run reads, and how: equal ones are loaded and tokenised once."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: Data
    rows: int | None
    dev_rows: int | None
    tokenizer: str
    """The encoder that it belongs to; that of the one that is built here is trained on the corpus."""
    max_length: int

    def corpus(self) -> Corpus:
        """The texts and their labels."""
        return load_corpus(self.data, rows=self.rows, dev_rows=self.dev_rows)


class Prepared:
    """A corpus, its tokenizer, and its rows as token ids."""

    def __init__(self, corpus: Corpus, tokenizer: PreTrainedTokenizerBase, max_length: int) -> None:
        self.corpus = corpus
        self.tokenizer = tokenizer
        self.train: dict[str, TokenizedSplit] = tokenize_splits(corpus.train, tokenizer, max_length)
        self.dev: dict[str, TokenizedSplit] = tokenize_splits(corpus.dev, tokenizer, max_length)


class Probe(ABC):
    """An `Observer` that leaves a table behind, in place of the run's trajectory. A subclass overrides what it needs.

    Attributes:
        weighting: that the run is trained with.
        recorder: takes every step's values, if the table is made of them.
    """

    recorder: Recorder | None = None

    def __init__(self, weighting: Weighting) -> None:
        self.weighting = weighting

    def gradients(  # noqa: B027 (a hook that a subclass may leave alone)
        self, step: int, model: AuraModel, optimizer: torch.optim.Optimizer
    ) -> None:
        """Called with the step's whole gradient, before clipping and before the optimiser moves."""

    def updated(  # noqa: B027 (a hook that a subclass may leave alone)
        self, step: int, model: AuraModel, optimizer: torch.optim.Optimizer
    ) -> None:
        """Called after the optimiser has moved."""

    @abstractmethod
    def table(self, model: AuraModel) -> pd.DataFrame:
        """What was seen, once ``model`` is trained."""

    def results(self, model: AuraModel) -> dict[str, Any]:
        """JSON-ready results to keep beside the table."""
        return {}

    def memory(self) -> dict[str, Any]:
        """JSON-ready: what `remember` needs of the steps so far, beside what the recorder holds; nothing."""
        return {}

    def remember(self, memory: Mapping[str, Any]) -> None:  # noqa: B027 (a hook that a subclass may leave alone)
        """Take over the `memory` of a probe that looked at the steps before, see `aura_study.training.fork`."""


@dataclass(frozen=True)
class Begun:
    """A training of which the first steps are done.

    Attributes:
        state: to go on from.
        trajectory: of these steps; empty if nobody recorded them.
        memory: of the probe that looked at them.
    """

    state: TrainingState
    trajectory: pd.DataFrame
    memory: Mapping[str, Any]


class TrainingJob(Job):
    """One training run: its data, model, presence and settings; equal jobs leave equal files.

    It leaves its trajectory and the model's final scores. A subclass says what differs: the texts, the model, the
    weighting, the batches, the results; or a `Probe`, whose table is left instead.
    """

    code = ("import aura_study.training.runs",)

    data: Data = DEFAULT_DATASET
    rows: int | None = Field(None, ge=1, description="most training rows per task")
    dev_rows: int | None = Field(None, ge=1, description="most development rows per task, for the final score")
    encoder: str = BUILT
    frozen_layers: int = Field(0, ge=0, description="lowest layers that do not learn, embeddings with them; 0: none")
    max_length: int = Field(128, ge=4, le=512)
    batch_size: int = Field(16, ge=4)
    presence: Presence = Presence()
    settings: TrainingSettings = TrainingSettings()

    @model_validator(mode="after")
    def _stretch_fits(self) -> "TrainingJob":
        if self.presence.schedule == "stretch" and self.presence.stop > self.settings.steps:
            raise ValueError(f"the stretch ends at step {self.presence.stop}, after the last of {self.settings.steps}")
        return self

    @property
    def stands_alone(self) -> bool:
        """Whether a training from the first step leaves the job's file."""
        return True

    @property
    def texts(self) -> Texts:
        """What is read."""
        return Texts(
            data=self.data,
            rows=self.rows,
            dev_rows=self.dev_rows,
            tokenizer=self.encoder,
            max_length=self.max_length,
        )

    def inputs(self) -> Mapping[str, str]:
        """Digests of the encoder's files: what stands under a folder's name, or a hub's id, may change."""
        return encoder_files(self.encoder)

    def model(self, prepared: Prepared) -> AuraModel:
        """The untrained model."""
        return build_model(self, prepared)

    def weighting(self, device: torch.device) -> Weighting:
        """What the losses are weighted by."""
        return build_weighting(self.settings.policy, self.settings.parameterization, TASK_NAMES, device)

    def batches(self, prepared: Prepared) -> Iterator[Batch]:
        """Micro-batches, without end."""
        return job_batches(self, prepared)

    def probe(self, prepared: Prepared, model: AuraModel) -> Probe | None:
        """What looks at the run of ``model``; none: the trajectory is recorded."""
        return None

    def results(self, prepared: Prepared, model: AuraModel) -> dict[str, Any]:
        """JSON-ready results to keep beside the trajectory."""
        return {"macro_f1": macro_f1(model, prepared.dev), "samples_f1": samples_f1(model, prepared.dev)}


@lru_cache(maxsize=2)
def _prepare(texts: Texts) -> Prepared:
    corpus = texts.corpus()
    if texts.tokenizer == BUILT:
        tokenizer: PreTrainedTokenizerBase = corpus_tokenizer(corpus)
    else:
        tokenizer = pretrained_tokenizer(encoder_folder(texts.tokenizer))
    return Prepared(corpus, tokenizer, texts.max_length)


def prepare(job: TrainingJob) -> Prepared:
    """The job's data, tokenised; kept in memory for the next job with the same data."""
    return _prepare(job.texts)


def build_model(job: TrainingJob, prepared: Prepared) -> AuraModel:
    """The job's untrained model, on the GPU where there is one; the seed decides every weight."""
    seed, known = job.settings.seed, (job.encoder, job.max_length)
    encoder = _encoder(prepared, *known, seed)
    if job.frozen_layers:
        drawn_with = seed if job.encoder == BUILT else 0
        frozen = _frozen(prepared, *known, drawn_with, job.frozen_layers)
        encoder = train_above(encoder, frozen, job.frozen_layers)
    attention_dropout = 0.0 if job.encoder == BUILT else None
    model = AuraModel(encoder, tuple(TASKS.values()), attention_dropout=attention_dropout, seed=seed)
    if job.settings.dropout is not None:
        model.set_dropout(job.settings.dropout)
    return model.to(training_device())


def _encoder(prepared: Prepared, name: str, max_length: int, seed: int) -> PreTrainedModel:
    """The encoder of that name for the texts; the seed decides the weights of one that is built here."""
    return build_encoder(name, len(prepared.tokenizer), max_length, seed, prepared.tokenizer.pad_token_id)


@lru_cache(maxsize=2)
def _frozen(prepared: Prepared, name: str, max_length: int, seed: int, count: int) -> FrozenLayers:
    """Its lowest layers and what they make of all the texts; kept in memory for the next job with the same."""
    frozen = FrozenLayers(_encoder(prepared, name, max_length, seed), count)
    for splits in (prepared.train, prepared.dev):
        frozen.read(splits, training_device())
    return frozen


def job_batches(job: TrainingJob, prepared: Prepared) -> Iterator[Batch]:
    """The job's micro-batches, without end."""
    settings = job.settings
    schedule = job.presence.build(prepared.corpus.sizes, job.batch_size, settings.seed, settings.accumulation)
    return Batches(prepared.train, schedule).iterate()


def run_job(job: TrainingJob, folder: Path, begun: Begun | None = None) -> Path:
    """Train one job; leaves its probe's table at `job_path`, or without one the trajectory, with the results in it.

    Raises:
        ValueError: nothing has ``begun``, and the job cannot do without.
    """
    if begun is None and not job.stands_alone:
        raise ValueError(f"job {job.name!r} goes on from a prefix: train it with train_forked")
    prepared, settings, path = prepare(job), job.settings, job_path(job, folder)
    model, start = job.model(prepared), begun.state if begun else None
    batches = islice(job.batches(prepared), start.step * settings.accumulation if start else 0, None)
    if (probe := job.probe(prepared, model)) is not None:
        if begun is not None:
            probe.remember(begun.memory)
            _resume(probe.recorder, begun)
        train(model, batches, settings, probe.recorder, weighting=probe.weighting, observer=probe, start=start)
        return keep_table(job, probe.table(model), folder, **probe.results(model))
    with TrajectoryRecorder(path, TASK_NAMES, settings.policy, settings.seed, model.device) as recorder:
        _resume(recorder, begun)
        train(model, batches, settings, recorder, weighting=job.weighting(model.device), start=start)
        recorder.annotate(footer(job, job.results(prepared, model)))
    return path


def _resume(recorder: Recorder | None, begun: Begun | None) -> None:
    if recorder is not None and begun is not None:
        recorder.resume(begun.trajectory)


def train_jobs(jobs: Sequence[TrainingJob], folder: Path, workers: int = 0, progress: str = "training") -> list[Path]:
    """`run_job` for every job that is not finished, side by side (`aura_study.runs.jobs.run_jobs`)."""
    return run_jobs(run_job, jobs, folder, workers, progress)


def load_runs(paths: Sequence[Path]) -> pd.DataFrame:
    """Trajectories of several jobs as one frame, with the job's name in column ``run``."""
    frames = [read_trajectories([path]).assign(run=path.stem) for path in paths]
    return pd.concat(frames, ignore_index=True).astype({"policy": str, "task": str})


def scores(paths: Sequence[Path]) -> pd.DataFrame:
    """Development scores at the end of each job: run, policy, seed, task, macro_f1, samples_f1 (multi-label tasks)."""
    rows = []
    for path in paths:
        stored = job_metadata(path)
        settings = stored["job"]["settings"]
        for task, score in stored["macro_f1"].items():
            common = {"run": path.stem, "policy": settings["policy"], "seed": settings["seed"]}
            rows.append({**common, "task": task, "macro_f1": score, "samples_f1": stored["samples_f1"].get(task)})
    return pd.DataFrame(rows)
