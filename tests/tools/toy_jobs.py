"""The jobs of the toy sweep, apart from it so that the processes that run them load little."""

import os
import signal
import time
from pathlib import Path
from typing import Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from aura_study.runs.jobs import Job, keep_table


class ToyPoint(BaseModel):
    """A job that writes the square of ``number``; in trouble, 1 raises and 2 kills its process."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    number: int = Field(0, ge=0, le=10**6)
    seconds: float = Field(0.0, ge=0, le=60)
    mode: Literal["fine", "trouble"] = "fine"

    def job(self, name: str) -> "ToyJob":
        return ToyJob(name=name, point=self)


class ToyJob(Job):
    """Its record holds one row."""

    point: ToyPoint


def run_toy(job: ToyJob, folder: Path) -> Path:
    point = job.point
    time.sleep(point.seconds)
    if (point.mode, point.number) == ("trouble", 1):
        raise ValueError("no luck\nat all")
    if (point.mode, point.number) == ("trouble", 2):
        os.kill(os.getpid(), signal.SIGKILL)
    return keep_table(job, pd.DataFrame({"square": [point.number**2]}), folder, square=float(point.number**2))
