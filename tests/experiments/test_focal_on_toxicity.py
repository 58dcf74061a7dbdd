"""Focal loss on toxicity: which comments, what a look sees and leaves alone, conclusions from crafted tables."""

import numpy as np
import pandas as pd
import pytest
import torch
from pydantic import ValidationError

from aura_study.claims import CLAIMS
from aura_study.data import schedules
from aura_study.data.batches import Batches
from aura_study.experiments.focal_on_toxicity import effort as focal_effort
from aura_study.experiments.focal_on_toxicity import figures
from aura_study.experiments.focal_on_toxicity import jobs as experiment
from aura_study.experiments.focal_on_toxicity import noise as focal_noise
from aura_study.experiments.focal_on_toxicity import trainings as toxicity_runs
from aura_study.experiments.focal_on_toxicity.parameters import AS_THEY_ARE, LONG, FocalOnToxicityParameters
from aura_study.experiments.focal_on_toxicity.trainings import (
    TASK,
    EncoderPulls,
    Watcher,
    training_comments,
)
from aura_study.losses import focal_loss
from aura_study.runs.jobs import job_metadata
from aura_study.theory.focal import hardest
from aura_study.training.loop import train
from aura_study.training.runs import build_model, prepare, run_job

SMALL = {"steps": 8, "rows": 300, "dev_rows": 40, "max_length": 32, "probe_rows": 100, "encoder_rows": 20}
P = FocalOnToxicityParameters(**SMALL, noise_comments=60, noise_steps=8)


def job(gamma=2.0, seed=0, **changes):
    """A small training on toxicity."""
    return P.job(f"small-{gamma}-{seed}", seed, gamma, **{"encoder_rows": 20, **changes})


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    """One small run with focal loss: its looks and what else it kept."""
    path = run_job(job(), tmp_path_factory.mktemp("record"))
    return pd.read_parquet(path), job_metadata(path)


def test_wrong_labels_are_nested_and_as_many_as_asked_for():
    """Rows flipped at 10 % are among those at 40 %; all other labels, and all comments, are the same."""
    clean, few, many = (training_comments(job(noise=rate, comments=200)) for rate in (0.0, 0.1, 0.4))
    assert [int(which.flipped.sum()) for which in (clean, few, many)] == [0, 20, 80]
    assert (few.flipped <= many.flipped).all()
    for which in (few, many):
        np.testing.assert_array_equal(which.split.ids, clean.split.ids)
        np.testing.assert_array_equal(which.split.labels != clean.split.labels, which.flipped)


