"""Parameters of notebook 04."""

from typing import TYPE_CHECKING

from pydantic import Field

from aura_study.data.tasks import TaskName
from aura_study.training.parameters import DevRows, TrainingParameters

if TYPE_CHECKING:  # what trains is imported where a job is made: a run is planned without it
    from aura_study.training.loop import TrainingSettings
    from aura_study.training.runs import Presence, TrainingJob


class AuraTrainingParameters(TrainingParameters):
    """Parameters of notebook ``04_aura_training``."""

    notebook = "04_aura_training"
    profiles = {
        "smoke": {"seed_count": 1, "before": 10, "absent_steps": 20, "after": 10, "rows": 200, "dev_rows": 50},
        "full": {"seed_count": 5, "before": 150, "absent_steps": 400, "after": 250, "batch_size": 16}
        | {"lr_sigma": 0.005, "dev_rows": None},
    }

    dev_rows: DevRows = 100
    absent: TaskName = Field("reporting", description="task that goes absent and returns")
    seed_count: int = Field(3, ge=1, le=100, description="seeds of the stretch runs")
    before: int = Field(20, ge=1, description="steps before the absence")
    absent_steps: int = Field(100, ge=1, description="steps of the absence")
    after: int = Field(20, ge=1, description="steps after the return")
    lr_sigma: float = Field(0.03, gt=0, le=1, description="AdamW's rate for sigma in the demonstration")
    lr_model: float = Field(0.0005, gt=0, le=1, description="AdamW's rate for encoder and heads")

    @property
    def stretch(self) -> "Presence":
        """The presence schedule of the stretch runs."""
        from aura_study.training.runs import Presence

        return Presence(schedule="stretch", absent=self.absent, start=self.before, stop=self.before + self.absent_steps)

    def settings(self, policy: str, seed: int, lr_sigma: float | None = None) -> "TrainingSettings":
        """Training settings of one run."""
        from aura_study.training.loop import TrainingSettings

        return TrainingSettings(
            policy=policy,
            seed=seed,
            steps=self.before + self.absent_steps + self.after,
            accumulation=1,
            lr_encoder=self.lr_model,
            lr_heads=self.lr_model,
            lr_sigma=self.lr_sigma if lr_sigma is None else lr_sigma,
            schedule="constant",
        )

    def job(self, name: str, settings: "TrainingSettings", presence: "Presence") -> "TrainingJob":
        """A training job on this notebook's data and model."""
        from aura_study.training.runs import TrainingJob

        return TrainingJob(name=name, presence=presence, settings=settings, **self.on_model)
