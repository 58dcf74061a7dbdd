"""Parameters of notebook 06."""

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from aura_study.training.parameters import DevRows, TrainingParameters

Array = NDArray[np.float64]
WARM_UP = 1000
"""Steps before the absence, in which Adam's memory fills."""


class PhaseDiagramParameters(TrainingParameters):
    """Parameters of notebook ``06_phase_diagram``."""

    notebook = "06_phase_diagram"
    profiles = {
        "smoke": {"points": 10, "repeats": 3, "horizon": 1000, "seed_count": 1, "before": 2, "recorded": 8}
        | {"rows": 200, "workers": 1},
        "full": {"points": 80, "repeats": 9, "horizon": 10_000, "seed_count": 5, "before": 300, "recorded": 1200}
        | {"batch_size": 16},
    }

    dev_rows: DevRows = 50

    points: int = Field(32, ge=4, le=1000, description="cells along each axis of a diagram")
    repeats: int = Field(5, ge=1, le=1000, description="runs of each cell; the median counts")
    rate: float = Field(0.01, gt=0, le=1, description="learning rate of sigma")
    noise: float = Field(0.3, ge=0, le=5, description="coefficient of variation of the task's loss where present")
    loss: float = Field(1.0, gt=0, le=100, description="mean loss of the task where present")
    largest_phantom: float = Field(5.0, gt=0.1, le=50, description="largest phantom number of the absence")
    smallest_presence: float = Field(0.01, gt=0, lt=1, description="smallest presence outside the absence")
    horizon: int = Field(3000, ge=100, le=1_000_000, description="steps that are watched after the return, at least")
    seed: int = Field(0, ge=0, description="of all presences and losses that are drawn")
    seed_count: int = Field(3, ge=1, le=100, description="seeds of the training whose losses are recorded")
    before: int = Field(60, ge=0, description="its steps before they count")
    recorded: int = Field(240, ge=8, le=100_000, description="its steps that count; a task goes in their second half")
    lr_model: float = Field(0.0005, gt=0, le=1, description="AdamW's rate for its encoder and heads; sigma's is rate")

    @property
    def absent_steps(self) -> NDArray[np.int64]:
        """Lengths of the absence, increasing, without repeats."""
        longest = self.largest_phantom / self.rate
        return np.unique(np.geomspace(max(0.02 / self.rate, 1), longest, self.points).round().astype(int))

    @property
    def presences(self) -> Array:
        """Presences, from 1 down."""
        return np.geomspace(1, self.smallest_presence, self.points)

    @property
    def steps(self) -> int:
        """Steps of every run."""
        return WARM_UP + int(self.absent_steps[-1]) + self.horizon
