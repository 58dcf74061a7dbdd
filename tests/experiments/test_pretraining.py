"""The pre-training, its checkpoint, and what the fine-tunings find of it."""

import math
from itertools import islice

import numpy as np
import pandas as pd
import pytest
import torch
from pydantic import ValidationError

from aura_study.claims import CLAIMS, Verdict
from aura_study.claims.model import Held
from aura_study.data.encoders import encoder_files
from aura_study.data.tasks import TASKS
from aura_study.experiments.pretraining import forgetting, spike
from aura_study.experiments.pretraining.fine_tuning import ALONE, ForgettingJob, advance, run_forgetting
from aura_study.experiments.pretraining.jobs import checkpoint_curve, jobs, warm_up_jobs
from aura_study.experiments.pretraining.language_model import (
    PretrainingJob,
    checkpoint_folder,
    checkpoint_test,
    learning_curve,
    load_checkpoint,
    pretrain,
)
from aura_study.experiments.pretraining.parameters import ARMS as ARMS_BY_REGIME
from aura_study.experiments.pretraining.parameters import PretrainingParameters
from aura_study.runs.jobs import job_metadata
from aura_study.training.loop import Stepper, TrainingSettings, build_schedule
from aura_study.training.runs import Presence, job_batches, prepare
from aura_study.training.weighting import build_weighting

LENGTH = 32
JOB = PretrainingJob(rows=64, dev_rows=16, max_length=LENGTH, steps=40, batch_size=16, lr=3e-3)
START, STOP, STEPS = 2, 6, 18


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("checkpoints")


@pytest.fixture(scope="module")
def folder(cache):
    return pretrain(JOB, cache, progress=None)


def test_the_pretraining_learns(folder):
    """The loss on hidden tokens falls, by far more than its last steps; what counting reaches stands beside it."""
    curve = learning_curve(folder, JOB)
    loss = curve["mlm_loss"].to_numpy()
    assert curve["step"].iloc[[0, -1]].tolist() == [0, JOB.steps]
    assert loss[-1] < loss[0] - 0.5
    assert loss[0] == pytest.approx(math.log(load_checkpoint(str(folder), LENGTH).encoder.config.vocab_size), rel=0.05)
    assert (curve["bigram"] < curve["unigram"]).all()


def test_a_kept_checkpoint_is_not_trained_again(folder, cache):
    """The same job gives the same folder, untouched; other settings another; a broken record is trained anew."""
    model = folder / "model.safetensors"
    written = model.stat().st_mtime_ns
    assert pretrain(JOB, cache) == folder
    assert model.stat().st_mtime_ns == written
    assert checkpoint_folder(JOB.model_copy(update={"lr": 1e-3}), cache) != folder
    assert [path for path in cache.iterdir() if path != folder] == []


def test_the_same_pretraining_gives_the_same_weights(folder, tmp_path):
    """Bit for bit, in another cache; and a checkpoint whose record is damaged is replaced."""
    again = pretrain(JOB, tmp_path, progress=None)
    assert encoder_files(str(again)) == encoder_files(str(folder))
    (again / "mlm_curve.parquet").write_bytes(b"damaged")
    (again / "model.safetensors").unlink()
    assert pretrain(JOB, tmp_path, progress=None) == again
    assert encoder_files(str(again)) == encoder_files(str(folder))


def test_a_checkpoint_from_elsewhere_is_tested_on_the_same_words(folder):
    """Loaded from its folder, the checkpoint has the loss that its pre-training ended with, exactly."""
    curve = learning_curve(folder, JOB)
    found = checkpoint_test(str(folder), JOB)
    assert found["mlm_loss"].item() == curve["mlm_loss"].iloc[-1]
    assert found["unigram"].item() == curve["unigram"].iloc[-1]


def test_the_kept_head_shares_nothing_with_the_encoder(folder):
    """Pre-training ties the head's output to the embeddings; the copy stays when the encoder moves."""
    checkpoint = load_checkpoint(str(folder), LENGTH)
    embeddings = checkpoint.encoder.get_input_embeddings().weight
    decoder = checkpoint.head.decoder.weight
    assert torch.equal(decoder, embeddings)
    with torch.no_grad():
        embeddings.add_(1)
    assert not torch.equal(decoder, embeddings)


def test_a_checkpoint_that_cannot_be_read_is_named_before_any_training(folder, tmp_path):
    """No such folder, an empty one, no language-model head, rows too short, no name: one error each, naming it."""
    checkpoint = load_checkpoint(str(folder), LENGTH)
    headless = tmp_path / "headless"
    checkpoint.encoder.save_pretrained(headless)
    checkpoint.tokenizer.save_pretrained(headless)
    bare = tmp_path / "bare"
    bare.mkdir()
    for name, message in ((tmp_path / "nowhere", "nowhere"), (bare, "bare"), (headless, "lacks")):
        with pytest.raises(ValueError, match=message):
            checkpoint_curve(PretrainingParameters(checkpoint=str(name), max_length=LENGTH))
    with pytest.raises(ValueError, match="at most 32 tokens, not max_length=64"):
        load_checkpoint(str(folder), 64)
    with pytest.raises(ValidationError, match="empty name"):
        PretrainingParameters(checkpoint=" ")


