"""One point of a grid of training runs: its parameters, its job, and what the summary shows of its record."""

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from aura_study.data.registry import BUILT, DEFAULT_DATASET
from aura_study.data.tasks import TaskName
from aura_study.runs.jobs import job_metadata
from aura_study.runs.parameters import Data, Encoder
from aura_study.training.loop import TrainingSettings
from aura_study.training.recording import read_trajectories
from aura_study.training.runs import Presence, PresenceName, TrainingJob


class TrainingPoint(TrainingSettings):
    """One training run; the settings' defaults are AURA's own."""

    data: Data = DEFAULT_DATASET
    rows: int | None = Field(None, ge=1, description="most training rows per task")
    dev_rows: int | None = Field(None, ge=1, description="most development rows per task, for the scores")
    encoder: Encoder = BUILT
    max_length: int = Field(128, ge=4, le=512, description="most tokens of a text")
    batch_size: int = Field(16, ge=4, description="rows of a micro-batch")
    presence: PresenceName = Field("mixed", description="what stands in which batch")
    absent: TaskName = Field("reporting", description="the task that a stretch leaves out")
    absent_start: int = Field(0, ge=0, description="first step of the stretch")
    absent_stop: int = Field(0, ge=0, description="first step after it")

    @model_validator(mode="after")
    def _job_is_possible(self) -> Self:
        self.job("check")
        return self

    def job(self, name: str) -> TrainingJob:
        """The training job."""
        own = {field: getattr(self, field) for field in TrainingSettings.model_fields}
        presence = Presence(schedule=self.presence, absent=self.absent, start=self.absent_start, stop=self.absent_stop)
        return TrainingJob(
            name=name,
            data=self.data,
            rows=self.rows,
            dev_rows=self.dev_rows,
            encoder=self.encoder,
            max_length=self.max_length,
            batch_size=self.batch_size,
            presence=presence,
            settings=TrainingSettings(**own),
        )


def results(path: Path) -> dict[str, float | None]:
    """``sigma_<task>`` and ``weight_<task>`` at the last step, ``macro_f1_<task>``, ``samples_f1_<task>`` after it."""
    frame = read_trajectories([path])
    last = frame[frame["step"] == frame["step"].max()].set_index("task")
    found = {f"{name}_{task}": float(last.at[task, name]) for name in ("sigma", "weight") for task in last.index}
    stored = job_metadata(path)
    scores = {f"{name}_{task}": v for name in ("macro_f1", "samples_f1") for task, v in stored[name].items()}
    return {**found, **scores}
