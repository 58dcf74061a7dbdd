"""The pre-training, its checkpoint, and what the fine-tunings find of it."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from pydantic import ValidationError

from aura_study.claims import CLAIMS, Verdict
from aura_study.claims.model import Held
from aura_study.claims.notebooks.pretraining import RUINED, UNHARMED
from aura_study.data.encoders import encoder_files
from aura_study.experiments.pretraining import forgetting, harm, spike
from aura_study.experiments.pretraining.fine_tuning import ALONE, ForgettingJob
from aura_study.experiments.pretraining.jobs import checkpoint_curve, jobs, probed_jobs, warm_up_jobs
from aura_study.experiments.pretraining.language_model import (
    PretrainingJob,
    checkpoint_folder,
    checkpoint_test,
    learning_curve,
    load_checkpoint,
    pretrain,
)
from aura_study.experiments.pretraining.parameters import CYCLES, DOSES, PretrainingParameters
from aura_study.runs.jobs import job_metadata
from aura_study.training.fork import prefix_of, train_forked
from aura_study.training.loop import TrainingSettings, build_schedule
from aura_study.training.runs import Presence

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


ARMS = {"masked": {}, "unmasked": {"policy": "unmasked"}, "alone": {"shift": -ALONE}}


def job(folder, arm):
    """One arm of a fine-tuning of the checkpoint in ``folder``."""
    settings = {"steps": STEPS, "accumulation": 1, "schedule": "constant", "seed": 0, "lr_sigma": 0.5}
    rates = {"lr_encoder": 5e-4, "lr_heads": 5e-4, "policy": ARMS[arm].get("policy", "masked")}
    return ForgettingJob(
        name=f"forgetting-{arm}",
        regime="clipped",
        arm=arm,
        encoder=str(folder),
        rows=64,
        dev_rows=16,
        max_length=LENGTH,
        pretraining=JOB,
        looks=(STOP, STOP + 1),
        presence=Presence(schedule="stretch", start=START, stop=STOP),
        settings=TrainingSettings.model_validate({**settings, **rates}),
        shift=ARMS[arm].get("shift", 0.0),
    )


@pytest.fixture(scope="module")
def runs(folder, tmp_path_factory):
    """The tables of the arms."""
    files = train_forked([job(folder, arm) for arm in ARMS], tmp_path_factory.mktemp("runs"), workers=1)
    for path in files:
        assert set(job_metadata(path)["macro_f1"]) == {"toxicity", "emotion", "sentiment", "reporting"}
    return {arm: pd.read_parquet(path) for arm, path in zip(ARMS, files, strict=True)}


def test_the_pretraining_is_tested_when_asked_and_at_both_ends(runs):
    """Where losses and CKAs stand, and nowhere else, in every arm; the steps before the fork are there too."""
    for table in runs.values():
        assert table["step"].tolist() == list(range(STEPS + 1))
        for column in ("mlm_loss", "cka", "distance"):
            assert table.loc[table[column].notna(), "step"].tolist() == [0, STOP, STOP + 1, STEPS]


def test_the_arms_part_at_the_return(runs):
    """One model up to the return, and three from then on."""
    losses = {arm: table.set_index("step")["mlm_loss"] for arm, table in runs.items()}
    for other in ("unmasked", "alone"):
        pd.testing.assert_series_equal(losses["masked"][:STOP], losses[other][:STOP])
        assert losses["masked"][STOP + 1] != losses[other][STOP + 1]
    assert losses["unmasked"][STEPS] != losses["alone"][STEPS]


def test_arms_of_any_length_and_number_of_returns_share_a_prefix():
    """Of the full run, one of each seed and way to optimise; a second absence begins as long after the return."""
    arms = [one for one in jobs(FULL) if one.settings.seed == 0 and one.regime in ("clipped", "cycles")]
    assert len({one.settings.steps for one in arms}) == 3
    assert len({prefix_of(one).name for one in arms}) == 1
    several = next(one for one in arms if one.regime == "cycles")
    assert several.presence.every == FULL.absent_steps + FULL.after
    assert several.settings.steps == FULL.stop + FULL.after + (CYCLES - 1) * several.presence.every


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


FULL = PretrainingParameters(**PretrainingParameters.profiles["full"])
CURVE = pd.DataFrame([{"mlm_loss": 4.0, "unigram": 6.0, "bigram": 5.0}])
"""Two nats learned, one of them beyond the bigram."""
START_SCORES = pd.DataFrame({"start": ["pre-trained", "random 0", "random 1"], "probe": [0.8, 0.7, 0.5]}).assign(
    retrieval=[0.3, 0.2, 0.0]
)
"""A fifth of area and of rank that the pre-training has brought."""


def made(spike, cost=0.5, alone=0.4, regime="clipped", p=FULL):
    """Language-model losses of eight seeds, 0.1 nats apart, at the moments; ``spike`` in nats, the same in all."""
    rows = []
    for seed in range(8):
        for step in p.moments.values():
            for policy, more in (("masked", 0.0), ("unmasked", spike), ("alone", alone)):
                lost = 0.0 if step == 0 else cost + 0.1 * (seed - 3.5) + (more if step > p.stop else 0.0)
                found = {
                    "mlm_loss": 4 + lost,
                    "cka": 1 - lost / 10,
                    "rates": 0.0 if policy != "unmasked" else p.rates(regime),
                }
                rows.append({"regime": regime, "policy": policy, "seed": seed, "step": step, **found})
    return pd.DataFrame(rows)


def costs(*arguments, **named):
    """`forgetting.costs` of `made`."""
    return forgetting.costs(made(*arguments, **named), FULL)


def taken(*arguments, **named):
    """`harm.harms` of `made`."""
    return harm.harms(harm.lost(made(*arguments, **named), harm.language_scale(CURVE)))


def test_the_spike_is_what_an_arm_loses_beyond_the_mask():
    """Made losses give back cost, drift and spike, at the end and before the return, in both units."""
    table = forgetting.cost_table(costs(0.2), CURVE).set_index(["moment", "policy"])
    end = table.loc[(harm.END, "unmasked")]
    assert end[["cost", "drift", "spike", "of what was learned"]].tolist() == pytest.approx([0.7, 0.07, 0.4, 0.1])
    assert end["low"] < 0.4 < end["high"]
    assert table.at[("before the return", "unmasked"), "spike"] == pytest.approx(0)
    assert math.isnan(table.at[(harm.END, "masked"), "spike"])


@pytest.mark.parametrize(("spike", "verdict"), [(1.1, Verdict.CONFIRMED), (0.9, Verdict.REFUTED)])
def test_a_ruin_takes_half_of_what_was_learned(spike, verdict):
    """Of the two nats below the unigram, more or less than one."""
    measurement = harm.measure_harm(taken(spike), FULL, "mlm_loss", "clipped", harm.language_worth(CURVE))
    assert measurement.measured == pytest.approx(spike / 2)
    assert measurement.limits["what the masked fine-tuning takes"] == pytest.approx(0.25)
    assert CLAIMS["P8"].rule.judge(measurement) == verdict


def test_healing_is_judged_where_its_sentence_says():
    """P8h: 300 steps after the return, or not at all."""
    worth = harm.language_worth(CURVE)
    healed = harm.measure_harm(taken(0.06), FULL, "mlm_loss", "clipped", worth, harm.LATER)
    assert CLAIMS["P8h"].rule.judge(healed) == Verdict.CONFIRMED
    quick = PretrainingParameters()
    soon = harm.harms(harm.lost(made(0.06, p=quick), harm.language_scale(CURVE)))
    unwatched = harm.measure_harm(soon, quick, "mlm_loss", "clipped", worth, harm.LATER)
    assert CLAIMS["P8h"].rule.judge(unwatched) == Verdict.VOID
    assert f"{quick.healed} steps" in unwatched.void


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [
        (RUINED, 0.6, "ruined"),
        (-UNHARMED, UNHARMED, "unharmed"),
        (0.06, 0.49, "harmed"),
        (0.0, 0.06, "open"),
        (0.4, 0.6, "open"),
        (-0.2, -0.1, "open"),
    ],
)
def test_the_words_are_the_bounds(low, high, word):
    """Both bounds belong to their word; a gain has none."""
    assert harm._word(low, high) == word


def test_other_doses_and_returns_stand_beside_and_do_not_enter():
    """Arms with another dose or several returns are rows of the table and change no claim's measurement."""
    runs = made(0.2)
    unmasked = runs[runs["policy"] == "unmasked"]
    dose = unmasked.assign(rates=DOSES[-1], mlm_loss=unmasked["mlm_loss"] + 1)
    turn = FULL.after + FULL.absent_steps
    cycles = pd.concat(
        runs[runs["step"] == FULL.steps].assign(regime="cycles", step=FULL.steps + turn * n) for n in range(CYCLES)
    )
    everything = pd.concat([runs, dose, cycles], ignore_index=True)
    table = harm.harm_table(harm.harms(harm.lost(everything, harm.language_scale(CURVE))), FULL)
    found = table.set_index(["regime", "policy", "rates", "moment"])["harm"]
    assert found[("clipped", "unmasked", FULL.rates("clipped"), harm.END)] == pytest.approx(0.1)
    assert found[("clipped", "unmasked", DOSES[-1], harm.END)] == pytest.approx(0.6)
    assert [moment for regime, policy, _, moment in found.index if (regime, policy) == ("cycles", "unmasked")] == [
        "1 return",
        "2 returns",
        "3 returns",
    ]
    pd.testing.assert_frame_equal(forgetting.costs(everything, FULL), forgetting.costs(runs, FULL))


