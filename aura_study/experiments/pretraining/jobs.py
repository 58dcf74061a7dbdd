"""The pre-training and the fine-tunings of notebook 13, and what they recorded."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from aura_study.claims.statistics.intervals import seeds
from aura_study.experiments.pretraining.fine_tuning import ForgettingJob
from aura_study.experiments.pretraining.language_model import (
    checkpoint_identity,
    checkpoint_test,
    learning_curve,
    pretrain,
)
from aura_study.experiments.pretraining.parameters import ADAM_MEMORY, REGIMES, PretrainingParameters, RegimeName
from aura_study.runs.jobs import job_metadata
from aura_study.training.loop import AURA, TrainingSettings
from aura_study.training.runs import Presence


def checkpoint_curve(p: PretrainingParameters) -> pd.DataFrame:
    """Pre-train, unless it is done or another's checkpoint is given: the learning curve, of the latter its one point.

    Raises:
        ValueError: ``p.checkpoint`` is no masked language model that this study can read.
    """
    job = p.pretraining()
    return learning_curve(pretrain(job), job) if p.checkpoint is None else checkpoint_test(p.checkpoint, job)


def settings(p: PretrainingParameters, regime: RegimeName, policy: str, seed: int) -> TrainingSettings:
    """Settings of one fine-tuning; a policy ``"control"`` is the mask, which does nothing where no task is absent."""
    sgd = regime == "sgd"
    return TrainingSettings(
        policy="masked" if policy == "control" else policy,
        seed=seed,
        steps=p.steps,
        accumulation=1,
        optimizer="sgd" if sgd else "adamw",
        lr_encoder=p.lr_sgd if sgd else p.lr_model,
        lr_heads=p.lr_sgd if sgd else p.lr_model,
        lr_sigma=AURA.lr_sigma if regime == "own_rate" else p.lr_sigma,
        schedule="constant",
        clip_norm=None if regime in ("sgd", "unclipped") else AURA.clip_norm,
    )


def jobs(p: PretrainingParameters) -> list[ForgettingJob]:
    """Every regime, policy and seed, and a control for each regime and seed."""
    identity = "" if p.checkpoint is None else checkpoint_identity(p.checkpoint)
    away = Presence(schedule="stretch", absent=p.absent, start=p.before, stop=p.stop)
    nobody = Presence(schedule="stretch", absent=p.absent, start=p.stop, stop=p.stop)
    return [
        ForgettingJob(
            name=f"forgetting-{name}-{policy}-seed{seed}",
            regime=name,
            arm=policy,
            encoder=p.checkpoint or "tiny",
            identity=identity,
            pretraining=p.pretraining(),
            probes=probes(p),
            presence=nobody if policy == "control" else away,
            settings=settings(p, name, policy, seed),
            batch_size=p.batch_size,
            max_length=p.max_length,
            **p.on_corpus,
        )
        for name in REGIMES
        for place, seed in enumerate(seeds(p.seed_count))
        for policy in p.policies(name, place)
    ]


def probes(p: PretrainingParameters) -> tuple[int, ...]:
    """Steps before which the encoder is tested: the moments, and a few between them for the curves."""
    way = [p.before, *np.linspace(p.before, p.stop, 4).astype(int), p.stop + 1, p.stop + 3]
    back = np.geomspace(ADAM_MEMORY, p.after, 4).astype(int) + p.stop
    return tuple(sorted({*p.moments.values(), *map(int, way), *map(int, back)}))


def load(work: Sequence[ForgettingJob], files: Sequence[Path]) -> pd.DataFrame:
    """All fine-tunings, one row per step: `PretrainingProbe.frame`, regime, policy (or ``control``) and seed."""
    frames = []
    for job, path in zip(work, files, strict=True):
        frames.append(pd.read_parquet(path).assign(regime=job.regime, policy=job.arm, seed=job.settings.seed))
    return pd.concat(frames, ignore_index=True)


def scores(work: Sequence[ForgettingJob], files: Sequence[Path]) -> pd.DataFrame:
    """Macro-F1 at the end by regime, policy and task: mean over seeds."""
    rows = []
    for job, path in zip(work, files, strict=True):
        arm = {"regime": job.regime, "policy": job.arm}
        rows += [{**arm, "task": task, "macro_f1": f1} for task, f1 in job_metadata(path)["macro_f1"].items()]
    return (
        pd.DataFrame(rows).groupby(["regime", "policy", "task"], sort=False)["macro_f1"].mean().unstack().reset_index()
    )
