"""Kendall's weighting: fixed points, the two regressions, and life without log sigma."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from dynamics_twin import adam_without_log

from aura_study.claims import CLAIMS, Verdict
from aura_study.claims.model import Held
from aura_study.data.tasks import TASK_NAMES
from aura_study.experiments.kendall_weighting import figures, regressions, without_log, without_log_on_model
from aura_study.experiments.kendall_weighting import settling as kendall
from aura_study.experiments.kendall_weighting.parameters import KendallWeightingParameters
from aura_study.experiments.kendall_weighting.without_log_on_model import ARMS
from aura_study.losses import MaskedKendallLoss
from aura_study.theory.forms import FORMS


def test_every_form_settles_at_its_fixed_point():
    """K1's measurement on two loss levels lies within its rule."""
    settled = kendall.settled(kendall.settle(0.1, 1.0, levels=2, steps=1500, lr=0.02))
    assert set(settled["parameterization"]) == set(FORMS)
    assert CLAIMS["K1"].rule.judge(kendall.measure_fixed_points(settled)) == Verdict.CONFIRMED


def test_the_regressions_have_the_stated_lines_and_noise():
    """Least squares on 200,000 samples finds slopes 2 and 3, offsets 8 and 3, noise 10 and 1, within 1 %."""
    x, y = regressions.sample([3], 200_000)
    design = torch.cat([x[0], torch.ones_like(x[0])], dim=1)
    fit = torch.linalg.lstsq(design, y[0]).solution
    torch.testing.assert_close(fit, torch.tensor([regressions.SLOPES, regressions.OFFSETS]), rtol=0.02, atol=0.05)
    noise = (y[0] - design @ fit).std(dim=0)
    torch.testing.assert_close(noise, torch.tensor(regressions.NOISE), rtol=0.01, atol=0)


def test_networks_side_by_side_train_as_they_would_alone():
    """A seed's sigma does not depend on which other seeds train beside it."""
    together = regressions.learn_noise([50], [0, 1, 2], steps=100, lr=0.05, width=4)
    alone = regressions.learn_noise([50], [2], steps=100, lr=0.05, width=4)
    beside = together[together["seed"] == 2]["sigma"].to_numpy()
    np.testing.assert_allclose(alone["sigma"].to_numpy(), beside, rtol=1e-3)


def test_a_pass_of_batches_holds_every_sample_once():
    """Two passes over 100 samples in batches of 20: each sample twice."""
    drawn = torch.cat(list(regressions.batches(100, 10, size=20)))
    assert torch.bincount(drawn).tolist() == [2] * 100
    assert list(regressions.batches(15, 2, size=20)) == [slice(None), slice(None)]


def test_sigma_is_the_networks_own_residual():
    """On one full batch the learned sigma equals the root mean squared error to 0.1 %, for noise 10 and noise 1."""
    table = regressions.learn_noise([100], [0, 1], steps=1500, lr=0.05, width=4)
    np.testing.assert_allclose(table["sigma"], table["residual"], rtol=1e-3)


def made_noise(ratio: float) -> pd.DataFrame:
    """Learned sigmas of 8 seeds around ``ratio`` times the noise."""
    rows = []
    for seed in range(8):
        for task, noise in zip(regressions.TASKS, regressions.NOISE, strict=True):
            off = ratio + 1e-3 * (-1) ** seed
            rows.append(
                {"samples": 9, "seed": seed, "task": task, "ratio": off, "sigma": off * noise, "weight": 1 / noise}
            )
    return pd.DataFrame(rows)


def test_sigmas_off_by_five_per_cent_would_refute_k2():
    """The rule can fail: 1.05 is refuted, 1 confirmed, and a wrong order of the weights is a limit."""
    judge = CLAIMS["K2"].rule.judge
    assert judge(regressions.measure_noise(made_noise(1.0))) == Verdict.CONFIRMED
    assert judge(regressions.measure_noise(made_noise(1.05))) == Verdict.REFUTED
    swapped = made_noise(1.0).assign(weight=1.0)
    assert judge(regressions.measure_noise(swapped)) == Verdict.WITHIN_LIMITS