def test_the_seed_decides_comments_and_flips():
    """Equal seeds give equal sets, other seeds others; the corpus itself is not written to."""
    before = prepare(job()).train[TASK].labels.copy()
    first, again, other = (training_comments(job(noise=0.4, comments=100, seed=seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.split.labels, again.split.labels)
    assert not np.array_equal(first.split.ids, other.split.ids)
    assert not np.array_equal(first.flipped, other.flipped)
    np.testing.assert_array_equal(prepare(job()).train[TASK].labels, before)


def test_a_rarer_class_is_as_rare_as_asked_for():
    """5 % toxic, all of the other class kept where no count is given."""
    found = training_comments(job(toxic_share=0.05)).split.labels
    whole = prepare(job()).train[TASK].labels
    assert (found == 0).sum() == (whole == 0).sum()
    assert found.mean() == pytest.approx(0.05, abs=0.003)


@pytest.mark.parametrize("changes", [{"comments": 1000}, {"comments": 280, "toxic_share": 0.05}])
def test_more_comments_than_there_are_is_an_error(changes):
    """The error names both counts."""
    with pytest.raises(ValueError, match=rf"{changes['comments']} comments .*but there are \d+"):
        training_comments(job(**changes))


def test_looking_changes_nothing(record):
    """Trained with and without looks, the weights are equal bit for bit."""
    work = job()
    comments = training_comments(work)
    schedule = schedules.mixed({TASK: len(comments.split)}, work.batch_size, 0)
    states = []
    for looks in (True, False):
        model = build_model(work, prepare(work))
        watcher = Watcher(work, comments, prepare(work).dev[TASK], build_model(work, prepare(work))) if looks else None
        train(model, Batches({TASK: comments.split}, schedule).iterate(), work.settings, observer=watcher)
        states.append(model.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.parametrize("gamma", [0.0, 2.0])
def test_encoder_norms_are_those_of_one_backward_pass_per_comment(gamma):
    """The batched norms equal the slow twin: a comment at a time through autograd, over all encoder parameters."""
    work = job(gamma=gamma, comments=40)
    comments = training_comments(work)
    fast, slow = (build_model(work, prepare(work)) for _ in range(2))
    found = EncoderPulls(fast, work.settings).norms(comments.split)
    slow.eval()
    batches = Batches({TASK: comments.split}, schedules.mixed({TASK: 40}, 8, 0))
    expected = []
    for row in range(40):
        batch = batches.collate({TASK: np.array([row])})
        loss = focal_loss(slow(batch)[TASK], batch.labels[TASK], gamma)
        gradients = torch.autograd.grad(loss, list(slow.encoder.parameters()))
        expected.append(float(torch.stack([gradient.norm() for gradient in gradients]).norm()))
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_a_look_holds_each_comment_once_and_its_sample_stands_for_all(record):
    """Each look has every watched comment; the encoder's sample holds all hard ones and stands for all comments."""
    looks, about = record
    assert set(looks.loc[looks["dropout"], "progress"]) == set(toxicity_runs.LONG_LOOKS)
    for (progress, dropout), look in looks.groupby(["progress", "dropout"]):
        assert sorted(look["row"]) == sorted(set(look["row"]))
        assert len(look) == 100
        taken = look["encoder"].notna()
        assert taken.any() == (progress in toxicity_runs.LONG_LOOKS and not dropout)
        if taken.any():
            assert taken[hardest(look["margin"])].all()
            assert look["stands_for"].sum() == pytest.approx(len(look))
    assert [score["progress"] for score in about["dev"]] == list(toxicity_runs.LONG_LOOKS)


def test_measured_shares_are_the_closed_form_and_start_near_their_rows(record):
    """Loss and logit shares equal the sums over p_t to 1e-9; untrained, the hardest 5 % carry less than 10 %."""
    looks = record[0].assign(condition=AS_THEY_ARE, gamma=2.0, alpha=0.5, seed=0)
    table = focal_effort.shares(looks)
    known = table.dropna(subset="predicted")
    np.testing.assert_allclose(known["share"], known["predicted"], rtol=1e-9)
    start = table[(table["progress"] == 0) & (table["group"] == focal_effort.HARD) & ~table["dropout"]]
    assert start["share"].between(0.05, 0.1).all()
    assert set(start["measure"]) == {"loss", "logits", "encoder"}


def test_without_clipping_alpha_of_one_half_is_no_alpha(tmp_path):
    """AdamW does not see a loss's scale: alpha = 1/2, a loss half as large, trains the same margins to 1 %."""
    plain, half = (pd.read_parquet(run_job(P.job(f"alpha-{alpha}", 0, 2.0, alpha), tmp_path)) for alpha in (None, 0.5))
    last = plain["progress"] == 1
    np.testing.assert_allclose(plain.loc[last, "margin"], half.loc[last, "margin"], rtol=0.01, atol=0.01)
    np.testing.assert_allclose(plain["loss"][:100], 2 * half["loss"][:100], rtol=1e-6)


def crafted_shares(**by_gamma):
    """A table of shares at the end and middle, constant but for a wiggle over 3 seeds."""
    rows = []
    for gamma, value in by_gamma.items():
        for seed in range(3):
            for group in (focal_effort.HARD, focal_effort.TOXIC):
                for measure in focal_effort.MEASURES:
                    about = {"group": group, "measure": measure, "seed": seed, "dropout": False, "alpha": 0.5}
                    share = {"share": value + 0.001 * seed, "predicted": value, "right": 0.9, "gamma": float(gamma[1:])}
                    sets = (AS_THEY_ARE, LONG)
                    rows += [{**about, **share, "condition": s, "progress": at} for at in (0.5, 1.0) for s in sets]
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("focal", "verdicts"),
    [(0.3, ["refuted", "confirmed"]), (0.95, ["confirmed", "confirmed"]), (0.21, ["refuted"] * 2)],
)
def test_f2_rests_on_the_focal_share_and_f2b_on_the_gain(focal, verdicts):
    """With cross-entropy at 0.2: a share below 0.9 refutes F2, a gain below 0.05 refutes F2b."""
    table = crafted_shares(g0=0.2, g2=focal)
    found = [
        CLAIMS["F2"].decide(focal_effort.measure_hard_share(table, P)).verdict,
        CLAIMS["F2b"].decide(focal_effort.measure_gain(table, P)).verdict,
    ]
    assert found == verdicts


def test_f2_is_limited_where_a_gradient_or_the_middle_falls_short():
    """0.95 of the loss at the end but 0.5 of the encoder's gradient half-way: confirmed within limits."""
    table = crafted_shares(g0=0.2, g2=0.95)
    table.loc[(table["measure"] == "encoder") & (table["progress"] == 0.5), "share"] = 0.5
    assert CLAIMS["F2"].decide(focal_effort.measure_hard_share(table, P)).verdict == "confirmed within limits"


def crafted_looks(seeds=(0, 1, 2)):
    """Half-trained cross-entropy models: random margins, one comment in three toxic and somewhat harder."""
    frames = []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        label = (rng.random(400) < 0.33).astype(int)
        margin = rng.normal(2.0 - label, 1.5)
        frames.append(pd.DataFrame({"label": label, "margin": margin, "seed": seed}))
    about = {"condition": AS_THEY_ARE, "gamma": 0.0, "alpha": 0.5, "progress": 0.5, "dropout": False}
    return pd.concat(frames, ignore_index=True).assign(**about, stands_for=np.nan)


def test_f3_holds_for_a_given_model_and_its_limit_is_what_training_leaves():
    """Odds change exactly as predicted; trained shares that all come back to 1/2 leave nothing of it."""
    given = focal_effort.given_model(crafted_looks(), P)
    np.testing.assert_allclose(given["share"], given["predicted"], rtol=1e-9)
    cells = [{"group": focal_effort.TOXIC, "measure": "logits", "gamma": 2.0, "alpha": alpha} for alpha in P.alphas]
    for shares, verdict in (([0.5] * 3, "confirmed within limits"), ([0.25, 0.5, 0.75], "confirmed")):
        trained = pd.DataFrame(cells).assign(share=shares)
        measurement = focal_effort.measure_alpha(given, trained, P)
        assert measurement.ratio == pytest.approx(1, rel=1e-9)
        assert CLAIMS["F3"].decide(measurement).verdict == verdict


def test_f3a_is_what_gamma_adds_less_what_alpha_does():
    """The number is the twin's, computed from the table by hand."""
    given = focal_effort.given_model(crafted_looks(), P)
    found = focal_effort.measure_gamma(given, crafted_shares(g0=0.2, g2=0.3), P)
    hard = given[(given["group"] == focal_effort.HARD) & (given["measure"] == "loss")]
    by_seed = []
    for seed in range(3):
        cell = {(row.gamma, row.alpha): row.share for row in hard[hard["seed"] == seed].itertuples()}
        spread = [cell[2.0, alpha] for alpha in (0.25, 0.5, 0.75)]
        by_seed.append(cell[2.0, 0.5] - cell[0.0, 0.5] - (max(spread) - min(spread)))
    assert found.measured == pytest.approx(np.mean(by_seed))
    assert found.limits["gain from gamma in models trained with it"] == pytest.approx(0.1)


def crafted_memory(more_memorised, score_lost):
    """Runs in which focal loss memorises more and scores less, by these amounts at 20 % and 40 % noise."""
    rows = []
    for seed in range(3):
        for noise in (0.0, 0.1, 0.2, 0.4):
            for gamma in (0.0, 2.0):
                off = gamma / 2 * (noise >= 0.2)
                memorised = {"memorised": 0.5 + off * more_memorised if noise else np.nan}
                others = {"wrong labels' gradient": 0.5 + off * more_memorised, "macro_f1": 0.7 - off * score_lost}
                about = {"noise": noise, "gamma": gamma, "seed": seed, "epochs": 1.0, "right labels missed": 0.1}
                rows += [{**about, **memorised, **others, "progress": at} for at in (0.5, 1.0)]
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("more", "lost", "verdicts"),
    [
        (0.1, 0.05, ["confirmed", "confirmed", "confirmed"]),
        (0.1, 0.0, ["confirmed within limits", "refuted", "confirmed"]),
        (-0.1, -0.05, ["refuted", "refuted", "refuted"]),
    ],
)
def test_f4_looks_at_noisy_labels_in_the_right_direction(more, lost, verdicts):
    """More memorised confirms F4, a lower score confirms F4a; labels with less than 20 % noise do not count."""
    table = crafted_memory(more, lost)
    measurements = {
        "F4": focal_noise.measure_memory(table, P),
        "F4a": focal_noise.measure_harm(table, P),
        "F4b": focal_noise.measure_dwelling(table, P),
    }
    assert [CLAIMS[key].decide(found).verdict for key, found in measurements.items()] == verdicts
    assert measurements["F4a"].measured == pytest.approx(lost)


def test_memory_counts_predicted_wrong_labels(tmp_path):
    """Memorised is the share of flipped comments with p_t of their wrong label above one half; none without noise."""
    jobs = [P.job("noisy", 0, 0.0, noise=0.4, comments=60), P.job("clean", 0, 0.0, comments=60)]
    paths = [run_job(work, tmp_path) for work in jobs]
    table = focal_noise.memory(jobs, paths)
    last = pd.read_parquet(paths[0]).query("progress == 1 and flipped")
    noisy = table[(table["noise"] == 0.4) & (table["progress"] == 1)]
    assert noisy["memorised"].item() == (last["margin"] > 0).mean()
    assert len(last) == 24
    assert noisy["epochs"].item() == pytest.approx(8 * 32 / 60)
    assert table[table["noise"] == 0]["memorised"].isna().all()


def test_noise_rates_without_noise_are_refused():
    """The claims on noise need noise; the error shows what was given."""
    with pytest.raises(ValidationError, match=r"a rate of 0.2 or more, got \[0.0, 0.1\]"):
        FocalOnToxicityParameters(noise_rates=[0.0, 0.1])


def test_every_job_has_a_name_of_its_own_in_every_profile():
    """No training is asked for twice, and the compared losses are paired over seeds."""
    for profile in ("smoke", "quick", "full"):
        p = FocalOnToxicityParameters.for_profile(profile)
        jobs = [*experiment.effort_jobs(p), *experiment.alpha_jobs(p), *experiment.noise_jobs(p)]
        assert len({work.name for work in jobs}) == len(jobs)
        assert len(experiment.effort_jobs(p)) == 4 * p.seed_count


def test_the_figure_of_effort_says_what_each_column_shows():
    """Three titles above the first row, none below it, and a panel without measurements says so."""
    about = {"gamma": [0.0, 2.0], "progress": 1.0, "mean": 0.3, "low": 0.2, "high": 0.4, "predicted": 0.3}
    parts = (("plain", "hardest 5 %", "loss"), ("plain", "toxic", "logits"), ("few", "toxic", "logits"))
    bands = [pd.DataFrame({**about, "condition": c, "group": g, "measure": m}) for c, g, m in parts]
    panels = figures.effort(pd.concat(bands), (0.0, 2.0)).figure.axes
    assert [bool(axes.get_title(loc="left")) for axes in panels] == [True] * 3 + [False] * 3
    assert sum("not measured" in [text.get_text() for text in axes.texts] for axes in panels) == 3