def probed(probe, retrieval, regime="clipped", rates=3.0):
    """Scores of a probed encoder, five seeds alike: the masked arm loses nothing, the unmasked what is given."""
    rows = [
        {"regime": regime, "policy": policy, "rates": rates * spiked, "seed": seed, "step": step}
        | {"probe": 0.8 - spiked * probe, "retrieval": 0.3 - spiked * retrieval}
        for policy, spiked in (("masked", 0), ("unmasked", 1))
        for seed in range(5)
        for step in (FULL.steps, FULL.stop + FULL.healed)
    ]
    return harm.harms(harm.lost(pd.DataFrame(rows), harm.probed_scale(START_SCORES)))


@pytest.mark.parametrize(
    ("key", "measure", "more"),
    [
        ("Q1", "probe", {}),
        ("Q1a", "retrieval", {}),
        ("Q1b", "probe", {"rates": DOSES[0]}),
        ("Q1c", "probe", {"regime": "sgd"}),
        ("Q1d", "probe", {"moment": harm.LATER}),
    ],
)
def test_the_probed_encoders_claims(key, measure, more):
    """In parts of what the pre-training had brought, a fifth: a loss of .12 is a ruin, one of .004 is no harm."""
    options = {"regime": "clipped", **more}
    own = {name: options[name] for name in ("regime", "rates") if name in options}
    for loss, part in ((0.12, 0.6), (0.004, 0.02)):
        table = probed(loss, loss, **own)
        found = harm.measure_harm(table, FULL, measure, worth=harm.probed_worth(START_SCORES), **options)
        assert found.measured == pytest.approx(part)
        claim_holds = (part > RUINED) == (key in ("Q1", "Q1a", "Q1c"))
        assert CLAIMS[key].rule.judge(found) == (Verdict.CONFIRMED if claim_holds else Verdict.REFUTED)


