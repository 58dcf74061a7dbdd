"""The pre-training, its checkpoint, and what the fine-tunings find of it."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from pydantic import ValidationError

from aura_study.claims import CLAIMS, Verdict
from aura_study.data.tasks import TASKS
from aura_study.experiments.pretraining import forgetting, spike
from aura_study.experiments.pretraining.fine_tuning import ForgettingJob
from aura_study.experiments.pretraining.jobs import checkpoint_curve, jobs
from aura_study.experiments.pretraining.language_model import (
    PretrainingJob,
    checkpoint_folder,
    checkpoint_identity,
    checkpoint_test,
    learning_curve,
    load_checkpoint,
    pretrain,
)
from aura_study.experiments.pretraining.parameters import REGIMES, PretrainingParameters
from aura_study.runs.jobs import job_metadata
from aura_study.training.loop import TrainingSettings, train
from aura_study.training.model import AuraModel
from aura_study.training.runs import Presence, job_batches, prepare, run_job

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
    assert checkpoint_identity(str(again)) == checkpoint_identity(str(folder))
    (again / "mlm_curve.parquet").write_bytes(b"damaged")
    (again / "model.safetensors").unlink()
    assert pretrain(JOB, tmp_path, progress=None) == again
    assert checkpoint_identity(str(again)) == checkpoint_identity(str(folder))


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


def job(folder, policy, start=START, stop=STOP, **changes):
    settings = {"policy": policy, "steps": STEPS, "accumulation": 1, "schedule": "constant", "seed": 0}
    rates = {"lr_encoder": 5e-4, "lr_heads": 5e-4, "lr_sigma": 0.5}
    return ForgettingJob(
        name=f"forgetting-clipped-{policy}-seed0",
        regime="clipped",
        arm=policy,
        encoder=str(folder),
        rows=64,
        dev_rows=16,
        max_length=LENGTH,
        pretraining=JOB,
        probes=(START, STOP, STOP + 1),
        presence=Presence(schedule="stretch", start=start, stop=stop),
        settings=TrainingSettings.model_validate({**settings, **rates, **changes}),
    )


@pytest.fixture(scope="module")
def runs(folder, tmp_path_factory):
    """The frames of the arms, the control's under its own name."""
    kept = tmp_path_factory.mktemp("runs")
    work = {policy: job(folder, policy) for policy in ("masked", "frozen", "unmasked")}
    control = job(folder, "masked", STOP, STOP)
    work["control"] = control.model_copy(update={"name": "forgetting-clipped-control-seed0"})
    paths = {name: run_job(one, kept) for name, one in work.items()}
    assert set(job_metadata(paths["control"])["macro_f1"]) == {"toxicity", "emotion", "sentiment", "reporting"}
    return {name: pd.read_parquet(path) for name, path in paths.items()}


def test_every_fine_tuning_starts_from_the_checkpoint(folder, runs):
    """Before the first step: the pre-training's own last loss, CKA 1, distance 0; later the encoder has moved."""
    for frame in runs.values():
        assert frame["mlm_loss"].iloc[0] == learning_curve(folder, JOB)["mlm_loss"].iloc[-1]
        assert (frame["cka"].iloc[0], frame["distance"].iloc[0]) == (1, 0)
        assert 0 < frame["cka"].iloc[-1] < 1
        assert frame["distance"].iloc[-1] > 0
        assert frame.loc[frame["mlm_loss"].notna(), "step"].tolist() == [0, START, STOP, STOP + 1, STEPS]


def test_until_the_return_the_policies_have_one_encoder(runs):
    """Masked, frozen and unmasked agree bit for bit up to the return, and part there; the control parts earlier."""
    for other in ("frozen", "unmasked"):
        same = runs["masked"]["step"] <= STOP
        for column in ("mlm_loss", "cka", "distance"):
            pd.testing.assert_series_equal(runs["masked"][column][same], runs[other][column][same])
    at = {name: frame.set_index("step")["mlm_loss"] for name, frame in runs.items()}
    assert at["unmasked"][STEPS] != at["masked"][STEPS]
    assert at["control"][START] == at["masked"][START]
    assert at["control"][STOP] != at["masked"][STOP]


def test_the_weight_spikes_in_the_unmasked_arm_alone(runs):
    """At the first step back the unmasked weight stands far above the others', and the gradient with it.

    Lambda is 2 (four steps of 0.5); Adam's memory of the two steps before holds back about a half of it, and exp(1) is
    what is left at least.
    """
    back = {name: frame.set_index("step").loc[STOP] for name, frame in runs.items()}
    for other in ("control", "masked", "frozen"):
        assert back["unmasked"]["weight"] > math.e * back[other]["weight"]
        assert back["unmasked"]["gradient_norm"] > 2 * back[other]["gradient_norm"]


def test_the_probe_changes_nothing_in_what_is_trained(folder, runs):
    """The encoder without a probe ends at the distance that the probed one ended at."""
    one = job(folder, "unmasked")
    checkpoint = load_checkpoint(str(folder), LENGTH)
    before = torch.nn.utils.parameters_to_vector(checkpoint.encoder.parameters()).detach().clone()
    model = AuraModel(checkpoint.encoder, tuple(TASKS.values()), attention_dropout=0.0, seed=0)
    train(model, job_batches(one, prepare(one)), one.settings)
    after = torch.nn.utils.parameters_to_vector(model.encoder.parameters()).detach()
    assert float((after - before).norm() / before.norm()) == runs["unmasked"]["distance"].iloc[-1]


