"""What measuring yields: records that need no module any more."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from aura_study.audit.calls.subject import Convention, Reading, Subject
from aura_study.audit.marks import Absence

FAR = 100.0
"""A start that multiplies or divides a weight by more is another story."""

MOST_STEPS = 1_000_000


@dataclass(frozen=True)
class Settings:
    """The absence that the audit simulates: ``steps`` steps at learning rate ``lr``."""

    lr: float = 0.01
    steps: int = 100

    def __post_init__(self) -> None:
        if not (math.isfinite(self.lr) and self.lr > 0):
            raise ValueError(f"lr must be finite and > 0, got {self.lr}")
        if not 1 <= self.steps <= MOST_STEPS:
            raise ValueError(f"steps must be 1 to {MOST_STEPS}, got {self.steps}")

    @property
    def phantom_number(self) -> float:
        """Sum of the learning rates over the absence."""
        return self.lr * self.steps


@dataclass(frozen=True)
class WarmState:
    """A module at rest with all tasks present.

    Attributes:
        subject: the module, with all that it remembers; read only through twins.
        values: parameters.
        reading: all tasks present, at these values.
        fall: each task's weight over its initial weight after a long descent at constant speed.
        falling: the share of the weight that the last sixth of that descent took.
        responds: whether a task's loss moves any parameter, at the start and here; None if nothing is learned.
        constant: tasks whose weight is no matter of a parameter.
        counts: whether the module counts its steps.
        forwarded: whether that count was moved far ahead.
    """

    subject: Subject
    values: list[Tensor]
    reading: Reading
    fall: dict[str, float]
    falling: dict[str, float]
    responds: dict[str, bool] | None
    constant: frozenset[str] = frozenset()
    counts: bool = False
    forwarded: bool = False


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
        on_return: whether it broke when the task was back.
        totals: the total at the first and the last step of the absence, None where none is handed back.
    """

    optimiser: str
    task: str
    growth: float
    broke_at: float | None
    gradient: float | None
    present_ratio: tuple[float, float]
    dead: bool
    on_return: bool = False
    totals: tuple[float | None, float | None] = (None, None)


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
class LongAbsence:
    """A very long absence: the weight's growth halfway through and at its end.

    Attributes:
        died: phantom number after which the task's loss moves no parameter any more, None if it always did.
    """

    halfway: float
    end: float
    died: float | None


@dataclass(frozen=True)
class ColdStart:
    """A task that is absent from the very first batch and comes a few steps later.

    Attributes:
        finite: whether the total and the gradients were, then and when it came.
        ratio: of the weights to those of a start with all tasks, the farthest from 1.
        raised: the module's error, if it raised.
    """

    task: str
    finite: bool
    ratio: float
    raised: str = ""

    @property
    def strange(self) -> bool:
        """Whether there is anything to say about it."""
        return not self.finite or bool(self.raised) or not 1 / FAR < self.ratio < FAR


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
        ceiling: a very long absence; None if nothing moved.
        residue: of the first task; None if a weight moved, or if nothing is learned.
        cold: an absence from the very first batch, where that is another story.
        measured: the tasks that were measured; the first step of the others is like theirs.
    """

    mark: Absence
    convention: Convention
    warm: WarmState
    drifts: tuple[Drift, ...]
    returns: Mapping[str, Return] = field(default_factory=dict)
    ceiling: LongAbsence | None = None
    residue: Residue | None = None
    cold: ColdStart | None = None
    measured: tuple[str, ...] = ()

    @property
    def says(self) -> str:
        """How the task was marked absent, in words."""
        return self.convention.mark_text(self.mark)


@dataclass(frozen=True)
class Solved:
    """A task that is present while its loss falls to 0 and stays, and then is back.

    Attributes:
        task: that was solved.
        fall, stay: growth of its weight while the loss falls, and from there on at 0.
        broke: stage at which the total or a gradient stopped being finite; empty if none.
        dead: whether its loss moves no parameter any more at the end.
        long: growth in a very long time at 0; None if nothing moved, or it broke.
    """

    task: str
    fall: float
    stay: float
    broke: str
    dead: bool
    long: LongAbsence | None = None


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
        solved: a task that is present and solved; None where the target raises on it.
    """

    target: str
    tasks: tuple[str, ...]
    settings: Settings
    evidence: tuple[Evidence, ...]
    without_mask: Evidence | None
    not_accepted: Mapping[Absence, str]
    solved: Solved | None = None
