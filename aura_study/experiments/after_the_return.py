"""The return of an absent task on the AURA model (claims P6a and P7): SGD and AdamW, with and without clipping.

An *arm* is one optimiser with one setting of clipping. In each, V10.1 and V10.2 see the same batches with the same seed
through the same absence; V10.2 is V10.1's *twin*, what would have been with the mask. Theory predicts V10.1's sigma
from the twin's losses alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import Field

from aura_study.data.tasks import TaskName
from aura_study.datasets import DEFAULT_DATASET
from aura_study.experiments.poisoning import ReturnJob, run_return
from aura_study.experiments.training_runs import Presence
from aura_study.jobs import job_metadata, run_jobs
from aura_study.parameters import Data, Parameters, Workers
from aura_study.statistics import seeds
from aura_study.theory.driven import driven_path
from aura_study.theory.forms import LOG_SIGMA
from aura_study.theory.optimizers import SGD, Adam, Optimizer
from aura_study.training import OptimizerName, TrainingSettings

FORM = LOG_SIGMA
OPTIMIZERS: dict[str, Optimizer] = {"adamw": Adam(), "sgd": SGD()}
"""As theory knows them; sigma's weight decay is off in these runs."""
POLICIES = ("masked", "unmasked")


@dataclass(frozen=True)
class Arm:
    """One optimiser, with or without clipping of the model's gradient."""

    name: str
    optimizer: OptimizerName
    clipped: bool


ARMS = (
    Arm("AdamW", "adamw", False),
    Arm("AdamW, clipped", "adamw", True),
    Arm("SGD", "sgd", False),
    Arm("SGD, clipped", "sgd", True),
)


