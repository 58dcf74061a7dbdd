"""Parameters of notebook 10."""

from pydantic import Field, field_validator

from aura_study.data.registry import BUILT
from aura_study.runs.parameters import Encoder, Workers
from aura_study.training.parameters import BatchSize, CorpusParameters, DevRows, Rows


class SchedulesParameters(CorpusParameters):
    """Parameters of notebook ``10_schedules``."""

    notebook = "10_schedules"
    profiles = {
        "smoke": {"lengths": [200, 1000], "absence_lengths": [100], "steps": 20, "rows": 100, "dev_rows": 20},
        "full": {
            "absence_lengths": [100, 1000, 12390],
            "steps": 400,
            "seed_count": 8,
            "batch_size": 16,
            "rows": None,
            "dev_rows": None,
            "workers": 0,
        },
    }

    rows: Rows = 500
    dev_rows: DevRows = 50
    workers: Workers = 1
    encoder: Encoder = BUILT
    batch_size: BatchSize = 8
    lengths: list[int] = Field([300, 3000, 12390], min_length=1, description="run lengths in steps; AURA's has 12,390")
    absence_lengths: list[int] = Field([100, 1000], min_length=1, description="the same, for the measured absences")
    seed_count: int = Field(3, ge=1, le=100, description="seeds of the training runs")
    steps: int = Field(60, ge=20, description="optimiser steps of a training run")
    budget: float = Field(0.3, gt=0, description="sum of sigma's rates in a run; AURA's own has about 0.3")
    large_budget: float = Field(3.0, gt=0, description="the same for the replays in which sigma arrives")
    lr_model: float = Field(0.0005, gt=0, le=1, description="AdamW's peak rate for encoder and heads")

    @property
    def encoders(self) -> tuple[str, ...]:
        """Encoders that the notebook reads, by name."""
        return (self.encoder,)

    @field_validator("lengths", "absence_lengths")
    @classmethod
    def _long_enough(cls, lengths: list[int]) -> list[int]:
        if bad := [length for length in lengths if not 20 <= length <= 100_000]:
            raise ValueError(f"run lengths must lie between 20 and 100,000 steps, got {bad}")
        return lengths
