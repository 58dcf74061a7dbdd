"""Parameters of notebook 01."""

import numpy as np
from pydantic import Field, field_validator

from aura_study.runs.parameters import Parameters


class FocalLossParameters(Parameters):
    """Parameters of notebook ``01_focal_loss``."""

    notebook = "01_focal_loss"
    profiles = {"smoke": {"points": 21}, "full": {"points": 999}}

    gammas: list[float] = Field([0.0, 0.5, 1.0, 2.0, 5.0], min_length=1, description="focusing parameters to compare")
    points: int = Field(199, ge=3, le=100_000, description="probabilities between 0 and 1 on every curve")
    class_weights: list[float] = Field([5.0, 0.2, 3.0], min_length=2, description="a weight per class, each above 0")
    label_smoothing: float = Field(0.1, gt=0, lt=1, description="share of the target spread over all classes")
    gamma: float = Field(2.0, gt=0, description="focusing parameter of the hazard experiment")

    @field_validator("class_weights")
    @classmethod
    def _weights_are_positive(cls, weights: list[float]) -> list[float]:
        if bad := [weight for weight in weights if not (weight > 0 and np.isfinite(weight))]:
            raise ValueError(f"class weights must be finite and above 0, got {bad}")
        return weights