class AfterTheReturnParameters(Parameters):
    """Parameters of notebook ``12_after_the_return``."""

    notebook = "12_after_the_return"
    profiles = {
        "smoke": {
            "seed_count": 1,
            "before": 5,
            "absent_steps": 8,
            "after": 6,
            "short_steps": 2,
            "short_after": 4,
            "lr_sigma": 0.3,
            "rows": 200,
            "dev_rows": 16,
            "workers": 1,
        },
        "full": {
            "seed_count": 5,
            "before": 100,
            "absent_steps": 60,
            "after": 200,
            "short_steps": 12,
            "short_after": 60,
            "lr_sigma": 0.05,
            "batch_size": 16,
            "dev_rows": 300,
        },
    }

    data: Data = DEFAULT_DATASET
    encoder: str = Field("tiny", description="tiny, aura (roberta-base), any hub id, or a local folder")
    absent: TaskName = Field("reporting", description="task that goes absent and returns")
    seed_count: int = Field(3, ge=1, le=100, description="seeds of every run")
    before: int = Field(10, ge=2, description="steps before the absence")
    absent_steps: int = Field(48, ge=1, description="steps of the long absence")
    after: int = Field(52, ge=4, description="steps after the return from the long absence")
    short_steps: int = Field(12, ge=1, description="steps of the short absence")
    short_after: int = Field(16, ge=4, description="steps after the return from the short absence")
    lr_sigma: float = Field(0.075, gt=0, le=1, description="learning rate of sigma")
    lr_adamw: float = Field(0.0005, gt=0, le=1, description="AdamW's rate for encoder and heads")
    lr_sgd: float = Field(0.01, gt=0, le=10, description="SGD's rate for encoder and heads")
    clip_norm: float = Field(1.0, gt=0, description="bound on the model's gradient norm in the clipped arms")
    batch_size: int = Field(8, ge=4, le=4096, description="rows of a batch")
    max_length: int = Field(64, ge=8, le=512, description="tokens after which a text is cut")
    rows: int | None = Field(None, ge=16, description="most training rows per task; none keeps the corpus's own sizes")
    dev_rows: int | None = Field(50, ge=16, description="most development rows per task, for the scores")
    workers: Workers = 0

    @property
    def checkpoints(self) -> dict[str, int]:
        """Steps after which a run through the long absence is scored, by name."""
        back = self.before + self.absent_steps
        return {"soon after": back + self.after // 10, "end": back + self.after - 1}

    def length(self, stretch: str) -> tuple[int, int]:
        """Absent steps and steps after the return, of the ``long`` or the ``short`` absence."""
        return (self.absent_steps, self.after) if stretch == "long" else (self.short_steps, self.short_after)

    def job(self, arm: Arm, stretch: str, policy: str, seed: int) -> ReturnJob:
        """One run."""
        absent, after = self.length(stretch)
        back = self.before + absent
        rate = self.lr_adamw if arm.optimizer == "adamw" else self.lr_sgd
        settings = TrainingSettings.model_validate(
            {
                "policy": policy,
                "seed": seed,
                "steps": back + after,
                "accumulation": 1,
                "optimizer": arm.optimizer,
                "lr_encoder": rate,
                "lr_heads": rate,
                "lr_sigma": self.lr_sigma,
                "weight_decay_sigma": 0.0,
                "schedule": "constant",
                "clip_norm": self.clip_norm if arm.clipped else None,
            }
        )
        return ReturnJob(
            name=f"return-{stretch}-{arm.name.lower().replace(', ', '-')}-{policy}-seed{seed}",
            presence=Presence(schedule="stretch", absent=self.absent, start=self.before, stop=back),
            settings=settings,
            checkpoints=tuple(self.checkpoints.values()) if stretch == "long" else (),
            **self.model_dump(include={"data", "encoder", "rows", "dev_rows", "max_length", "batch_size"}),
        )


@dataclass(frozen=True)
class Run:
    """What tells a run from the others."""

    arm: Arm
    stretch: str
    policy: str
    seed: int


def plan(p: AfterTheReturnParameters) -> list[Run]:
    """Both policies in all four arms through the long absence, and without clipping through the short one."""
    return [
        Run(arm, stretch, policy, seed)
        for seed in seeds(p.seed_count)
        for stretch in ("long", "short")
        for arm in ARMS
        for policy in POLICIES
        if stretch == "long" or not arm.clipped
    ]


def train_all(p: AfterTheReturnParameters, folder: Path) -> list[Path]:
    """Files of all runs of `plan`, trained where they are not there already."""
    jobs = [p.job(run.arm, run.stretch, run.policy, run.seed) for run in plan(p)]
    return run_jobs(run_return, jobs, folder, p.workers, "returns")


def load(p: AfterTheReturnParameters, paths: Sequence[Path]) -> pd.DataFrame:
    """Rows of all runs, with arm, optimizer, clipped, stretch, policy, seed, the twin's values, and theory.

    ``since``: steps since the return; ``predicted_theta``: log sigma of the absent task, driven through the whole run
    by the twin's losses, so that for V10.1 no value of its own run is used.
    """
    frames = {run: pd.read_parquet(path) for run, path in zip(plan(p), paths, strict=True)}
    told = []
    for run, frame in frames.items():
        twin = frames[Run(run.arm, run.stretch, "masked", run.seed)]
        path = driven_path(
            FORM, 0.0, twin["loss"], p.lr_sigma, OPTIMIZERS[run.arm.optimizer], masked=run.policy == "masked"
        )
        told.append(
            frame.assign(
                arm=run.arm.name,
                optimizer=run.arm.optimizer,
                clipped=run.arm.clipped,
                stretch=run.stretch,
                policy=run.policy,
                seed=run.seed,
                since=frame["step"] - p.before - p.length(run.stretch)[0],
                predicted_theta=path[:-1],
                predicted_weight=FORM.weight(path[:-1]),
                twin_loss=twin["loss"],
                twin_weight=twin["weight"],
                twin_theta=twin["theta"],
            )
        )
    return pd.concat(told, ignore_index=True)


def dev_scores(p: AfterTheReturnParameters, paths: Sequence[Path]) -> pd.DataFrame:
    """Development macro-F1 of every run through the long absence: arm, policy, seed, checkpoint, task, macro_f1."""
    rows = []
    for run, path in zip(plan(p), paths, strict=True):
        stored = job_metadata(path)["dev"]
        for name, step in p.checkpoints.items():
            for task, score in stored.get(str(step), {}).items():
                common = {"arm": run.arm.name, "policy": run.policy, "seed": run.seed}
                rows.append({**common, "checkpoint": name, "task": task, "macro_f1": score})
    return pd.DataFrame(rows)


def q_classes(p: AfterTheReturnParameters, paths: Sequence[Path]) -> dict[tuple[str, int], pd.DataFrame]:
    """Distribution of q over the encoder's parameters in V10.2's runs under AdamW, by arm and seed."""
    return {
        (run.arm.name, run.seed): pd.DataFrame(job_metadata(path)["classes"])
        for run, path in zip(plan(p), paths, strict=True)
        if run.policy == "masked" and run.stretch == "long" and run.arm.optimizer == "adamw"
    }


def log_weight_ratio(frame: pd.DataFrame, theta: str = "theta", aim: str = "twin_theta") -> np.ndarray:
    """Log of a weight over the twin's, from log sigma: finite where the weight itself underflows."""
    return 2 * (frame[aim] - frame[theta]).to_numpy()
