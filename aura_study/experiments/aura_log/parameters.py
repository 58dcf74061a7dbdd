"""Parameters of notebook 07."""

from pydantic import Field

from aura_study.runs.parameters import Parameters


class AuraLogParameters(Parameters):
    """Parameters of notebook ``07_aura_log``."""

    notebook = "07_aura_log"
    profiles = {"smoke": {"draws": 8, "fit_draws": 1, "logs": 8}, "full": {"draws": 256, "fit_draws": 16, "logs": 400}}

    draws: int = Field(32, ge=2, le=100_000, description="draws of which task is in which batch; intervals over these")
    fit_draws: int = Field(4, ge=1, le=1000, description="draws averaged while the unknown losses are inferred")
    noise: float = Field(1.0, ge=0, le=5, description="coefficient of variation of one sample's loss in the prediction")
    logs: int = Field(12, ge=2, le=100_000, description="simulated logs, half of them masked, that are read back")
    seed: int = Field(0, ge=0, description="of all draws")
