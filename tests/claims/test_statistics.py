"""Properties of the intervals: each covers the truth as often as it says, and what it answers to few or odd values."""

import math
from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import stats

from aura_study.claims.statistics.intervals import (
    Estimate,
    intervals,
    mean_interval,
    median_of_draws,
    median_time,
    paired_interval,
    ratio_interval,
    ratio_of_means,
    raw_range,
    seeds,
    share_interval,
)

SIMULATIONS = 1500
"""So many leave a standard error of .6 points on a coverage of 95 %."""


def coverage(estimates: Iterable[Estimate], truth: float) -> float:
    """The share of the intervals that hold the truth."""
    return float(np.mean([estimate.low <= truth <= estimate.high for estimate in estimates]))


def assert_covers(simulate: Callable[[np.random.Generator], Estimate], truth: float) -> None:
    """Of many nominal 95 % intervals over simulated data, 92 to 98 % hold the truth."""
    random = np.random.default_rng(0)
    assert 0.92 <= coverage((simulate(random) for _ in range(SIMULATIONS)), truth) <= 0.98


@pytest.mark.parametrize("count", [2, 5, 20])
def test_the_interval_of_a_mean_covers(count):
    """Over two normal values as over twenty."""
    assert_covers(lambda random: mean_interval(random.normal(3, 2, count)), truth=3)


@pytest.mark.parametrize("count", [3, 8])
def test_the_interval_of_a_paired_difference_covers(count):
    """Whatever the pairs share."""

    def simulate(random: np.random.Generator) -> Estimate:
        shared = random.normal(size=count)
        return paired_interval(shared + random.normal(0.3, 0.2, count), shared)

    assert_covers(simulate, truth=0.3)


@pytest.mark.parametrize("count", [3, 5, 10])
def test_the_interval_of_a_ratio_covers(count):
    """The geometric mean of measured over predicted, where values of one table lie decades apart."""

    def simulate(random: np.random.Generator) -> Estimate:
        predicted = 10 ** random.uniform(0, 4, count)
        return ratio_interval(predicted * 1.1 * np.exp(random.normal(0, 0.3, count)), predicted)

    assert_covers(simulate, truth=1.1)


