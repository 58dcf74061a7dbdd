"""Properties of rules and verdicts."""

import math

import numpy as np
import pytest

from aura_study.claims import CLAIMS, AtLeast, AtMost, Limit, Measurement, RatioWithin, Verdict
from aura_study.claims.guide import GUIDE, SECTIONS, Passage, by_section, said
from aura_study.claims.model import Claim, Foretells, Gate, Held, Kind, Row
from aura_study.claims.questions import together
from aura_study.claims.rules import PredictedAtMost, SameSide, Within
from aura_study.claims.statistics.intervals import mean_interval, ratio_interval


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


def test_the_ends_that_a_row_could_not_write_are_infinite() -> None:
    """JSON has no infinity; so a row leaves those ends out."""
    given = {"unit": "units", "predicted": None, "seeds": 5, "limits": {}, "void": None, "logarithmic": False}
    row = Row.model_construct(measured=1.0, interval=(None, None), **given)
    assert row.measurement == Measurement(1.0, -math.inf, math.inf, "units", seeds=5)


@pytest.mark.parametrize(
    ("low", "high", "holds"),
    [(-1.0, 1.0, True), (0.0, 0.0, True), (-1.5, 0.0, None), (0.0, 1.5, None), (-3.0, -1.0, None), (1.0, 3.0, None),
     (-3.0, -1.5, False), (1.5, 3.0, False)],
)  # fmt: skip
def test_within_takes_its_borders_in(low, high, holds):
    """Within a reach of 1, either way; what touches a border does not lie outside."""
    assert Within(reach=1.0).holds(measured(low, high)) is holds


@pytest.mark.parametrize(
    ("low", "high", "predicted", "holds"),
    [(2.0, 3.0, 2.5, True), (2.0, 3.0, 2.0, True), (2.0, 3.0, 1.0, False), (1.0, 1.5, 1.0, True),
     (1.0, 1.5, 2.5, False), (1.0, 3.0, 2.5, None), (2.5, 3.0, None, None)],
)  # fmt: skip
def test_the_side_of_a_bound_is_the_predictions(low, high, predicted, holds):
    """Of the rule's own bound, which belongs to the upper side."""
    assert SameSide(bound=2.0).holds(measured(low, high, predicted=predicted)) is holds


@pytest.mark.parametrize("predicted", [None, 0.0, -1.0])
def test_a_share_of_a_prediction_needs_one_above_0(predicted):
    """What is missing, and what has no share, is named."""
    with pytest.raises(ValueError, match=f"needs a prediction above 0, got {predicted}"):
        PredictedAtMost(tolerance=0.1).holds(measured(0.0, 1.0, predicted=predicted))


def test_what_the_guide_says_is_found_by_the_claim() -> None:
    """In the guide's own words, from the passage that has the number; nothing for a claim that it gives none."""
    given = {claim: passage.numbers[claim] for passage in reversed(GUIDE) for claim in passage.numbers}
    assert given
    assert {claim: said(claim) for claim in given} == given
    assert said(next(claim for claim in CLAIMS if claim not in given)) == ""


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
    assert Measurement.over(cells, "units", limits={"reach": 1.0}).limits == {"reach": 1.0}


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


GATE = Gate("margin", 0.0, "its model has not learned")


def claim(**more) -> Claim:
    kept = {"rule": AtLeast(bound=1.0), "kind": Kind.TRAINED, "notebook": "n", **more}
    return Claim("X1", "theory", "It holds.", "It is so.", **kept)


@pytest.mark.parametrize("kind", [None, "guessed", ""])
def test_a_claim_needs_a_kind(kind):
    """One clear error names the claim, what it got and the kinds that there are."""
    with pytest.raises(ValueError, match=f"X1 needs a kind, one of arithmetic, .*, logged; got {kind!r}"):
        claim(kind=kind)


def test_a_measurement_that_says_nothing_is_void_and_not_inconclusive():
    """By its own word, by the rule's gate, or as no number at all; however clear the interval."""
    rule = AtLeast(bound=1.0, gate=GATE)
    learned, not_learned = {"margin": 0.1}, {"margin": -0.1}
    assert rule.judge(measured(2, 3, limits=learned)) == Verdict.CONFIRMED
    assert rule.judge(measured(2, 3, limits=not_learned)) == Verdict.VOID
    assert rule.judge(measured(2, 3, limits=learned, void="every value is 1")) == Verdict.VOID
    assert "void unless margin >= 0" in rule.text()
    row = claim(rule=rule).decide(measured(2, 3, limits=not_learned, seeds=3))
    assert (row.void, row.prediction_held, row.price, row.p) == ("its model has not learned", Held.NONE, None, None)
    assert claim().decide(measured(2, 3)).void is None
    narrow = AtLeast(bound=1.0, gate=GATE, room=Gate(quantity="room", at_least=1.0, text="no room is left"))
    assert narrow.judge(measured(2, 3, limits={**learned, "room": 1.0})) == Verdict.CONFIRMED
    assert narrow.why_void(measured(2, 3, limits={**learned, "room": 0.9})) == "no room is left"
    assert "void unless margin >= 0; void unless room >= 1" in narrow.text()


