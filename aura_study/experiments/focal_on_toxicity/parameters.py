"""Parameters of notebook 11."""

from typing import Annotated, Any

from pydantic import Field, field_validator

from aura_study.experiments.focal_on_toxicity.trainings import ToxicityJob
from aura_study.training.loop import TrainingSettings
from aura_study.training.parameters import BatchSize, TrainingParameters

AS_THEY_ARE, LONG = "as they are", "few, many epochs"
"""Training sets: comments with the data's own share of toxic ones; so few that they are learnt by heart."""
NOISY = 0.2
"""From this share of wrong labels on, the claims call labels noisy."""


class FocalOnToxicityParameters(TrainingParameters):
    """Parameters of notebook ``11_focal_on_toxicity``."""

    notebook = "11_focal_on_toxicity"
    profiles = {
        "smoke": {
            "seed_count": 1,
            "comments": 100,
            "steps": 8,
            "rows": 300,
            "dev_rows": 40,
            "probe_rows": 60,
            "encoder_rows": 20,
            "noise_rates": [0.4],
            "noise_comments": 60,
            "noise_steps": 8,
            "workers": 1,
        },
        "full": {
            "seed_count": 5,
            "alpha_seeds": 1,
            "comments": 2000,
            "steps": 300,
            "whole_grid": True,
            "dev_rows": None,
            "probe_rows": 1500,
            "encoder_rows": 100,
            "noise_rates": [0.0, 0.1, 0.2, 0.4],
            "noise_comments": 300,
            "noise_steps": 160,
        },
    }

    batch_size: BatchSize = 32
    seed_count: int = Field(3, ge=1, le=100, description="seeds of cross-entropy against focal loss")
    gamma: float = Field(2.0, gt=0, le=10, description="focusing parameter of focal loss; cross-entropy has 0")
    alphas: list[Annotated[float, Field(gt=0, lt=1)]] = Field(
        [0.25, 0.5, 0.75], min_length=2, description="weights of the toxic class to compare"
    )
    gammas: list[Annotated[float, Field(ge=0, le=10)]] = Field(
        [0.0, 1.0, 2.0, 5.0], min_length=2, description="focusing parameters to compare"
    )
    alpha_seeds: int = Field(1, ge=1, le=100, description="seeds of the models trained with an alpha")
    whole_grid: bool = Field(False, description="train every alpha with every gamma, not only with `gamma`")
    toxic_share: float = Field(0.05, gt=0, lt=0.5, description="toxic comments in the setting that the guide supposes")
    comments: int | None = Field(256, ge=100, description="training comments; none takes all, for fewer epochs")
    steps: int = Field(40, ge=8, description="optimiser steps")
    lr: float = Field(0.001, gt=0, le=1, description="AdamW's rate for encoder and heads")
    rows: int | None = Field(None, ge=100, description="most training rows per task; none keeps the corpus's own sizes")
    probe_rows: int = Field(256, ge=20, description="training comments whose shares are measured")
    encoder_rows: int = Field(30, ge=1, description="easy comments whose gradient on the encoder is taken")
    noise_rates: list[Annotated[float, Field(ge=0, le=0.5)]] = Field(
        [0.0, 0.4], min_length=1, description="shares of flipped training labels"
    )
    noise_comments: int = Field(160, ge=20, description="training comments under label noise, few enough to memorise")
    noise_steps: int = Field(40, ge=8, description="optimiser steps under label noise")

    @field_validator("noise_rates")
    @classmethod
    def _some_rate_is_noisy(cls, rates: list[float]) -> list[float]:
        if max(rates) < NOISY:
            raise ValueError(f"the claims on noise need a rate of {NOISY} or more, got {rates}")
        return rates

    @property
    def rare(self) -> str:
        """Name of the training set with the guide's share of toxic comments."""
        return f"{100 * self.toxic_share:g} % toxic"

    @property
    def losses(self) -> tuple[float, float]:
        """Gammas of the two losses that are compared: cross-entropy and focal loss."""
        return 0.0, self.gamma

    def job(self, name: str, seed: int, gamma: float, alpha: float | None = None, **changes: Any) -> ToxicityJob:
        """A training on this notebook's data and model; plain loss: no smoothing, no weights, no clipping.

        Without clipping, AdamW does not see the overall scale of a loss, so that alpha and gamma are compared by what
        they do to the shares alone. The rate warms up and falls to 0, as AURA's does: at a constant one the output bias
        swings for ever, and with it the classes' shares at whatever step is looked at.
        """
        settings = TrainingSettings(
            policy="equal",
            seed=seed,
            steps=changes.pop("steps", self.steps),
            accumulation=1,
            lr_encoder=self.lr,
            lr_heads=self.lr,
            schedule="linear",
            clip_norm=None,
            gamma=gamma,
            alpha=alpha,
            label_smoothing=0,
        )
        changes.setdefault("probe_rows", self.probe_rows)
        return ToxicityJob(name=name, settings=settings, **self.on_model, **changes)
