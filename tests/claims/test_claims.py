"""Properties of rules and verdicts."""

import math

import numpy as np
import pytest

from aura_study.claims import CLAIMS, AtLeast, AtMost, Limit, Measurement, RatioWithin, Verdict
from aura_study.claims.guide import GUIDE, SECTIONS, Passage, by_section
from aura_study.claims.statistics.intervals import mean_interval


def measured(low: float, high: float, **more) -> Measurement:
    return Measurement((low + high) / 2, low, high, "units", **more)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.99, 1.01, Verdict.CONFIRMED),
        (0.97, 1.01, Verdict.INCONCLUSIVE),
        (0.5, 2.0, Verdict.INCONCLUSIVE),
        (1.03, 1.04, Verdict.REFUTED),
        (0.1, 0.97, Verdict.REFUTED),
    ],
)
@pytest.mark.parametrize("predicted", [1.0, 250.0, -3.0])
def test_ratio_within(low, high, verdict, predicted):
    """The whole interval in, the whole interval out, or undecided; in units of the prediction, whatever its sign."""
    ends = sorted((low * predicted, high * predicted))
    assert RatioWithin(tolerance=0.02).judge(measured(*ends, predicted=predicted)) == verdict


@pytest.mark.parametrize(("low", "high", "holds"), [(0.0, 1.0, True), (0.5, 1.5, None), (1.1, 1.2, False)])
def test_bounds(low, high, holds):
    """AtMost and AtLeast mirror each other."""
    verdict = {True: Verdict.CONFIRMED, False: Verdict.REFUTED, None: Verdict.INCONCLUSIVE}[holds]
    assert AtMost(bound=1.0).judge(measured(low, high)) == verdict
    assert AtLeast(bound=-1.0).judge(measured(-high, -low)) == verdict


def test_too_few_seeds_decide_nothing():
    """However clear the numbers, one seed is no verdict where the rule asks for three."""
    rule = RatioWithin(tolerance=0.02, min_seeds=3)
    assert rule.judge(measured(1, 1, predicted=1.0, seeds=1)) == Verdict.INCONCLUSIVE
    assert rule.judge(measured(1, 1, predicted=1.0, seeds=3)) == Verdict.CONFIRMED


def test_a_limit_bounds_a_claim_that_holds():
    """A claim that holds, but not beyond its limit, is confirmed within limits, and the limit is named."""
    rule = AtMost(bound=1.0, limit=Limit("reach", 10, "only within reach"))
    assert rule.judge(measured(0, 1, limits={"reach": 12.0})) == Verdict.CONFIRMED
    assert rule.judge(measured(0, 1, limits={"reach": 9.0})) == Verdict.WITHIN_LIMITS
    assert rule.judge(measured(2, 3, limits={"reach": 9.0})) == Verdict.REFUTED
    assert "reach >= 10" in rule.text()


def test_not_a_number_is_void():
    """A measurement that failed says nothing."""
    assert AtMost(bound=1.0).judge(Measurement(math.nan, math.nan, math.nan, "units")) == Verdict.VOID


def test_a_measurement_lies_in_its_own_interval():
    """A number outside its interval is a mistake in the experiment."""
    with pytest.raises(ValueError, match="outside its own interval"):
        Measurement(3.0, 0.0, 1.0, "units")


def test_a_measurement_of_an_estimate_keeps_its_interval_and_one_over_cells_spans_them():
    """Seeds, bounds and limits come through; deterministic cells have a median, or what is asked for, and no seeds."""
    estimate = mean_interval([1.0, 2.0, 3.0])
    found = Measurement.of(estimate, "units", predicted=2.0, limits={"reach": 1.0})
    assert (found.measured, found.low, found.high, found.seeds) == (2.0, estimate.low, estimate.high, 3)
    assert (found.unit, found.predicted, found.limits) == ("units", 2.0, {"reach": 1.0})
    cells = np.array([3.0, 1.0, 10.0])
    assert Measurement.over(cells, "units") == Measurement(3.0, 1.0, 10.0, "units")
    assert Measurement.over(cells, "units", measured=max) == Measurement(10.0, 1.0, 10.0, "units")


def test_every_claim_is_complete():
    """Key, section, statement, prediction, rule and notebook are there, and rules speak."""
    for key, claim in CLAIMS.items():
        assert claim.key == key
        assert all((claim.section, claim.statement, claim.prediction, claim.notebook))
        assert len(claim.rule.text()) > 20


def test_every_statement_of_the_guide_is_answered_and_every_claim_about_it_answers_one() -> None:
    """Passages name claims that exist; what a claim says of a section of the guide answers a passage."""
    answering = {key for passage in GUIDE for key in passage.claims}
    assert answering <= set(CLAIMS)
    assert {key for key, claim in CLAIMS.items() if claim.section != "theory" and key not in answering} == set()
    assert {claim.section for claim in CLAIMS.values()} - {"theory"} <= set(SECTIONS)
    assert all(by_section().values())
    with pytest.raises(ValueError, match="nothing answers"):
        Passage("1", "A statement that nobody answers.")
