"""One point of a grid of simulated uncertainty parameters: its parameters, its job, and the record it leaves."""

import math
from pathlib import Path
from typing import Any, Literal, Self

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

from aura_study.dynamics import grid, simulate, trajectories
from aura_study.losses import ParameterizationName
from aura_study.runs.jobs import Job, job_metadata, keep_table
from aura_study.theory.optimizers import SGD, Adam, Optimizer
from aura_study.training.weighting import PolicyName

KEPT_STEPS = 500
"""Steps of a trajectory that its record keeps, about."""


class DynamicsPoint(BaseModel):
    """One cell of `aura_study.dynamics.grid`: one task's uncertainty parameter, without a network."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    parameterization: ParameterizationName = Field("log_sigma", description="what the learned parameter stands for")
    policy: PolicyName = Field("unmasked", description="what an absent task contributes")
    optimizer: Literal["sgd", "adam", "adamw"] = Field("sgd", description="adam: coupled decay; adamw: decoupled")
    momentum: float = Field(0.0, ge=0, lt=1, description="of SGD")
    beta1: float = Field(0.9, ge=0, lt=1, description="of Adam")
    beta2: float = Field(0.999, ge=0, lt=1, description="of Adam")
    weight_decay: FiniteFloat = Field(0.0, ge=0, description="of the uncertainty parameter")
    presence: float = Field(1.0, gt=0, le=1, description="probability that a sample is one of the task's")
    rate: FiniteFloat = Field(1e-2, ge=0, description="learning rate")
    loss: FiniteFloat = Field(1.0, ge=0, description="mean loss of the task where present")
    noise: FiniteFloat = Field(0.0, ge=0, description="coefficient of variation of one sample's loss")
    batch: int = Field(1, ge=1, le=2**31 - 1, description="samples of a micro-batch, all tasks together")
    accumulation: int = Field(1, ge=1, le=2**31 - 1, description="micro-batches a step")
    absent_start: int = Field(0, ge=0, le=2**31 - 1, description="first step of an absent stretch")
    absent_steps: int = Field(0, ge=0, le=2**31 - 1, description="its length; 0 for none")
    theta0: FiniteFloat | None = Field(None, description="start of the parameter; none: the form's published start")
    steps: int = Field(1000, ge=1, le=10**9, description="optimiser steps, the absent stretch included")
    burn_in: int = Field(0, ge=0, description="steps left out of the means")
    seed: int = Field(0, ge=0, lt=2**63, description="of all random numbers")

    @model_validator(mode="after")
    def _burn_in_ends(self) -> Self:
        if self.burn_in >= self.steps:
            raise ValueError(f"burn_in must be below steps = {self.steps}, got {self.burn_in}")
        return self

    def job(self, name: str) -> "DynamicsJob":
        """The job that simulates the cell."""
        return DynamicsJob(name=name, point=self)


class DynamicsJob(Job):
    """One cell simulated; equal jobs give equal trajectories."""

    code = ("import aura_study.sweep.dynamics",)

    point: DynamicsPoint


def run_cell(job: DynamicsJob, folder: Path) -> Path:
    """Simulate one cell; the record holds theta over the steps, and the outcome beside it."""
    point = job.point
    named = ("parameterization", "policy", "presence", "rate", "loss", "noise", "batch", "accumulation")
    axes = {name: getattr(point, name) for name in (*named, "absent_start", "absent_steps")}
    theta0 = math.nan if point.theta0 is None else point.theta0
    cells = grid(**axes, optimizer=_optimizer(point), theta0=theta0)
    outcome = simulate(cells, point.steps, seed=point.seed, burn_in=point.burn_in, workers=1).iloc[0]
    every = max(1, point.steps // KEPT_STEPS)
    steps, theta = trajectories(cells, point.steps, every=every, seed=point.seed, workers=1)
    found = {str(name): _json_number(value) for name, value in outcome.items()}
    return keep_table(job, pd.DataFrame({"step": steps, "theta": theta[0]}), folder, outcome=found)


def _optimizer(point: DynamicsPoint) -> Optimizer:
    if point.optimizer == "sgd":
        return SGD(momentum=point.momentum, weight_decay=point.weight_decay)
    return Adam(point.beta1, point.beta2, weight_decay=point.weight_decay, decoupled=point.optimizer == "adamw")


def _json_number(value: Any) -> float | None:
    return float(value) if math.isfinite(value) else None


def results(path: Path) -> dict[str, float | None]:
    """The columns of `aura_study.dynamics.simulate`, the last step's first."""
    outcome = dict(job_metadata(path)["outcome"])
    return {"theta": outcome.pop("theta"), "weight": outcome.pop("weight"), **outcome}
