"""A claim, the rule that will judge it, a measurement, and the verdict.

Rules are objects that say in words what they do and do what they say; `claims.lock` says when each was written.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from statistics import median
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from aura_study.claims.statistics.decisions import Margins, at_confidence, is_t_interval, p_value, seeds_to_decide
from aura_study.claims.statistics.intervals import Estimate

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w-]*$")]  # becomes part of a path, so nothing else is let in


class Verdict(StrEnum):
    """What the measurement says of a claim."""

    CONFIRMED = "confirmed"
    WITHIN_LIMITS = "confirmed within limits"
    REFUTED = "refuted"
    INCONCLUSIVE = "inconclusive"
    """The interval crosses a border, or there are too few seeds for one: more of them would decide."""
    VOID = "void"
    """The measurement says nothing, however many seeds it has."""


DECIDED = (Verdict.CONFIRMED, Verdict.WITHIN_LIMITS, Verdict.REFUTED)


class Kind(StrEnum):
    """What a claim is measured on, and so how it could be wrong."""

    ARITHMETIC = "arithmetic"
    """Formulas and code: can fail only by a bug."""
    SIMULATED = "simulated"
    """Dynamics or problems without a network that reads text."""
    TRAINED = "trained"
    """Trainings of the model."""
    LOGGED = "logged"
    """Somebody else's run or data."""


class Held(StrEnum):
    """Whether a prediction held."""

    HELD = "held"
    FAILED = "failed"
    NONE = "none"
    """Nothing was predicted, or the measurement does not decide it."""


class Foretells(StrEnum):
    """What a claim's prediction says of its statement."""

    HOLDS = "it holds"
    FAILS = "it does not hold"
    NOTHING = "nothing"


@dataclass(frozen=True)
class Measurement:
    """One number with its interval, next to what theory predicted for it.

    ``low`` and ``high`` bound the number: a 95 % interval over ``seeds`` seeds, or, for a deterministic measurement
    (``seeds`` = 0), the smallest and largest value over the cells that were measured. ``limits`` holds further measured
    numbers by name, for rules whose `Limit` or `Gate` asks for them. ``unit`` says what the number is. ``void`` says
    why the measurement says nothing, if it does not. ``logarithmic``: the interval is a t interval of logarithms.
    """

    measured: float
    low: float
    high: float
    unit: str
    predicted: float | None = None
    seeds: int = 0
    limits: dict[str, float] = field(default_factory=dict)
    void: str = ""
    logarithmic: bool = False

    @classmethod
    def of(
        cls,
        estimate: Estimate,
        unit: str,
        predicted: float | None = None,
        limits: Mapping[str, float] | None = None,
        *,
        void: str = "",
        logarithmic: bool = False,
    ) -> Self:
        """An estimate with its interval over seeds."""
        interval = (estimate.mean, estimate.low, estimate.high)
        return cls(*interval, unit, predicted, estimate.count, dict(limits or {}), void, logarithmic)

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


@dataclass(frozen=True)
class Gate(Limit):
    """A named condition without which a measurement says nothing; ``text`` says why not."""


