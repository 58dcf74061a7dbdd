"""The phases, and the way back after an absence: theory and simulation agree, and the rule of thumb is near."""

import numpy as np
import pandas as pd
import pytest

from aura_study.claims import CLAIMS
from aura_study.dynamics import grid, trajectories
from aura_study.experiments.phase_diagram import figures, own_losses
from aura_study.experiments.phase_diagram.maps import (
    PHASES,
    agreement,
    classify,
    growth,
    measured,
    practice,
    predicted,
    rule_of_thumb,
)
from aura_study.experiments.phase_diagram.parameters import PhaseDiagramParameters
from aura_study.experiments.phase_diagram.returns import recovery_curves, whiplash_map
from aura_study.theory.optimizers import DEFAULT_ADAM
from aura_study.training.runs import Presence, load_runs, train_jobs


@pytest.fixture(scope="module")
def phases() -> PhaseDiagramParameters:
    return PhaseDiagramParameters.for_profile("smoke")


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


def test_the_absence_of_a_task_that_is_always_there_is_predicted() -> None:
    """Under Adam log sigma falls as far as its memory, at its age, has it: within 3 % from a tenth of Lambda on."""
    p = PhaseDiagramParameters.for_profile("smoke", repeats=9)
    cell = "parameterization == 'log_sigma' and optimizer == 'Adam' and presence == 1 and phantom > 0.1"
    growths = [np.log(table(p).query(cell)["growth"].to_numpy()) for table in (measured, predicted)]
    assert len(growths[0]) == 7
    np.testing.assert_allclose(*growths, rtol=0.03)


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


def test_rule_of_thumb_names_the_extremes(phases: PhaseDiagramParameters) -> None:
    """From no danger to whiplash; under Adam a quiet loss explodes where a noisy one does not."""
    assert PHASES[rule_of_thumb(5e-5, 826, 1.0, 0.3, adam=True)] == "harmless"
    assert PHASES[rule_of_thumb(1e-4, 10, 0.1, 0.3, adam=True)] == "inflated"
    assert PHASES[rule_of_thumb(1e-2, 300, 1.0, 0.3, adam=True)] == "slow recovery"
    assert PHASES[rule_of_thumb(1e-4, 20_000, 1.0, 0.3, adam=False)] == "exploded"
    assert PHASES[rule_of_thumb(0.1, 50, 0.5, 0.3, adam=False)] == "switched off"
    assert PHASES[rule_of_thumb(5e-3, 150, 1.0, 0.1, adam=True)] == "slow recovery"
    assert PHASES[rule_of_thumb(5e-3, 150, 1.0, 1.0, adam=True)] == "inflated"
    assert set(practice(phases)["phase"]) <= set(PHASES)


def test_practice_has_the_warm_start(phases: PhaseDiagramParameters) -> None:
    """Under SGD, and under Adam for a task that was never there, sigma falls by Lambda; further after a quiet loss,
    less far where the task is rare."""
    table = practice(phases).set_index("setting")
    over = table["moved"] / table["phantom_number"]
    for setting in ("AURA's run, a task absent throughout", "SGD at 0.1, tasks in turn"):
        assert over[setting] == pytest.approx(1, rel=1e-3)
    assert over["sigma at 1e-2, a curriculum of 300 steps"] > 2
    assert over["fine-tuning, a rare task"] < 0.2
    np.testing.assert_allclose(table["weight_factor"], np.exp(2 * table["moved"]) / table["presence"])


def test_growth_asks_under_adam_for_the_loss_and_the_length() -> None:
    """exp(2 Lambda) under SGD; under Adam more the quieter the loss and the shorter the absence, about that at 1."""
    table = growth()
    np.testing.assert_allclose(table["sgd"], np.exp(2 * table["phantom"]))
    displacement = np.log(table.filter(like="adam_")) / 2
    assert (np.diff(displacement, axis=1) < 0).all()
    assert (displacement["adam_0.05"].groupby(table["phantom"]).diff().dropna() < 0).all()
    np.testing.assert_allclose(displacement["adam_1"] / table["phantom"], 1, atol=0.2)