ARMS = ("masked", "alone", "unmasked")


def job(folder, arms=ARMS, start=START, stop=STOP, **changes):
    settings = {"steps": STEPS, "accumulation": 1, "schedule": "constant", "seed": 0}
    rates = {"lr_encoder": 5e-4, "lr_heads": 5e-4, "lr_sigma": 0.5}
    return ForgettingJob(
        name="forgetting-clipped-seed0",
        regime="clipped",
        arms=arms,
        encoder=str(folder),
        rows=64,
        dev_rows=16,
        max_length=LENGTH,
        pretraining=JOB,
        probes=(START, STOP, STOP + 1),
        presence=Presence(schedule="stretch", start=start, stop=stop),
        settings=TrainingSettings.model_validate({**settings, **rates, **changes}),
    )


def by_arm(path):
    table = pd.read_parquet(path)
    return {arm: rows.reset_index(drop=True) for arm, rows in table.groupby("policy")}


@pytest.fixture(scope="module")
def runs(folder, tmp_path_factory):
    """The tables of the arms."""
    path = run_forgetting(job(folder), tmp_path_factory.mktemp("runs"))
    scores = job_metadata(path)["macro_f1"]
    assert set(scores) == set(ARMS)
    assert set(scores["masked"]) == {"toxicity", "emotion", "sentiment", "reporting"}
    return by_arm(path)


def test_the_pretraining_is_tested_when_asked_and_at_both_ends(runs):
    """Where losses and CKAs stand, and nowhere else, in every arm."""
    for table in runs.values():
        assert table["step"].tolist() == list(range(STEPS + 1))
        for column in ("mlm_loss", "cka", "distance"):
            assert table.loc[table[column].notna(), "step"].tolist() == [0, START, STOP, STOP + 1, STEPS]


def test_the_arms_part_at_the_return(runs):
    """One model up to the return, and three from then on."""
    losses = {arm: table.set_index("step")["mlm_loss"] for arm, table in runs.items()}
    for other in ("unmasked", "alone"):
        pd.testing.assert_series_equal(losses["masked"][:STOP], losses[other][:STOP])
        assert losses["masked"][STOP + 1] != losses[other][STOP + 1]
    assert losses["unmasked"][STEPS] != losses["alone"][STEPS]


@pytest.mark.parametrize("changes", [{}, {"optimizer": "sgd", "lr_encoder": 1e-3, "clip_norm": None}])
@pytest.mark.parametrize("policy", ["masked", "unmasked"])
def test_an_arm_is_what_its_policy_alone_would_have_trained(folder, tmp_path, monkeypatch, policy, changes):
    """Trained in one piece under the policy, without dropout, the encoder ends where the arm does, bit for bit."""
    loaded = ForgettingJob.model

    def sure(self, prepared):
        model = loaded(self, prepared)
        model.set_dropout(0.0)
        return model

    monkeypatch.setattr(ForgettingJob, "model", sure)
    work = job(folder, (policy,), **changes)
    prepared = prepare(work)
    model = work.model(prepared)
    before = flat(model)
    weighting = build_weighting(policy, "log_sigma", list(TASKS))
    advance(Stepper(model, weighting, work.settings), islice(job_batches(work, prepared), STEPS))
    arm = by_arm(run_forgetting(work, tmp_path))[policy]
    assert float((flat(model) - before).norm() / before.norm()) == arm["distance"].iloc[-1]


def flat(model):
    return torch.nn.utils.parameters_to_vector(model.encoder.parameters()).detach().clone()


def test_the_weight_spikes_in_the_unmasked_arm_and_more_in_that_of_the_task_alone(runs):
    """At the first step back: unmasked far above masked, and the gradient with it; alone by exp(2 x 15) above masked.

    Lambda is 2 (four steps of 0.5); Adam's memory of the two steps before holds back about a half of it, and exp(1) is
    what is left at least.
    """
    back = {name: frame.set_index("step").loc[STOP] for name, frame in runs.items()}
    assert back["unmasked"]["weight"] > math.e * back["masked"]["weight"]
    assert back["unmasked"]["gradient_norm"] > 2 * back["masked"]["gradient_norm"]
    assert back["alone"]["weight"] == pytest.approx(math.exp(2 * ALONE) * back["masked"]["weight"], rel=1e-4)


