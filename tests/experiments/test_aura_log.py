"""AURA's own run: its settings, its prediction from the log, what the log implies, and the counterfactual."""

import numpy as np
import pandas as pd
import pytest
from dynamics_twin import simulate_cell

from aura_study.claims import CLAIMS, Verdict
from aura_study.claims.model import Held
from aura_study.data.sources import training_log
from aura_study.dynamics import grid
from aura_study.experiments.aura_log import counterfactual as aura_counterfactual
from aura_study.experiments.aura_log import schedule
from aura_study.experiments.aura_log.counterfactual import (
    STEEPEST,
    InferredLoss,
    counterfactual,
    counterfactual_summary,
    infer_loss,
    infer_losses,
    inferred_table,
    losses_by_task,
    measure_absurdity,
    measure_counterfactual,
    total_check,
    whatever_the_losses,
)
from aura_study.experiments.aura_log.log import NOISES, assumptions, by_noise, measure, predictions
from aura_study.experiments.aura_log.parameters import AuraLogParameters
from aura_study.experiments.aura_log.run import (
    V10_1,
    V10_1_FIRST,
    V10_1_LONG,
    V10_2,
    AuraRun,
    epoch_weights,
)
from aura_study.theory.driven import loss_curve
from aura_study.theory.forms import AURA_SOFTPLUS
from aura_study.theory.optimizers import Adam


@pytest.fixture(scope="module")
def p() -> AuraLogParameters:
    return AuraLogParameters.for_profile("smoke")


@pytest.fixture(scope="module")
def fits() -> list[InferredLoss]:
    """Losses near the inferred ones, so that most tests need no fit."""
    return [
        InferredLoss(task, noise, start, end, 1.0, 0.0)
        for task, start, end in (("emotion", 0.42, 0.31), ("sentiment", 0.19, 0.01))
        for noise in NOISES
    ]


def test_run_has_auras_published_counts() -> None:
    """826 steps an epoch, 12,390 in all, linear warm-up over a tenth, reporting in a quarter of the micro-batches."""
    assert V10_2.samples == 52_860
    assert (V10_2.steps_per_epoch, V10_2.steps) == (826, 12_390)
    rates = V10_2.rates(14)
    assert rates.size == 14 * 826
    assert np.argmax(rates) == 1239
    assert rates.max() == pytest.approx(5e-5)
    assert V10_2.rates(14, "before")[:-1] == pytest.approx(rates[1:])
    assert V10_2.presence("reporting") == pytest.approx(0.246, abs=1e-3)
    assert V10_2.presence("toxicity") > 0.98
    assert (V10_1.sizes["emotion"], V10_1.sizes["sentiment"]) == (43_410, 67_349)
    assert V10_1_FIRST.sizes["reporting"] == 101
    assert (V10_1.epochs, V10_1_LONG.epochs, V10_1_FIRST.epochs) == (10, 15, 15)


def test_epoch_weights_are_those_of_adamw_on_the_real_loss() -> None:
    """A small run, step by step through AURA's parameterisation, the masked loss and ``torch.optim.AdamW``."""
    run = AuraRun({"rare": 60, "common": 580}, epochs=4)
    curve = loss_curve(np.array([0.6, 0.1]), run.steps_per_epoch)
    rates = run.rates(2)
    weights = epoch_weights(run, "rare", curve, "masked", noise=1.0, draws=2, seed=3)
    cells = grid(
        parameterization="aura_softplus",
        policy="masked",
        optimizer=Adam(weight_decay=0.01),
        presence=60 / 640,
        rate=1.0,
        noise=1.0,
        batch=16,
        accumulation=4,
        loss=[1.0, 1.0],
    )
    twin = simulate_cell(cells, 1, curve.size, rates, curve, seed=3)
    expected = AURA_SOFTPLUS.weight(twin[[run.steps_per_epoch, 2 * run.steps_per_epoch]])
    np.testing.assert_allclose(weights[1], expected, rtol=1e-12)


@pytest.mark.parametrize("shape", ["steps", "smooth"])
def test_loss_curve_keeps_the_epoch_means(shape: str) -> None:
    """Whatever the course within an epoch."""
    means = training_log()["reporting_loss"].to_numpy()
    curve = loss_curve(means, 826, shape)
    np.testing.assert_allclose(curve.reshape(14, 826).mean(1), means)
    assert (np.ptp(curve[:826]) > 0) == (shape == "smooth")