def test_without_log_the_weight_follows_its_closed_form_under_sgd():
    """1/(2 sigma^2) = 1/2 / (1 + 2 eta L t), within 0.5 %, at every recorded step and loss."""
    table = without_log.rise_under_sgd([0.1, 1.0], lr=0.01, steps=500)
    expected = 0.5 / (1 + 2 * 0.01 * table["loss"] * table["step"])
    np.testing.assert_allclose(table["predicted_weight"], expected, rtol=1e-12)
    np.testing.assert_allclose(table["weight"], expected, rtol=5e-3)


def test_the_measured_rise_under_adam_is_the_twins():
    """The real module under torch's Adam and the written-out one agree to 1e-6."""
    table = without_log.rise_under_adam([1e-2], beta2=0.9)
    twin = np.array(adam_without_log(1e-2, 120, 0.9, 0.9))
    np.testing.assert_allclose(table["s"], twin[table["step"]], rtol=1e-6, atol=1e-9)


def test_the_form_without_log_is_kendalls_weight_alone():
    """Total = sum of exp(-2s)/2 L, and an always-positive loss pushes s up only."""
    weigh = MaskedKendallLoss(["a", "b"], without_log.WithoutLog(), dtype=torch.float64)
    losses = torch.tensor([0.3, 2.0], dtype=torch.float64)
    total = weigh(losses)
    total.backward()
    assert total.item() == pytest.approx(0.5 * 2.3)
    assert weigh.theta.grad.tolist() == pytest.approx([-0.3, -2.0])


def test_without_log_no_weight_ever_rises_and_the_arms_start_alike():
    """On the two regressions: the first step's gradients are equal in both arms; later weights only fall."""
    runs = without_log.train_regressions([0, 1, 2], samples=200, steps=60, lr=0.01, width=4)
    first = runs[runs["step"] == 0].set_index(["optimizer", "task", "seed", "arm"])["gradient"].unstack("arm")
    np.testing.assert_allclose(first["with log"], first["without log"], rtol=1e-5)
    table = without_log.signal(runs)
    assert (table[table["arm"] == "without log"]["rises"] == 0).all()
    assert (table[table["arm"] == "with log"]["rises"] > 0).any()


def test_the_factor_is_half_the_precision():
    """K1a's measurement on two sigmas, and what its rule would say of a factor that is the precision."""
    table = kendall.factor_and_precision([0.3, 4.0])
    np.testing.assert_allclose(table["factor"], [0.5 / 0.09, 0.5 / 16])
    np.testing.assert_allclose(table["precision"], [1 / 0.09, 1 / 16])
    found = kendall.measure_precision(table)
    assert (CLAIMS["K1a"].rule.judge(found), CLAIMS["K1a"].held(found)) == (Verdict.REFUTED, Held.HELD)
    right = kendall.measure_precision(table.assign(excess=0.0))
    assert (CLAIMS["K1a"].rule.judge(right), CLAIMS["K1a"].held(right)) == (Verdict.CONFIRMED, Held.FAILED)


@pytest.fixture(scope="module")
def small_model(tmp_path_factory):
    """Both arms on the AURA model, two seeds of 12 steps."""
    few = {"model_steps": 12, "model_seeds": 2, "rows": 64, "dev_rows": 16, "workers": 1}
    p = KendallWeightingParameters.for_profile("smoke", **few)
    return p, without_log_on_model.train_both(p, tmp_path_factory.mktemp("without-log"))