def test_what_the_mask_leaves_nothing_of_cannot_be_ruined():
    """The masked fine-tuning takes .12 of the .2 that the pre-training had brought: Q1a is void, and says why."""
    table = probed(0.0, 0.004)
    taken = table.assign(masked=0.6)
    found = harm.measure_harm(taken, FULL, "retrieval", "clipped", harm.probed_worth(START_SCORES))
    assert found.limits["part of it that the masked fine-tuning leaves"] == pytest.approx(0.4)
    row = CLAIMS["Q1a"].decide(found)
    assert (row.verdict, row.void) == (Verdict.VOID, CLAIMS["Q1a"].rule.room.text)


def test_a_pretraining_that_brought_nothing_cannot_be_ruined():
    """A language model that hardly beats counting, a probe that random weights serve as well: every claim is void."""
    poor = CURVE.assign(bigram=4.4)
    runs = pd.concat([made(1.5, regime=regime) for regime in FULL.regimes])
    table, spiked = forgetting.costs(runs, FULL), harm.harms(harm.lost(runs, harm.language_scale(poor)))
    worth = harm.language_worth(poor)
    ways = {"P8": "clipped", "P8a": "unclipped", "P8b": "sgd"}
    measured = {key: harm.measure_harm(spiked, FULL, "mlm_loss", way, worth) for key, way in ways.items()}
    measured |= {
        "P8c": forgetting.measure_own_rate(table, poor),
        "P8d": forgetting.measure_warm_up(made_warm_ups(0.1), poor),
        "P8e": forgetting.measure_added(table, poor, "clipped"),
        "P8f": forgetting.measure_added(table, poor, "unclipped"),
        "P8g": forgetting.measure_alone(table, poor),
        "P8h": harm.measure_harm(spiked, FULL, "mlm_loss", "clipped", worth, harm.LATER),
    }
    brought = dict.fromkeys(harm.probed_worth(START_SCORES), 0.04)
    for key, measure in {"Q1": "probe", "Q1a": "retrieval", "Q1b": "probe", "Q1c": "probe", "Q1d": "probe"}.items():
        measured[key] = harm.measure_harm(probed(0.12, 0.12), FULL, measure, "clipped", brought)
    assert set(measured) == {key for key, claim in CLAIMS.items() if claim.notebook == "13_pretraining"}
    for key, measurement in measured.items():
        assert CLAIMS[key].decide(measurement).verdict == Verdict.VOID
        assert CLAIMS[key].decide(harm.not_asked()).verdict == Verdict.VOID