def test_the_update_is_adams(runs):
    """The first update of AdamW from a cold start moves no parameter by more than a rate, and most of them by one."""
    rate = 5e-4
    first = runs["masked"]["update"].iloc[0]
    assert 0.1 * rate < first <= 1.01 * rate


CURVE = pd.DataFrame([{"mlm_loss": 4.0, "unigram": 6.0, "bigram": 5.0}])
"""Two nats learned, one of them beyond the bigram."""


def made(spike, cost=0.5, alone=0.4, regime="clipped"):
    """Costs of four seeds, 0.1 nats apart, at the moments after the return; ``spike`` in nats, the same in all."""
    p = PretrainingParameters()
    rows = []
    for seed in range(4):
        for step in p.moments.values():
            for policy, more in (("masked", 0.0), ("unmasked", spike), ("alone", alone)):
                lost = 0.0 if step == 0 else cost + 0.1 * (seed - 1.5) + (more if step > p.stop else 0.0)
                found = {"mlm_loss": 4 + lost, "cka": 1 - lost / 10}
                rows.append({"regime": regime, "policy": policy, "seed": seed, "step": step, **found})
    return forgetting.costs(pd.DataFrame(rows), p)


def test_the_spike_is_what_an_arm_loses_beyond_the_mask():
    """Made losses give back cost, drift and spike, at the end and before the return, in both units."""
    table = forgetting.cost_table(made(0.2), CURVE).set_index(["moment", "policy"])
    end = table.loc[("at the end", "unmasked")]
    assert end[["cost", "drift", "spike", "of what was learned"]].tolist() == pytest.approx([0.7, 0.07, 0.4, 0.1])
    assert end["low"] < 0.4 < end["high"]
    assert table.at[("before the return", "unmasked"), "spike"] == pytest.approx(0)
    assert math.isnan(table.at[("at the end", "masked"), "spike"])


@pytest.mark.parametrize(("spike", "verdict"), [(1.1, Verdict.CONFIRMED), (0.9, Verdict.REFUTED)])
def test_a_ruin_takes_half_of_what_was_learned(spike, verdict):
    """Of the two nats below the unigram, more or less than one."""
    measurement = forgetting.measure_ruin(made(spike), CURVE, "clipped")
    assert measurement.measured == pytest.approx(spike / 2)
    assert CLAIMS["P8"].rule.judge(measurement) == verdict


def test_a_language_model_that_only_counts_is_not_worth_ruining():
    """Less than half a nat below the bigram makes every claim void, however large the spike."""
    poor = CURVE.assign(bigram=4.4)
    table = pd.concat([made(1.5, regime=regime) for regime in ARMS_BY_REGIME])
    measured = {
        "P8": forgetting.measure_ruin(table, poor, "clipped"),
        "P8a": forgetting.measure_ruin(table, poor, "unclipped"),
        "P8b": forgetting.measure_ruin(table, poor, "sgd"),
        "P8c": forgetting.measure_own_rate(table, poor),
        "P8d": forgetting.measure_warm_up(made_warm_ups(0.1), poor),
        "P8e": forgetting.measure_added(table, poor, "clipped"),
        "P8f": forgetting.measure_added(table, poor, "unclipped"),
        "P8g": forgetting.measure_alone(table, poor),
    }
    assert set(measured) == {key for key, claim in CLAIMS.items() if claim.notebook == "13_pretraining"}
    for key, measurement in measured.items():
        assert CLAIMS[key].decide(measurement).verdict == Verdict.VOID


@pytest.mark.parametrize(
    ("spike", "verdict", "held"),
    [(0.3, Verdict.CONFIRMED, Held.FAILED), (0.02, Verdict.REFUTED, Held.HELD)],
)
def test_the_first_prediction_is_scored_by_a_rule_of_its_own(spike, verdict, held):
    """P8e: a spike that adds a quarter or more is one that the prediction did not see."""
    row = CLAIMS["P8e"].decide(forgetting.measure_added(made(spike), CURVE, "clipped"))
    assert (row.verdict, row.prediction_held) == (verdict, held)


@pytest.mark.parametrize(
    ("spike", "verdict"), [(0.004, Verdict.CONFIRMED), (-0.2, Verdict.REFUTED), (0.2, Verdict.REFUTED)]
)
def test_at_auras_rate_the_two_must_cost_the_same(spike, verdict):
    """P8c is an equivalence: neither more nor less."""
    measurement = forgetting.measure_own_rate(made(spike, regime="own_rate"), CURVE)
    assert measurement.measured == pytest.approx(1 + spike / 0.5)
    assert CLAIMS["P8c"].rule.judge(measurement) == verdict


