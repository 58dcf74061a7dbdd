"""The pre-training and the fine-tunings of notebook 13, and what they recorded."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from aura_study.claims.statistics.intervals import seeds
from aura_study.experiments.pretraining.fine_tuning import ALONE, ArmName, ForgettingJob, LanguageModelJob, WatchedJob
from aura_study.experiments.pretraining.language_model import checkpoint_test, learning_curve, pretrain
from aura_study.experiments.pretraining.parameters import (
    ADAM_MEMORY,
    CYCLES,
    DOSES,
    WARM_UPS,
    PretrainingParameters,
    RegimeName,
)
from aura_study.experiments.pretraining.probing import ProbingJob, StartJob, run_start
from aura_study.runs.jobs import job_metadata, run_jobs
from aura_study.training.fork import train_forked
from aura_study.training.loop import AURA, TrainingSettings
from aura_study.training.runs import Presence

WARM_UP_LOOKS = 7
"""Tests of the pre-training in a fine-tuning with a warm-up, the start and the end among them."""
PROBED_REGIMES: tuple[RegimeName, ...] = ("clipped", "sgd")
PROBED_DOSES = (DOSES[0], DOSES[-1])


def checkpoint_curve(p: PretrainingParameters) -> pd.DataFrame:
    """Pre-train, unless it is done or another's checkpoint is given: the learning curve, of the latter its one point.

    Raises:
        ValueError: ``p.checkpoint`` is no masked language model that this study can read.
    """
    job = p.pretraining()
    return learning_curve(pretrain(job), job) if p.checkpoint is None else checkpoint_test(p.checkpoint, job)


def settings(p: PretrainingParameters, regime: RegimeName, seed: int, rate: float | None = None) -> TrainingSettings:
    """Settings of one fine-tuning up to where the harm is judged; ``rate`` is AdamW's, and SGD's goes with it."""
    sgd, rate = regime == "sgd", rate or p.lr_model
    rate *= p.lr_sgd / p.lr_model if sgd else 1.0
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


@dataclass(frozen=True)
class Arm:
    """What one arm does from the return on: its sigma, steps after the last return, number of returns."""

    name: ArmName
    rates: float
    back: int
    returns: int = 1


def language_arms(p: PretrainingParameters, regime: RegimeName, few: bool) -> list[Arm]:
    """The arms of one fine-tuning of the language model; ``few``: with those that not all seeds have."""
    back = p.healed if regime in ("clipped", "sgd") else p.after
    arms = [Arm("masked", 0.0, back), Arm("unmasked", p.rates(regime), back)]
    if regime == "clipped":
        arms.append(Arm("alone", 0.0, p.after))
        arms += [Arm("unmasked", rates, p.after) for rates in DOSES if few]
        arms += [replace(arm, back=p.after, returns=CYCLES) for arm in arms[:2] if few]
    return arms


def probed_arms(p: PretrainingParameters, regime: RegimeName) -> list[Arm]:
    """The arms of one fine-tuning of the probed encoder."""
    back, rates = p.healed if regime == "clipped" else p.after, p.rates(regime)
    arms = [Arm("masked", 0.0, back), Arm("unmasked", rates, back)]
    return arms + [Arm("unmasked", dose, p.after) for dose in PROBED_DOSES if regime == "clipped"]


def jobs(p: PretrainingParameters) -> list[ForgettingJob]:
    """The language model's fine-tunings through an absence, a job for every regime, seed and arm."""
    return [
        ForgettingJob(**_through_absence(p, "forgetting", regime, arm, seed), **_language_model(p))
        for regime in p.regimes
        for seed in seeds(p.seed_count if regime == "clipped" else p.fewer)
        for arm in language_arms(p, regime, few=seed < p.few_seeds)
    ]


def probed_jobs(p: PretrainingParameters) -> list[ProbingJob]:
    """The probed encoder's, if there is one."""
    return [
        ProbingJob(
            **_through_absence(p, "probing", regime, arm, seed, p.probed_lr),
            encoder=p.probed,
            probe_rows=p.probed_rows,
            batch_size=p.probed_batch,
            max_length=p.max_length,
            **p.on_corpus,
        )
        for regime in PROBED_REGIMES
        for seed in range(p.few_seeds if p.probed else 0)
        for arm in probed_arms(p, regime)
    ]


