"""The experiments on presence (P5) and on the phases: what they find, and that theory and simulation agree."""

import numpy as np
import pandas as pd
import pytest

from aura_study.claims import CLAIMS, Verdict
from aura_study.experiments.phase_diagram.maps import (
    PHASES,
    agreement,
    classify,
    measured,
    practice,
    predicted,
    rule_of_thumb,
)
from aura_study.experiments.phase_diagram.parameters import PhaseDiagramParameters
from aura_study.experiments.phase_diagram.returns import recovery_curves, whiplash_map
from aura_study.experiments.presence import simulations as stationary
from aura_study.theory.forms import FORMS


@pytest.fixture(scope="module")
def presence() -> stationary.PresenceParameters:
    return stationary.PresenceParameters.for_profile("smoke")


@pytest.fixture(scope="module")
def phases() -> PhaseDiagramParameters:
    return PhaseDiagramParameters.for_profile("smoke")


def test_inflation_is_the_predicted_one_for_every_form(presence: stationary.PresenceParameters) -> None:
    """Mean ratio of measured to predicted within 2 % of 1 for every kind, and on average within 0.5 %."""
    summary = stationary.summarise(stationary.small_step_runs(presence))
    assert len(summary) == len(FORMS) * 2 * presence.points
    assert ((summary["ratio"] - 1).abs() < 0.02).all()
    assert summary["ratio"].mean() == pytest.approx(1.0, abs=0.005)


def test_large_steps_leave_the_stationary_picture(presence: stationary.PresenceParameters) -> None:
    """On log sigma under SGD the typical weight follows 1/p at eta << p and dies at eta > p; P5 holds within limits."""
    sweep = stationary.large_step_runs(presence)
    sgd = sweep[(sweep["parameterization"] == "log_sigma") & (sweep["optimizer"] == "SGD")]
    small, large = sgd[sgd["rate"] < 0.01 * sgd["presence"]], sgd[sgd["rate"] > 2 * sgd["presence"]]
    assert small["typical"].between(0.9, 1.1).all()
    assert (large["typical"] < 0.1).all()
    kinds = pd.DataFrame({"ratio": [1.0], "low": [0.99], "high": [1.01], "seeds": [16]})
    assert CLAIMS["P5"].rule.judge(stationary.measure(kinds, sweep)) == Verdict.WITHIN_LIMITS


def test_paths_share_their_presences(presence: stationary.PresenceParameters) -> None:
    """Both policies and both rates, the unmasked weight ten times the masked one at small steps."""
    paths = stationary.paths(presence)
    late = paths[(paths["step"] > 1000) & (paths["rate"] == paths["rate"].min())]
    means = late.groupby("policy", observed=True)["weight"].mean()
    assert means["unmasked"] / means["masked"] == pytest.approx(10, rel=0.3)


def test_phases_are_ordered_by_severity() -> None:
    """A row meets the last phase whose condition holds."""
    rows = pd.DataFrame(
        {
            "inflation": [1.0, 5.0, 1.0, 1.0, 1.0, 1.0],
            "growth": [1.5, 1.0, 20.0, 20.0, 20.0, np.nan],
            "low": [1.0, 1.0, 1.0, 1.0, 0.01, np.nan],
            "recovery": [9.0, 9.0, 0.5, 2.0, 2.0, np.nan],
            "undefined": [0.0, 0.0, 0.0, 0.0, 0.0, 1.0],
        }
    )
    assert classify(rows).tolist() == list(range(len(PHASES)))


def test_theory_predicts_the_phases(phases: PhaseDiagramParameters) -> None:
    """At least 85 % of the cells of every diagram, nearly all on mild or severe; all phases occur but one."""
    table, theory = measured(phases), predicted(phases)
    rates = agreement(phases, table, theory)
    assert len(rates) == 4
    assert (rates["theory_agrees"] > 0.85).all()
    assert (rates["mild_or_severe"] > 0.93).all()
    assert (rates["rule_of_thumb_agrees"].dropna() > 0.75).all()
    assert {0, 1, 3, 4, 5} <= set(table["phase"])
    softplus = table[table["parameterization"] == "aura_softplus"]
    assert (softplus["phase"] <= PHASES.index("exploded")).all()


def test_recovery_is_predicted(phases: PhaseDiagramParameters) -> None:
    """SGD within 2 % or two steps (flow), Adam to the step (recursion)."""
    curves = recovery_curves(phases).dropna()
    assert len(curves) > 15
    adam = curves["optimizer"] == "Adam"
    assert (curves.loc[adam, "measured"] == curves.loc[adam, "predicted"]).all()
    sgd = curves[~adam]
    assert ((sgd["measured"] - sgd["predicted"]).abs() <= np.maximum(2, 0.02 * sgd["predicted"])).all()


def test_whiplash_is_predicted(phases: PhaseDiagramParameters) -> None:
    """Weight one step after the return, as `return_step` has it, both sides of the threshold."""
    table = whiplash_map(phases)
    np.testing.assert_allclose(np.log(table["weight"] + 1e-300), np.log(table["predicted"] + 1e-300), atol=1e-6)
    over = table["rate"] > table["phantom"] / np.expm1(2 * table["phantom"])
    assert ((table["weight"] < 1) == over).all()
    assert 0.1 < over.mean() < 0.9


def test_rule_of_thumb_names_the_extremes() -> None:
    """From no danger to whiplash."""
    assert PHASES[rule_of_thumb(5e-5, 826, 1.0, adam=True)] == "harmless"
    assert PHASES[rule_of_thumb(1e-4, 10, 0.1, adam=True)] == "inflated"
    assert PHASES[rule_of_thumb(1e-2, 300, 1.0, adam=True)] == "slow recovery"
    assert PHASES[rule_of_thumb(1e-4, 20_000, 1.0, adam=False)] == "exploded"
    assert PHASES[rule_of_thumb(0.1, 50, 0.5, adam=False)] == "switched off"
    assert set(practice()["phase"]) <= set(PHASES)