def test_masked_dynamics_predict_the_log_and_unmasked_miss_it(p: AuraLogParameters) -> None:
    """Reporting within 2 % against about 10 %; toxicity within 2.5 % under either."""
    table = predictions(p)
    worst = table.assign(miss=table["deviation"].abs()).groupby(["task", "policy"])["miss"].max()
    assert worst["reporting", "masked"] < 0.02
    assert 0.08 < worst["reporting", "unmasked"] < 0.12
    assert worst["toxicity"].max() < 0.025
    assert abs(worst["toxicity", "masked"] - worst["toxicity", "unmasked"]) < 0.005


def test_no_assumption_decides(p: AuraLogParameters) -> None:
    """Under every noise, course and order the masked prediction is several times closer; the 2 % ask for some noise."""
    table = assumptions(p)
    reporting = table[table["task"] == "reporting"]
    assert set(reporting["noise"]) == set(NOISES)
    assert set(reporting["order"]) == {"after", "before"}
    assert reporting["masked"].max() < 0.025
    assert reporting["unmasked"].min() > 0.08
    assert reporting["quotient"].min() > 3
    measurement = measure(p, table)
    assert CLAIMS["P10"].rule.judge(measurement) == Verdict.WITHIN_LIMITS
    assert measurement.limits["least noise tried that is enough"] == 0.5
    assert 0.02 < measurement.limits["masked miss, greatest without noise"] < 0.025
    noisy = table[table["noise"] > 0]
    assert CLAIMS["P10"].rule.judge(measure(p, pd.concat([noisy, noisy.assign(noise=0.0)]))) == Verdict.CONFIRMED
    assert CLAIMS["P10"].rule.judge(measure(p, table.assign(quotient=2.0))) == Verdict.VOID


def test_by_noise_is_the_worst_over_the_other_assumptions(p: AuraLogParameters) -> None:
    """Greatest misses, least quotient, and whether masked keeps the tolerance."""
    table = assumptions(p)
    summary = by_noise(table).set_index(["task", "noise"])
    rows = table[(table["task"] == "reporting") & (table["noise"] == 1.0)]
    assert len(rows) == 3
    found = summary.loc[("reporting", 1.0)]
    assert (found["masked"], found["quotient"]) == (rows["masked"].max(), rows["quotient"].min())
    assert summary["masked_within"].tolist() == (summary["masked"] <= 0.02).tolist()
    assert set(summary["masked_within"]) == {True, False}


def test_a_planted_loss_is_recovered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights made from known loss curves, rounded as the log's, give those curves back within 5 %."""
    planted = InferredLoss("emotion", 0.5, 0.6, 0.33, 2.0, 0.0)
    log = training_log()
    weights = epoch_weights(V10_2, "emotion", planted.curve(14, 826), "masked", noise=0.5, draws=4, seed=9)
    fake = log.assign(weight_emotion=weights.mean(0).round(3))
    monkeypatch.setattr(aura_counterfactual, "training_log", lambda: fake)
    fit = infer_loss(AuraLogParameters(fit_draws=4), "emotion", 0.5, V10_2)
    np.testing.assert_allclose(fit.epoch_means(14), planted.epoch_means(14), rtol=0.05)
    assert fit.worst_residual < 1e-3


def test_inferred_losses_fit_the_logged_weights(p: AuraLogParameters) -> None:
    """Emotion between 0.25 and 0.45, sentiment below 0.03, every weight reproduced within 1 %."""
    table = inferred_table(infer_losses(p))
    assert set(table["noise"]) == set(NOISES)
    emotion, sentiment = (table[table["task"] == task]["mean_loss"] for task in ("emotion", "sentiment"))
    assert 0.25 < emotion.min() < emotion.max() < 0.45
    assert 0 < sentiment.min() < sentiment.max() < 0.03
    assert table["worst_misfit"].max() < 0.01


def test_inferred_curve_and_its_epoch_means_agree() -> None:
    """The closed-form means are those of the curve."""
    fit = InferredLoss("emotion", 0.0, 0.7, 0.2, 1.5, 0.0)
    np.testing.assert_allclose(fit.curve(5, 2000).reshape(5, -1).mean(1), fit.epoch_means(5), rtol=1e-6)


