"""The trainings of notebook 04: through an absence, at AURA's own rate, and under AURA's mixing.

The first seed's versions are trained each on its own from the first step on, so that they can be seen to be one until
the return; those of the other seeds fork there (`aura_study.training.fork`).
"""

from pathlib import Path

from aura_study.claims.statistics.intervals import seeds
from aura_study.experiments.aura_training.parameters import AuraTrainingParameters
from aura_study.training.fork import train_forked
from aura_study.training.loop import AURA
from aura_study.training.runs import Presence, TrainingJob, train_jobs
from aura_study.training.weighting import POLICIES


def stretch_jobs(p: AuraTrainingParameters) -> list[TrainingJob]:
    """V10.1 and V10.2 through the same absence with every seed; frozen, which needs no statistics, with the first."""
    return [
        p.job(f"stretch-{policy}-seed{seed}", p.settings(policy, seed), p.stretch)
        for place, seed in enumerate(seeds(p.seed_count))
        for policy in POLICIES
        if policy != "frozen" or place == 0
    ]


def train_stretches(p: AuraTrainingParameters, folder: Path) -> list[Path]:
    """Files of `stretch_jobs`."""
    jobs = stretch_jobs(p)
    first = [job for job in jobs if job.settings.seed == jobs[0].settings.seed]
    files = train_jobs(first, folder, p.workers, "stretch, first seed")
    return files + train_forked(jobs[len(first) :], folder, p.workers, "stretch, other seeds")


def aura_rate_jobs(p: AuraTrainingParameters) -> list[TrainingJob]:
    """The same absence with sigma learning at AURA's own rate."""
    return [
        p.job(f"stretch-aura-rate-{policy}", p.settings(policy, 0, AURA.lr_sigma), p.stretch)
        for policy in ("unmasked", "masked")
    ]


def mixed_jobs(p: AuraTrainingParameters) -> list[TrainingJob]:
    """V10.1 and V10.2 under AURA's own mixing, where presence is left to chance."""
    return [
        p.job(f"mixed-{policy}", p.settings(policy, 0), Presence(schedule="mixed")) for policy in ("unmasked", "masked")
    ]
