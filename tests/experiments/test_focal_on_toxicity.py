"""Focal loss on toxicity: which comments, when a training ends, what a look leaves alone, conclusions from tables."""

import itertools

import numpy as np
import pandas as pd
import pytest
import torch
from pydantic import ValidationError

from aura_study.claims import CLAIMS
from aura_study.claims.notebooks.focal_on_toxicity import LEARNED_TOXICITY
from aura_study.data import schedules
from aura_study.data.batches import Batches
from aura_study.experiments.focal_on_toxicity import adequacy, figures
from aura_study.experiments.focal_on_toxicity import effort as focal_effort
from aura_study.experiments.focal_on_toxicity import jobs as experiment
from aura_study.experiments.focal_on_toxicity import noise as focal_noise
from aura_study.experiments.focal_on_toxicity.parameters import AS_THEY_ARE, FocalOnToxicityParameters
from aura_study.experiments.focal_on_toxicity.trainings import (
    TASK,
    EncoderPulls,
    Watcher,
    held_out_comments,
    training_comments,
)
from aura_study.losses import focal_loss
from aura_study.runs.jobs import job_metadata
from aura_study.theory import focal as theory
from aura_study.theory.focal import hardest
from aura_study.training.loop import EndOfTraining, train
from aura_study.training.runs import build_model, prepare, run_job

SMALL = {"comments": 100, "epochs": 3, "rows": 300, "dev_rows": 40, "max_length": 32, "probe_rows": 80}
P = FocalOnToxicityParameters(**SMALL, encoder_rows=20, noise_comments=60, noise_epochs=4)


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
    found = training_comments(job(toxic_share=0.05).model_copy(update={"comments": None})).split.labels
    whole = prepare(job()).train[TASK].labels
    assert (found == 0).sum() == (whole == 0).sum()
    assert found.mean() == pytest.approx(0.05, abs=0.003)


@pytest.mark.parametrize("changes", [{"comments": 1000}, {"comments": 280, "toxic_share": 0.05}])
def test_more_comments_than_there_are_is_an_error(changes):
    """The error names both counts."""
    with pytest.raises(ValueError, match=rf"{changes['comments']} comments .*but there are \d+"):
        training_comments(job(**changes))


def test_held_out_comments_are_as_rare_and_keep_their_labels():
    """Thinned like the training comments; without a share all of them, in one fixed order of the seed."""
    whole = prepare(job()).dev[TASK].labels
    rare = held_out_comments(job(toxic_share=0.05, noise=0.4))
    assert rare.split.labels.sum() == 1
    assert (rare.split.labels == whole[rare.rows]).all()
    assert sorted(held_out_comments(job()).rows) == list(range(len(whole)))


def test_looking_changes_nothing():
    """Trained with and without looks, the weights are equal bit for bit."""
    work = job(patience=None)
    comments = training_comments(work)
    schedule = schedules.mixed({TASK: len(comments.split)}, work.batch_size, 0)
    states = []
    for looks in (True, False):
        model = build_model(work, prepare(work))
        watcher = work.probe(prepare(work), model) if looks else None
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
    """Each look has every watched comment; the encoder's sample at the end holds all hard ones and stands for all."""
    looks, about = record
    assert list(looks["step"].unique()) == list(range(0, looks["step"].max() + 1, 3))
    for (step, held_out), look in looks.groupby(["step", "held_out"]):
        assert len(set(look["row"])) == len(look) == (40 if held_out else 80)
        taken = look["encoder"].notna()
        assert taken.any() == (step == about["end"] and not held_out)
        if taken.any():
            assert taken[hardest(look["margin"])].all()
            assert look["stands_for"].sum() == pytest.approx(len(look))


def test_the_end_is_where_the_held_out_loss_is_smallest(record):
    """The step of the least mean focal loss of the held-out comments, of those after the first."""
    looks, about = record
    held = looks[looks["held_out"] & (looks["step"] > 0)]
    losses = held.groupby("step")["margin"].apply(lambda margin: theory.loss(margin, 2.0).mean())
    assert about["end"] == losses.idxmin()