def triples(random: np.random.Generator, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """What the mask saves and what training costs, twice and once on average, from runs that share their seed."""
    start = random.normal(size=shape)
    masked = start + random.normal(1, 0.4, shape)
    unmasked = masked + random.normal(2, 0.8, shape)
    return unmasked - masked, masked - start


@pytest.mark.slow
@pytest.mark.parametrize("count", [5, 8, 20])
def test_the_interval_of_a_ratio_of_means_covers(count):
    """Over (control, masked, unmasked) triples."""
    assert_covers(lambda random: ratio_of_means(*triples(random, (count,))), truth=2)


@pytest.mark.slow
def test_the_interval_of_a_ratio_of_means_covers_with_skewed_values():
    """Exponential parts, far from normal, that numerator and denominator share."""

    def simulate(random: np.random.Generator) -> Estimate:
        own, shared, other = random.exponential(size=(3, 10))
        return ratio_of_means(2 * (own + shared), other + shared)

    assert_covers(simulate, truth=2)


def test_the_bootstrap_of_a_ratio_of_means_would_not_cover():
    """Why `ratio_of_means` is Fieller's: over eight seeds the percentiles of 95 % hold the truth in less than 92 %."""
    random = np.random.default_rng(0)
    above, below = triples(random, (SIMULATIONS, 8))
    drawn = random.integers(0, 8, (400, 8))
    ratios = above[:, drawn].mean(-1) / below[:, drawn].mean(-1)
    low, high = np.percentile(ratios, [2.5, 97.5], axis=1)
    assert np.mean((low <= 2) & (high >= 2)) < 0.92


def test_the_interval_of_a_ratio_of_means_is_where_the_paired_difference_holds_0():
    """At both of its ends numerator - r denominator touches 0, for ratios and denominators of either sign."""
    random = np.random.default_rng(1)
    for sign_above in (1, -1):
        for sign_below in (1, -1):
            above, below = triples(random, (8,))
            above, below = sign_above * above, sign_below * below
            found = ratio_of_means(above, below)
            assert found.mean == pytest.approx(above.mean() / below.mean())
            for end in (found.low, found.high):
                touching = paired_interval(above, end * below)
                assert min(abs(touching.low), abs(touching.high)) < 1e-9
    assert ratio_of_means([1.0, 2.0], [1.0, -1.5]).high == math.inf
    assert ratio_of_means([3.0], [2.0]) == Estimate(1.5, -math.inf, math.inf, 1)
    assert ratio_of_means([3.0, 3.0], [2.0, 2.0]) == Estimate(1.5, 1.5, 1.5, 2)


@pytest.mark.parametrize("count", [10, 25, 50])
def test_the_interval_of_a_share_covers(count):
    """Summed over all outcomes: at shares between .2 and .8, and on average over all shares."""
    found = [share_interval(hits, count) for hits in range(count + 1)]
    low, high = np.array([(estimate.low, estimate.high) for estimate in found]).T
    shares = np.linspace(0.005, 0.995, 199)
    chances = stats.binom.pmf(np.arange(count + 1), count, shares[:, None])
    covered = (chances * ((low <= shares[:, None]) & (shares[:, None] <= high))).sum(1)
    assert 0.94 <= covered.mean() <= 0.96
    if count >= 25:
        assert 0.92 <= covered[(shares > 0.2) & (shares < 0.8)].min() <= covered.max() <= 1


def test_a_share_of_none_or_all_still_has_an_interval():
    """0 and 1 are among the shares that can be, and the interval is Wilson's."""
    none, all_ = share_interval(0, 5), share_interval(5, 5)
    assert none.mean == none.low == 0 < none.high < 0.5
    assert all_.mean == all_.high == 1 > all_.low > 0.5
    most = share_interval(18, 25)
    assert_allclose([most.mean, most.low, most.high], [0.72, 0.5242, 0.8572], atol=1e-4)
    assert share_interval(1, 1).low < 0.25
    for hits, count in ((0, 0), (-1, 5), (6, 5)):
        with pytest.raises(ValueError, match=f"got {hits} of {count}"):
            share_interval(hits, count)


@pytest.mark.parametrize("count", [5, 6, 10, 25])
@pytest.mark.parametrize("watched", [math.inf, 1.0], ids=["all seen", "censored"])
def test_the_interval_of_a_median_time_covers(count, watched):
    """Exponential times with median log 2, some of them longer than was watched; every run up to a time of its own."""

    def simulate(random: np.random.Generator) -> Estimate:
        times, ends = random.exponential(size=count), watched * random.uniform(0.8, 1.6, count)
        return median_time(np.minimum(times, ends), times <= ends)

    assert_covers(simulate, truth=math.log(2))


def test_a_median_time_that_was_not_reached_is_infinite():
    """It tells the least it can be only if enough runs outlived that; the mean of what was watched is no bound."""
    never = median_time([200.0] * 10, [False] * 10)
    assert never == Estimate(math.inf, 200.0, math.inf, 10)
    assert median_time([200.0] * 3, [False] * 3) == Estimate(math.inf, 0.0, math.inf, 3)
    assert median_time([10, 20, 30, 40, 50, 60], [False] * 6).low == 20  # which five outlived
    assert median_time([10, 20, 30, 40, 50], [False] * 5).low == 10
    most_never = median_time([3, 5, 200, 200, 200], [True, True, False, False, False])
    assert most_never == Estimate(math.inf, 3.0, math.inf, 5)
    half = median_time([3, 5, 8, 200, 200], [True, True, True, False, False])
    assert half == Estimate(8.0, 3.0, math.inf, 5)
    few = median_time([200.0] * 20, [True] + [False] * 19)
    assert few == Estimate(math.inf, 200.0, math.inf, 20)


def test_a_median_time_is_the_middle_where_all_was_seen():
    """Without censoring it is the median; equal times have an interval of width 0; few have no upper end."""
    assert median_time([5, 1, 3], [True] * 3).mean == 3
    assert median_time(range(1, 12), [True] * 11).mean == 6
    assert median_time([7.0], [True]) == Estimate(7.0, 0.0, math.inf, 1)
    assert median_time([4.0] * 8, [True] * 8) == Estimate(4.0, 4.0, 4.0, 8)
    assert median_time([1, 2, 3, 4, 5], [True] * 5) == Estimate(3.0, 1.0, math.inf, 5)
    assert median_time([1, 2, 3, 4, 5, 6], [True] * 6) == Estimate(3.0, 1.0, 6.0, 6)
    for times, reached, message in (
        ([], [], "non-empty"),
        ([1.0, math.nan], [True, False], "finite"),
        ([-1.0], [True], "at least 0"),
        ([1.0, 2.0], [True], "equal shapes"),
    ):
        with pytest.raises(ValueError, match=message):
            median_time(times, reached)


def test_ratios_are_of_positive_values_and_one_pair_has_no_interval():
    """Equal ratios have an interval of width 0; a measured 0 has no logarithm."""
    assert ratio_interval([2.0], [4.0]) == Estimate(0.5, 0.0, math.inf, 1)
    equal = ratio_interval([2.0, 4.0], [1.0, 2.0])
    assert (equal.low, equal.mean, equal.high) == pytest.approx((2, 2, 2))
    for bad in ([0.0, 1.0], [-1.0, 1.0]):
        with pytest.raises(ValueError, match="above 0"):
            ratio_interval(bad, [1.0, 1.0])
        with pytest.raises(ValueError, match="above 0"):
            ratio_interval([1.0, 1.0], bad)
    for ratio in (ratio_interval, ratio_of_means):
        with pytest.raises(ValueError, match="equal shapes"):
            ratio([1.0], [1.0, 2.0])
        for bad in ([], [math.nan], [math.inf]):
            with pytest.raises(ValueError, match="values must be"):
                ratio(bad, bad)
    with pytest.raises(ValueError, match="mean must not be 0"):
        ratio_of_means([1.0, 2.0], [1.0, -1.0])


def test_the_raw_range_stands_beside_the_ratio():
    """Smallest and largest, by name; of nothing there is none."""
    assert raw_range([631.0, 6655.0, 1314.0]) == {"smallest": 631.0, "largest": 6655.0}
    with pytest.raises(ValueError, match="non-empty"):
        raw_range([])


def test_an_estimate_goes_through_a_rising_function_and_back():
    """The logarithm of a ratio's interval is symmetric."""
    ratio = ratio_interval([2.0, 3.0, 7.0], [1.0, 1.0, 2.0])
    log = ratio.through(np.log)
    assert log.high - log.mean == pytest.approx(log.mean - log.low)
    back = log.through(np.exp)
    assert (back.mean, back.low, back.high) == pytest.approx((ratio.mean, ratio.low, ratio.high))
    assert back.count == 3


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=30))
def test_interval_holds_the_mean(values):
    """The mean lies in its interval, and shifting the values shifts both."""
    estimate = mean_interval(values)
    assert estimate.low <= estimate.mean <= estimate.high
    assert estimate.count == len(values)


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=30), st.floats(-1e3, 1e3))
def test_an_estimate_in_another_unit_is_the_estimate_of_the_scaled_values(values, factor):
    """A negative factor turns the interval round."""
    scaled, expected = factor * mean_interval(values), mean_interval(factor * np.array(values))
    for name in ("mean", "low", "high", "count"):
        assert getattr(scaled, name) == pytest.approx(getattr(expected, name), rel=1e-6, abs=1e-3)
    assert scaled.low <= scaled.mean <= scaled.high


