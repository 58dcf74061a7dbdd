"""The experiment on presence (P5): what it finds, and that theory and simulation agree."""

import pandas as pd
import pytest

from aura_study.claims import CLAIMS, Verdict
from aura_study.experiments.presence import simulations, tables
from aura_study.experiments.presence.parameters import PresenceParameters
from aura_study.theory.forms import FORMS


@pytest.fixture(scope="module")
def presence() -> PresenceParameters:
    return PresenceParameters.for_profile("smoke")


def test_inflation_is_the_predicted_one_for_every_form(presence: PresenceParameters) -> None:
    """Mean ratio of measured to predicted within 2 % of 1 for every kind, and on average within 0.5 %."""
    summary = tables.summarise(simulations.small_step_runs(presence))
    assert len(summary) == len(FORMS) * 2 * presence.points
    assert ((summary["ratio"] - 1).abs() < 0.02).all()
    assert summary["ratio"].mean() == pytest.approx(1.0, abs=0.005)


def test_large_steps_leave_the_stationary_picture(presence: PresenceParameters) -> None:
    """On log sigma under SGD the typical weight follows 1/p at eta << p and dies at eta > p; P5 holds within limits."""
    sweep = simulations.large_step_runs(presence)
    sgd = sweep[(sweep["parameterization"] == "log_sigma") & (sweep["optimizer"] == "SGD")]
    small, large = sgd[sgd["rate"] < 0.01 * sgd["presence"]], sgd[sgd["rate"] > 2 * sgd["presence"]]
    assert small["typical"].between(0.9, 1.1).all()
    assert (large["typical"] < 0.1).all()
    kinds = pd.DataFrame({"inflation": [2.0], "ratio": [1.0], "low": [0.99], "high": [1.01], "seeds": [16]})
    assert CLAIMS["P5"].rule.judge(tables.measure(kinds, sweep)) == Verdict.WITHIN_LIMITS


def test_the_kind_that_reaches_farthest_decides() -> None:
    """Above or below 1; one kind outside is enough, and the interval is its own."""
    kinds = pd.DataFrame({"inflation": [2.0, 9.0], "ratio": [1.0, 0.9], "low": [0.99, 0.89], "high": [1.05, 0.91]})
    found = tables.measure(kinds.assign(seeds=16), pd.DataFrame({"typical": [1.0, 2.0]}))
    assert (found.measured, found.low, found.high) == (0.9, 0.89, 0.91)
    assert (found.limits["smallest inflation"], found.limits["largest inflation"]) == (2.0, 9.0)
    assert CLAIMS["P5"].rule.judge(found) == Verdict.REFUTED


def test_paths_share_their_presences(presence: PresenceParameters) -> None:
    """Both policies and both rates, the unmasked weight ten times the masked one at small steps."""
    paths = simulations.paths(presence)
    late = paths[(paths["step"] > 1000) & (paths["rate"] == paths["rate"].min())]
    means = late.groupby("policy", observed=True)["weight"].mean()
    assert means["unmasked"] / means["masked"] == pytest.approx(10, rel=0.3)
