"""Small real runs shared by tests: a corpus of a few hundred rows, the tiny RoBERTa, a few steps."""

from functools import lru_cache

from aura_study.data.batches import Batches
from aura_study.training.loop import TrainingSettings
from aura_study.training.model import AuraModel
from aura_study.training.runs import Prepared, Presence, TrainingJob, build_model, prepare


def settings(**changes) -> TrainingSettings:
    """A dozen steps at rates that move things."""
    defaults = {
        "steps": 12,
        "accumulation": 1,
        "lr_encoder": 1e-3,
        "lr_heads": 1e-3,
        "lr_sigma": 1e-2,
        "schedule": "constant",
    }
    return TrainingSettings(**{**defaults, **changes})


def job(name: str = "small", presence: Presence | None = None, **changes) -> TrainingJob:
    """A training job on 64 rows a task."""
    presence = presence or Presence(schedule="stretch", absent="reporting", start=4, stop=8)
    return TrainingJob(name=name, rows=64, dev_rows=16, max_length=32, presence=presence, settings=settings(**changes))


@lru_cache(maxsize=1)
def prepared() -> Prepared:
    """The small corpus, tokenised once for all tests of a process."""
    return prepare(job())


def model(seed: int = 0) -> AuraModel:
    """A fresh tiny model."""
    return build_model(job(seed=seed), prepared())


def batches(work: TrainingJob) -> Batches:
    """The batches of a job."""
    accumulation = work.settings.accumulation
    schedule = work.presence.build(prepared().corpus.sizes, work.batch_size, work.settings.seed, accumulation)
    return Batches(prepared().train, schedule)