def watcher_fed(losses, patience):
    """A watcher whose held-out losses are these, one a look; how many steps it was shown, and the watcher."""
    work = job(patience=patience).model_copy(update={"look_every": 1})
    watcher = Watcher(work, training_comments(work), held_out_comments(work).split, build_model(work, prepare(work)))
    model, margins, steps = build_model(work, prepare(work)), iter(losses), 0

    def logits(model):
        z = torch.logit(torch.exp(torch.tensor(-next(margins), dtype=torch.float64)))
        labels = torch.from_numpy(watcher.held_out.split.labels)
        return torch.zeros(len(labels), 2, dtype=torch.float64).scatter(1, labels[:, None], float(z))

    watcher.held_out.logits = logits
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(watcher.trained, "logits", lambda model: torch.zeros(80, 2, dtype=torch.float64))
        for steps in range(len(losses)):
            try:
                watcher.updated(steps, model, None)
            except EndOfTraining:
                break
    return steps + 1, watcher.results(model)


@pytest.mark.parametrize(
    ("losses", "patience", "shown", "end", "seen"),
    [
        ([0.9, 0.5, 0.6, 0.4, 0.5, 0.6, 0.3], 2, 6, 4, True),
        ([0.9, 0.8, 0.7], 2, 3, 3, False),
        ([0.3, 0.5, 0.6, 0.7], None, 4, 1, True),
    ],
)
def test_a_training_ends_when_held_out_loss_has_stopped_falling(losses, patience, shown, end, seen):
    """It stops after `patience` looks without a smaller loss; one that is still falling at the cap says so."""
    steps, results = watcher_fed(losses, patience)
    assert (steps, results["end"], results["seen_to_end"]) == (shown, end, seen)


def test_an_observer_can_end_a_training():
    """Raised after step 2 of 9, the training ends there, and nothing is raised further."""
    work = job(patience=None)
    comments = training_comments(work)
    seen = []

    class Ends:
        def gradients(self, step, model, optimizer):
            pass

        def updated(self, step, model, optimizer):
            seen.append(step)
            if step == 1:
                raise EndOfTraining

    schedule = schedules.mixed({TASK: len(comments.split)}, work.batch_size, 0)
    batches = Batches({TASK: comments.split}, schedule).iterate()
    assert len(train(build_model(work, prepare(work)), batches, work.settings, observer=Ends()).lr_sigma) == 1
    assert seen == [0, 1]


def told(looks, **about):
    """Looks as `load_looks` would hand them on."""
    shared = {"condition": AS_THEY_ARE, "gamma": 2.0, "alpha": 0.5, "noise": 0.0, "seed": 0, "seen_to_end": True}
    frame = looks.assign(**{**shared, "end": int(looks["step"].max()), **about})
    return frame.assign(epochs=frame["step"] / 3)


def test_measured_shares_are_the_closed_form_and_start_near_their_rows(record):
    """Loss and logit shares equal the sums over p_t to 1e-9; untrained, the hardest 5 % carry less than 12 %."""
    looks, about = record
    table = focal_effort.shares(told(looks, end=about["end"]))
    for (step, held_out), look in looks.groupby(["step", "held_out"]):
        hard = hardest(look["margin"])
        for name, closed in (("loss", theory.loss), ("logits", theory.pull)):
            row = table[(table["step"] == step) & (table["held_out"] == held_out) & (table["measure"] == name)]
            found = row.loc[row["group"] == focal_effort.HARD, "share"].item()
            assert found == pytest.approx(theory.share_of(closed(look["margin"], 2.0), hard), rel=1e-9)
    start = table[(table["step"] == 0) & (table["group"] == focal_effort.HARD)]
    assert start["share"].between(0.05, 0.12).all()
    assert set(table.loc[table["step"] == about["end"], "measure"]) == {"loss", "logits", "encoder"}


def test_without_clipping_alpha_of_one_half_is_no_alpha(tmp_path):
    """AdamW does not see a loss's scale: alpha = 1/2, a loss half as large, trains the same margins to 1 %."""
    jobs = [P.job(f"alpha-{alpha}", 0, 2.0, alpha, patience=None) for alpha in (None, 0.5)]
    plain, half = (pd.read_parquet(run_job(work, tmp_path)) for work in jobs)
    np.testing.assert_allclose(plain["margin"], half["margin"], rtol=0.01, atol=0.01)