def test_totals_differ_by_the_absent_regulariser(fits: list[InferredLoss]) -> None:
    """Unmasked less masked = sum over tasks of (1 - p) softplus / 2; reporting's share is nearly all of it."""
    table = total_check(fits)
    log = training_log()
    one = table[table["noise"] == NOISES[0]]
    ends = log["weight_reporting"].to_numpy()
    middle = (np.append(1 / np.log(2), ends[:-1]) + ends) / 2
    reporting = (1 - V10_2.presence("reporting")) / (2 * middle)
    difference = (one["unmasked"] - one["masked"]).to_numpy()
    assert (difference > reporting).all()
    np.testing.assert_allclose(difference, reporting, rtol=0.04)
    late = table[table["epoch"] >= 10]
    assert (late["unmasked"] > 1.05 * late["logged"]).all()
    assert ((late["masked"] / late["logged"] - 1).abs() < 0.05).all()


def test_counterfactual_inflates_the_rare_task_within_the_budget(
    p: AuraLogParameters, fits: list[InferredLoss]
) -> None:
    """Growth of at least 1, at most exp(Lambda) in AURA's code and exp(2 Lambda) in the formula, largest for reporting;
    P11 and P11a are confirmed, each by its own form's number.
    """
    runs = counterfactual(AuraLogParameters(draws=8), fits)
    assert (runs["growth"] > 0.999).all()
    assert (runs["growth"] < runs["bound"]).all()
    np.testing.assert_allclose(np.log(runs["bound"]) / runs["phantom_number"], runs["parameterization"].map(STEEPEST))
    summary = counterfactual_summary(runs).set_index(["data", "parameterization", "task"])["growth"].sort_index()
    for data in dict.fromkeys(runs["data"]):
        for form in STEEPEST:
            assert summary[data, form].idxmax() == "reporting"
    reporting = summary[:, "aura_softplus", "reporting"]
    expected = {"V10.2: 925 rows, 15 epochs": 1.09, "V10.1: 1,600 rows, 10 epochs": 1.18}
    expected |= {"V10.1: 1,600 rows, 15 epochs": 1.25, "V10.1: 101 rows, 15 epochs": 1.56}
    assert reporting.to_dict() == pytest.approx(expected, rel=0.01)
    for key, form, largest in (("P11", "aura_softplus", 1.56), ("P11a", "log_sigma", 3.05)):
        measurement = measure_counterfactual(runs, form)
        assert measurement.measured == pytest.approx(largest, rel=0.02)
        row = CLAIMS[key].decide(measurement)
        assert (row.verdict, row.prediction_held) == (Verdict.CONFIRMED, Held.HELD)


def test_the_asked_weight_is_that_of_the_fixed_point(p: AuraLogParameters, fits: list[InferredLoss]) -> None:
    """1 / sqrt(2 L) for AURA's code and 1 / (2 L) for the formula; either twin of reporting falls far short of it."""
    summary = counterfactual_summary(counterfactual(p, fits)).set_index(["data", "parameterization", "task"])
    last = training_log()["reporting_loss"].iloc[-1]
    run = "V10.2: 925 rows, 15 epochs"
    assert summary.loc[(run, "aura_softplus", "reporting"), "asked"] == pytest.approx(1 / np.sqrt(2 * last), rel=1e-6)
    assert summary.loc[(run, "log_sigma", "reporting"), "asked"] == pytest.approx(1 / (2 * last), rel=1e-6)
    reporting = summary.xs("reporting", level="task")
    assert (reporting[["masked", "unmasked"]].max(axis=1) < reporting["asked"] / 10).all()


def test_whatever_the_losses_no_twin_is_tenfold(p: AuraLogParameters) -> None:
    """P11b and P11c are refuted; the bound holds in AURA's code and fails in the formula, where the twin moves too."""
    table = whatever_the_losses(p)
    assert (table["growth"] > 0.999).all()
    assert (table["growth"] < table["wide_bound"]).all()
    for key, form, held in (("P11b", "aura_softplus", Held.HELD), ("P11c", "log_sigma", Held.FAILED)):
        measurement = measure_absurdity(table, form)
        row = CLAIMS[key].decide(measurement)
        assert (row.verdict, row.prediction_held) == (Verdict.REFUTED, held)
        twisted = measure_absurdity(table.assign(growth=table["growth"] * 10), form)
        assert CLAIMS[key].rule.judge(twisted) == Verdict.CONFIRMED