def test_the_aura_model_without_log_loses_all_weights(small_model):
    """Same first loss and gradient in both arms; without log sigma no weight ever rises, and all end below their
    start."""
    _, files = small_model
    paths, scores = without_log_on_model.load(files)
    first = paths[paths["step"] == 0].pivot(index=["seed", "task"], columns="arm", values=["loss", "norm"])
    for column in ("loss", "norm"):
        pd.testing.assert_series_equal(first[column]["with log"], first[column]["without log"], check_names=False)
    bare = paths[(paths["arm"] == "without log") & (paths["seed"] == 0)]
    bare = bare.pivot(index="step", columns="task", values="weight")
    assert len(bare) == 12
    assert (np.diff(bare, axis=0) <= 0).all()
    assert (bare.iloc[-1] < bare.iloc[0]).all()
    outcome = without_log_on_model.outcome(paths, scores)
    assert len(outcome) == 8
    assert outcome[["auc", "macro_f1"]].apply(lambda column: column.between(0, 1)).all(axis=None)


def test_a_dozen_steps_teach_nothing_and_every_figure_is_drawn(small_model):
    """Every batch holds every task, the control is held against the bag of words, and the three verdicts are void."""
    p, files = small_model
    paths, scores = without_log_on_model.load(files)
    assert paths["loss"].notna().all()
    adequacy = without_log_on_model.adequacy_of(p, files)
    for key, measure in EVASION.items():
        assert CLAIMS[key].rule.judge(measure(scores, adequacy)) == Verdict.VOID
    changes = without_log_on_model.score_changes(scores).query("measure == 'auc'")
    steadiness = without_log_on_model.signal_changes(without_log_on_model.signal(paths))
    for plate in (
        figures.scores_without_log(changes, adequacy.query("measure == 'auc'"), 0.01),
        figures.signal_on_model(paths, steadiness, 1.25),
        figures.weights_on_model(paths),
    ):
        assert plate.encode("png")


def made_norms(leap: float = 1.0, jitter: float = 0.1) -> pd.DataFrame:
    """Norms of 4 seeds that fall and jump to and fro, with one leap; the arm with log sigma leaps 1.5-fold."""
    rows = []
    for seed in range(4):
        for arm, highest, size in (("with log", 1.5, 0.1), ("without log", 1.5 * leap, jitter)):
            for step in range(100):
                fade = 0.99**step if arm == "without log" else 1.0
                norm = fade * math.exp((1 + 0.01 * seed) * size * (-1) ** step) * (highest if step == 60 else 1.0)
                run = {"arm": arm, "seed": seed, "step": step, "loss": 1 + 0.1 * (-1) ** step, "norm": norm}
                rows.append({**run, "task": "quiet", "weight": 0.1, "gradient_norm": 0.1 * norm})
                rows.append({**run, "task": "loud", "weight": 2.0, "gradient_norm": 0.9 * norm})
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("changes", "volatility", "leap", "held"),
    [
        ({}, Verdict.REFUTED, Verdict.REFUTED, Held.HELD),
        ({"jitter": 0.2}, Verdict.CONFIRMED, Verdict.REFUTED, Held.FAILED),
        ({"leap": 1.5}, Verdict.REFUTED, Verdict.CONFIRMED, Held.HELD),
        ({"jitter": 0.02}, Verdict.REFUTED, Verdict.REFUTED, Held.FAILED),
    ],
)
def test_an_unsteady_signal_would_be_called_unstable(changes, volatility, leap, held):
    """K4 sees twice the jitter, K4a a leap half as high again; a signal that only fades is neither, and one that is
    steadier than its control fails the prediction of an equal one."""
    table = without_log_on_model.signal(made_norms(**changes))
    found = {of: without_log_on_model.measure_instability(table, of) for of in ("volatility", "leap")}
    assert CLAIMS["K4"].rule.judge(found["volatility"]) == volatility
    assert CLAIMS["K4a"].rule.judge(found["leap"]) == leap
    assert CLAIMS["K4"].held(found["volatility"]) == held


