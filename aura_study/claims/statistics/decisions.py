"""What an interval decides against two margins, alone and among other claims, and how many seeds would decide more.

All of it is about `mean_interval` and `paired_interval`; a ratio's is one too, of logarithms:
``ratio_interval(...).through(np.log)``, with the margins' logarithms.
"""

import math
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from scipy import integrate, stats

from aura_study.claims.statistics.intervals import Estimate

MOST_SEEDS = 100_000
"""Where `seeds_to_decide` gives up."""


class Side(StrEnum):
    """Where an interval lies against two margins."""

    BELOW = "below"
    EQUIVALENT = "equivalent"
    ABOVE = "above"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Margins:
    """The borders of what is too small to matter: ``Margins(-d, d)`` for a smallest effect of interest d.

    A claim with a direction, "gains at least d", asks ``Margins(d, d)``: what lies below it, an effect the other way
    included, is no gain of interest.
    """

    lower: float
    upper: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.lower) and math.isfinite(self.upper) and self.lower <= self.upper):
            raise ValueError(f"margins must be finite and in order, got {self.lower} and {self.upper}")

    def regions(self) -> dict[Side, tuple[float, float]]:
        """The parts into which the margins cut the line."""
        return {
            Side.BELOW: (-math.inf, self.lower),
            Side.EQUIVALENT: (self.lower, self.upper),
            Side.ABOVE: (self.upper, math.inf),
        }

    def side(self, estimate: Estimate) -> Side:
        """The part that holds the whole interval; undecided where it touches a margin, or is not a number."""
        for side, (low, high) in self.regions().items():
            if low < estimate.low and estimate.high < high:
                return side
        return Side.UNDECIDED


def p_value(estimate: Estimate, margins: Margins, confidence: float = 0.95) -> float:
    """How often chance alone would decide as clearly as ``estimate``, a t interval at ``confidence``, does.

    The p at which the interval with confidence 1 - p touches the nearest margin, so that p < 1 - ``confidence`` if and
    only if the interval decides. For one margin it is that of the two-sided t test against it; for equivalence it is
    twice that of two one-sided tests (Schuirmann 1987). 0 for equal values off the margins.
    """
    distance = min(abs(estimate.mean - margins.lower), abs(estimate.mean - margins.upper))
    error = _deviation(estimate, confidence) / math.sqrt(estimate.count)
    if not error:
        return 0.0 if distance else 1.0
    return float(2 * stats.t.sf(distance / error, estimate.count - 1))


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """The claims' p-values adjusted for their number by Holm's step-down (Holm 1979), in the order given.

    The k-th smallest of m becomes the largest of (m - j + 1) p_j over j <= k, at most 1. With those below a level taken
    as decided, the chance of even one wrong decision is at most that level, whatever the claims share.

    Raises:
        ValueError: a p-value outside 0 to 1.
    """
    for name, p in p_values.items():
        if not 0 <= p <= 1:
            raise ValueError(f"p-values lie between 0 and 1, got {p} for {name}")
    rising = sorted(p_values, key=p_values.__getitem__)
    steps = [(len(rising) - before) * p_values[name] for before, name in enumerate(rising)]
    adjusted = dict(zip(rising, np.minimum(np.maximum.accumulate(steps), 1.0).tolist(), strict=True))
    return {name: adjusted[name] for name in p_values}


def chance_to_decide(count: int, effect: float, deviation: float, margins: Margins, confidence: float = 0.95) -> float:
    """Power: the chance that the t interval of ``count`` normal values lies on the true mean's side of ``margins``.

    ``effect`` is that mean, ``deviation`` the values' standard deviation (of differences, where they are paired). With
    m and s the sample's, t its quantile and low, high the region's ends, the interval lies within if
    low + t s / sqrt(count) < m < high - t s / sqrt(count); the normal chance of that, averaged over the chi
    distribution of s, is exact for superiority over a margin (where it is the noncentral t's) and for equivalence.

    Raises:
        ValueError: fewer than two values, an effect that is not finite, or a deviation that is not above 0.
    """
    if count < 2:
        raise ValueError(f"an interval needs two values or more, got count {count}")
    if not math.isfinite(effect) or not 0 < deviation < math.inf:
        raise ValueError(f"needs a finite effect and a deviation above 0, got {effect} and {deviation}")
    inside = [(low, high) for low, high in margins.regions().values() if low < effect < high]
    if not inside:  # the truth is the margin itself
        return 0.0
    ((low, high),) = inside
    error = deviation / math.sqrt(count)
    reach = stats.t.ppf(0.5 + confidence / 2, count - 1)

    def chance(quantile: np.ndarray) -> np.ndarray:
        half = reach * np.sqrt(stats.chi2.ppf(quantile, count - 1) / (count - 1))
        room = stats.norm.cdf((high - effect) / error - half) - stats.norm.cdf((low - effect) / error + half)
        return np.maximum(room, 0.0)

    return float(integrate.fixed_quad(chance, 0, 1, n=200)[0])


def seeds_to_decide(estimate: Estimate, margins: Margins, power: float = 0.9, confidence: float = 0.95) -> int | None:
    """How many seeds decide with that ``power``, if the true effect and its spread are as in ``estimate``.

    ``estimate`` is a t interval at ``confidence``; to plan for another true effect, such as none, give one with that
    mean and the same width. The least count with which `chance_to_decide` reaches ``power``; None if more than
    `MOST_SEEDS` would be needed, as where the effect is a margin.

    Raises:
        ValueError: fewer than two values, no spread, or a power that is not between 0 and 1.
    """
    if not 0 < power < 1:
        raise ValueError(f"power must lie between 0 and 1, got {power}")
    deviation = _deviation(estimate, confidence)
    counts = range(2, MOST_SEEDS + 1)
    at = bisect_left(
        counts, power, key=lambda count: chance_to_decide(count, estimate.mean, deviation, margins, confidence)
    )
    return counts[at] if at < len(counts) else None


def is_t_interval(estimate: Estimate) -> bool:
    """Whether it can be one of `mean_interval`: two values or more, and the mean in the middle of a finite interval."""
    half = (estimate.high - estimate.low) / 2
    middle = math.isclose(estimate.high - estimate.mean, half, rel_tol=1e-6, abs_tol=1e-9 * abs(estimate.mean))
    return estimate.count >= 2 and math.isfinite(half) and middle


def at_confidence(estimate: Estimate, confidence: float, known: float = 0.95) -> Estimate:
    """A t interval at the confidence ``known``, at another one."""
    half = _deviation(estimate, known) * float(stats.t.ppf(0.5 + confidence / 2, estimate.count - 1))
    half /= math.sqrt(estimate.count)
    return Estimate(estimate.mean, estimate.mean - half, estimate.mean + half, estimate.count)


def _deviation(estimate: Estimate, confidence: float) -> float:
    """Standard deviation of the values behind a t interval."""
    if not is_t_interval(estimate):
        raise ValueError(
            f"needs a t interval of two values or more, with the mean in its middle (of a ratio, its logarithm), "
            f"got {estimate}"
        )
    quantile = float(stats.t.ppf(0.5 + confidence / 2, estimate.count - 1))
    return (estimate.high - estimate.low) / 2 * math.sqrt(estimate.count) / quantile