CONDITIONS = (AS_THEY_ARE, P.rare)
LEARNT = pd.DataFrame({"condition": [*CONDITIONS, "noise 0"], "margin": 0.0})


def crafted_shares(**by_gamma):
    """Shares at two looks of a training that ends at the second, constant but for a wiggle over 3 seeds."""
    rows = []
    groups, measures = (focal_effort.HARD, focal_effort.TOXIC), focal_effort.MEASURES
    for (gamma, value), seed, alpha in itertools.product(by_gamma.items(), range(3), P.alphas):
        for group, measure, held_out, condition, step in itertools.product(
            groups, measures, (False, True), CONDITIONS, (0, 4, 8)
        ):
            about = {"gamma": float(gamma[1:]), "seed": seed, "alpha": alpha, "group": group, "measure": measure}
            about |= {"held_out": held_out, "condition": condition, "step": step, "end": 8, "epochs": step / 4}
            rows.append({**about, "share": value + 0.001 * seed if step else 0.05})
    return pd.DataFrame(rows)


def crafted_ends(seen=True):
    """The endings of those trainings."""
    rows = itertools.product(CONDITIONS, (0.0, 2.0), range(3))
    table = pd.DataFrame(rows, columns=["condition", "gamma", "seed"])
    return table.assign(alpha=0.5, seen_to_end=seen, right=0.9)


def verdict(key, measurement):
    """What the claim's rule says."""
    return CLAIMS[key].decide(measurement).verdict


@pytest.mark.parametrize(
    ("focal", "verdicts"),
    [(0.3, ["refuted", "confirmed"]), (0.95, ["confirmed", "confirmed"]), (0.21, ["refuted"] * 2)],
)
@pytest.mark.parametrize(("condition", "share", "gain"), [(P.rare, "F2a", "F2b"), (AS_THEY_ARE, "F2", "F2d")])
def test_f2_rests_on_the_focal_share_and_its_gain_on_the_set_that_is_named(focal, verdicts, condition, share, gain):
    """With cross-entropy at 0.2: below 0.9 refutes the share, below 0.05 the gain; the other set does not count."""
    table = crafted_shares(g0=0.2, g2=focal)
    table.loc[table["condition"] != condition, "share"] = 0.5
    found = [
        verdict(share, focal_effort.measure_hard_share(table, crafted_ends(), LEARNT, P, condition)),
        verdict(gain, focal_effort.measure_gain(table, LEARNT, P, condition)),
    ]
    assert found == verdicts


@pytest.mark.parametrize("other", [{"measure": "encoder", "held_out": False}, {"measure": "loss", "held_out": True}])
def test_f2_is_limited_where_a_gradient_or_the_held_out_comments_fall_short(other):
    """0.95 of the loss but 0.5 of the encoder's gradient, or of the held-out loss: confirmed within limits."""
    table = crafted_shares(g0=0.2, g2=0.95)
    chosen = (table["measure"] == other["measure"]) & (table["held_out"] == other["held_out"]) & (table["step"] == 8)
    table.loc[chosen, "share"] = 0.5
    found = focal_effort.measure_hard_share(table, crafted_ends(), LEARNT, P, AS_THEY_ARE)
    assert verdict("F2", found) == "confirmed within limits"


@pytest.mark.parametrize(("gamma", "toxic"), [(0.0, 0.05), (2.0, 0.05), (2.0, 0.02), (0.0, 0.3)])
def test_the_share_from_rarity_alone_is_that_of_equal_margins(gamma, toxic):
    """The twin: 10,000 comments, each class at one margin, in which the hardest 5 % are looked for."""
    rest = theory.rest(toxic, gamma)
    margins = np.repeat([rest, -rest], [round(10_000 * toxic), round(10_000 * (1 - toxic))])
    slow = theory.share_of(theory.loss(margins, gamma), hardest(margins))
    assert focal_effort.from_rarity_alone(gamma, toxic) == pytest.approx(slow, rel=1e-9)


