"""Seeds and intervals: how many numbers become one number and its uncertainty.

| what was measured, over seeds | estimate | interval |
|---|---|---|
| a number | `mean_interval` | Student t |
| two numbers of each seed, and their difference counts | `paired_interval` | Student t of the differences |
| two positive numbers of each seed, and their ratio counts | `ratio_interval` | Student t of the logarithms |
| two means, and one in parts of the other counts | `ratio_of_means` | Fieller |
| so many of so many | `share_interval` | Wilson |
| times, some of them longer than was watched | `median_time` | Kaplan and Meier, log-log |

What an interval decides, and how many seeds would decide more, is in `aura_study.claims.statistics.decisions`.
"""

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats


@dataclass(frozen=True)
class Estimate:
    """A mean, or another middle, with its 95 % interval over ``count`` independent values."""

    mean: float
    low: float
    high: float
    count: int

    def __rmul__(self, factor: float) -> "Estimate":
        """In another unit; a factor below 0 turns the interval round."""
        low, high = sorted((factor * self.low, factor * self.high))
        return Estimate(factor * self.mean, low, high, self.count)

    def through(self, rising: Callable[[float], float]) -> "Estimate":
        """Through a rising function, such as the logarithm, in whose units the t interval of a ratio is symmetric."""
        return Estimate(float(rising(self.mean)), float(rising(self.low)), float(rising(self.high)), self.count)

    def row(self, mean: str = "mean") -> dict[str, float]:
        """Part of a table's row: the mean under the name ``mean``, low, high, seeds."""
        return {mean: self.mean, "low": self.low, "high": self.high, "seeds": self.count}


def mean_interval(values: ArrayLike, confidence: float = 0.95) -> Estimate:
    """Mean and Student-t interval of independent values, shape ``(seeds,)``: mean ± t sd / sqrt(seeds).

    One value has an infinite interval: a single seed supports no verdict. Equal values have one of width 0.

    Raises:
        ValueError: no values, or values that are not finite.
    """
    sample = _sample(values)
    mean = float(sample.mean())
    if sample.size == 1:
        return Estimate(mean, -np.inf, np.inf, 1)
    half = float(stats.t.ppf(0.5 + confidence / 2, sample.size - 1) * stats.sem(sample))
    return Estimate(mean, mean - half, mean + half, sample.size)


def paired_interval(treated: ArrayLike, control: ArrayLike, confidence: float = 0.95) -> Estimate:
    """`mean_interval` of ``treated - control``, paired by position (the same seed in both)."""
    return mean_interval(np.subtract(*_pair(treated, control)), confidence)


def ratio_interval(measured: ArrayLike, reference: ArrayLike, confidence: float = 0.95) -> Estimate:
    """Geometric mean of ``measured / reference`` and its interval, `mean_interval` of the logarithms taken back.

    Both positive, paired by position. One value has the interval from 0 to infinity.

    Raises:
        ValueError: no values, unequal shapes, or values that are not finite and above 0.
    """
    above, below = _pair(measured, reference)
    if not (above > 0).all() or not (below > 0).all():
        raise ValueError(f"ratios need values above 0, got {above.tolist()} over {below.tolist()}")
    return mean_interval(np.log(above) - np.log(below), confidence).through(np.exp)


def ratio_of_means(numerator: ArrayLike, denominator: ArrayLike, confidence: float = 0.95) -> Estimate:
    """Mean of ``numerator`` over mean of ``denominator``, paired by position, with Fieller's interval.

    The ratios r for which the paired t interval of numerator - r denominator holds 0 (Fieller 1954): exact for normal
    pairs, of either sign. Infinite for one pair, and where the denominator's own interval holds 0. For runs of control,
    masked and unmasked with the same seeds, what the mask saves in parts of what training costs is
    ``ratio_of_means(unmasked - masked, masked - control)``.

    Not a bootstrap: over the few seeds of a study its percentiles lie too close together, as the tests show.

    Raises:
        ValueError: no values, unequal shapes, values that are not finite, or a denominator whose mean is 0.
    """
    above, below = _pair(numerator, denominator)
    over, under = mean_interval(above, confidence), mean_interval(below, confidence)
    if not under.mean:
        raise ValueError(f"the denominator's mean must not be 0, got {below.tolist()}")
    ratio = over.mean / under.mean
    if under.low <= 0 <= under.high:
        return Estimate(ratio, -np.inf, np.inf, above.size)
    # (mean - r mean')^2 = t^2 var(mean - r mean') in r: the borders are the roots of a r^2 - 2 b r + c
    scale = stats.t.ppf(0.5 + confidence / 2, above.size - 1) ** 2 / above.size
    (var_over, shared), (_, var_under) = scale * np.cov(above, below)
    a, b, c = under.mean**2 - var_under, over.mean * under.mean - shared, over.mean**2 - var_over
    half = math.sqrt(max(b * b - a * c, 0.0))
    return Estimate(ratio, min((b - half) / a, ratio), max((b + half) / a, ratio), above.size)