@pytest.mark.parametrize(
    ("spike", "verdict", "held"),
    [(0.3, Verdict.CONFIRMED, Held.FAILED), (0.02, Verdict.REFUTED, Held.HELD)],
)
def test_the_first_prediction_is_scored_by_a_rule_of_its_own(spike, verdict, held):
    """P8e: a spike that adds a quarter or more is one that the prediction did not see."""
    row = CLAIMS["P8e"].decide(forgetting.measure_added(costs(spike), CURVE, "clipped"))
    assert (row.verdict, row.prediction_held) == (verdict, held)


@pytest.mark.parametrize(
    ("spike", "verdict"), [(0.004, Verdict.CONFIRMED), (-0.2, Verdict.REFUTED), (0.2, Verdict.REFUTED)]
)
def test_at_auras_rate_the_two_must_cost_the_same(spike, verdict):
    """P8c is an equivalence: neither more nor less."""
    measurement = forgetting.measure_own_rate(costs(spike, regime="own_rate"), CURVE)
    assert measurement.measured == pytest.approx(1 + spike / 0.5)
    assert CLAIMS["P8c"].rule.judge(measurement) == verdict


def test_the_harm_is_compared_with_that_of_the_task_alone():
    """P8g: the two arms beyond the mask; without a harm of the task alone there is nothing to compare."""
    measurement = forgetting.measure_alone(costs(0.3, alone=0.4), CURVE)
    assert measurement.measured == pytest.approx(0.75)
    assert measurement.limits["the same ten steps after the return"] == pytest.approx(0.75)
    assert CLAIMS["P8g"].rule.judge(measurement) == Verdict.CONFIRMED
    assert CLAIMS["P8g"].rule.judge(forgetting.measure_alone(costs(0.3, alone=-0.1), CURVE)) == Verdict.VOID