def test_a_model_that_has_not_learned_says_nothing():
    """Below TF-IDF by more than 0.05 of AUC every claim on trained models is void; the cap is told."""
    table, poor = crafted_shares(g0=0.2, g2=0.95), LEARNT.assign(margin=-0.06)
    found = focal_effort.measure_hard_share(table, crafted_ends(seen=False), poor, P, AS_THEY_ARE)
    assert found.limits["runs whose held-out loss was not seen to stop falling"] == 3
    assert verdict("F2", found) == "void"
    assert verdict("F2e", focal_effort.measure_minority(table, poor, P, AS_THEY_ARE)) == "void"
    assert verdict("F3b", focal_effort.measure_alpha_left(table, poor, P)) == "void"


@pytest.mark.parametrize(("focal", "told"), [(0.6, "confirmed"), (0.501, "refuted")])
def test_the_minority_is_asked_over_the_second_half_alone(focal, told):
    """Cross-entropy at 0.5; what happens before half of the training does not count."""
    table = crafted_shares(g0=0.5, g2=focal)
    table.loc[(table["step"] == 0) & (table["gamma"] == 2.0), "share"] = 0.99
    for key, condition in (("F2c", P.rare), ("F2e", AS_THEY_ARE)):
        assert verdict(key, focal_effort.measure_minority(table, LEARNT, P, condition)) == told


def test_rarity_is_counted_on_auras_data_alone():
    """19 of 20 not toxic confirms F2f, two of three refutes it; generated sentences say nothing."""
    aura = FocalOnToxicityParameters(data="aura")
    for toxic, told in ((500, "confirmed"), (3300, "refuted")):
        classes = pd.DataFrame({"comments": ["all"], "count": [10_000], "toxic": [toxic]})
        assert verdict("F2f", experiment.measure_rarity(classes, aura)) == told
        assert verdict("F2f", experiment.measure_rarity(classes, P)) == "void"
    whole = experiment.class_shares(P).set_index("comments")
    assert whole.loc["all", "count"] == whole.loc[["training", "development"], "count"].sum() > 5000


def crafted_looks(seeds=(0, 1, 2)):
    """Cross-entropy models at their end: random margins, one comment in three toxic and somewhat harder."""
    frames = []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        label = (rng.random(400) < 0.33).astype(int)
        margin = rng.normal(2.0 - label, 1.5)
        frames.append(pd.DataFrame({"label": label, "margin": margin, "seed": seed}))
    about = {"condition": AS_THEY_ARE, "gamma": 0.0, "alpha": 0.5, "step": 8, "end": 8, "held_out": False}
    return pd.concat(frames, ignore_index=True).assign(**about, stands_for=np.nan)


def with_alphas(shares):
    """Crafted shares in which the toxic comments' share under each alpha is as given."""
    table = crafted_shares(g0=0.2, g2=0.3)
    toxic = (table["group"] == focal_effort.TOXIC) & (table["step"] > 0)
    table.loc[toxic, "share"] = table["alpha"].map(dict(zip(P.alphas, shares, strict=True))) + 0.001 * table["seed"]
    return table


@pytest.mark.parametrize(
    ("shares", "given", "left"),
    [([0.5] * 3, "confirmed within limits", "refuted"), ([0.25, 0.5, 0.75], "confirmed", "confirmed")],
)
def test_f3_holds_for_a_given_model_and_f3b_is_what_training_leaves(shares, given, left):
    """Odds change exactly as predicted; trained shares that all come back to 1/2 leave nothing of it."""
    table = focal_effort.given_model(crafted_looks(), P)
    np.testing.assert_allclose(table["share"], table["predicted"], rtol=1e-9)
    measurement = focal_effort.measure_alpha(table, with_alphas(shares), P)
    assert measurement.ratio == pytest.approx(1, rel=1e-9)
    assert verdict("F3", measurement) == given
    assert verdict("F3b", focal_effort.measure_alpha_left(with_alphas(shares), LEARNT, P)) == left


