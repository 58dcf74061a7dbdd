"""Rules that judge a measurement by its interval; those on scores only between models that have learned their tasks."""

from abc import abstractmethod
from dataclasses import dataclass

from aura_study.claims.model import Measurement, Rule
from aura_study.claims.statistics.decisions import Margins

INTEREST = 0.01
"""Smallest difference of interest: one point of macro-F1."""
LEARNED = 0.05
"""How far above the majority baseline a task's score must lie before a difference of scores says anything."""
MARGIN = "least margin over the majority baseline"
"""Key into ``Measurement.limits``."""


@dataclass(frozen=True, kw_only=True)
class RatioWithin(Rule):
    """The whole interval of measured / predicted lies within 1 +- tolerance; refuted if all of it lies outside."""

    tolerance: float

    def condition(self) -> str:
        """When the claim is confirmed, in words."""
        return f"the interval of measured / predicted lies within 1 ± {self.tolerance:g}; refuted if it lies outside"

    def margins(self, measurement: Measurement) -> Margins | None:
        """The prediction less and more the tolerance."""
        middle, reach = measurement.predicted or 0.0, self.tolerance * abs(measurement.predicted or 0.0)
        return Margins(middle - reach, middle + reach)

    def holds(self, measurement: Measurement) -> bool | None:
        """True, False, or None where the interval straddles a border."""
        if not measurement.predicted:
            raise ValueError(f"RatioWithin needs a prediction that is not 0, got {measurement.predicted}")
        low, high = sorted((measurement.low / measurement.predicted, measurement.high / measurement.predicted))
        if low >= 1 - self.tolerance and high <= 1 + self.tolerance:
            return True
        if high < 1 - self.tolerance or low > 1 + self.tolerance:
            return False
        return None


@dataclass(frozen=True, kw_only=True)
class AtMost(Rule):
    """The whole interval lies at or below ``bound``; refuted if all of it lies above."""

    bound: float

    def condition(self) -> str:
        """When the claim is confirmed, in words."""
        return f"the interval lies at or below {self.bound:g}; refuted if it lies above"

    def margins(self, measurement: Measurement) -> Margins | None:
        """The bound."""
        return Margins(self.bound, self.bound)

    def holds(self, measurement: Measurement) -> bool | None:
        """True, False, or None where the interval straddles the bound."""
        return True if measurement.high <= self.bound else False if measurement.low > self.bound else None


@dataclass(frozen=True, kw_only=True)
class AtLeast(Rule):
    """The whole interval lies at or above ``bound``; refuted if all of it lies below."""

    bound: float

    def condition(self) -> str:
        """When the claim is confirmed, in words."""
        return f"the interval lies at or above {self.bound:g}; refuted if it lies below"

    def margins(self, measurement: Measurement) -> Margins | None:
        """The bound."""
        return Margins(self.bound, self.bound)

    def holds(self, measurement: Measurement) -> bool | None:
        """True, False, or None where the interval straddles the bound."""
        return True if measurement.low >= self.bound else False if measurement.high < self.bound else None


@dataclass(frozen=True, kw_only=True)
class SameSide(Rule):
    """The whole interval lies on that side of ``bound`` on which the prediction lies; refuted if on the other."""

    bound: float

    def condition(self) -> str:
        """When the prediction held, in words."""
        return f"the interval lies on the prediction's side of {self.bound:g}; refuted if it lies on the other"

    def holds(self, measurement: Measurement) -> bool | None:
        """True, False, or None where the interval straddles the bound or nothing was predicted."""
        above = AtLeast(bound=self.bound).holds(measurement)
        if measurement.predicted is None or above is None:
            return None
        return above == (measurement.predicted >= self.bound)


@dataclass(frozen=True, kw_only=True)
class ScoreDifference(Rule):
    """A difference of scores, decided only between models that have learned their tasks."""

    min_seeds: int = 3

    @abstractmethod
    def bounds(self) -> str:
        """Where the interval has to lie, in words."""

    @abstractmethod
    def lies(self, measurement: Measurement) -> bool | None:
        """Whether it does; None where it straddles a border."""

    def condition(self) -> str:
        """When the claim is confirmed, in words."""
        return f"{self.bounds()}; inconclusive unless every task scores {LEARNED:g} above its majority baseline"

    def holds(self, measurement: Measurement) -> bool | None:
        """True, False, or None where the interval straddles a border or the models have learned too little."""
        return self.lies(measurement) if measurement.limits[MARGIN] >= LEARNED else None


@dataclass(frozen=True, kw_only=True)
class Gains(ScoreDifference):
    """The whole interval lies above the smallest difference of interest; refuted if all of it lies below."""

    def bounds(self) -> str:
        """Where the interval has to lie, in words."""
        return f"the interval lies above {INTEREST:g}; refuted if it lies below"

    def margins(self, measurement: Measurement) -> Margins | None:
        """The smallest difference of interest."""
        return Margins(INTEREST, INTEREST)

    def lies(self, measurement: Measurement) -> bool | None:
        """Whether it does; None where it straddles the bound."""
        return True if measurement.low > INTEREST else False if measurement.high < INTEREST else None


@dataclass(frozen=True, kw_only=True)
class Alike(ScoreDifference):
    """The whole interval lies within the smallest difference of interest; refuted if all of it lies outside."""

    def bounds(self) -> str:
        """Where the interval has to lie, in words."""
        return f"the interval lies within ± {INTEREST:g}; refuted if it lies outside"

    def margins(self, measurement: Measurement) -> Margins | None:
        """The smallest difference of interest, either way."""
        return Margins(-INTEREST, INTEREST)

    def lies(self, measurement: Measurement) -> bool | None:
        """Whether it does; None where it straddles a border."""
        if measurement.low >= -INTEREST and measurement.high <= INTEREST:
            return True
        return False if measurement.low > INTEREST or measurement.high < -INTEREST else None