def test_the_harm_is_compared_with_that_of_the_task_alone():
    """P8g: the two arms beyond the mask; without a harm of the task alone there is nothing to compare."""
    measurement = forgetting.measure_alone(made(0.3, alone=0.4), CURVE)
    assert measurement.measured == pytest.approx(0.75)
    assert measurement.limits["the same ten steps after the return"] == pytest.approx(0.75)
    assert CLAIMS["P8g"].rule.judge(measurement) == Verdict.CONFIRMED
    assert CLAIMS["P8g"].rule.judge(forgetting.measure_alone(made(0.3, alone=-0.1), CURVE)) == Verdict.VOID


def test_a_fine_tuning_that_forgets_nothing_decides_nothing():
    """There is no share of nothing: seeds that gain as often as they lose leave it open, a gain makes it void."""
    for cost, verdict in ((0.01, Verdict.INCONCLUSIVE), (-0.5, Verdict.VOID)):
        measurement = forgetting.measure_added(made(0.1, cost=cost), CURVE, "clipped")
        assert CLAIMS["P8e"].rule.judge(measurement) == verdict


def made_warm_ups(saved):
    """`forgetting.warm_ups` of four seeds: 1 nat is lost without a warm-up, and ``saved`` of it with OneCycle's."""
    costs = {0.0: 1.0, 0.1: 1 - saved / 2, 0.3: 1 - saved}
    rows = [
        {"regime": f"{share:g}", "policy": "masked", "seed": seed, "moment": "at the end", "cost": cost, "drift": 0.1}
        for share, cost in costs.items()
        for seed in range(4)
    ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize(("saved", "verdict"), [(0.3, Verdict.CONFIRMED), (0.1, Verdict.REFUTED)])
def test_a_warm_up_has_to_save_a_quarter(saved, verdict):
    """P8d, and AURA's shorter one beside it."""
    measurement = forgetting.measure_warm_up(made_warm_ups(saved), CURVE)
    assert measurement.measured == pytest.approx(saved)
    assert measurement.limits["saved by AURA's own 10 %"] == pytest.approx(saved / 2)
    assert CLAIMS["P8d"].rule.judge(measurement) == verdict


def test_the_fine_tunings_differ_in_what_their_regime_names():
    """Clipping, optimiser and the rate of sigma by regime; every one has the mask and the moments of comparison."""
    p = PretrainingParameters()
    work = jobs(p)
    assert len(work) == 4 * p.seed_count
    for one in work:
        assert (one.presence.start, one.presence.stop) == (p.before, p.stop)
        assert {"masked", "unmasked"} <= {*one.arms}
        assert (one.settings.clip_norm is None) == (one.regime in ("sgd", "unclipped"))
        assert (one.settings.lr_sigma < 1e-3) == (one.regime == "own_rate")
        assert {*p.moments.values()} <= {*one.probes}


def test_warm_ups_spend_the_same_and_differ_in_its_order():
    """The rates of PyTorch's own schedule: one peak, sums within half a rate and those of the constant rate."""
    p = PretrainingParameters()
    found = {}
    for one in warm_up_jobs(p):
        assert one.presence.start == one.presence.stop == p.steps
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=one.settings.lr_encoder)
        schedule = build_schedule(optimizer, one.settings)
        rates = []
        for _ in range(p.steps):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.step()
        found[one.regime] = np.array(rates)
    assert list(found) == ["0", "0.1", "0.3"]
    for share, rates in found.items():
        assert rates.argmax() == round(float(share) * p.steps)
        assert rates.max() == pytest.approx(2 * p.lr_model)
        assert rates.sum() == pytest.approx(p.lr_model * p.steps, abs=p.lr_model + 1e-12)


def test_the_bound_is_what_pytorchs_adam_does():
    """A gradient of 0 until the return and of 1 from then on: Adam's steps in rates are the bound, to 1e-9."""
    p = PretrainingParameters(seed_count=1)
    steps = np.arange(p.steps)
    frame = pd.DataFrame({"step": steps, "weight": 1.0, "gradient_norm": 1.0, "update": 1e-3, "seed": 0})
    arms = [frame.assign(regime=r, policy=c) for r in ARMS_BY_REGIME for c in ("masked", "unmasked")]
    table = spike.first_steps(pd.concat(arms), p)
    chosen = table[(table["regime"] == "unclipped") & (table["policy"] == "masked")].set_index("since")
    parameter = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
    adam = torch.optim.Adam([parameter], lr=1.0, eps=1e-300)
    found = []
    for step in range(p.stop + 10):
        parameter.grad = torch.full_like(parameter, float(step >= p.stop))
        before = parameter.item()
        adam.step()
        found.append(before - parameter.item())
    np.testing.assert_allclose(chosen.loc[0:9, "bound"], found[-10:], rtol=1e-9)
    assert chosen.loc[:-1, "bound"].isna().all()
    assert table.loc[table["regime"] == "sgd", "bound"].isna().all()
    assert spike.spikes(table)["update"].tolist() == [1.0] * 4
