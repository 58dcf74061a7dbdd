"""Balancers on the AURA model, at least one for each thing that a zero does: a zero against the present tasks only.

Both arms of a pair see the same batches with the same seed; in a stretch they are one run until the task goes away.
"""

from functools import lru_cache
from pathlib import Path
from typing import Literal

import pandas as pd
import torch
from pydantic import Field
from torch import Tensor

from aura_study.balancing import Effect, balancer
from aura_study.claims.statistics.intervals import seeds
from aura_study.data.batches import Batch
from aura_study.data.registry import load_corpus
from aura_study.data.tasks import TASK_NAMES, TASKS
from aura_study.data.tokenization import corpus_tokenizer
from aura_study.experiments.balancers.model_balancer import ModelBalancer
from aura_study.experiments.balancers.parameters import BalancersParameters
from aura_study.runs.jobs import keep_table, run_jobs
from aura_study.runs.parameters import Data
from aura_study.training.loop import NonFiniteError, TrainingSettings, task_loss, train
from aura_study.training.model import AuraModel
from aura_study.training.runs import Prepared, Presence, TrainingJob, build_model, job_batches

ON_MODEL = ("UW", "DWA", "Geometric mean", "FAMO", "MGDA", "UPGrad")
"""A zero lets the first return too strong, makes the second NaN, stops the next three and shrinks the last."""
STOPPED = tuple(name for name in ON_MODEL if balancer(name).during in (Effect.STOPPED, Effect.NAN))
"""Those of them that a zero stops or breaks, by the registry (claim N1b)."""
ABSENT = "reporting"
PRESENT = tuple(task for task in TASK_NAMES if task != ABSENT)
ARMS = ("zero", "PresentOnly")
TWIN_STEPS = 6


class BalancedJob(TrainingJob):
    """A training run with a balancer of the registry; one micro-batch a step, few rows of the task that goes away."""

    code = ("import aura_study.experiments.balancers.on_model",)

    balancer: Literal[ON_MODEL]  # type: ignore[valid-type]
    arm: Literal["zero", "PresentOnly"]
    reporting_rows: int = Field(101, ge=1)
    epoch: int = Field(10, ge=1, description="steps of DWA's epoch")


class TwinJob(BalancedJob):
    """The cured balancer, one task never there, and a balancer made for the other three."""


@lru_cache(maxsize=2)
def _texts(data: Data, rows: int | None, reporting_rows: int, max_length: int) -> Prepared:
    limits = {task: rows for task in PRESENT if rows is not None}
    corpus = load_corpus(data, rows={**limits, ABSENT: reporting_rows}, dev_rows=1)  # nothing is scored
    return Prepared(corpus, corpus_tokenizer(corpus), max_length)


def prepared_for(job: BalancedJob) -> Prepared:
    """The job's data, tokenised, with few rows of the task that goes away."""
    return _texts(job.data, job.rows, job.reporting_rows, job.max_length)


class _Observer:
    """Ends a balancer's steps."""

    def __init__(self, weighing: ModelBalancer, settings: TrainingSettings) -> None:
        self.weighing, self.settings = weighing, settings

    def gradients(self, step: int, model: AuraModel, optimizer: torch.optim.Optimizer) -> None:
        """Nothing to do."""

    def updated(self, step: int, model: AuraModel, optimizer: torch.optim.Optimizer) -> None:
        """FAMO's losses after the step, DWA's epoch."""
        after = {}
        if self.weighing.session.needs_losses_after and self.weighing.batch is not None:
            with torch.no_grad():
                after = _losses(model, self.weighing.batch, self.settings)
        self.weighing.moved(after)


def _losses(model: AuraModel, batch: Batch, settings: TrainingSettings) -> dict[str, Tensor]:
    return {
        task: task_loss(TASKS[task], logits, batch.labels[task], settings.gamma, settings.label_smoothing)
        for task, logits in model(batch).items()
    }


