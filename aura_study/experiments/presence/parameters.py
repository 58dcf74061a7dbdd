"""Parameters of notebook 05."""

import numpy as np
from pydantic import Field

from aura_study.runs.parameters import Parameters


class PresenceParameters(Parameters):
    """Parameters of notebook ``05_presence``."""

    notebook = "05_presence"
    profiles = {
        "smoke": {"points": 3, "smallest_presence": 0.1, "cells": 16, "sweep_steps": 5_000},
        "full": {"points": 9, "cells": 64, "relaxations": 150.0, "sweep_steps": 200_000},
    }

    points: int = Field(5, ge=2, le=100, description="values of the presence p, from 1 down")
    smallest_presence: float = Field(0.01, gt=0, lt=1, description="smallest presence p")
    cells: int = Field(36, ge=2, le=10_000, description="independent runs of each kind; the intervals are over these")
    jitter: float = Field(0.07, gt=0, le=0.5, description="relative jitter of the weight that sets the learning rates")
    relaxations: float = Field(60.0, ge=5, le=10_000, description="length of a run, in relaxation times")
    noise: float = Field(0.3, ge=0, le=5, description="coefficient of variation of the task's loss where present")
    loss: float = Field(1.0, gt=0, le=100, description="mean loss of the task where present")
    sweep_steps: int = Field(30_000, ge=1000, le=10_000_000, description="steps of the runs at any learning rate")
    seed: int = Field(0, ge=0, description="of all presences and losses")

    @property
    def presences(self) -> np.ndarray:
        """The presences, from 1 down."""
        return np.geomspace(1, self.smallest_presence, self.points)