def _through_absence(
    p: PretrainingParameters, what: str, regime: RegimeName, arm: Arm, seed: int, rate: float | None = None
) -> dict[str, Any]:
    """Fields of a job that say what its arm does."""
    several, own = arm.returns > 1, arm.name != "unmasked" or arm.rates == p.rates(regime)
    turn = p.absent_steps + p.after
    policy, steps = arm.name if arm.name == "unmasked" else "masked", p.stop + arm.back + turn * (arm.returns - 1)
    return {
        "name": f"{what}-{'cycles' if several else regime}-{arm.name}-{arm.rates:.3g}-seed{seed}",
        "regime": "cycles" if several else regime,
        "arm": arm.name,
        "rates": arm.rates,
        "absence_rate": None if own else arm.rates / p.absent_steps,
        "shift": -ALONE if arm.name == "alone" else 0.0,
        "looks": looks(p, several) if what == "forgetting" else (p.steps,),
        "presence": Presence(
            schedule="stretch", absent=p.absent, start=p.before, stop=p.stop, every=turn if several else None
        ),
        "settings": settings(p, regime, seed, rate).model_copy(update={"policy": policy, "steps": steps}),
    }


def warm_up_jobs(p: PretrainingParameters) -> list[LanguageModelJob]:
    """A fine-tuning without any absence for every warm-up and seed."""
    nobody = Presence(schedule="stretch", absent=p.absent, start=p.steps, stop=p.steps)
    seen = np.linspace(0, p.steps, WARM_UP_LOOKS).astype(int)[1:]
    return [
        LanguageModelJob(
            name=f"warm-up-{share:g}-seed{seed}",
            regime=f"{share:g}",
            looks=tuple(map(int, seen)),
            presence=nobody,
            settings=warm_up_settings(p, share, seed),
            **_language_model(p),
        )
        for share in WARM_UPS
        for seed in range(p.seed_count if p.few_seeds else 0)
    ]


def start_job(p: PretrainingParameters) -> StartJob:
    """What the probed encoder knows before any fine-tuning."""
    return StartJob(
        name="probed_start", data=p.data, encoder=p.probed or "", rows=p.probed_rows, max_length=p.max_length
    )


def _language_model(p: PretrainingParameters) -> dict[str, Any]:
    """What all fine-tunings of the language model have in common: the checkpoint and the texts."""
    return {
        "encoder": p.checkpoint or "tiny",
        "pretraining": p.pretraining(),
        "batch_size": p.batch_size,
        "max_length": p.max_length,
        **p.on_corpus,
    }


def looks(p: PretrainingParameters, several: bool = False) -> tuple[int, ...]:
    """Steps before which the language model is tested: the moments, and a few between them for the curves.

    Of an arm with ``several`` returns, each return and the step at which its harm is judged.
    """
    if several:
        turns = (p.absent_steps + p.after) * np.arange(CYCLES)
        return tuple(sorted(map(int, [*(p.stop + turns), *(p.steps + turns)])))
    back = np.geomspace(ADAM_MEMORY, p.healed, 5).round().astype(int) + p.stop
    return tuple(sorted({*p.moments.values(), p.stop + 1, *map(int, back)}))


def fine_tune(work: Sequence[WatchedJob], folder: Path, p: PretrainingParameters) -> list[Path]:
    """The jobs' files; those that are finished are not run again."""
    return train_forked(work, folder, p.workers, "fine-tuning")


def probed_start(p: PretrainingParameters, folder: Path) -> pd.DataFrame:
    """What the probed encoder knows as it was pre-trained, and what random starts know: start, probe, retrieval."""
    (path,) = run_jobs(run_start, [start_job(p)], folder, 1, "what was learned")
    return pd.read_parquet(path)


def load(work: Sequence[WatchedJob], files: Sequence[Path]) -> pd.DataFrame:
    """All fine-tunings, one row per arm and step: the probe's table, regime, policy (the arm), rates and seed."""
    frames = []
    for job, path in zip(work, files, strict=True):
        arm: dict[str, Any] = {"regime": job.regime, "policy": job.arm, "rates": job.rates, "seed": job.settings.seed}
        frames.append(pd.read_parquet(path).assign(**arm))
    return pd.concat(frames, ignore_index=True)


def scores(work: Sequence[WatchedJob], files: Sequence[Path]) -> pd.DataFrame:
    """Macro-F1 at the end by regime, policy, rates and task: mean over seeds."""
    keys = ["regime", "policy", "rates"]
    rows = []
    for job, path in zip(work, files, strict=True):
        arm = {"regime": job.regime, "policy": job.arm, "rates": job.rates}
        rows += [{**arm, "task": task, "f1": f1} for task, f1 in job_metadata(path)["macro_f1"].items()]
    return pd.DataFrame(rows).groupby([*keys, "task"], sort=False)["f1"].mean().unstack().reset_index()