def test_a_fine_tuning_that_forgets_nothing_decides_nothing():
    """There is no share of nothing: seeds that gain as often as they lose leave it open, a gain makes it void."""
    for cost, verdict in ((0.01, Verdict.INCONCLUSIVE), (-0.5, Verdict.VOID)):
        measurement = forgetting.measure_added(costs(0.1, cost=cost), CURVE, "clipped")
        assert CLAIMS["P8e"].rule.judge(measurement) == verdict


def made_warm_ups(saved):
    """`forgetting.warm_ups` of four seeds: 1 nat is lost without a warm-up, and ``saved`` of it with OneCycle's."""
    costs = {0.0: 1.0, 0.1: 1 - saved / 2, 0.3: 1 - saved}
    rows = [
        {"regime": f"{share:g}", "policy": "masked", "seed": seed, "moment": harm.END, "cost": cost, "drift": 0.1}
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
    """Clipping, optimiser and the rate of sigma by regime; arms of a seed share their prefix, and each has its mask."""
    work = jobs(FULL)
    seeds = {"clipped": 8, "cycles": 5, "unclipped": 5, "sgd": 5, "own_rate": 5}
    for one in work:
        assert (one.presence.start, one.presence.stop) == (FULL.before, FULL.stop)
        assert (one.settings.clip_norm is None) == (one.regime in ("sgd", "unclipped"))
        assert (one.settings.lr_sigma < 1e-3) == (one.regime == "own_rate")
        judged = {FULL.stop, FULL.steps} if one.regime == "cycles" else set(FULL.moments.values())
        assert {step for step in judged if step <= one.settings.steps} <= {*one.looks, one.settings.steps}
    for regime, count in seeds.items():
        arms = [one for one in work if one.regime == regime]
        assert len({one.settings.seed for one in arms}) == count
        assert len({prefix_of(one).name for one in arms}) == count
        assert {"masked", "unmasked"} <= {one.arm for one in arms}
    shared = {prefix_of(one).name for one in work if one.regime in ("clipped", "cycles")}
    assert len(shared) == 8


def test_the_doses_are_the_sums_of_sigmas_rates():
    """Each arm's own rate through the absence, times its steps; the notebook's own is that of its rate."""
    for one in [*jobs(FULL), *probed_jobs(FULL)]:
        rate = one.settings.lr_sigma if one.absence_rate is None else one.absence_rate
        assert one.rates == pytest.approx(rate * FULL.absent_steps if one.arm == "unmasked" else 0.0)
    tried = {one.rates for one in jobs(FULL) if one.regime == "clipped"}
    assert tried == {0.0, *DOSES, FULL.rates("clipped")}


def test_a_small_run_leaves_out_what_it_cannot_decide():
    """Two ways to optimise, no other doses, no several returns, no warm-ups, nothing probed."""
    p = PretrainingParameters()
    assert {one.regime for one in jobs(p)} == {"clipped", "sgd"}
    assert {one.rates for one in jobs(p)} == {0.0, p.rates("clipped")}
    assert warm_up_jobs(p) == probed_jobs(p) == []


def test_parameters_that_cannot_be_are_refused():
    """Healing before the harm, a corpus that is held out and returns, an encoder without a name."""
    for changes, message in (
        ({"after": 50, "healed": 40}, "healed=40 and after=50"),
        ({"absent": "emotion", "probed": "minilm"}, "'emotion' is held out"),
        ({"probed": " "}, "empty name"),
    ):
        with pytest.raises(ValidationError, match=message):
            PretrainingParameters(**changes)


def test_warm_ups_spend_the_same_and_differ_in_its_order():
    """The rates of PyTorch's own schedule: one peak, sums within half a rate and those of the constant rate."""
    p = PretrainingParameters(few_seeds=1)
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
    p = PretrainingParameters(seed_count=1, few_seeds=1)
    steps = np.arange(p.steps)
    frame = pd.DataFrame({"step": steps, "weight": 1.0, "gradient_norm": 1.0, "update": 1e-3, "seed": 0})
    arms = [frame.assign(regime=r, policy=c, rates=p.rates(r)) for r in p.regimes for c in ("masked", "unmasked")]
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
