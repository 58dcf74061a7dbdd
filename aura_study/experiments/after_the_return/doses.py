r"""What a return costs a model that has learned, by how far sigma fell in the absence: the trainings.

The model trains until it has learned, one task goes absent, and at its return the training forks
(`aura_study.training.fork`): each *arm* goes on with the sigma that the mask has left, its logarithm lower by the
arm's *dose*. So two arms differ in one number at one step, and in what follows from it. How far V10.1's own absence
lets sigma fall is another matter: under Adam, the phantom number :math:`\Lambda` for a loss of little noise, and much
less for a solved task's, which is nearly 0 but for a few rows; the arm ``unmasked`` shows it.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from aura_study.claims.statistics.intervals import seeds
from aura_study.experiments.after_the_return.parameters import ARMS, AfterTheReturnParameters, Arm
from aura_study.experiments.after_the_return.scored import DoseJob, ScoredJob
from aura_study.runs.jobs import job_metadata
from aura_study.training.fork import train_forked
from aura_study.training.loop import TrainingSettings
from aura_study.training.runs import Presence, train_jobs
from aura_study.training.weighting import POLICIES

DOSES = (0.04, 1.0, 2.0, 3.0, 5.0)
"""How far log sigma has fallen: by what AURA's own rate makes of an epoch's absence, and farther."""
FEW_DOSES = (1.0, 3.0, 5.0)
"""Under the other ways to optimise."""
SHOWN_DOSE = 3.0
"""The dose that the claims speak of, and the phantom number of sigma's own rate."""
ADAMW, CLIPPED, _, SGD = ARMS  # SGD with clipping: without it the first step back is the whole spike's
CYCLES = 3
CURVE = 10
"""Looks at a control on its way."""


def arms(p: AfterTheReturnParameters) -> Iterator[tuple[Arm, str, int, DoseJob]]:
    """Way to optimise, name, seed and job of every arm."""
    few = range(min(p.few_seeds, p.dose_seeds))
    for seed in seeds(p.dose_seeds):
        yield from (
            (CLIPPED, name, seed, job)
            for name, job in {
                "masked": _arm(p, CLIPPED, "masked", seed),
                "unmasked": _arm(p, CLIPPED, "unmasked", seed),
                **{f"{dose:g}": _arm(p, CLIPPED, f"{dose:g}", seed, shift=-dose) for dose in DOSES},
                "alone": _arm(p, CLIPPED, "alone", seed, alone=True),
            }.items()
        )
    for seed in few:
        yield CLIPPED, "frozen", seed, _arm(p, CLIPPED, "frozen", seed)
        for policy in ("masked", "unmasked"):
            yield CLIPPED, f"cycles, {policy}", seed, _cycles(p, policy, seed)
        for way in (ADAMW, SGD):
            yield way, "masked", seed, _arm(p, way, "masked", seed)
            for dose in FEW_DOSES:
                yield way, f"{dose:g}", seed, _arm(p, way, f"{dose:g}", seed, shift=-dose)


def _arm(p: AfterTheReturnParameters, way: Arm, name: str, seed: int, **changes: Any) -> DoseJob:
    policy = name if name in POLICIES else "masked"  # once the task is back, they are all one
    away = Presence(schedule="stretch", absent=p.absent, start=p.dose_before, stop=p.dose_stop)
    return DoseJob(
        name=f"dose-{_slug(way.name)}-{name}-seed{seed}",
        presence=away,
        settings=settings(p, way, policy, seed, p.dose_stop + p.dose_after),
        moments=p.moments,
        **p.on_learned,
        **changes,
    )


def _cycles(p: AfterTheReturnParameters, policy: str, seed: int) -> DoseJob:
    """The absence three times, with half as many steps between as are watched after a single one."""
    ends = cycle_ends(p)
    arm = _arm(p, CLIPPED, policy, seed)
    return DoseJob(
        **{
            **dict(arm),
            "name": f"cycles-{policy}-seed{seed}",
            "presence": arm.presence.model_copy(update={"every": ends[1] - ends[0]}),
            "settings": settings(p, CLIPPED, policy, seed, p.dose_stop + ends[-1]),
            "moments": tuple(sorted({*arm.moments, *ends})),
        }
    )


