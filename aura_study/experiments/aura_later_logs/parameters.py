"""Parameters of notebook 16."""

from pydantic import Field

from aura_study.runs.parameters import Parameters


class AuraLaterLogsParameters(Parameters):
    """Parameters of notebook ``16_aura_later_logs``."""

    notebook = "16_aura_later_logs"
    profiles = {
        "smoke": {"seeds": 2, "batches": 200, "flow_steps": 4_000},
        "full": {"seeds": 8, "batches": 2_400},
    }

    seeds: int = Field(4, ge=1, le=1000, description="trainings of the small model; intervals over these")
    batches: int = Field(1_000, ge=40, le=1_000_000, description="of a training, in ten epochs, four to a step")
    rate: float = Field(0.1, gt=0, le=1, description="learning rate of the small model's heads; a fifth on its encoder")
    flow_steps: int = Field(20_000, ge=1_000, le=10_000_000, description="descent of sigma beside a solved task's loss")
    solved_steps: int = Field(4_000, ge=100, le=1_000_000, description="a solved stretch before the loss is back")
