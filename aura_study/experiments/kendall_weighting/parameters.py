"""Parameters of notebook 02."""

from typing import Annotated

from pydantic import Field

from aura_study.training.parameters import CorpusParameters, Encoder


class KendallWeightingParameters(CorpusParameters):
    """Parameters of notebook ``02_kendall_weighting``."""

    notebook = "02_kendall_weighting"
    profiles = {
        "smoke": {
            "levels": 3,
            "steps": 1500,
            "samples": [100, 20000],
            "noise_seeds": 5,
            "noise_steps": 600,
            "beta2": 0.99,
            "signal_seeds": 3,
            "signal_steps": 300,
            "model_seeds": 1,
            "model_steps": 10,
            "rows": 100,
            "dev_rows": 20,
        },
        "full": {
            "levels": 17,
            "steps": 6000,
            "samples": [100, 300, 1000, 3000, 10000, 30000],
            "noise_seeds": 20,
            "noise_steps": 2500,
            "signal_seeds": 10,
            "signal_steps": 4000,
            "encoder": "minilm",
            "frozen_layers": 5,
            "rows": 750,
            "model_seeds": 5,
            "model_steps": 500,
            "lr_model": 0.0003,
            "dev_rows": 1000,
        },
    }

    lowest_loss: float = Field(0.01, gt=0, description="smallest constant loss of a task")
    highest_loss: float = Field(10.0, gt=0, description="largest constant loss of a task")
    levels: int = Field(9, ge=2, le=200, description="loss levels between the two, evenly spaced in the logarithm")
    steps: int = Field(3000, ge=10, description="Adam steps until the uncertainty has settled")
    lr: float = Field(0.02, gt=0, le=1, description="Adam's rate, decayed to zero by a cosine")
    samples: list[Annotated[int, Field(ge=20, le=1_000_000)]] = Field(
        [100, 1000, 20000], min_length=1, description="sample counts of the two regressions"
    )
    noise_seeds: int = Field(8, ge=2, le=1000, description="seeds of the two regressions")
    noise_steps: int = Field(1000, ge=50, description="Adam steps of the two regressions")
    width: int = Field(16, ge=1, le=1024, description="hidden units of the regressions' shared layer")
    beta2: float = Field(0.999, ge=0.9, lt=1, description="Adam's b2 in the measured rise of s without log sigma")
    signal_seeds: int = Field(5, ge=2, le=1000, description="seeds of the regressions without log sigma")
    signal_steps: int = Field(600, ge=50, description="steps of the regressions without log sigma")
    encoder: Encoder = "tiny"
    frozen_layers: int = Field(0, ge=0, description="lowest layers of the encoder that do not learn; 0: none")
    model_seeds: int = Field(3, ge=1, le=100, description="seeds of the AURA model without log sigma")
    model_steps: int = Field(80, ge=1, description="steps of the AURA model without log sigma")
    lr_sigma: float = Field(0.02, gt=0, le=1, description="AdamW's rate for sigma in the AURA model")
    lr_model: float = Field(0.001, gt=0, le=1, description="AdamW's rate for encoder and heads of the AURA model")

    @property
    def encoders(self) -> tuple[str, ...]:
        """Encoders that the notebook reads, by name."""
        return (self.encoder,)