def test_a_table_of_intervals_has_a_row_for_every_group_in_order_of_appearance():
    """Each row is `mean_interval` of its group; one seed has an infinite interval."""
    table = pd.DataFrame({"arm": list("bbaac"), "score": [1.0, 3.0, 0.0, 1.0, 5.0]})
    found = intervals(table, ["arm"], "score", "gain")
    assert found.columns.tolist() == ["arm", "gain", "low", "high", "seeds"]
    assert found["arm"].tolist() == ["b", "a", "c"]
    assert found.iloc[0].to_dict() == {"arm": "b", **mean_interval([1.0, 3.0]).row("gain")}
    assert found["high"].iloc[-1] == math.inf


def test_the_spread_of_draws_holds_95_percent_of_them():
    """Unlike the interval of a mean it does not shrink with their number."""
    estimate = median_of_draws(np.arange(1001.0))
    assert estimate == Estimate(500.0, 25.0, 975.0, 1001)


def test_pairing_removes_what_is_shared():
    """Differences within a seed are tighter than differences between seeds."""
    random = np.random.default_rng(0)
    control = random.normal(size=8)
    treated = control + 0.5 + 0.01 * random.normal(size=8)
    estimate = paired_interval(treated, control)
    assert 0.48 < estimate.low < estimate.high < 0.52


def test_one_value_and_bad_values():
    """One seed has no interval; no seeds and NaN are errors."""
    assert mean_interval([1.0]).high == math.inf
    for bad in ([], [math.nan, 1.0]):
        with pytest.raises(ValueError, match="values must be"):
            mean_interval(bad)
    with pytest.raises(ValueError, match="equal shapes"):
        paired_interval([1.0], [1.0, 2.0])
    assert list(seeds(3, first=2)) == [2, 3, 4]
    with pytest.raises(ValueError, match="at least one seed"):
        seeds(0)
