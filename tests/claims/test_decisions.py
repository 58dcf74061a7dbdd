"""Properties of what intervals decide: how often they are wrong, and that as many seeds decide as was promised."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from aura_study.claims.statistics.decisions import Margins, Side, chance_to_decide, holm, p_value, seeds_to_decide
from aura_study.claims.statistics.intervals import Estimate, mean_interval, ratio_interval

GAIN = Margins(0.01, 0.01)
ALIKE = Margins(-0.01, 0.01)


@pytest.mark.parametrize(
    ("low", "high", "gain", "alike"),
    [
        (0.02, 0.03, Side.ABOVE, Side.ABOVE),
        (0.005, 0.03, Side.UNDECIDED, Side.UNDECIDED),
        (-0.005, 0.009, Side.BELOW, Side.EQUIVALENT),
        (-0.5, 0.009, Side.BELOW, Side.UNDECIDED),
        (-0.5, -0.02, Side.BELOW, Side.BELOW),
        (-0.5, 0.5, Side.UNDECIDED, Side.UNDECIDED),
        (-math.inf, math.inf, Side.UNDECIDED, Side.UNDECIDED),
        (math.nan, math.nan, Side.UNDECIDED, Side.UNDECIDED),
        (0.01, 0.01, Side.UNDECIDED, Side.UNDECIDED),
    ],
)
def test_an_interval_lies_above_below_between_or_is_undecided(low, high, gain, alike):
    """A loss is no gain of interest, though it is not equivalent; to touch a margin decides nothing."""
    estimate = Estimate((low + high) / 2, low, high, 5)
    assert GAIN.side(estimate) == gain
    assert ALIKE.side(estimate) == alike


def test_margins_are_finite_and_in_order():
    """Anything else is one error."""
    for lower, upper in ((1.0, -1.0), (math.nan, 1.0), (-math.inf, 1.0)):
        with pytest.raises(ValueError, match=f"in order, got {lower} and {upper}"):
            Margins(lower, upper)


@pytest.mark.parametrize("margins", [GAIN, ALIKE], ids=["gain", "alike"])
@given(values=st.lists(st.floats(-0.1, 0.1), min_size=2, max_size=12, unique=True))
def test_the_p_value_is_below_the_level_where_the_interval_decides(margins, values):
    """And nowhere else, so that Holm's adjusted p-values judge as the intervals do."""
    estimate = mean_interval(values)
    p = p_value(estimate, margins)
    if abs(p - 0.05) > 1e-9:
        assert (p < 0.05) == (margins.side(estimate) != Side.UNDECIDED)


def test_the_p_value_is_that_of_the_tests_it_is_named_after():
    """One margin: the t test against it; between two: twice the larger p of two one-sided tests."""
    values = np.random.default_rng(0).normal(0.002, 0.004, 8)
    estimate = mean_interval(values)
    assert p_value(estimate, GAIN) == pytest.approx(stats.ttest_1samp(values, 0.01).pvalue)
    sides = [stats.ttest_1samp(values, m, alternative=way).pvalue for m, way in ((-0.01, "greater"), (0.01, "less"))]
    assert p_value(estimate, ALIKE) == pytest.approx(2 * max(sides))
    assert p_value(mean_interval(values, 0.9), GAIN, 0.9) == pytest.approx(p_value(estimate, GAIN))
    assert p_value(Estimate(0.5, 0.5, 0.5, 3), GAIN) == 0
    assert p_value(Estimate(0.01, 0.01, 0.01, 3), GAIN) == 1


def test_a_truth_on_the_margin_is_rarely_decided():
    """At most the interval's error, here 5 %, one way or the other."""
    random = np.random.default_rng(0)
    for margins in (GAIN, ALIKE):
        sides = [margins.side(mean_interval(random.normal(0.01, 0.005, 5))) for _ in range(1500)]
        assert np.mean([side != Side.UNDECIDED for side in sides]) < 0.065


def test_holm_is_the_step_down_by_hand():
    """The k-th smallest p is held to level / (m - k + 1), and after the first that fails nothing is decided."""
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005}) == pytest.approx(
        {"a": 0.03, "b": 0.06, "c": 0.06, "d": 0.02}
    )
    random = np.random.default_rng(0)
    for _ in range(200):
        p_values = {str(name): float(p) for name, p in enumerate(random.uniform(0, 0.05, 6))}
        decided = set()
        for before, name in enumerate(sorted(p_values, key=p_values.get)):
            if p_values[name] > 0.05 / (6 - before):
                break
            decided.add(name)
        assert {name for name, p in holm(p_values).items() if p <= 0.05} == decided


def test_holm_of_none_of_one_and_of_bad_values():
    """No claims need no adjustment, one keeps its p; equal ones stay equal; order and names are the caller's."""
    assert holm({}) == {}
    assert holm({"P9": 0.04}) == {"P9": 0.04}
    assert holm({"b": 0.5, "a": 0.5}) == {"b": 1.0, "a": 1.0}
    assert list(holm({"b": 0.5, "a": 0.1})) == ["b", "a"]
    for bad in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match=f"got {bad} for P9"):
            holm({"P8": 0.1, "P9": bad})


