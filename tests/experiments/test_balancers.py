"""The experiments on balancers and their figures."""

import itertools

import pandas as pd
import pytest
import torch

from aura_study.balancing import BALANCERS, balancer
from aura_study.claims import CLAIMS
from aura_study.experiments.balancers import counts, cure, figures, solved_tasks, stress_tests, stretches, tables
from aura_study.experiments.balancers.parameters import BalancersParameters
from aura_study.experiments.balancers.problems import RandomGradients

pytest.importorskip("torchjd")
pytest.importorskip("cvxpy")


@pytest.fixture(scope="module")
def found():
    p = BalancersParameters.for_profile("smoke")
    random, (layer, steps), cured = stretches.random_problems(p), stretches.trained_layer(p), cure.cure(p)
    return random, layer, steps, cured, tables.overview(random, layer, cured)


@pytest.mark.parametrize(
    ("name", "column", "effect"),
    [
        ("Sum", "zero, away", "untouched"),
        ("Mean", "zero, away", "shrunk"),
        ("UW", "zero, away", "untouched"),
        ("UW", "zero, back", "returns too strong"),
        ("UW", "NaN, back", "NaN"),
        ("UW", "left out, away", "raises an error"),
        ("DWA", "zero, away", "NaN"),
        ("DWA", "zero, back", "NaN"),
        ("Geometric mean", "zero, away", "stops everyone"),
        ("FAMO", "zero, away", "stops everyone"),
        ("MGDA", "zero, away", "stops everyone"),
        ("CAGrad", "zero, away", "stops everyone"),
        ("UPGrad", "zero, away", "shrunk"),
        ("PCGrad", "zero, away", "untouched"),
        ("PCGrad", "NaN, away", "NaN"),
        ("IMTL-G", "zero, away", "untouched"),
        ("DB-MTL", "zero, away", "changed"),
        ("GradVac", "left out, away", "changed"),
        ("MGDA", "left out, away", "untouched"),
    ],
)
def test_effects(found, name, column, effect):
    """Each balancer does under each fill what its formula says."""
    assert found[4].set_index("balancer").loc[name, column] == effect


def test_the_cure_is_measured_for_every_balancer(found):
    """Every balancer has a row, and under PresentOnly every one is untouched."""
    assert set(found[4]["balancer"]) == {entry.name for entry in BALANCERS}
    assert set(found[4]["PresentOnly"]) == {"untouched"}


def test_claims_follow_from_the_tables(found):
    """The cure's claims hold exactly; nine in ten are not disturbed, most are; some effects are not as foretold."""
    random, layer, _, cured, table = found
    disturbed = counts.disturbed_measurement(table, tables.joined(random, layer))
    assert CLAIMS["N2"].decide(cure.n2_measurement(cured)).verdict == "confirmed"
    assert CLAIMS["N2a"].decide(cure.n2a_measurement(cured)).verdict == "confirmed"
    assert CLAIMS["N1"].decide(disturbed).verdict == "refuted"
    assert CLAIMS["N1"].decide(disturbed).prediction_held == "held"
    assert CLAIMS["N1c"].decide(disturbed).verdict in ("confirmed", "confirmed within limits", "inconclusive")
    assert 0.8 < counts.n1a_measurement(table).measured <= 1.0


def an_overview(**effects: tuple[str, str]) -> pd.DataFrame:
    """Every balancer as foretold, but for those named."""
    rows = [(entry.name, *effects.get(entry.name, (entry.during, entry.after))) for entry in BALANCERS]
    return pd.DataFrame(
        [(name, str(a), str(b)) for name, a, b in rows], columns=["balancer", "zero, away", "zero, back"]
    )


def problems_of(table: pd.DataFrame) -> pd.DataFrame:
    """One zero-filled problem that shows an overview's effects."""
    names = {"zero, away": "during", "zero, back": "after"}
    return table.rename(columns=names).assign(problem="one", fill="zero")


def test_balancers_are_counted_once_each_with_wilsons_interval():
    """Of 25 balancers as foretold 18 are disturbed, 13 by more than a factor; one problem more makes it 19 in any."""
    table = an_overview()
    sum_disturbed = problems_of(table[table["balancer"] == "Sum"]).assign(problem="two", during="changed")
    zero = pd.concat([problems_of(table), sum_disturbed])
    measured = counts.disturbed_measurement(table, zero)
    assert (measured.measured, measured.predicted, measured.seeds) == (0.72, 0.72, 0)
    assert (round(measured.low, 2), round(measured.high, 2)) == (0.52, 0.86)
    assert measured.limits == {
        "share of balancers disturbed in any problem": 19 / 25,
        "share of balancers disturbed by more than a factor": 13 / 25,
    }
    assert CLAIMS["N1"].decide(measured).verdict == "refuted"
    assert CLAIMS["N1c"].decide(measured).verdict == "confirmed"
    told = counts.counts(table, zero).set_index("counted")
    assert told["balancers"].tolist() == [18, 19, 5, 13, 25, 25]
    assert told.loc["disturbed by a factor", "which"] == "Mean, Random, UPGrad, DualProj, Aligned-MTL"


