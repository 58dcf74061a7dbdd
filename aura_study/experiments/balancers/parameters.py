"""Parameters of notebook 15."""

from typing import Self

from pydantic import Field, field_validator, model_validator

from aura_study.data.registry import DEFAULT_DATASET
from aura_study.experiments.balancers.problems import sizes
from aura_study.runs.parameters import Data, Parameters, Workers
from aura_study.training.parameters import BatchSize, MaxLength, Rows


class BalancersParameters(Parameters):
    """Parameters of notebook ``15_balancers``."""

    notebook = "15_balancers"
    profiles = {
        "smoke": {"problem_sizes": "3/1", "problems": 1, "away": 6, "cure_sizes": "4/2", "cure_steps": 3}
        | {"model_seeds": 1, "model_before": 2, "model_absent": 6, "model_back": 2, "model_epoch": 2}
        | {"rows": 200, "workers": 1},
        "full": {
            "problem_sizes": "2/1, 4/1, 8/1, 8/5, 16/15, 32/8, 64/8",
            "away": 24,
            "problems": 4,
            "cure_steps": 10,
            "cure_sizes": "2/1, 4/2, 8/5, 16/15",
            "model_seeds": 5,
            "model_before": 10,
            "model_absent": 24,
            "model_back": 6,
            "model_epoch": 5,
            "batch_size": 16,
            "max_length": 64,
        },
    }

    data: Data = DEFAULT_DATASET
    rows: Rows = 2000
    workers: Workers = 0
    batch_size: BatchSize = 8
    max_length: MaxLength = 32
    problem_sizes: str = Field("2/1, 4/1, 8/5", description="tasks/absent of the problems with random gradients")
    problems: int = Field(2, ge=1, le=100, description="random problems of each kind and size (one above 16 tasks)")
    away: int = Field(12, ge=6, le=1000, description="steps of the stretch on the layer that is trained")
    balancer_lr: float = Field(0.1, gt=0, le=1, description="learning rate of what a balancer learns, Adam")
    cure_sizes: str = Field("4/2, 8/5", description="tasks/absent of the problems that the cure is tried on")
    cure_steps: int = Field(6, ge=2, le=1000, description="steps of each trial of the cure")
    seed: int = Field(0, ge=0, description="first seed")
    model_seeds: int = Field(3, ge=1, le=100, description="seeds of the AURA model's runs")
    model_before: int = Field(3, ge=1, description="steps of the AURA model before reporting goes away")
    model_absent: int = Field(6, ge=3, description="steps that it is away")
    model_back: int = Field(3, ge=1, description="steps after its return")
    model_epoch: int = Field(2, ge=1, description="steps of DWA's epoch on the AURA model")
    lr_model: float = Field(0.0005, gt=0, le=1, description="AdamW's rate for encoder and heads")
    reporting_rows: int = Field(101, ge=16, description="training rows of reporting")

    @field_validator("problem_sizes", "cure_sizes")
    @classmethod
    def _readable(cls, text: str) -> str:
        sizes(text.split(","))
        return text

    @model_validator(mode="after")
    def _long_enough(self) -> Self:
        if self.model_absent < 3 * self.model_epoch:  # part of one, two of zeros, and a step after them
            raise ValueError(
                f"model_absent must be at least three times model_epoch, so that two of DWA's epochs hold nothing but "
                f"zeros; got {self.model_absent} and {self.model_epoch}"
            )
        return self
