"""The pre-training and the fine-tunings of notebook 13, and what they recorded."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from aura_study.claims.statistics.intervals import seeds
from aura_study.experiments.pretraining.fine_tuning import ForgettingJob, run_forgetting
from aura_study.experiments.pretraining.language_model import (
    checkpoint_test,
    learning_curve,
    pretrain,
)
from aura_study.experiments.pretraining.parameters import (
    ADAM_MEMORY,
    ARMS,
    WARM_UPS,
    PretrainingParameters,
    RegimeName,
)
from aura_study.runs.jobs import job_metadata, run_jobs
from aura_study.training.loop import AURA, TrainingSettings
from aura_study.training.runs import Presence

WARM_UP_LOOKS = 7
"""Tests of the pre-training in a fine-tuning with a warm-up, the start and the end among them."""


def checkpoint_curve(p: PretrainingParameters) -> pd.DataFrame:
    """Pre-train, unless it is done or another's checkpoint is given: the learning curve, of the latter its one point.

    Raises:
        ValueError: ``p.checkpoint`` is no masked language model that this study can read.
    """
    job = p.pretraining()
    return learning_curve(pretrain(job), job) if p.checkpoint is None else checkpoint_test(p.checkpoint, job)


def settings(p: PretrainingParameters, regime: RegimeName, seed: int) -> TrainingSettings:
    """Settings of one fine-tuning."""
    sgd = regime == "sgd"
    rate = p.lr_sgd if sgd else p.lr_model
    return TrainingSettings(
        seed=seed,
        steps=p.steps,
        accumulation=1,
        optimizer="sgd" if sgd else "adamw",
        lr_encoder=rate,
        lr_heads=rate,
        lr_sigma=AURA.lr_sigma if regime == "own_rate" else p.lr_sigma,
        schedule="constant",
        clip_norm=None if regime in ("sgd", "unclipped") else AURA.clip_norm,
    )


def warm_up_settings(p: PretrainingParameters, share: float, seed: int) -> TrainingSettings:
    """AURA's way, its rates rising over a ``share`` of the steps and falling to 0 over the rest.

    The peak is twice the constant rate of `settings`, so that the rates add up to the same, whatever the share.
    """
    changed = {"lr_encoder": 2 * p.lr_model, "lr_heads": 2 * p.lr_model, "schedule": "linear", "warmup": share}
    return settings(p, "own_rate", seed).model_copy(update=changed)


def jobs(p: PretrainingParameters) -> list[ForgettingJob]:
    """A fine-tuning with an absence for every regime and seed, each with its arms."""
    away = Presence(schedule="stretch", absent=p.absent, start=p.before, stop=p.stop)
    return [
        ForgettingJob(
            name=f"forgetting-{regime}-seed{seed}",
            regime=regime,
            arms=ARMS[regime],
            probes=probes(p),
            presence=away,
            settings=settings(p, regime, seed),
            **_start(p),
        )
        for regime in ARMS
        for seed in seeds(p.seed_count)
    ]


def warm_up_jobs(p: PretrainingParameters) -> list[ForgettingJob]:
    """A fine-tuning without any absence for every warm-up and seed."""
    nobody = Presence(schedule="stretch", absent=p.absent, start=p.steps, stop=p.steps)
    looks = np.linspace(0, p.steps, WARM_UP_LOOKS).astype(int)[1:]
    return [
        ForgettingJob(
            name=f"warm-up-{share:g}-seed{seed}",
            regime=f"{share:g}",
            arms=("masked",),
            probes=tuple(map(int, looks)),
            presence=nobody,
            settings=warm_up_settings(p, share, seed),
            **_start(p),
        )
        for share in WARM_UPS
        for seed in seeds(p.seed_count)
    ]


def _start(p: PretrainingParameters) -> dict[str, Any]:
    """What all fine-tunings have in common: the checkpoint and the texts."""
    return {
        "encoder": p.checkpoint or "tiny",
        "pretraining": p.pretraining(),
        "batch_size": p.batch_size,
        "max_length": p.max_length,
        **p.on_corpus,
    }


def probes(p: PretrainingParameters) -> tuple[int, ...]:
    """Steps before which the encoder is tested: the moments, and a few between them for the curves."""
    way = [p.before, *np.linspace(p.before, p.stop, 4).astype(int), p.stop + 1, p.stop + 3]
    back = np.geomspace(ADAM_MEMORY, p.after, 4).astype(int) + p.stop
    return tuple(sorted({*p.moments.values(), *map(int, way), *map(int, back)}))


def fine_tune(work: Sequence[ForgettingJob], folder: Path, p: PretrainingParameters) -> list[Path]:
    """The jobs' files; those that are finished are not run again."""
    return run_jobs(run_forgetting, work, folder, p.workers, "fine-tuning")


def load(work: Sequence[ForgettingJob], files: Sequence[Path]) -> pd.DataFrame:
    """All fine-tunings, one row per arm and step: `PretrainingProbe.table`, policy (the arm), regime and seed."""
    frames = []
    for job, path in zip(work, files, strict=True):
        frames.append(pd.read_parquet(path).assign(regime=job.regime, seed=job.settings.seed))
    return pd.concat(frames, ignore_index=True)


def scores(work: Sequence[ForgettingJob], files: Sequence[Path]) -> pd.DataFrame:
    """Macro-F1 at the end by regime, policy and task: mean over seeds."""
    rows = []
    for job, path in zip(work, files, strict=True):
        for arm, found in job_metadata(path)["macro_f1"].items():
            rows += [{"regime": job.regime, "policy": arm, "task": task, "macro_f1": f1} for task, f1 in found.items()]
    return (
        pd.DataFrame(rows).groupby(["regime", "policy", "task"], sort=False)["macro_f1"].mean().unstack().reset_index()
    )