@pytest.mark.parametrize(("disturbed", "verdict"), [(6, "refuted"), (13, "inconclusive"), (18, "confirmed")])
def test_n1c_can_be_refuted(disturbed, verdict):
    """A majority has to be seen in the interval."""
    effects = {
        entry.name: ("changed" if place < disturbed else "untouched", "untouched")
        for place, entry in enumerate(BALANCERS)
    }
    table = an_overview(**effects)
    measured = counts.disturbed_measurement(table, problems_of(table))
    assert CLAIMS["N1c"].decide(measured).verdict == verdict


@pytest.mark.parametrize(
    ("during", "after", "grade"),
    [
        ("untouched", "untouched", "untouched"),
        ("shrunk", "untouched", "by a factor"),
        ("shrunk", "returns too weak", "by more than a factor"),
        ("untouched", "returns too strong", "by more than a factor"),
        ("stops everyone", "untouched", "by more than a factor"),
        ("NaN", "NaN", "by more than a factor"),
    ],
)
def test_a_factor_is_an_update_that_is_only_shorter(during, after, grade):
    """Whatever is left behind on the return, or points elsewhere, is more than that."""
    assert counts.grade(during, after) == grade


def test_one_exception_refutes_each():
    """N1a holds of all or not at all, and a miss is named with what was seen in how many problems."""
    right, wrong = an_overview(), an_overview(Mean=("changed", "untouched"))
    assert CLAIMS["N1a"].decide(counts.n1a_measurement(right)).verdict == "confirmed"
    row = CLAIMS["N1a"].decide(counts.n1a_measurement(wrong))
    assert (row.verdict, row.prediction_held, row.measured) == ("refuted", "failed", 24 / 25)
    assert row.limits == {"share of effects as foretold": 49 / 50}
    problems = problems_of(wrong)
    (miss,) = counts.misses(wrong, problems, problems).to_dict("records")
    assert miss == {
        "balancer": "Mean",
        "stage": "zero, away",
        "foretold": "shrunk",
        "measured": "changed",
        "problems": "changed: 2",
    }
    assert counts.misses(right, problems, problems).empty


def test_n2_fails_when_a_difference_is_seen(found):
    """The rule is able to refute."""
    worse = found[3].assign(difference=found[3]["difference"] + 0.1, moved=1.0)
    assert CLAIMS["N2"].decide(cure.n2_measurement(worse)).verdict == "refuted"
    assert CLAIMS["N2a"].decide(cure.n2a_measurement(worse)).verdict == "refuted"


def test_figures_and_tables_draw(found):
    """Every figure has bytes and words; numbers carry the version of the code; advice lists every balancer once."""
    random, layer, steps, cured, table = found
    compared = tables.before_and_after(tables.joined(random, layer), cured)
    plates = (
        figures.effects(table),
        figures.shrinkage(random),
        figures.paths(steps, ("Mean", "UW")),
        figures.cure(compared),
    )
    assert all(plate.encode("png")[:4] == b"\x89PNG" and plate.alt and plate.caption for plate in plates)
    assert tables.numbers(random, layer)["code"].str.contains(r" \d").all()
    listed = ", ".join(tables.advice(table)["balancers"]).split(", ")
    assert sorted(listed) == sorted(entry.name for entry in BALANCERS)
    assert set(tables.fills(layer)["fill"]) == {"zero", "NaN", "left out"}


def test_stress_finds_the_exceptions_and_the_cure_has_none():
    """Where gradients oppose each other CAGrad does not stop; the cure equals the present rows under every stress."""
    table = stress_tests.stress(1, 0)
    assert table["cure"].max() == 0.0
    opposed = table[(table["balancer"] == "CAGrad") & (table["stress"] == "two opposed")]["effect"]
    assert "stops everyone" not in set(opposed)
    assert list(stress_tests.stress_overview(table).columns[1:-1]) == list(stress_tests.STRESSES)


