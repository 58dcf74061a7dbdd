"""A claim, the rule that will judge it, a measurement, and the verdict.

Rules are objects that say in words what they do and do what they say; `claims.lock` says when each was written.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from statistics import median
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

if TYPE_CHECKING:
    from aura_study.claims.statistics.intervals import Estimate

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w-]*$")]  # becomes part of a path, so nothing else is let in


class Verdict(StrEnum):
    """What the measurement says of a claim."""

    CONFIRMED = "confirmed"
    WITHIN_LIMITS = "confirmed within limits"
    REFUTED = "refuted"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True)
class Measurement:
    """One number with its interval, next to what theory predicted for it.

    ``low`` and ``high`` bound the number: a 95 % interval over ``seeds`` seeds, or, for a deterministic measurement
    (``seeds`` = 0), the smallest and largest value over the cells that were measured. ``limits`` holds further measured
    numbers by name, for rules whose `Limit` asks for them. ``unit`` says what the number is.
    """

    measured: float
    low: float
    high: float
    unit: str
    predicted: float | None = None
    seeds: int = 0
    limits: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        estimate: "Estimate",
        unit: str,
        predicted: float | None = None,
        limits: Mapping[str, float] | None = None,
    ) -> Self:
        """An estimate with its interval over seeds."""
        return cls(estimate.mean, estimate.low, estimate.high, unit, predicted, estimate.count, dict(limits or {}))

    @classmethod
    def over(
        cls,
        cells: Iterable[float],
        unit: str,
        predicted: float | None = None,
        limits: Mapping[str, float] | None = None,
        measured: Callable[[list[float]], float] = median,
    ) -> Self:
        """The median of deterministic cells, or what else ``measured`` makes of them, between smallest and largest."""
        values = [float(cell) for cell in cells]
        return cls(measured(values), min(values), max(values), unit, predicted, limits=dict(limits or {}))

    def __post_init__(self) -> None:
        if not (self.low <= self.measured <= self.high) and math.isfinite(self.measured):
            raise ValueError(f"measured {self.measured} lies outside its own interval [{self.low}, {self.high}]")

    @property
    def ratio(self) -> float | None:
        """Measured over predicted, where there is a prediction that is not 0."""
        return self.measured / self.predicted if self.predicted else None


@dataclass(frozen=True)
class Limit:
    """A named condition under which a claim that holds is said to hold only within limits.

    Attributes:
        quantity: key into ``Measurement.limits``.
        at_least: the claim holds without limits only if the quantity is at least this.
        text: the limit in words, shown with the verdict.
    """

    quantity: str
    at_least: float
    text: str

    def reached(self, measurement: Measurement) -> bool:
        """Whether the claim holds beyond this limit as well."""
        return measurement.limits[self.quantity] >= self.at_least


@dataclass(frozen=True, kw_only=True)
class Rule(ABC):
    """Turns a measurement into a verdict.

    ``min_seeds`` seeds are needed for any verdict but ``inconclusive`` (0 for deterministic measurements).
    """

    min_seeds: int = 0
    limit: Limit | None = None

    @abstractmethod
    def condition(self) -> str:
        """When the claim is confirmed, in words."""

    @abstractmethod
    def holds(self, measurement: Measurement) -> bool | None:
        """True, False, or None where the interval does not decide."""

    def judge(self, measurement: Measurement) -> Verdict:
        """The verdict."""
        if not math.isfinite(measurement.measured) or measurement.seeds < self.min_seeds:
            return Verdict.INCONCLUSIVE
        holds = self.holds(measurement)
        if holds is None:
            return Verdict.INCONCLUSIVE
        if not holds:
            return Verdict.REFUTED
        if self.limit is not None and not self.limit.reached(measurement):
            return Verdict.WITHIN_LIMITS
        return Verdict.CONFIRMED

    def text(self) -> str:
        """The whole rule in words."""
        parts = [self.condition()]
        if self.min_seeds:
            parts.append(f"at least {self.min_seeds} seeds")
        if self.limit is not None:
            parts.append(f"without limits only if {self.limit.quantity} >= {self.limit.at_least:g}")
        return "; ".join(parts)


class Row(BaseModel):
    """One decided claim, as it stands in the ledger; a number that is not finite has become None, as JSON wants it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    claim: Name
    section: str
    statement: str
    prediction: str
    predicted: FiniteFloat | None
    measured: FiniteFloat | None
    interval: tuple[FiniteFloat | None, FiniteFloat | None]
    ratio: FiniteFloat | None
    unit: str
    seeds: int = Field(ge=0)
    verdict: Verdict
    limit: str | None
    limits: dict[str, FiniteFloat | None]
    rule: str
    notebook: Name
    figure: Name | None


@dataclass(frozen=True)
class Claim:
    """A checkable sentence: of AURA's guide, or of the theory that explains it.

    Attributes:
        key: short name such as ``"P2"``.
        section: of the guide, or ``"theory"`` for what the guide does not say.
        statement: the claim in one sentence.
        prediction: what theory says, in words and symbols; LaTeX between ``$``.
        rule: turns its measurement into a verdict; `claims.lock` guards it.
        figure: name of the figure that shows it, if there is one.
        notebook: that decides it, see `decided_by`.
        cites: keys into ``references.bib``, of works that it leans on.
    """

    key: str
    section: str
    statement: str
    prediction: str
    rule: Rule
    figure: str | None = None
    notebook: str = ""
    cites: tuple[str, ...] = ()

    def decide(self, measurement: Measurement) -> Row:
        """The ledger's row: the claim, what was measured, the verdict and the rule."""
        verdict = self.rule.judge(measurement)
        limit = self.rule.limit.text if verdict == Verdict.WITHIN_LIMITS and self.rule.limit else None
        return Row(
            claim=self.key,
            section=self.section,
            statement=self.statement,
            prediction=self.prediction,
            predicted=measurement.predicted,
            measured=_finite(measurement.measured),
            interval=(_finite(measurement.low), _finite(measurement.high)),
            ratio=_finite(measurement.ratio),
            unit=measurement.unit,
            seeds=measurement.seeds,
            verdict=verdict,
            limit=limit,
            limits={name: _finite(value) for name, value in measurement.limits.items()},
            rule=self.rule.text(),
            notebook=self.notebook,
            figure=self.figure,
        )


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None  # JSON has no infinity


def decided_by(notebook: str, *claims: Claim) -> tuple[Claim, ...]:
    """``claims``, which that notebook decides."""
    return tuple(replace(claim, notebook=notebook) for claim in claims)
