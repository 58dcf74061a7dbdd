"""Parameters of notebook 12, and the arms that it compares."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import Field

from aura_study.data.registry import BUILT
from aura_study.data.tasks import TaskName
from aura_study.runs.parameters import Encoder
from aura_study.training.parameters import DevRows, TrainingParameters

if TYPE_CHECKING:  # what trains is imported where a job is made: a run is planned without it
    from aura_study.experiments.after_the_return.watch import ReturnJob
    from aura_study.training.loop import OptimizerName


@dataclass(frozen=True)
class Arm:
    """One optimiser, with or without clipping of the model's gradient."""

    name: str
    optimizer: "OptimizerName"
    clipped: bool


ARMS = (
    Arm("AdamW", "adamw", False),
    Arm("AdamW, clipped", "adamw", True),
    Arm("SGD", "sgd", False),
    Arm("SGD, clipped", "sgd", True),
)


MOMENTS = (1, 10, 50, 150)
"""Steps since the return after which a model that has learned is scored, beside the last."""


class AfterTheReturnParameters(TrainingParameters):
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
            "repeats": 5,
            "rates": 2,
            "horizon": 200,
            "rows": 200,
            "dev_rows": 16,
            "workers": 1,
            "dose_seeds": 1,
            "few_seeds": 1,
            "dose_before": 6,
            "dose_absent": 10,
            "dose_after": 12,
        },
        "full": {
            "seed_count": 6,
            "before": 90,
            "absent_steps": 50,
            "after": 190,
            "short_after": 30,
            "lr_sigma": 0.05,
            "repeats": 25,
            "rates": 5,
            "batch_size": 16,
            "dev_rows": 300,
            "learned_encoder": "minilm",
            "frozen_layers": 4,
            "dose_seeds": 6,
            "few_seeds": 2,
            "dose_rows": 2000,
            "dose_before": 600,
            "dose_absent": 150,
            "dose_after": 300,
            "lr_learned": 0.0003,
        },
    }

    dev_rows: DevRows = 50
    absent: TaskName = Field("reporting", description="task that goes absent and returns")
    seed_count: int = Field(3, ge=1, le=100, description="seeds of every run")
    before: int = Field(8, ge=2, description="steps before the absence")
    absent_steps: int = Field(16, ge=1, description="steps of the long absence")
    after: int = Field(40, ge=4, description="steps after the return from the long absence")
    short_steps: int = Field(6, ge=1, description="steps of the short absence")
    short_after: int = Field(10, ge=4, description="steps after the return from the short absence")
    lr_sigma: float = Field(0.12, gt=0, le=1, description="learning rate of sigma")
    lr_adamw: float = Field(0.0005, gt=0, le=1, description="AdamW's rate for encoder and heads")
    lr_sgd: float = Field(0.01, gt=0, le=10, description="SGD's rate for encoder and heads")
    clip_norm: float = Field(1.0, gt=0, description="bound on the model's gradient norm in the clipped arms")
    repeats: int = Field(9, ge=2, le=1000, description="runs of each cell of sigma alone, without the model")
    rates: int = Field(3, ge=2, le=20, description="learning rates of sigma alone, from .01 to .2")
    horizon: int = Field(2000, ge=100, le=100_000, description="steps that sigma alone is watched after its return")
    learned_encoder: Encoder = BUILT
    frozen_layers: int = Field(0, ge=0, description="lowest layers of that encoder that do not learn; 0: none")
    dose_seeds: int = Field(
        0,
        ge=0,
        le=100,
        description="seeds of the doses, by AdamW with clipping; 0: nothing is trained for them",
    )
    few_seeds: int = Field(
        0, ge=0, le=100, description="seeds of the other ways, the cycles and (one at least) the controls"
    )
    dose_rows: int | None = Field(None, ge=16, description="most training rows per task for them; none: all")
    dose_before: int = Field(60, ge=2, description="steps in which the model learns, before the absence")
    dose_absent: int = Field(30, ge=2, description="steps of the absence")
    dose_after: int = Field(60, ge=12, description="steps after the return")
    lr_learned: float = Field(0.0005, gt=0, le=1, description="AdamW's rate for encoder and heads there")
    lr_learned_sgd: float = Field(0.1, gt=0, le=10, description="SGD's")

    @property
    def encoders(self) -> tuple[str, ...]:
        """Both: the one that the four arms watch from inside, and the one that learns."""
        return (self.encoder, self.learned_encoder)

    @property
    def on_learned(self) -> dict[str, Any]:
        """For a job on the model that learns."""
        return {
            **self.on_model,
            "rows": self.dose_rows,
            "encoder": self.learned_encoder,
            "frozen_layers": self.frozen_layers,
        }

    @property
    def dose_stop(self) -> int:
        """The first step back."""
        return self.dose_before + self.dose_absent

    @property
    def moments(self) -> tuple[int, ...]:
        """Steps since the return after which the model is scored; the last of them ends the run."""
        return (*(moment for moment in MOMENTS if moment < self.dose_after), self.dose_after)

    def rate(self, dose: float) -> float:
        """Of sigma, that adds up to the dose over the absence."""
        return dose / self.dose_absent

    def length(self, stretch: str) -> tuple[int, int]:
        """Absent steps and steps after the return, of the ``long`` or the ``short`` absence."""
        return (self.absent_steps, self.after) if stretch == "long" else (self.short_steps, self.short_after)

    def job(self, arm: Arm, stretch: str, policy: str, seed: int) -> "ReturnJob":
        """One run."""
        from aura_study.experiments.after_the_return.watch import ReturnJob
        from aura_study.training.loop import TrainingSettings
        from aura_study.training.runs import Presence

        absent, after = self.length(stretch)
        back = self.before + absent
        rate = self.lr_adamw if arm.optimizer == "adamw" else self.lr_sgd
        settings = TrainingSettings(
            policy=policy,
            seed=seed,
            steps=back + after,
            accumulation=1,
            optimizer=arm.optimizer,
            lr_encoder=rate,
            lr_heads=rate,
            lr_sigma=self.lr_sigma,
            weight_decay_sigma=0.0,
            schedule="constant",
            clip_norm=self.clip_norm if arm.clipped else None,
        )
        return ReturnJob(
            name=f"return-{stretch}-{arm.name.lower().replace(', ', '-')}-{policy}-seed{seed}",
            presence=Presence(schedule="stretch", absent=self.absent, start=self.before, stop=back),
            settings=settings,
            **self.on_model,
        )
