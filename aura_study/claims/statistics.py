"""Seeds and intervals: how many numbers become one number and its uncertainty."""

from collections.abc import Sequence
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

    def row(self, mean: str = "mean") -> dict[str, float]:
        """Part of a table's row: the mean under the name ``mean``, low, high, seeds."""
        return {mean: self.mean, "low": self.low, "high": self.high, "seeds": self.count}


def mean_interval(values: ArrayLike, confidence: float = 0.95) -> Estimate:
    """Mean and Student-t interval of independent values, shape ``(seeds,)``.

    One value has an infinite interval: a single seed supports no verdict.

    Raises:
        ValueError: no values, or values that are not finite.
    """
    sample = np.asarray(values, float)
    if sample.ndim != 1 or not sample.size:
        raise ValueError(f"values must be a non-empty vector, got shape {sample.shape}")
    if not np.isfinite(sample).all():
        raise ValueError(f"values must be finite, got {sample.tolist()}")
    mean = float(sample.mean())
    if sample.size == 1:
        return Estimate(mean, -np.inf, np.inf, 1)
    half = float(stats.t.ppf(0.5 + confidence / 2, sample.size - 1) * stats.sem(sample))
    return Estimate(mean, mean - half, mean + half, sample.size)


def median_of_draws(values: ArrayLike) -> Estimate:
    """Median and middle 95 % of random draws, shape ``(draws,)``: their spread, not the uncertainty of a mean."""
    draws = np.asarray(values, float)
    low, middle, high = np.percentile(draws, [2.5, 50, 97.5])
    return Estimate(float(middle), float(low), float(high), draws.size)


def paired_interval(treated: ArrayLike, control: ArrayLike, confidence: float = 0.95) -> Estimate:
    """`mean_interval` of ``treated - control``, paired by position (the same seed in both)."""
    first, second = np.asarray(treated, float), np.asarray(control, float)
    if first.shape != second.shape:
        raise ValueError(f"paired values need equal shapes, got {first.shape} and {second.shape}")
    return mean_interval(first - second, confidence)


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
