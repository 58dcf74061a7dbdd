"""AURA's own run: its settings, its prediction from the log, what the log implies, and the counterfactual."""

import numpy as np
import pandas as pd
import pytest
from dynamics_twin import simulate_cell

from aura_study.claims import CLAIMS, Verdict
from aura_study.data.sources import training_log
from aura_study.dynamics import grid
from aura_study.experiments.aura_log import counterfactual as aura_counterfactual
from aura_study.experiments.aura_log.counterfactual import (
    InferredLoss,
    counterfactual,
    counterfactual_summary,
    infer_losses,
    inferred_table,
    losses_by_task,
    measure_counterfactual,
    total_check,
)
from aura_study.experiments.aura_log.log import NOISES, assumptions, measure, predictions
from aura_study.experiments.aura_log.parameters import AuraLogParameters
from aura_study.experiments.aura_log.run import V10_1, V10_1_FIRST, V10_2, AuraRun, epoch_weights, loss_curve
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
    """Under every noise, course and order the masked prediction is several times closer; P10 is confirmed."""
    table = assumptions(p)
    reporting = table[table["task"] == "reporting"]
    assert set(reporting["noise"]) == set(NOISES)
    assert set(reporting["order"]) == {"after", "before"}
    assert reporting["masked"].max() < 0.025
    assert reporting["unmasked"].min() > 0.08
    assert reporting["quotient"].min() > 3
    assert CLAIMS["P10"].rule.judge(measure(p, table)) == Verdict.CONFIRMED


def test_a_planted_loss_is_recovered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights made from known loss curves, rounded as the log's, give those curves back within 5 %."""
    planted = InferredLoss("emotion", 0.5, 0.6, 0.33, 2.0, 0.0)
    log = training_log()
    weights = epoch_weights(V10_2, "emotion", planted.curve(14, 826), "masked", noise=0.5, draws=4, seed=9)
    fake = log.assign(weight_emotion=weights.mean(0).round(3))
    monkeypatch.setattr(aura_counterfactual, "training_log", lambda: fake)
    fit = aura_counterfactual._infer(AuraLogParameters(fit_draws=4), "emotion", 0.5)
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
    """Growth of at least 1, at most exp(2 Lambda), largest for reporting; P11 is confirmed."""
    runs = counterfactual(AuraLogParameters(draws=8), fits)
    assert (runs["growth"] > 0.999).all()
    assert (runs["growth"] < runs["bound"]).all()
    summary = counterfactual_summary(runs).set_index(["data", "parameterization", "task"])["growth"].sort_index()
    for data in dict.fromkeys(runs["data"]):
        for form in ("aura_softplus", "log_sigma"):
            assert summary[data, form].idxmax() == "reporting"
    ours = summary["V10.2, 925 rows", "aura_softplus", "reporting"]
    assert 1.05 < ours < 1.15
    first = summary["V10.1, 101 rows", "log_sigma", "reporting"]
    assert 2.5 < first < 3.5
    measurement = measure_counterfactual(runs)
    assert measurement.measured == pytest.approx(first, rel=0.05)
    assert CLAIMS["P11"].rule.judge(measurement) == Verdict.CONFIRMED


def test_losses_by_task_holds_all_four(fits: list[InferredLoss]) -> None:
    """Logged for two, inferred for two, 14 epochs each."""
    losses = losses_by_task(fits, NOISES[-1])
    assert set(losses) == set(V10_2.sizes)
    assert all(len(values) == len(training_log()) for values in losses.values())
    assert isinstance(pd.Series(losses["emotion"]).iloc[0], float)