class Price(BaseModel):
    """What it takes to decide an inconclusive claim, if its true effect and spread are those that were seen.

    Attributes:
        power: chance to decide it.
        seeds: that it takes in all, or that the rule asks for where no more is known; None if `MOST_SEEDS` do not
            suffice, or nobody knows.
        times: as much work as the seeds that there are.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    power: float
    seeds: int | None
    times: float | None


@dataclass(frozen=True, kw_only=True)
class Rule(ABC):
    """Turns a measurement into a verdict.

    ``min_seeds`` seeds are needed for any verdict but ``inconclusive`` (0 for deterministic measurements). ``room`` is
    a gate beside ``gate``: without it the measurement could not have come out otherwise.
    """

    min_seeds: int = 0
    limit: Limit | None = None
    gate: Gate | None = None
    room: Gate | None = None

    @property
    def gates(self) -> tuple[Gate, ...]:
        """Those that there are."""
        return tuple(gate for gate in (self.gate, self.room) if gate is not None)

    @abstractmethod
    def condition(self) -> str:
        """When the claim is confirmed, in words."""

    @abstractmethod
    def holds(self, measurement: Measurement) -> bool | None:
        """True, False, or None where the interval does not decide."""

    def margins(self, measurement: Measurement) -> Margins | None:
        """The borders that the interval is held against; None for a rule that has none."""
        return None

    def why_void(self, measurement: Measurement) -> str | None:
        """Why the measurement says nothing; None if it says something."""
        if measurement.void:
            return measurement.void
        for gate in self.gates:
            if not gate.reached(measurement):
                return gate.text
        return "nothing could be measured" if math.isnan(measurement.measured) else None

    def judge(self, measurement: Measurement) -> Verdict:
        """The verdict."""
        if self.why_void(measurement):
            return Verdict.VOID
        if measurement.seeds < self.min_seeds:
            return Verdict.INCONCLUSIVE
        holds = self.holds(measurement)
        if holds is None:
            return Verdict.INCONCLUSIVE
        if not holds:
            return Verdict.REFUTED
        if self.limit is not None and not self.limit.reached(measurement):
            return Verdict.WITHIN_LIMITS
        return Verdict.CONFIRMED

    def p(self, measurement: Measurement) -> float | None:
        """How often chance would decide as clearly (see `p_value`); None without margins, t interval or spread."""
        seen = self._seen(measurement)
        return p_value(*seen) if seen and measurement.high > measurement.low else None

    def price(self, measurement: Measurement, confidence: float = 0.95, power: float = 0.9) -> Price | None:
        """Seeds that would decide with that ``power`` at ``confidence``; None for a measurement that has no seeds.

        Without margins or a t interval nobody knows more than how many the rule asks for at least.
        """
        if not measurement.seeds:
            return None
        seen, needed = self._seen(measurement), None
        if seen:
            estimate, margins = seen
            spread = estimate.high > estimate.low  # equal values need no more than the rule asks for
            needed = seeds_to_decide(at_confidence(estimate, confidence), margins, power, confidence) if spread else 2
        elif measurement.seeds < self.min_seeds:
            needed = self.min_seeds
        seeds = needed and max(needed, self.min_seeds)
        return Price(power=power, seeds=seeds, times=seeds and round(seeds / measurement.seeds, 2))

    def _seen(self, measurement: Measurement) -> tuple[Estimate, Margins] | None:
        """Estimate and margins in the units in which the interval is a t interval."""
        margins = None if self.why_void(measurement) else self.margins(measurement)
        estimate = Estimate(measurement.measured, measurement.low, measurement.high, measurement.seeds)
        if margins is None or not all(map(math.isfinite, (measurement.low, measurement.high))):
            return None
        if measurement.logarithmic:
            if min(margins.lower, measurement.low) <= 0:
                return None
            estimate, margins = estimate.through(math.log), Margins(math.log(margins.lower), math.log(margins.upper))
        return (estimate, margins) if is_t_interval(estimate) else None

    def text(self) -> str:
        """The whole rule in words."""
        parts = [self.condition()]
        if self.min_seeds:
            parts.append(f"at least {self.min_seeds} seeds")
        parts += [f"void unless {gate.quantity} >= {gate.at_least:g}" for gate in self.gates]
        if self.limit is not None:
            parts.append(f"without limits only if {self.limit.quantity} >= {self.limit.at_least:g}")
        return "; ".join(parts)


class Row(BaseModel):
    """One decided claim, as it stands in the ledger; a number that is not finite has become None, as JSON wants it.

    ``alone`` is what the claim's own rule says; ``verdict`` is that among the claims of its question, for which Holm's
    step-down turns ``p`` into ``p_holm`` (see `aura_study.claims.questions.together`).
    """

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
    logarithmic: bool = False
    kind: Kind
    verdict: Verdict
    alone: Verdict
    p: FiniteFloat | None = None
    p_holm: FiniteFloat | None = None
    prediction_held: Held
    price: Price | None = None
    void: str | None = None
    limit: str | None
    limits: dict[str, FiniteFloat | None]
    rule: str
    notebook: Name
    figure: Name | None

    @property
    def measurement(self) -> Measurement:
        """What was decided; a number that was not finite is infinite, or not a number where the row is void."""
        low, high = self.interval
        return Measurement(
            measured=(math.nan if self.void else math.inf) if self.measured is None else self.measured,
            low=-math.inf if low is None else low,
            high=math.inf if high is None else high,
            unit=self.unit,
            predicted=self.predicted,
            seeds=self.seeds,
            limits={name: math.inf if value is None else value for name, value in self.limits.items()},
            void=self.void or "",
            logarithmic=self.logarithmic,
        )

    @property
    def by_itself(self) -> Verdict:
        """The verdict before it was held against those of its question."""
        return self.alone if self.p_holm is not None and self.verdict == Verdict.INCONCLUSIVE else self.verdict


@dataclass(frozen=True)
class Claim:
    """A checkable sentence: of AURA's guide, or of the theory that explains it.

    Attributes:
        key: short name such as ``"P2"``.
        section: of the guide, or ``"theory"`` for what the guide does not say.
        statement: the claim in one sentence.
        prediction: what theory says, in words and symbols; LaTeX between ``$``.
        rule: turns its measurement into a verdict; `claims.lock` guards it.
        kind: what it is measured on; a `Kind` or its name.
        foretells: what the prediction says of the statement, or a rule of its own that the measurement has to keep.
        figure: name of the figure that shows it, if there is one.
        notebook: that decides it, see `decided_by`.
        cites: keys into ``references.bib``, of works that it leans on.

    Raises:
        ValueError: no such kind.
    """

    key: str
    section: str
    statement: str
    prediction: str
    rule: Rule
    kind: Kind | None = None
    foretells: Foretells | Rule = Foretells.HOLDS
    figure: str | None = None
    notebook: str = ""
    cites: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in list(Kind):
            raise ValueError(f"claim {self.key} needs a kind, one of {', '.join(Kind)}; got {self.kind!r}")

    @property
    def wording(self) -> dict[str, str]:
        """What `claims.lock` guards: statement, prediction, and the rule in words."""
        return {"statement": self.statement, "prediction": self.prediction, "rule": self.rule_text()}

    def rule_text(self) -> str:
        """The rule, and when its prediction held if that is not when the statement holds, in words."""
        if self.foretells == Foretells.HOLDS:
            return self.rule.text()
        if isinstance(self.foretells, Rule):
            return f"{self.rule.text()}; the prediction held if {self.foretells.text()}"
        return f"{self.rule.text()}; of the statement the prediction says: {self.foretells}"

    def held(self, measurement: Measurement) -> Held:
        """Whether the prediction held; none where nothing was predicted or the rule does not decide."""
        if self.foretells == Foretells.NOTHING or self.rule.why_void(measurement):
            return Held.NONE
        asked = self.foretells if isinstance(self.foretells, Rule) else self.rule
        verdict = asked.judge(measurement)
        if verdict not in DECIDED:
            return Held.NONE
        return Held.HELD if (verdict != Verdict.REFUTED) == (self.foretells != Foretells.FAILS) else Held.FAILED

    def decide(self, measurement: Measurement) -> Row:
        """The ledger's row: the claim, what was measured, the verdict and the rule."""
        verdict = self.rule.judge(measurement)
        limit = self.rule.limit.text if verdict == Verdict.WITHIN_LIMITS and self.rule.limit else None
        return Row(
            claim=self.key,
            section=self.section,
            statement=self.statement,
            prediction=self.prediction,
            predicted=_finite(measurement.predicted),
            measured=_finite(measurement.measured),
            interval=(_finite(measurement.low), _finite(measurement.high)),
            ratio=_finite(measurement.ratio),
            unit=measurement.unit,
            seeds=measurement.seeds,
            logarithmic=measurement.logarithmic,
            kind=Kind(self.kind or ""),
            verdict=verdict,
            alone=verdict,
            p=self.rule.p(measurement),
            p_holm=None,
            prediction_held=self.held(measurement),
            price=self.rule.price(measurement) if verdict == Verdict.INCONCLUSIVE else None,
            void=self.rule.why_void(measurement),
            limit=limit,
            limits={name: _finite(value) for name, value in measurement.limits.items()},
            rule=self.rule_text(),
            notebook=self.notebook,
            figure=self.figure,
        )


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None  # JSON has no infinity


def decided_by(notebook: str, *claims: Claim) -> tuple[Claim, ...]:
    """``claims``, which that notebook decides."""
    return tuple(replace(claim, notebook=notebook) for claim in claims)