def share_interval(hits: int, count: int, confidence: float = 0.95) -> Estimate:
    """``hits`` of ``count`` as a share, with Wilson's score interval (Wilson 1927), which lies within 0 and 1.

    Raises:
        ValueError: no trials, or hits below 0 or above ``count``.
    """
    if count < 1 or not 0 <= hits <= count:
        raise ValueError(f"hits must be 0 to count, and count at least 1, got {hits} of {count}")
    interval = stats.binomtest(hits, count).proportion_ci(confidence, method="wilson")
    return Estimate(hits / count, float(interval.low), float(interval.high), count)


def median_time(times: ArrayLike, reached: ArrayLike, confidence: float = 0.95) -> Estimate:
    """Median time until an event that some runs were not watched long enough to see (Kaplan and Meier 1958).

    ``times`` from 0 on, shape ``(runs,)``: of the event where ``reached``, else of the last look. The median is the
    first time at which the survival curve is at most a half, and infinite where it stays above: not reached. Its
    interval holds the times at which the curve's log-log band holds a half (Brookmeyer and Crowley 1982); its upper end
    is infinite where the band never falls below. What all runs outlive, the median outlives only if there are enough of
    them, 2^-runs <= 1 - confidence, 5 at 95 %: the lower end is 0 for fewer, and where no event was seen it is the time
    that so many outlived. What none outlives is an upper end for one run more, 6 at 95 %; fewer have none.

    Raises:
        ValueError: no times, unequal shapes, or times that are not finite or below 0.
    """
    ends, seen = _sample(times), np.asarray(reached, bool)
    if ends.shape != seen.shape:
        raise ValueError(f"times and reached need equal shapes, got {ends.shape} and {seen.shape}")
    if (ends < 0).any():
        raise ValueError(f"times must be at least 0, got {ends.tolist()}")
    enough = math.ceil(-math.log2(1 - confidence))  # that so many runs all outlive the median is rare enough
    if not seen.any():
        return Estimate(np.inf, float(np.sort(ends)[-enough]) if ends.size >= enough else 0.0, np.inf, ends.size)
    curve = stats.ecdf(stats.CensoredData.right_censored(ends, ~seen)).sf
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the band is undefined, NaN, where the curve is 1 or 0
        band = curve.confidence_interval(confidence, method="log-log")

    def falls(survival: np.ndarray) -> float:
        below = curve.quantiles[survival <= 0.5 + 1e-12]
        return float(below[0]) if below.size else np.inf

    median = falls(curve.probabilities)
    low = min(falls(band.low.probabilities), median, float(ends.max())) if ends.size >= enough else 0.0
    high = min(falls(band.high.probabilities), ends.max() if seen.all() and ends.size > enough else np.inf)
    return Estimate(median, low, float(high), ends.size)


def raw_range(values: ArrayLike) -> dict[str, float]:
    """Smallest and largest of the values as they were measured, to stand beside an interval of their ratio."""
    sample = _sample(values)
    return {"smallest": float(sample.min()), "largest": float(sample.max())}


def median_of_draws(values: ArrayLike) -> Estimate:
    """Median and middle 95 % of random draws, shape ``(draws,)``: their spread, not the uncertainty of a mean."""
    draws = np.asarray(values, float)
    low, middle, high = np.percentile(draws, [2.5, 50, 97.5])
    return Estimate(float(middle), float(low), float(high), draws.size)


def spread(table: pd.DataFrame, by: Sequence[str], column: str) -> pd.DataFrame:
    """Mean and range of ``column`` over the rows that agree in ``by``, such as seeds: ``by``, mean, low, high."""
    return table.groupby(list(by))[column].agg(mean="mean", low="min", high="max").reset_index()


def intervals(table: pd.DataFrame, by: Sequence[str], column: str, mean: str = "mean") -> pd.DataFrame:
    """`mean_interval` of ``column``, whose rows are seeds, in every group, in order of appearance.

    Columns: ``by``, the mean under the name ``mean``, low, high (infinite for one seed), seeds.
    """
    groups = table.groupby(list(by), sort=False)[column]
    return pd.DataFrame({**dict(zip(by, key, strict=True)), **mean_interval(group).row(mean)} for key, group in groups)


def seeds(count: int, first: int = 0) -> Sequence[int]:
    """``count`` consecutive seeds, so that a longer run extends a shorter one."""
    if count < 1:
        raise ValueError(f"at least one seed is needed, got {count}")
    return range(first, first + count)


def _sample(values: ArrayLike) -> np.ndarray:
    """A vector of at least one finite value."""
    sample = np.asarray(values, float)
    if sample.ndim != 1 or not sample.size:
        raise ValueError(f"values must be a non-empty vector, got shape {sample.shape}")
    if not np.isfinite(sample).all():
        raise ValueError(f"values must be finite, got {sample.tolist()}")
    return sample


def _pair(first: ArrayLike, second: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Two such vectors, of equal length."""
    one, other = np.asarray(first, float), np.asarray(second, float)
    if one.shape != other.shape:
        raise ValueError(f"paired values need equal shapes, got {one.shape} and {other.shape}")
    return _sample(one), _sample(other)
