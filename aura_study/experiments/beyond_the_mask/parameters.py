"""Parameters of notebook 08."""

from pydantic import Field

from aura_study.runs.parameters import Parameters


class BeyondTheMaskParameters(Parameters):
    """Parameters of notebook ``08_beyond_the_mask``."""

    notebook = "08_beyond_the_mask"
    profiles = {
        "smoke": {"paths": 3, "present_steps": 1500, "shard_steps": 60, "problems": 2},
        "full": {"paths": 24, "present_steps": 4000, "shard_steps": 400, "problems": 20},
    }

    paths: int = Field(8, ge=2, le=1000, description="independent tasks whose momentum coasts, one noise path each")
    present_steps: int = Field(2000, ge=1000, le=100_000, description="steps with the task before its absence")
    absent_steps: int = Field(150, ge=100, le=10_000, description="steps without it")
    lr: float = Field(0.01, gt=0, le=0.1, description="learning rate of sigma")
    noise: float = Field(0.5, gt=0, le=2, description="standard deviation of the logarithm of the losses")
    shard_steps: int = Field(120, ge=60, le=100_000, description="steps until sigma has settled on shards")
    problems: int = Field(
        2, ge=2, le=1000, description="pairs of regressions on which cures of a negative total are tried"
    )
    seed: int = Field(0, ge=0, description="of the losses")