def test_f3a_is_what_gamma_adds_less_what_alpha_does():
    """The number is the twin's, computed from the table by hand."""
    given = focal_effort.given_model(crafted_looks(), P)
    found = focal_effort.measure_gamma(given, crafted_shares(g0=0.2, g2=0.3), LEARNT, P)
    hard = given[(given["group"] == focal_effort.HARD) & (given["measure"] == "loss")]
    by_seed = []
    for seed in range(3):
        cell = {(row.gamma, row.alpha): row.share for row in hard[hard["seed"] == seed].itertuples()}
        spread = [cell[2.0, alpha] for alpha in (0.25, 0.5, 0.75)]
        by_seed.append(cell[2.0, 0.5] - cell[0.0, 0.5] - (max(spread) - min(spread)))
    assert found.measured == pytest.approx(np.mean(by_seed))
    assert found.limits["gain from gamma in models trained with it"] == pytest.approx(0.1)


def crafted_memory(more=0.0, lost=0.0, odds=1.0, predicted=1.0, level=0.5):
    """Runs in which focal loss memorises more, scores less and has other odds, by these amounts; two looks."""
    rows = []
    for seed, noise, gamma, step in itertools.product(range(3), (0.2, 0.4), (0.0, 2.0), (0, 4, 8)):
        focal = gamma / 2
        share = {"own": odds**focal, "focal": odds if focal else predicted}
        about = {"noise": noise, "gamma": gamma, "seed": seed, "step": step, "epochs": step / 4, "before": step == 4}
        about |= {"memorised": level + focal * more, "auc": 0.7 - focal * lost + 0.001 * seed}
        about |= {"wrong labels' gradient": share["own"] / (1 + share["own"])}
        rows.append({**about, "as under focal loss": share["focal"] / (1 + share["focal"])})
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("crafted", "verdicts"),
    [
        ({"more": 0.1, "lost": 0.05, "odds": 1.3}, ["confirmed", "confirmed", "confirmed"]),
        ({"more": 0.1, "lost": 0.0, "odds": 1.05}, ["confirmed within limits", "refuted", "refuted"]),
        ({"more": -0.1, "lost": -0.05, "odds": 0.9}, ["refuted", "refuted", "refuted"]),
        ({"more": 0.0, "level": 1.0, "odds": 1.3}, ["void", "refuted", "confirmed"]),
    ],
)
def test_f4_looks_in_the_right_direction_and_a_ceiling_is_no_measurement(crafted, verdicts):
    """More memorised confirms F4, a lower AUC F4a, larger odds F4b; where all is always memorised F4 is void."""
    table = crafted_memory(**crafted)
    measures = (focal_noise.measure_memory, focal_noise.measure_harm, focal_noise.measure_dwelling)
    found = {key: measure(table, LEARNT, P) for key, measure in zip(("F4", "F4a", "F4b"), measures, strict=True)}
    assert [verdict(key, measurement) for key, measurement in found.items()] == verdicts
    assert found["F4a"].measured == pytest.approx(crafted.get("lost", 0.0))
    assert found["F4b"].measured == pytest.approx(crafted["odds"])


@pytest.mark.parametrize(("predicted", "held"), [(1.3, "held"), (1.6, "failed")])
def test_the_prediction_of_f4b_is_what_focal_loss_makes_of_cross_entropys_models(predicted, held):
    """Odds of 1.3 against 1.3 and against 1.6, with 10 % allowed."""
    measurement = focal_noise.measure_dwelling(crafted_memory(odds=1.3, predicted=predicted), LEARNT, P)
    assert measurement.predicted == pytest.approx(predicted)
    assert CLAIMS["F4b"].decide(measurement).prediction_held == held


def test_without_a_look_before_memorisation_f4b_is_void():
    """Everything memorised from the first look on leaves nothing to measure."""
    table = crafted_memory().assign(before=False)
    assert verdict("F4b", focal_noise.measure_dwelling(table, LEARNT, P)) == "void"