def cycle_ends(p: AfterTheReturnParameters) -> list[int]:
    """Steps since the first return at which each of the `CYCLES` ends."""
    between = p.dose_after // 2
    return [between + cycle * (p.dose_absent + between) for cycle in range(CYCLES)]


def _slug(name: str) -> str:
    return name.lower().replace(", ", "-")


def settings(p: AfterTheReturnParameters, way: Arm, policy: str, seed: int, steps: int) -> TrainingSettings:
    """Settings of a training of the model that is to learn."""
    rate = p.lr_learned if way.optimizer == "adamw" else p.lr_learned_sgd
    return TrainingSettings(
        policy=policy,
        seed=seed,
        steps=steps,
        accumulation=1,
        optimizer=way.optimizer,
        lr_encoder=rate,
        lr_heads=rate,
        lr_sigma=p.rate(SHOWN_DOSE),
        weight_decay_sigma=0.0,
        schedule="constant",
        clip_norm=p.clip_norm if way.clipped else None,
    )


def controls(p: AfterTheReturnParameters) -> dict[tuple[str, int], ScoredJob]:
    """Trainings without an absence, as long as an arm, with the frozen layers; and to compare, two of all layers."""
    steps = p.dose_stop + p.dose_after
    few = min(p.few_seeds, p.dose_seeds)
    kinds = [("as the arms", seed, p.frozen_layers) for seed in range(max(1, few))]
    kinds += [("all layers", seed, 0) for seed in range(min(2, few) if p.frozen_layers else 0)]
    return {
        (kind, seed): ScoredJob(
            name=f"control-{kind.replace(' ', '-')}-seed{seed}",
            presence=Presence(schedule="stretch", absent=p.absent),
            settings=settings(p, CLIPPED, "masked", seed, steps),
            moments=tuple(steps * (look + 1) // CURVE for look in range(CURVE)),
            **{**p.on_learned, "frozen_layers": layers},
        )
        for kind, seed, layers in kinds
    }


def train_arms(p: AfterTheReturnParameters, folder: Path) -> list[Path]:
    """Files of all `arms`."""
    return train_forked([job for *_, job in arms(p)], folder, p.workers, "doses")


def train_controls(p: AfterTheReturnParameters, folder: Path) -> list[Path]:
    """Files of all `controls`."""
    return train_jobs(list(controls(p).values()), folder, p.workers, "controls")


def steps(p: AfterTheReturnParameters, files: Sequence[Path]) -> pd.DataFrame:
    """`Scorer.table` of all arms, with way, arm and seed."""
    frames = [
        pd.read_parquet(path).assign(way=way.name, arm=arm, seed=seed)
        for (way, arm, seed, _), path in zip(arms(p), files, strict=True)
    ]
    return pd.concat(frames, ignore_index=True)


def scores(p: AfterTheReturnParameters, files: Sequence[Path]) -> pd.DataFrame:
    """Development scores: way, arm, seed, since, task, auc, log_loss, macro_f1."""
    rows = [
        {"way": way.name, "arm": arm, "seed": seed, **row}
        for (way, arm, seed, _), path in zip(arms(p), files, strict=True)
        for row in job_metadata(path)["scores"]
    ]
    return pd.DataFrame(rows)


def control_scores(p: AfterTheReturnParameters, files: Sequence[Path]) -> pd.DataFrame:
    """Development scores of the controls on their way: layers, seed, step, task, auc, log_loss, macro_f1."""
    rows = [
        {"layers": kind, "seed": seed, **row}
        for (kind, seed), path in zip(controls(p), files, strict=True)
        for row in job_metadata(path)["scores"]
    ]
    return pd.DataFrame(rows).rename(columns={"since": "step"})