def test_steadiness_knows_no_scale():
    """Norms a thousand times smaller are as steady; a leap is held against the steps before it alone."""
    paths = made_norms()
    smaller = without_log_on_model.signal(paths.assign(norm=paths["norm"] / 1000))
    pd.testing.assert_frame_equal(smaller, without_log_on_model.signal(paths))
    with_log = without_log_on_model.signal(paths).query("arm == 'with log' and seed == 0").iloc[0]
    assert with_log["leap"] == pytest.approx(1.5 * math.exp(0.1), rel=0.11)
    assert (with_log["leap_of"], with_log["weight_then"]) == ("loud", 2.0)


EVASION = {
    "K3a": without_log_on_model.measure_evasion,
    "K3b": without_log_on_model.measure_loss_of_score,
    "K3c": without_log_on_model.measure_worst_task,
}


def made_scores(lost: float, of_emotion: float | None = None) -> pd.DataFrame:
    """Areas of 5 seeds at 0.8 and more with log sigma and ``lost`` lower without it, ``of_emotion`` in emotion."""
    rows = []
    for seed in range(5):
        for arm in ("with log", "without log"):
            scores = {}
            for task in TASK_NAMES:
                less = of_emotion if task == "emotion" and of_emotion is not None else lost
                away = less + 1e-3 * (seed % 2) if arm == "without log" else 0.0
                scores[task] = 0.8 + 0.01 * seed - away
            scores["mean of tasks"] = float(np.mean(list(scores.values())))
            rows += [
                {"arm": arm, "seed": seed, "task": task, "measure": "auc", "score": score}
                for task, score in scores.items()
            ]
    return pd.DataFrame(rows)


def held_against(above: float) -> pd.DataFrame:
    """A control that lies so far above the bag of words, in the worst task."""
    rows = [{"task": task, "measure": measure, "above": 0.0} for task in TASK_NAMES for measure in ("auc", "macro_f1")]
    return pd.DataFrame(rows).assign(above=[above, *[0.0] * 7])


@pytest.mark.parametrize(
    ("scores", "verdicts"),
    [
        (made_scores(0.28), (Verdict.CONFIRMED, Verdict.CONFIRMED, Verdict.CONFIRMED)),
        (made_scores(0.05), (Verdict.REFUTED, Verdict.CONFIRMED, Verdict.CONFIRMED)),
        (made_scores(0.0), (Verdict.REFUTED, Verdict.REFUTED, Verdict.REFUTED)),
        (made_scores(-0.05), (Verdict.REFUTED, Verdict.REFUTED, Verdict.REFUTED)),
        (made_scores(-0.01, of_emotion=0.03), (Verdict.REFUTED, Verdict.REFUTED, Verdict.CONFIRMED)),
    ],
)
def test_evasion_is_half_of_what_is_learned_and_less_is_a_point(scores, verdicts):
    """K3a, K3b, K3c: all that is learned lost; five points; nothing; a gain; and one task lost that the mean hides."""
    found = (CLAIMS[key].rule.judge(measure(scores, held_against(0.0))) for key, measure in EVASION.items())
    assert tuple(found) == verdicts
    for key, measure in EVASION.items():
        assert CLAIMS[key].rule.judge(measure(scores, held_against(-0.06))) == Verdict.VOID


def test_the_task_that_loses_most_has_the_interval_of_the_largest_of_four():
    """In 300 draws of four tasks that lose nothing the interval misses 0 in hardly more than 5 %."""
    rng, missed = np.random.default_rng(0), 0
    places = pd.MultiIndex.from_product([range(5), TASK_NAMES, ARMS], names=["seed", "task", "arm"])
    table = places.to_frame(index=False).assign(measure="auc")
    for _ in range(300):
        found = without_log_on_model.measure_worst_task(table.assign(score=rng.normal(size=40)), held_against(0.0))
        missed += not found.low <= 0 <= found.high
    assert missed <= 0.09 * 300