def noisy_looks():
    """Two runs, cross-entropy and focal: wrong labels' margins rise over four looks, 1 held-out comment in 5 errs."""
    frames = []
    for gamma, step in itertools.product((0.0, 2.0), range(4)):
        rights = [3.0] * 6
        wrongs = [1.0 if place < step + (gamma > 0) else -1.0 for place in range(4)]
        trained = pd.DataFrame({"margin": rights + wrongs, "flipped": [False] * 6 + [True] * 4, "held_out": False})
        held = pd.DataFrame({"margin": [2.0, 1.0, 3.0, -1.0, 1.0], "flipped": False, "held_out": True})
        both = pd.concat([trained, held]).assign(gamma=gamma, step=step, epochs=float(step))
        frames.append(both.assign(label=np.resize([0, 1], len(both))))
    return pd.concat(frames, ignore_index=True).assign(noise=0.4, seed=0, stands_for=np.nan, encoder=np.nan)


def test_before_memorisation_ends_when_either_loss_has_memorised_half_beyond_held_out_errors():
    """Focal has 3 of 4 at step 2: (0.75 - 0.2) / 0.8 is more than half, so that step 1 is the last before, for both."""
    table = focal_noise.memory(noisy_looks(), P)
    focal = table[table["gamma"] == 2.0].set_index("step")
    assert focal.loc[2, "memorised"] == 0.75
    assert focal.loc[2, "beyond held-out errors"] == pytest.approx(0.55 / 0.8)
    assert table.loc[table["before"], "step"].tolist() == [1, 1]
    np.testing.assert_allclose(focal["wrong labels' gradient"], focal["as under focal loss"])
    plain = table[(table["gamma"] == 0.0) & (table["step"] == 1)]
    assert plain["wrong labels' gradient"].item() < plain["as under focal loss"].item()


def test_noise_rates_that_are_no_noise_are_refused():
    """The claims on noise need noise; the error shows what was given."""
    with pytest.raises(ValidationError, match=r"greater than or equal to 0.2"):
        FocalOnToxicityParameters(noise_rates=[0.1])


def test_the_baseline_learns_and_the_control_alone_is_compared():
    """TF-IDF separates the generated comments; of six trainings only plain cross-entropy gets a row, and its margin."""
    assert adequacy.baseline(job(gamma=0.0, comments=200)) > 0.7
    jobs = [job(gamma=0.0), job(gamma=2.0), job(gamma=0.0, noise=0.4), P.job("alpha", 0, 0.0, 0.25)]
    margins = pd.DataFrame({"label": [1, 1, 0, 0], "margin": [2.0, -1.0, 0.5, 2.0], "held_out": True, "step": 8})
    table = adequacy.adequacy(jobs, told(margins, gamma=0.0))
    assert table["model"].item() == pytest.approx(0.75)
    assert adequacy.margin_of(table, AS_THEY_ARE) == pytest.approx(0.75 - table["baseline"].item())
    assert LEARNED_TOXICITY.at_least == -0.05


def test_every_job_has_a_name_of_its_own_in_every_profile():
    """No training is asked for twice, and the compared losses are paired over seeds."""
    for profile in ("smoke", "quick", "full"):
        p = FocalOnToxicityParameters.for_profile(profile)
        jobs = [*experiment.effort_jobs(p), *experiment.alpha_jobs(p), *experiment.noise_jobs(p)]
        assert (
            len({work.name for work in jobs})
            == len(jobs)
            == p.seed_count * (4 + len(p.alphas) + 2 * len(p.noise_rates))
        )
        assert all(work.settings.steps % work.look_every == 0 for work in jobs)


def test_the_figure_of_effort_draws_each_seed_up_to_its_end():
    """Three titles above the first row, none below it; a line for each seed and loss, ending where training ended."""
    table = crafted_shares(g0=0.2, g2=0.3)
    later = table[table["step"] == 8].assign(step=12, epochs=3.0)
    panels = figures.effort(pd.concat([table, later]), (0.0, 2.0)).figure.axes
    assert [bool(axes.get_title(loc="left")) for axes in panels] == [True] * 3 + [False] * 3
    for axes in panels:
        curves = [line for line in axes.lines if len(line.get_xdata()) == 3]
        assert len(curves) == 6
        assert all(max(line.get_xdata()) == 2.0 for line in curves)