def test_a_solved_tasks_loss_falls_stays_and_is_back():
    """1 while it warms up, in equal ratios to the depth, there, and 1 at once; to an exact 0 through a least."""
    for depth in solved_tasks.DEPTHS:
        factors = [solved_tasks.left(step, depth) for step in range(30)]
        assert factors[:6] == factors[24:] == [1.0] * 6
        assert set(factors[11:24]) == {depth}
        ratios = [later / sooner for sooner, later in itertools.pairwise(factors[5:11])]
        assert ratios == pytest.approx([ratios[0]] * 5)
        assert max(ratios) < 1


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("Sum", "unbroken"),
        ("PCGrad", "unbroken"),
        ("UW", "left behind"),
        ("DWA", "left behind"),
        ("MGDA", "stops the others"),
    ],
)
def test_how_a_solved_task_breaks_a_balancer(name, how):
    """At a millionth, on four tasks: the registry's prediction."""
    entry = balancer(name)
    steps = pd.DataFrame(list(solved_tasks.follow(entry, 4, 0, solved_tasks.CLAIMED, 0.1)))
    assert solved_tasks.outcome(steps)["broken"] == entry.solved == how


def some_steps(**changes: object) -> pd.DataFrame:
    """Steps of a balancer that nothing happens to, but for what is named."""
    phases = ["before"] * 3 + ["solved"] * 3 + ["back"] * 2
    usual = {"phase": phases, "finite": True, "ratio": 1.0, "cosine": 1.0, "difference": 0.0, "share": 0.5}
    return pd.DataFrame(usual | {"share_right": 0.5} | changes)


def test_the_gravest_break_is_told():
    """By rules: NaN on the return, too short, too long, a wrong share, or none of these."""
    finite = [True] * 7 + [False]
    told = {
        "unbroken": some_steps(),
        "left behind": some_steps(share=[0.5] * 7 + [0.05]),
        "blows up": some_steps(ratio=20.0, share=0.01),
        "stops the others": some_steps(ratio=1e-5),
        "NaN": some_steps(ratio=1e-5, finite=finite),
    }
    for how, steps in told.items():
        assert solved_tasks.outcome(steps)["broken"] == how
    raised = some_steps().iloc[:4].assign(finite=[True] * 3 + [False], error=[None] * 3 + ["ValueError: no"])
    assert solved_tasks.outcome(raised)["broken"] == "NaN"


def test_solved_balancers_are_counted_against_the_registry():
    """As predicted all along N1d is confirmed; one that is not refutes it; N1e counts those that a 0 leaves alone."""
    rows = [
        {"balancer": entry.name, "depth": depth, "tasks": 4, "seed": 0, "length": 1.0, "cosine": 1.0, "growth": 1.0}
        | {"broken": str(entry.solved) if depth == solved_tasks.CLAIMED else "unbroken", "bent": "untouched"}
        for entry in BALANCERS
        for depth in solved_tasks.DEPTHS
    ]
    found = pd.DataFrame(rows)
    table = solved_tasks.table(found)
    assert CLAIMS["N1d"].decide(solved_tasks.predicted_measurement(table)).verdict == "confirmed"
    nearly = solved_tasks.nearly_measurement(table)
    assert nearly.measured == sum(entry.solved != "unbroken" for entry in BALANCERS)
    assert CLAIMS["N1e"].decide(nearly).verdict == "confirmed"
    other = solved_tasks.table(found.assign(broken=found["broken"].where(found["balancer"] != "MGDA", "NaN")))
    assert other["balancer"].iloc[-1] == "MGDA"
    assert CLAIMS["N1d"].decide(solved_tasks.predicted_measurement(other)).verdict == "refuted"
    none = solved_tasks.table(found.assign(broken="unbroken"))
    assert CLAIMS["N1e"].decide(solved_tasks.nearly_measurement(none)).verdict == "refuted"
    assert figures.solved(table, solved_tasks.DEPTHS).caption


def test_fairgrads_code_stops_short_of_its_formula():
    """Of a solved task's weight, length to the power -4/3: at a thousandth it is there, at a billionth far below."""
    gradients = RandomGradients(4, 96, 0, 0.3).gradients().clone()
    length = gradients[-1].norm()
    for depth, reached in ((1e-3, True), (1e-9, False)):
        scaled = torch.cat([gradients[:-1], depth * gradients[-1:]])
        weight = balancer("FairGrad").make(4).gramian_weighting(scaled @ scaled.T)[-1]
        assert (weight / (depth * length) ** (-4 / 3) > 0.9) == reached