def test_holm_is_wrong_about_any_claim_of_a_question_in_at_most_5_percent():
    """Eight claims, six without an effect, that share half of their noise; unadjusted, one is wrong far more often."""
    random = np.random.default_rng(0)
    z = np.array([4.0, 4.0] + 6 * [0.0]) + np.sqrt(0.5) * (
        random.normal(size=(4000, 8)) + random.normal(size=(4000, 1))
    )
    raw = 2 * stats.norm.sf(np.abs(z))
    adjusted = np.array([list(holm(dict(zip("abcdefgh", row, strict=True))).values()) for row in raw.tolist()])
    assert (raw[:, 2:] < 0.05).any(1).mean() > 0.15
    assert (adjusted[:, 2:] < 0.05).any(1).mean() < 0.055
    bonferroni = (8 * raw[:, :2] < 0.05).mean()
    assert (adjusted[:, :2] < 0.05).mean() > bonferroni


@pytest.mark.parametrize(
    ("effect", "margins"),
    [(0.03, GAIN), (-0.01, GAIN), (0.0, ALIKE), (0.003, ALIKE), (-0.03, ALIKE)],
    ids=["superior", "inferior", "equivalent", "nearly at a margin", "below both"],
)
@pytest.mark.parametrize("count", [2, 5, 12])
def test_the_power_is_how_often_so_many_seeds_decide(effect, margins, count):
    """Of simulated comparisons; decided the right way, since a wrong decision is none."""
    values = np.random.default_rng(0).normal(effect, 0.01, (20_000, count))
    middle = values.mean(1)
    half = stats.t.ppf(0.975, count - 1) * stats.sem(values, axis=1)
    (low, high), *_ = [region for region in margins.regions().values() if region[0] < effect < region[1]]
    decided = np.mean((middle - half > low) & (middle + half < high))
    assert chance_to_decide(count, effect, 0.01, margins) == pytest.approx(decided, abs=0.012)


@pytest.mark.parametrize("count", [2, 3, 10, 200])
def test_the_power_of_superiority_is_the_noncentral_t(count):
    """The closed form that it must agree with, where there is one."""
    expected = stats.nct.sf(stats.t.ppf(0.975, count - 1), count - 1, 0.8 * math.sqrt(count))
    assert chance_to_decide(count, 0.8, 1.0, Margins(0, 0)) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(("effect", "margins"), [(0.02, GAIN), (0.0, ALIKE)], ids=["superiority", "equivalence"])
def test_as_many_seeds_as_promised_decide_in_nine_of_ten(effect, margins):
    """The least number that does: one fewer has less power; checked by simulation with `Margins.side` itself."""
    estimate = mean_interval(effect + 0.012 * np.array([-1.0, 1.0, -1.0, 1.0, 0.0]))
    needed = seeds_to_decide(estimate, margins)
    assert needed is not None
    deviation = 0.012
    assert chance_to_decide(needed - 1, effect, deviation, margins) < 0.9
    assert chance_to_decide(needed, effect, deviation, margins) >= 0.9
    random = np.random.default_rng(0)
    sides = [margins.side(mean_interval(random.normal(effect, deviation, needed))) for _ in range(1500)]
    assert 0.88 < np.mean([side != Side.UNDECIDED for side in sides]) < 0.94
    assert seeds_to_decide(estimate, margins, power=0.8) < needed < seeds_to_decide(estimate, margins, power=0.99)


def test_seeds_for_a_ratio_are_those_of_its_logarithm():
    """A ratio's interval is refused as it stands and taken through the logarithm."""
    ratio = ratio_interval([1.1, 1.5, 0.9, 1.4], [1.0, 1.0, 1.0, 1.0])
    margins = Margins(math.log(1 / 1.1), math.log(1.1))
    assert seeds_to_decide(ratio.through(np.log), margins) > 4
    with pytest.raises(ValueError, match="its logarithm"):
        seeds_to_decide(ratio, margins)


def test_an_effect_on_the_margin_is_never_decided_and_little_data_plan_nothing():
    """No number of seeds; and one value, no spread and bad numbers are one error each."""
    assert chance_to_decide(10, 0.01, 0.01, ALIKE) == 0
    assert seeds_to_decide(Estimate(0.01, -0.5, 0.52, 5), ALIKE) is None
    assert seeds_to_decide(Estimate(0.0, -500.0, 500.0, 5), ALIKE) is None
    assert seeds_to_decide(Estimate(50.0, 49.0, 51.0, 5), ALIKE) == 2
    for estimate, message in (
        (mean_interval([1.0]), "t interval of two values"),
        (Estimate(math.nan, math.nan, math.nan, 5), "t interval of two values"),
        (mean_interval([1.0, 1.0]), "deviation above 0"),
    ):
        with pytest.raises(ValueError, match=message):
            seeds_to_decide(estimate, ALIKE)
    with pytest.raises(ValueError, match="power must lie between 0 and 1, got 90"):
        seeds_to_decide(Estimate(0.0, -1.0, 1.0, 5), ALIKE, power=90)
    with pytest.raises(ValueError, match="count 1"):
        chance_to_decide(1, 0.0, 1.0, ALIKE)
    with pytest.raises(ValueError, match="finite effect"):
        chance_to_decide(5, math.inf, 1.0, ALIKE)