@pytest.mark.parametrize(
    ("foretells", "holds", "refuted"),
    [
        (Foretells.HOLDS, Held.HELD, Held.FAILED),
        (Foretells.FAILS, Held.FAILED, Held.HELD),
        (Foretells.NOTHING, Held.NONE, Held.NONE),
        (RatioWithin(tolerance=0.2), Held.HELD, Held.FAILED),
    ],
)
def test_a_prediction_is_scored(foretells, holds, refuted):
    """Held, failed, or none where nothing was foretold or nothing is decided; by a rule of its own if it has one."""
    made = claim(foretells=foretells)
    assert made.decide(measured(1.9, 2.1, predicted=2.0)).prediction_held == holds
    assert made.decide(measured(0.4, 0.6, predicted=2.0)).prediction_held == refuted
    assert made.decide(measured(0.5, 3.0, predicted=2.0)).prediction_held == Held.NONE


def test_a_prediction_with_a_rule_of_its_own_may_fail_where_the_sentence_is_confirmed():
    """The two are judged apart, and both are part of the locked words."""
    made = claim(foretells=RatioWithin(tolerance=0.1))
    row = made.decide(measured(4.9, 5.1, predicted=2.0))
    assert (row.verdict, row.prediction_held) == (Verdict.CONFIRMED, Held.FAILED)
    assert made.wording["rule"] == row.rule
    assert "the prediction held if the interval of measured / predicted lies within 1 ± 0.1" in row.rule
    assert claim(foretells=Foretells.FAILS).wording["rule"] != claim().wording["rule"]


def test_an_inconclusive_claim_says_how_many_seeds_would_decide_it():
    """More for a smaller effect, in units of the work that there is; none where the truth is the border."""
    near, far = (mean_interval(np.array([-1.0, 0.0, 1.0]) + shift) for shift in (1.5, 2.0))
    prices = [claim().decide(Measurement.of(estimate, "units")).price for estimate in (near, far)]
    assert prices[0].seeds > prices[1].seeds > 3
    assert prices[0].times == pytest.approx(prices[0].seeds / 3, abs=0.01)
    assert prices[0].power == 0.9
    border = claim().decide(Measurement.of(mean_interval([0.0, 1.0, 2.0]), "units"))
    assert (border.verdict, border.price.seeds) == (Verdict.INCONCLUSIVE, None)
    few = claim(rule=AtLeast(bound=1.0, min_seeds=5)).decide(Measurement.of(mean_interval([9.0, 9.0, 9.1]), "units"))
    assert (few.verdict, few.price.seeds) == (Verdict.INCONCLUSIVE, 5)


def test_the_interval_of_a_ratio_is_priced_and_tested_on_logarithms():
    """As the same numbers are after taking logarithms."""
    ratios = np.array([1.3, 0.9, 1.4, 1.1])
    ratio = Measurement.of(ratio_interval(ratios, np.ones(4)), "ratio", logarithmic=True)
    plain = Measurement.of(mean_interval(np.log(ratios)), "log ratio")
    found, same = claim().decide(ratio), claim(rule=AtLeast(bound=0.0)).decide(plain)
    assert (found.p, found.price.seeds) == (pytest.approx(same.p), same.price.seeds)


def ledger_of(p_values: dict[str, float], kind: Kind = Kind.TRAINED) -> list[Row]:
    """Confirmed rows with these p-values."""
    row = claim(kind=kind).decide(measured(2, 3))
    return [row.model_copy(update={"claim": key, "p": p}) for key, p in p_values.items()]


def test_trained_claims_of_a_question_are_judged_together():
    """Holm: .03 decides alone, not beside another .03; simulated claims and other questions do not count."""
    alone = together(ledger_of({"P9a": 0.03}))
    assert (alone[0].verdict, alone[0].p_holm) == (Verdict.CONFIRMED, 0.03)
    both = together(ledger_of({"P9a": 0.03, "P9b": 0.03}))
    assert [row.verdict for row in both] == [Verdict.INCONCLUSIVE] * 2
    assert [row.by_itself for row in both] == [Verdict.CONFIRMED] * 2
    assert [row.p_holm for row in both] == [0.06] * 2
    apart = together(ledger_of({"P9a": 0.03}) + ledger_of({"F2": 0.03}) + ledger_of({"P9b": 0.03}, Kind.SIMULATED))
    assert [row.verdict for row in apart] == [Verdict.CONFIRMED] * 3
    assert together(both) == both


def test_what_is_lost_among_others_costs_more_seeds_than_alone():
    """Its price is that of the sharper level, in the real claim's own rule."""
    real = CLAIMS["P7h"]
    seen = Measurement.of(mean_interval([0.97, 1.0, 0.93, 1.03]), "share")
    rows = [real.decide(seen).model_copy(update={"claim": key, "alone": Verdict.CONFIRMED}) for key in ("P7h", "P7g")]
    alone, together_ = real.rule.price(seen), together(rows)[0]
    assert (together_.verdict, together_.by_itself) == (Verdict.INCONCLUSIVE, Verdict.CONFIRMED)
    assert together_.price.seeds > alone.seeds


def test_where_no_power_can_be_told_the_rule_says_how_many_seeds_it_wants():
    """One seed has no interval; a lopsided interval is none of a mean; cells without seeds have no price."""
    rule = AtLeast(bound=1.0, min_seeds=6)
    assert claim(rule=rule).decide(Measurement.of(mean_interval([3.0]), "units")).price.seeds == 6
    lopsided = Measurement(2.0, 0.5, 9.0, "steps", seeds=8)
    assert claim(rule=rule).decide(lopsided).price.seeds is None
    assert claim().decide(measured(0, 2)).price is None
