"""What measuring yields: records that need no module any more."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from aura_study.audit.marks import Absence
from aura_study.audit.subject import Convention, Reading


@dataclass(frozen=True)
class Settings:
    """The absence that the audit simulates: ``steps`` steps at learning rate ``lr``."""

    lr: float = 0.01
    steps: int = 100

    def __post_init__(self) -> None:
        if not (math.isfinite(self.lr) and self.lr > 0):
            raise ValueError(f"lr must be finite and > 0, got {self.lr}")
        if self.steps < 1:
            raise ValueError(f"steps must be >= 1, got {self.steps}")

    @property
    def phantom_number(self) -> float:
        """Sum of the learning rates over the absence."""
        return self.lr * self.steps


@dataclass(frozen=True)
class WarmState:
    """A module at rest with all tasks present.

    Attributes:
        values: parameters.
        reading: all tasks present, at these values.
        fall: each task's weight over its initial weight after a long descent at constant speed.
        falling: the share of the weight that the last sixth of that descent took.
        responds: whether a task's loss moves any parameter, at the start and here; None if nothing is learned.
    """

    values: list[Tensor]
    reading: Reading
    fall: dict[str, float]
    falling: dict[str, float]
    responds: dict[str, bool] | None


@dataclass(frozen=True)
class Drift:
    """One absence under one optimiser.

    Attributes:
        optimiser: ``"SGD"`` or ``"Adam"``.
        task: that was absent.
        growth: its weight after the absence over before; NaN if it could not be read.
        broke_at: phantom number at which the total or a gradient stopped being finite, None if never.
        gradient: largest gradient entry on the absent task's own parameters at the first absent step.
        present_ratio: weights of the present tasks during the absence over before it, (smallest, largest).
        dead: whether the task's loss no longer moves any parameter after the absence.
    """

    optimiser: str
    task: str
    growth: float
    broke_at: float | None
    gradient: float | None
    present_ratio: tuple[float, float]
    dead: bool


@dataclass(frozen=True)
class Return:
    """The first steps after an absence.

    Attributes:
        floor: lowest weight after the return over the weight before the absence.
        last: weight after as many steps as the absence lasted, over the weight before the absence.
        recovery: steps until the weight stays within 10 % of what it was, over the steps of the absence; infinite if
            three times the absence is not enough.
        finite: whether the total and the gradients stayed finite.
    """

    floor: float
    last: float
    recovery: float
    finite: bool


@dataclass(frozen=True)
class Residue:
    """What still moves the absent task's own parameters although its gradient is 0: largest displacement by each."""

    momentum: float
    decay: float


@dataclass(frozen=True)
class Evidence:
    """All that was measured for one mark of absence.

    Attributes:
        mark, convention: what was marked how, in which way of calling.
        warm: the state before the absence.
        drifts: one per optimiser and task.
        returns: by optimiser, of the task that drifted farthest; empty if none moved.
        ceiling: growth halfway through and at the end of a very long absence; None if nothing moved.
        residue: of the first task; None if a weight moved, or if nothing is learned.
    """

    mark: Absence
    convention: Convention
    warm: WarmState
    drifts: tuple[Drift, ...]
    returns: Mapping[str, Return] = field(default_factory=dict)
    ceiling: tuple[float, float] | None = None
    residue: Residue | None = None


@dataclass(frozen=True)
class Measured:
    """All that was measured of one target.

    Attributes:
        target: how it was made, as Python.
        tasks: names.
        settings: of the absence.
        evidence: one per mark of absence that it accepts.
        without_mask: what a bare 0 does, where the target is judged by the presence mask that it takes; else None.
        not_accepted: marks that it does not accept, with the reason.
    """

    target: str
    tasks: tuple[str, ...]
    settings: Settings
    evidence: tuple[Evidence, ...]
    without_mask: Evidence | None
    not_accepted: Mapping[Absence, str]
