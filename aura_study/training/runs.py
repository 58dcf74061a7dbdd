"""Training jobs: what decides one run of the AURA model, and what many of them leave behind."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Literal

import pandas as pd
import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from transformers import PreTrainedTokenizerBase

from aura_study.data import schedules
from aura_study.data.batches import Batch, Batches
from aura_study.data.corpus import Corpus
from aura_study.data.registry import DEFAULT_DATASET, load_corpus
from aura_study.data.tasks import TASK_NAMES, TASKS, TaskName
from aura_study.data.tokenization import TokenizedSplit, corpus_tokenizer, pretrained_tokenizer, tokenize_splits
from aura_study.runs.jobs import Job, footer, job_metadata, job_path, run_jobs
from aura_study.runs.parameters import Data
from aura_study.training.loop import TrainingSettings, train
from aura_study.training.model import AuraModel, build_encoder, checkpoint_name
from aura_study.training.recording import TrajectoryRecorder, read_trajectories
from aura_study.training.scores import macro_f1, samples_f1

PresenceName = Literal["mixed", "stretch", "alternating"]
"""All tasks in proportion in every batch; one of them away for a stretch of steps; one task per batch."""


class Presence(BaseModel):
    """Which tasks stand in which batch; ``start`` and ``stop`` count optimiser steps."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schedule: PresenceName = "mixed"
    absent: TaskName = "reporting"
    start: int = Field(0, ge=0)
    stop: int = Field(0, ge=0)

    def build(self, sizes: dict[str, int], batch_size: int, seed: int, accumulation: int) -> schedules.Schedule:
        """The schedule over micro-batches."""
        if self.schedule == "stretch":
            first, last = self.start * accumulation, self.stop * accumulation
            return schedules.stretch(sizes, batch_size, seed, self.absent, first, last)
        return {"mixed": schedules.mixed, "alternating": schedules.alternating}[self.schedule](sizes, batch_size, seed)


class TrainingJob(Job):
    """One training run: its data, model, presence and settings; equal jobs give equal trajectories."""

    code = ("import aura_study.training.runs",)

    data: Data = DEFAULT_DATASET
    rows: int | None = Field(None, ge=1, description="most training rows per task")
    dev_rows: int | None = Field(None, ge=1, description="most development rows per task, for the final score")
    encoder: str = "tiny"
    max_length: int = Field(128, ge=4, le=512)
    batch_size: int = Field(16, ge=4)
    presence: Presence = Presence()
    settings: TrainingSettings = TrainingSettings()

    @model_validator(mode="after")
    def _stretch_fits(self) -> "TrainingJob":
        if self.presence.schedule == "stretch" and self.presence.stop > self.settings.steps:
            raise ValueError(f"the stretch ends at step {self.presence.stop}, after the last of {self.settings.steps}")
        return self


@lru_cache(maxsize=2)
def _texts(data: Data, rows: int | None, dev_rows: int | None, encoder: str, max_length: int) -> "Prepared":
    corpus = load_corpus(data, rows=rows, dev_rows=dev_rows)
    tokenizer = corpus_tokenizer(corpus) if encoder == "tiny" else pretrained_tokenizer(encoder)
    return Prepared(corpus, tokenizer, max_length)


class Prepared:
    """A corpus, its tokenizer, and its rows as token ids."""

    def __init__(self, corpus: Corpus, tokenizer: PreTrainedTokenizerBase, max_length: int) -> None:
        self.corpus = corpus
        self.tokenizer = tokenizer
        self.train: dict[str, TokenizedSplit] = tokenize_splits(corpus.train, tokenizer, max_length)
        self.dev: dict[str, TokenizedSplit] = tokenize_splits(corpus.dev, tokenizer, max_length)


def prepare(job: TrainingJob) -> Prepared:
    """The job's data, tokenised; kept in memory for the next job with the same data."""
    return _texts(job.data, job.rows, job.dev_rows, checkpoint_name(job.encoder), job.max_length)


def build_model(job: TrainingJob, prepared: Prepared) -> AuraModel:
    """The job's untrained model, on the GPU where there is one; the seed decides every weight."""
    seed = job.settings.seed
    vocabulary, pad = len(prepared.tokenizer), prepared.tokenizer.pad_token_id
    encoder = build_encoder(job.encoder, vocabulary, job.max_length, seed, pad)
    attention_dropout = 0.0 if job.encoder == "tiny" else None
    model = AuraModel(encoder, tuple(TASKS.values()), attention_dropout=attention_dropout, seed=seed)
    if job.settings.dropout is not None:
        model.set_dropout(job.settings.dropout)
    return model.to("cuda" if torch.cuda.is_available() else "cpu")


def job_batches(job: TrainingJob, prepared: Prepared) -> Iterator[Batch]:
    """The job's micro-batches, without end."""
    settings = job.settings
    schedule = job.presence.build(prepared.corpus.sizes, job.batch_size, settings.seed, settings.accumulation)
    return Batches(prepared.train, schedule).iterate()


def run_job(job: TrainingJob, folder: Path) -> Path:
    """Train one job and record it under ``folder``, with the job, its key and the final scores as metadata."""
    path = job_path(job, folder)
    prepared = prepare(job)
    model = build_model(job, prepared)
    settings = job.settings
    device = next(model.parameters()).device
    with TrajectoryRecorder(path, TASK_NAMES, settings.policy, settings.seed, device) as recorder:
        train(model, job_batches(job, prepared), settings, recorder)
        dev = prepared.dev
        recorder.annotate(footer(job, {"macro_f1": macro_f1(model, dev), "samples_f1": samples_f1(model, dev)}))
    return path


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
