"""AURA's training run as its uncertainty parameters felt it: settings, learning rates, presences and the dynamics."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from aura_study.dynamics import grid, trajectories
from aura_study.theory.forms import FORMS
from aura_study.theory.optimizers import Adam
from aura_study.theory.schedules import linear_warmup_decay, one_cycle

Array = NDArray[np.float64]
Order = Literal["after", "before"]


@dataclass(frozen=True)
class AuraRun:
    """Settings of AURA's V10 training, as its notebooks have them, and the sizes of its training sets.

    AdamW acts on the four uncertainty parameters with weight decay and outside the clipped norm; the mask is per
    micro-batch; a task's loss is a mean over its samples in the micro-batch; an epoch's last incomplete group of
    micro-batches takes no step. The rate warms up linearly and decays, or, with ``one_cycle_peak``, follows PyTorch's
    OneCycleLR with its peak after that share of the steps.
    """

    sizes: Mapping[str, int]
    epochs: int = 15
    batch: int = 16
    accumulation: int = 4
    rate: float = 5e-5
    weight_decay: float = 0.01
    warmup_share: float = 0.1
    one_cycle_peak: float | None = None

    @property
    def samples(self) -> int:
        """Training samples of all tasks together."""
        return sum(self.sizes.values())

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps an epoch."""
        return -(-self.samples // self.batch) // self.accumulation

    @property
    def steps(self) -> int:
        """Optimiser steps that the schedule was laid out for."""
        return -(-self.samples // self.batch) * self.epochs // self.accumulation

    def rates(self, epochs: int, order: Order = "after") -> Array:
        """Learning rates of the first ``epochs`` epochs, the scheduler stepping after or before the optimiser."""
        if self.one_cycle_peak is None:
            schedule = linear_warmup_decay(self.rate, self.steps, int(self.steps * self.warmup_share))
        else:
            schedule = one_cycle(self.rate, self.steps, self.one_cycle_peak)
        shift = 1 if order == "before" else 0
        wanted = epochs * self.steps_per_epoch
        return np.append(schedule, 0.0)[shift : wanted + shift]

    def presence(self, task: str) -> float:
        """Probability that the task has a sample in a micro-batch."""
        return 1 - (1 - self.sizes[task] / self.samples) ** self.batch


V10_2 = AuraRun({"toxicity": 11_935, "emotion": 20_000, "sentiment": 20_000, "reporting": 925})
V10_1 = AuraRun({"toxicity": 11_935, "emotion": 43_410, "sentiment": 67_349, "reporting": 1_600}, epochs=10)
V10_1_LONG = replace(V10_1, epochs=V10_2.epochs)
V10_1_FIRST = replace(V10_1_LONG, sizes={**V10_1.sizes, "reporting": 101})
RUNS = {
    "V10.2: 925 rows, 15 epochs": V10_2,
    "V10.1: 1,600 rows, 10 epochs": V10_1,
    "V10.1: 1,600 rows, 15 epochs": V10_1_LONG,
    "V10.1: 101 rows, 15 epochs": V10_1_FIRST,
}
"""By version, rows of reporting and planned epochs: V10.1's public code plans 10; V10.2's 15 give larger sums of rates.
V10.1 left no log: its losses are V10.2's, or whatever is tried."""


def epoch_weights(
    run: AuraRun,
    task: str,
    curve: Array,
    policy: str,
    *,
    noise: float,
    draws: int,
    seed: int,
    order: Order = "after",
    form: str = "aura_softplus",
) -> Array:
    """Weights after every epoch, shape ``(draws, epochs)``, for a loss of ``curve`` where the task is present."""
    epochs = curve.size // run.steps_per_epoch
    cells = grid(
        parameterization=form,
        policy=policy,
        optimizer=Adam(weight_decay=run.weight_decay),
        presence=run.sizes[task] / run.samples,
        rate=1.0,
        noise=noise,
        batch=run.batch,
        accumulation=run.accumulation,
        loss=[1.0] * draws,
    )
    rates = run.rates(epochs, order)
    _, thetas = trajectories(
        cells, curve.size, every=run.steps_per_epoch, schedule=rates, loss_profile=curve, seed=seed
    )
    return FORMS[form].weight(thetas)[:, 1:]