def run_balanced(job: BalancedJob, folder: Path) -> Path:
    """Train one job, or twins; a run that stops being finite is recorded as stopped."""
    prepared = prepared_for(job)
    if isinstance(job, TwinJob):
        return keep_table(job, pd.DataFrame([_twins(job, prepared)]), folder)
    model = build_model(job, prepared)
    weighing = ModelBalancer(balancer(job.balancer), TASK_NAMES, model, job.arm == "PresentOnly", job.epoch)
    stopped = None
    try:
        _train(job, prepared, model, weighing)
    except NonFiniteError as error:
        stopped = str(error)
    return keep_table(job, pd.DataFrame(weighing.rows), folder, stopped=stopped)


def _train(job: BalancedJob, prepared: Prepared, model: AuraModel, weighing: ModelBalancer) -> None:
    batches = weighing.watched(job_batches(job, prepared))
    train(model, batches, job.settings, weighting=weighing, observer=_Observer(weighing, job.settings))


def _twins(job: BalancedJob, prepared: Prepared) -> dict[str, object]:
    """Where the two encoders end: their distance over the way that the second has gone."""
    ends = []
    for tasks, cured in ((TASK_NAMES, True), (PRESENT, False)):
        model = build_model(job, prepared)
        start = _encoder(model)
        weighing = ModelBalancer(balancer(job.balancer), tasks, model, cured, job.epoch)
        _train(job, prepared, model, weighing)
        ends.append(_encoder(model))
    way = float((ends[1] - start).norm())
    return {"balancer": job.balancer, "way": way, "apart": float((ends[0] - ends[1]).norm()) / way}


def _encoder(model: AuraModel) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.encoder.parameters()])


def model_jobs(p: BalancersParameters) -> list[BalancedJob]:
    """Both arms of every balancer and seed through a stretch."""
    back = p.model_before + p.model_absent
    stretch = Presence(schedule="stretch", absent=ABSENT, start=p.model_before, stop=back)
    return [
        _job(p, f"{_slug(name)}-{arm}-seed{seed}", name, arm, seed, stretch, back + p.model_back, p.model_epoch)
        for name in ON_MODEL
        for arm in ARMS
        for seed in seeds(p.model_seeds, p.seed)
    ]


def twin_jobs(p: BalancersParameters) -> list[TwinJob]:
    """One pair of twins for every balancer."""
    away = Presence(schedule="stretch", absent=ABSENT, start=0, stop=TWIN_STEPS)
    jobs = [
        _job(p, f"twins-{_slug(name)}", name, "PresentOnly", p.seed, away, TWIN_STEPS, epoch=2) for name in ON_MODEL
    ]
    return [TwinJob(**job.model_dump()) for job in jobs]


def _slug(name: str) -> str:
    return name.lower().replace(" ", "-")


def _job(
    p: BalancersParameters,
    name: str,
    balancer_name: str,
    arm: str,
    seed: int,
    presence: Presence,
    steps: int,
    epoch: int,
) -> BalancedJob:
    settings = TrainingSettings(
        seed=seed,
        steps=steps,
        accumulation=1,
        lr_encoder=p.lr_model,
        lr_heads=p.lr_model,
        lr_sigma=p.balancer_lr,
        weight_decay_sigma=0.0,
        schedule="constant",
    )
    return BalancedJob.model_validate(
        {
            "name": f"balancer-{name}",
            "balancer": balancer_name,
            "arm": arm,
            "epoch": epoch,
            "presence": presence,
            "settings": settings,
            "batch_size": p.batch_size,
            "max_length": p.max_length,
            **p.model_dump(include={"data", "rows", "reporting_rows"}),
        }
    )


def run_all(p: BalancersParameters, folder: Path) -> tuple[list[Path], list[Path]]:
    """Every run that is not finished, one core each: files of the arms, and of the twins."""
    arms, twins = model_jobs(p), twin_jobs(p)
    files = run_jobs(run_balanced, [*arms, *twins], folder, p.workers, "balancers on the model")
    return files[: len(arms)], files[len(arms) :]
