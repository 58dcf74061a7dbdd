"""Rules that judge a measurement by its interval; those on scores only between models that have learned their tasks."""

from dataclasses import dataclass

from aura_study.claims.model import Gate, Measurement, Rule
from aura_study.claims.statistics.decisions import Margins

INTEREST = 0.01
"""Smallest difference of interest: one point of area under the ROC curve."""
ADEQUACY = "control's least score above that of TF-IDF with logistic regression"
"""Key into ``Measurement.limits``."""
LEARNED = Gate(
    quantity=ADEQUACY,
    at_least=-0.05,
    text="the models have not learned: in one of the tasks the control, which has rows of all in every batch, stays "
    "more than 0.05 below TF-IDF with logistic regression on the same rows",
)
"""Without it a difference of scores says nothing."""
ROOM = "area that the control leaves to be gained"
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
class PredictedAtMost(Rule):
    """The whole interval of measured / predicted lies at or below 1 + tolerance; refuted if all of it lies above.

    For a prediction that is an upper bound.
    """

    tolerance: float

    def condition(self) -> str:
        """When the claim is confirmed, in words."""
        return f"the interval of measured / predicted lies at or below 1 + {self.tolerance:g}; refuted if it lies above"

    def margins(self, measurement: Measurement) -> Margins | None:
        """The prediction and the tolerance."""
        return Margins(self._bound(measurement), self._bound(measurement))

    def holds(self, measurement: Measurement) -> bool | None:
        """True, False, or None where the interval straddles the bound."""
        return AtMost(bound=self._bound(measurement)).holds(measurement)

    def _bound(self, measurement: Measurement) -> float:
        if measurement.predicted is None or measurement.predicted <= 0:
            raise ValueError(f"PredictedAtMost needs a prediction above 0, got {measurement.predicted}")
        return measurement.predicted * (1 + self.tolerance)


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
class Each(Rule):
    """The share is 1: holds of each one that was counted."""

    def condition(self) -> str:
        """When the claim is confirmed, in words."""
        return "the share is 1; a single exception refutes it"

    def holds(self, measurement: Measurement) -> bool | None:
        """Whether there is no exception; a count decides, whatever its interval says of those that were not counted."""
        return measurement.measured >= 1


@dataclass(frozen=True, kw_only=True)
class Within(Rule):
    """The whole interval lies within ``reach`` of 0; refuted if all of it lies outside."""

    reach: float

    def condition(self) -> str:
        """When the claim is confirmed, in words."""
        return f"the interval lies within ± {self.reach:g}; refuted if it lies outside"

    def margins(self, measurement: Measurement) -> Margins | None:
        """The reach, either way."""
        return Margins(-self.reach, self.reach)

    def holds(self, measurement: Measurement) -> bool | None:
        """True, False, or None where the interval straddles a border."""
        if measurement.low >= -self.reach and measurement.high <= self.reach:
            return True
        return False if measurement.low > self.reach or measurement.high < -self.reach else None


@dataclass(frozen=True, kw_only=True)
class Gains(AtLeast):
    """A score higher by the smallest difference of interest or more, of models that have learned their tasks."""

    bound: float = INTEREST
    min_seeds: int = 3
    gate: Gate | None = LEARNED


@dataclass(frozen=True, kw_only=True)
class Alike(Within):
    """Scores that differ by less than the smallest difference of interest, of models that have learned their tasks."""

    reach: float = INTEREST
    min_seeds: int = 3
    gate: Gate | None = LEARNED