def made_log(name: str) -> pd.DataFrame:
    """AURA's log with the weights that masked dynamics under a schedule make of its losses, rounded as printed.

    Other draws and another noise than those of the measurement.
    """
    log, p = training_log(), AuraLogParameters(seed=5)
    weights = schedule.predicted_weights(p, name, log, draws=1, noise=0.7)[0]
    return log.assign(**{f"weight_{task}": row.round(3) for task, row in zip(schedule.KNOWN, weights, strict=True)})


@pytest.mark.parametrize(
    ("name", "verdict"),
    [(schedule.LINEAR, Verdict.REFUTED), (schedule.ONE_CYCLE, Verdict.CONFIRMED), ("AURA", Verdict.REFUTED)],
)
def test_the_log_tells_which_schedule_made_it(p: AuraLogParameters, name: str, verdict: Verdict) -> None:
    """S1a finds out what made a log that was made up under either schedule; AURA's own stands with the linear one."""
    log = training_log() if name == "AURA" else made_log(name)
    few = p.model_copy(update={"draws": 32})
    measurement = schedule.measure_schedule(few, log, schedule.told_apart(few, log))
    assert CLAIMS["S1a"].rule.judge(measurement) == verdict


def test_a_log_far_from_both_schedules_is_void(p: AuraLogParameters) -> None:
    """Weights that move evenly come from neither: the gate does not let them decide."""
    log = training_log()
    even = {f"weight_{task}": 1.4427 * np.exp(np.arange(1, 15) * 0.01) for task in schedule.KNOWN}
    measurement = schedule.measure_schedule(p, log.assign(**even), schedule.told_apart(p, log.assign(**even)))
    assert CLAIMS["S1a"].rule.judge(measurement) == Verdict.VOID


def test_shares_add_up_and_know_no_speed() -> None:
    """A weight that moves twice as far at the same times has the same shares."""
    path = 1 / np.log(2) * np.exp(np.cumsum([0.1, 0.3, 0.2]))
    far = 1 / np.log(2) * np.exp(np.cumsum([0.2, 0.6, 0.4]))
    np.testing.assert_allclose(schedule.shares(path), [1 / 6, 1 / 2, 1 / 3], rtol=1e-6)
    np.testing.assert_allclose(schedule.shares(far), schedule.shares(path), rtol=1e-6)


def test_rates_follow_pytorchs_onecycle_where_a_run_has_one() -> None:
    """Peak, place of the peak, and a sum that hardly differs from the linear warm-up's."""
    rates = schedule.SCHEDULES[schedule.ONE_CYCLE].rates(15)
    assert rates.max() == pytest.approx(5e-5, rel=1e-6)
    assert np.argmax(rates) == pytest.approx(0.3 * rates.size, abs=2)
    assert rates.sum() == pytest.approx(V10_2.rates(15).sum(), rel=0.02)


def test_sentiments_weights_fit_the_linear_warm_up_only(p: AuraLogParameters) -> None:
    """S1b: no loss curve makes up for the OneCycleLR that peaks at 10 %; equal misfits would refute it."""
    linear = [infer_loss(p, "sentiment", noise, V10_2) for noise in (0.0, 1.0)]
    table = schedule.refit(p, linear)
    assert table["linear"].max() < 0.002 < table["early"].min()
    judge = CLAIMS["S1b"].rule.judge
    assert judge(schedule.measure_refit(table)) == Verdict.CONFIRMED
    assert judge(schedule.measure_refit(table.assign(early=table["linear"]))) == Verdict.REFUTED


def test_losses_by_task_holds_all_four(fits: list[InferredLoss]) -> None:
    """Logged for two, inferred for two, 14 epochs each."""
    losses = losses_by_task(fits, NOISES[-1])
    assert set(losses) == set(V10_2.sizes)
    assert all(len(values) == len(training_log()) for values in losses.values())
    assert isinstance(pd.Series(losses["emotion"]).iloc[0], float)
