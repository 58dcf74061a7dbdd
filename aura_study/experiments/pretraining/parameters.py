"""Parameters of notebook 13, and the ways to optimise that it compares."""

from typing import Literal

from pydantic import Field, field_validator

from aura_study.data.tasks import TaskName
from aura_study.experiments.pretraining.fine_tuning import Arm
from aura_study.experiments.pretraining.language_model import PretrainingJob
from aura_study.training.parameters import BatchSize, CorpusParameters, MaxLength

RegimeName = Literal["clipped", "unclipped", "sgd", "own_rate"]
"""Ways to optimise: AdamW clipped as AURA does, AdamW and SGD without clipping, and the first with AURA's own rate for
sigma."""
ARMS: dict[RegimeName, tuple[Arm, ...]] = {
    "clipped": ("masked", "alone", "unmasked"),
    "unclipped": ("masked", "unmasked"),
    "sgd": ("masked", "unmasked"),
    "own_rate": ("masked", "unmasked"),
}
"""What goes on from the return under each."""

ADAM_MEMORY = 10
"""Steps after the return at which the encoder is first looked at: 1/(1 - b1), what Adam's first moment remembers."""
WARM_UPS = (0.0, 0.1, 0.3)
"""Shares of the steps over which the rate rises: none, AURA's code, OneCycleLR's default."""


class PretrainingParameters(CorpusParameters):
    """Parameters of notebook ``13_pretraining``."""

    notebook = "13_pretraining"
    profiles = {
        "smoke": {
            "seed_count": 1,
            "mlm_steps": 30,
            "before": 4,
            "absent_steps": 12,
            "after": 12,
            "lr_sigma": 0.25,
            "batch_size": 8,
            "max_length": 32,
            "rows": 200,
            "dev_rows": 16,
            "workers": 1,
        },
        "full": {
            "seed_count": 8,
            "mlm_steps": 5000,
            "before": 60,
            "absent_steps": 150,
            "after": 100,
            "lr_sigma": 0.02,
            "dev_rows": 150,
        },
    }

    dev_rows: int = Field(40, ge=8, description="development rows per task that test the pre-training")
    batch_size: BatchSize = 16
    max_length: MaxLength = 64
    checkpoint: str | None = Field(
        None, description="hub id or local folder of a masked language model; none pre-trains one here"
    )
    mlm_steps: int = Field(200, ge=1, le=1_000_000, description="optimiser steps of the pre-training")
    mlm_batch: int = Field(32, ge=4, le=4096, description="texts of a batch of the pre-training")
    mlm_lr: float = Field(0.002, gt=0, le=1, description="AdamW's peak rate in the pre-training")
    absent: TaskName = Field("reporting", description="task that goes absent and returns")
    seed_count: int = Field(3, ge=1, le=100, description="seeds of the fine-tunings")
    before: int = Field(10, ge=1, description="steps before the absence")
    absent_steps: int = Field(40, ge=1, description="steps of the absence")
    after: int = Field(20, ge=ADAM_MEMORY + 1, description="steps after the return")
    lr_sigma: float = Field(0.075, gt=0, le=1, description="rate for sigma in the demonstrations")
    lr_model: float = Field(0.0005, gt=0, le=1, description="AdamW's rate for encoder and heads")
    lr_sgd: float = Field(0.005, gt=0, le=10, description="SGD's rate for encoder and heads")

    @field_validator("checkpoint")
    @classmethod
    def _named(cls, checkpoint: str | None) -> str | None:
        if checkpoint is not None and not checkpoint.strip():
            raise ValueError("a checkpoint is a hub id or a local folder, or none; got an empty name")
        return checkpoint

    @property
    def encoders(self) -> tuple[str, ...]:
        """The checkpoint, where it is not pre-trained here."""
        return () if self.checkpoint is None else (self.checkpoint,)

    @property
    def stop(self) -> int:
        """The first step back."""
        return self.before + self.absent_steps

    @property
    def steps(self) -> int:
        """Steps of a fine-tuning."""
        return self.stop + self.after

    @property
    def moments(self) -> dict[str, int]:
        """Steps before which all arms are compared, by name."""
        return {
            "before fine-tuning": 0,
            "before the return": self.stop,
            "after the return": self.stop + ADAM_MEMORY,
            "at the end": self.steps,
        }

    def pretraining(self) -> PretrainingJob:
        """The pre-training that stands in for a checkpoint."""
        return PretrainingJob(
            steps=self.mlm_steps,
            batch_size=self.mlm_batch,
            lr=self.mlm_lr,
            max_length=self.max_length,
            **self.on_corpus,
        )