def test_sigma_on_recorded_losses_is_the_models_own(tmp_path) -> None:
    """Through an absence and beyond: replayed at the rate of the training, sigma is the one that it trained."""
    p = PhaseDiagramParameters(seed_count=1, before=0, recorded=40, rows=64, dev_rows=16, max_length=32, rate=0.05)
    (job,) = own_losses.loss_jobs(p)
    settings = job.settings.model_copy(update={"policy": "unmasked"})
    away = Presence(schedule="stretch", absent="emotion", start=15, stop=30)
    job = job.model_copy(update={"presence": away, "settings": settings})
    run = load_runs(train_jobs([job], tmp_path, workers=1))
    for task, rows in run.groupby("task"):
        gone = {"absent_start": 15, "absent_steps": 15} if task == "emotion" else {}
        cell = grid(optimizer=DEFAULT_ADAM, rate=p.rate, theta0=0.0, **gone)
        _, (path,) = trajectories(cell, 40, loss_profile=rows["loss"].fillna(0).to_numpy())
        np.testing.assert_allclose(path[:-1], np.log(rows["sigma"]), atol=1e-5)
        assert np.ptp(path) > 0.1


@pytest.fixture(scope="module")
def drawn() -> pd.DataFrame:
    """Absences on losses that are drawn: five seeds of a quiet task, a noisy one, and one whose loss is mostly 0."""
    tables = []
    for seed in range(5):
        draw = np.random.default_rng(seed)
        for task, losses in {
            "emotion": draw.gamma(10, 0.1, 300),
            "toxicity": draw.gamma(1.5, 1 / 1.5, 300),
            "reporting": draw.gamma(0.05, 20, 300),
        }.items():
            tables.append(own_losses.absences_from(losses).assign(seed=seed, task=task))
    return pd.concat(tables, ignore_index=True)


def test_growth_is_predicted_from_what_adam_remembers(drawn: pd.DataFrame) -> None:
    """From both moments every single growth exactly; from the second in the mean, and not from an empty memory."""
    assert drawn["from_state"].max() < 1e-6
    assert CLAIMS["P2d"].decide(own_losses.measure_state(drawn)).verdict == "confirmed"
    quiet = drawn[drawn["task"] != "reporting"]
    assert CLAIMS["P2a"].decide(own_losses.measure_memory(quiet)).verdict == "confirmed"
    empty = quiet.assign(from_memory=2 * quiet["phantom"])
    assert CLAIMS["P2a"].decide(own_losses.measure_memory(empty)).verdict == "refuted"


def test_a_loss_that_falls_carries_on_by_its_momentum() -> None:
    """Nine times the last mean step of log sigma, and no more: what the second moment leaves out, within a fifth."""
    losses = np.random.default_rng(0).gamma(10, 0.1, 400) * np.geomspace(1, 0.02, 400)
    table = own_losses.absences_from(losses).query("absent_steps == 60")
    beyond = table["growth"] - table["from_memory"]
    assert (beyond > 0.05).all()
    np.testing.assert_allclose(beyond, table["momentum"], rtol=0.2)


def test_the_losses_alone_are_asked_where_they_vary_little(drawn: pd.DataFrame) -> None:
    """Two of the three tasks; their measured ratio is the one that reaches furthest; none of them makes it void."""
    way = own_losses.measure_way(drawn)
    assert way.limits["tasks"] == 2
    table = own_losses.cells(drawn)
    assert set(table.dropna()["task"]) == {"emotion", "toxicity"}
    assert max(table["losses_high"].max(), 1 / table["losses_low"].min()) == max(way.high, 1 / way.low)
    assert way.measured == pytest.approx(1, abs=0.05)
    assert CLAIMS["P2b"].decide(own_losses.measure_way(drawn[drawn["task"] == "reporting"])).verdict == "void"
    single = CLAIMS["P2c"].decide(own_losses.measure_single(drawn))
    assert (single.verdict, single.prediction_held) == ("refuted", "held")
    figures.growth(table, CLAIMS["P2a"].rule.tolerance)