def test_the_update_is_adams(runs):
    """The first update of AdamW from a cold start moves no parameter by more than a rate, and most of them by one."""
    rate = 5e-4
    first = runs["control"]["update"].iloc[0]
    assert 0.1 * rate < first <= 1.01 * rate


def made(effects, forgotten=0.5, spike=0.1):
    """Three seeds, 0.1 nats apart, at the four moments; unmasked adds ``effects`` of what seed 0 forgets."""
    p = PretrainingParameters()
    rows = []
    for seed in range(3):
        for place, (moment, step) in enumerate(p.moments.items()):
            lost = 0 if place == 0 else forgotten
            effect = effects.get(moment, 0)
            for policy, more in (("control", 0.0), ("masked", effect - spike), ("unmasked", effect)):
                cka = 1 if place == 0 else 1 - 0.1 * (1 + more)
                found = {"mlm_loss": 4 + 0.1 * seed * (place > 0) + lost * (1 + more), "cka": cka, "distance": 0.0}
                rows.append({"regime": "clipped", "policy": policy, "seed": seed, "step": step, **found})
    return forgetting.effects(pd.DataFrame(rows), p)


def test_effects_are_shares_of_what_the_control_forgets():
    """Made losses give back the effect, the drift and the spike that they were made with, over the mean forgotten."""
    found = made({"after the return": 0.4, "at the end": 0.2})
    end = found[(found["policy"] == "unmasked") & (found["moment"] == "at the end")]
    np.testing.assert_allclose(end["forgotten"], 0.6)
    np.testing.assert_allclose(end["effect"], 0.2 * 0.5 / 0.6)
    np.testing.assert_allclose(end["drift"], 0.2)
    np.testing.assert_allclose(end["spike"], 0.1 * 0.5 / 0.6)
    table = forgetting.effect_table(found).set_index(["policy", "moment"])
    assert table.at[("unmasked", "after the return"), "effect"] == pytest.approx(0.4 * 0.5 / 0.6)


@pytest.mark.parametrize(
    ("effects", "verdict"),
    [
        ({"after the return": 0.3, "at the end": 0.1}, Verdict.REFUTED),
        ({"after the return": 2.3, "at the end": 2.2}, Verdict.CONFIRMED),
        ({"after the return": 2.3, "at the end": 0.2}, Verdict.WITHIN_LIMITS),
        ({"after the return": 0.1, "at the end": 2.2}, Verdict.CONFIRMED),
    ],
)
def test_the_rule_goes_by_the_worse_moment(effects, verdict):
    """Ruin soon after the return that the end does not show is a ruin within limits; one at the end is a ruin."""
    measurement = forgetting.measure(made(effects), "clipped")
    assert measurement.measured == pytest.approx(max(effects.values()) * 0.5 / 0.6)
    assert measurement.limits["the same against the mask, on the same batches"] == pytest.approx(0.1 * 0.5 / 0.6)
    assert CLAIMS["P8"].rule.judge(measurement) == verdict


def test_a_control_that_forgot_nothing_decides_nothing():
    """There is no share of nothing: the claim stays open, whatever the ratio."""
    measurement = forgetting.measure(made({"at the end": 0.1}, forgotten=-0.2), "clipped")
    assert CLAIMS["P8"].rule.judge(measurement) == Verdict.INCONCLUSIVE


def test_all_arms_of_a_seed_share_their_batches_and_the_control_loses_none():
    """Same seed, rates and rows in all arms of a regime; an empty stretch in the control, a control for every seed."""
    p = PretrainingParameters(every_policy=True)
    work = jobs(p)
    assert len(work) == (4 + 3 + 3 + 3) * p.seed_count
    for one in work:
        absent = one.presence.stop - one.presence.start
        assert absent == (0 if one.arm == "control" else p.absent_steps)
        assert (one.settings.clip_norm is None) == (one.regime in ("sgd", "unclipped"))
        assert (one.settings.lr_sigma < 1e-3) == (one.regime == "own_rate")
        assert {*p.moments.values()} <= {*one.probes}
    few = [one.arm for one in jobs(PretrainingParameters())]
    assert few.count("frozen") == 1
    assert few.count("control") == 4 * p.seed_count


def test_the_bound_is_what_pytorchs_adam_does():
    """A gradient of 0 until the return and of 1 from then on: Adam's steps in rates are the bound, to 1e-9."""
    p = PretrainingParameters(seed_count=1)
    steps = np.arange(p.steps)
    frame = pd.DataFrame({"step": steps, "weight": 1.0, "gradient_norm": 1.0, "update": 1e-3, "seed": 0})
    arms = [frame.assign(regime=r, policy=c) for r in REGIMES for c in ("control", "unmasked")]
    table = spike.first_steps(pd.concat(arms), p)
    chosen = table[(table["regime"] == "unclipped") & (table["policy"] == "control")].set_index("since")
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
