"""P9: what runs are compared on, what is read off them, and what its rules would say of made scores."""

from typing import get_args

import numpy as np
import pandas as pd
import pytest
import torch
from pydantic import ValidationError
from small_runs import batches, job, model, prepared

from aura_study.claims import CLAIMS, Verdict
from aura_study.claims.model import Held
from aura_study.data.tasks import TASK_NAMES
from aura_study.experiments.task_quality import figures, tables
from aura_study.experiments.task_quality import results as experiment
from aura_study.experiments.task_quality.parameters import (
    ALL,
    AURA_RATE,
    FEW,
    FURTHER,
    KENDALL,
    OTHERS,
    REGIMES,
    ROWS,
    WHOLE,
    TaskQualityParameters,
)
from aura_study.experiments.task_quality.trainings import RARE, Scorer, quality_corpus, shares
from aura_study.runs.jobs import job_metadata
from aura_study.training.adequacy import DECISIVE
from aura_study.training.loop import build_schedule, train
from aura_study.training.recording import TrajectoryRecorder, read_trajectories
from aura_study.training.runs import PresenceName, run_job

CPU = torch.device("cpu")
SMALL = {
    "frozen_layers": 1,
    "rows": 64,
    "reporting_rows": 40,
    "dev_rows": 16,
    "reporting_dev": 20,
    "max_length": 32,
    "workers": 1,
}


def texts(split) -> set[str]:
    return set(split.texts)


def assert_scarce_and_apart(few, more) -> None:
    """Fewer rows of reporting are a subset of more, everything else is equal, and no row is in both sets."""
    assert texts(few.train[RARE]) < texts(more.train[RARE])
    for task in TASK_NAMES:
        assert few.dev[task].texts == more.dev[task].texts
        assert task == RARE or few.train[task].texts == more.train[task].texts
    trained = set().union(*(texts(split) for split in more.train.values()))
    assert not trained & set().union(*(texts(split) for split in more.dev.values()))


def test_the_regimes_are_the_ways_of_presence_that_a_training_knows():
    """Named a second time, for a run is planned without what trains."""
    assert get_args(PresenceName) == REGIMES


def test_scarce_reporting_changes_nothing_else():
    """On the generated corpus: 50 of 370 rows, 300 development rows instead of 200."""
    few, more = (quality_corpus("embedded", None, 100, count, 300) for count in (50, None))
    assert_scarce_and_apart(few, more)
    assert (few.sizes[RARE], more.sizes[RARE]) == (50, 370)
    assert {task: len(split) for task, split in few.dev.items()} == {**dict.fromkeys(TASK_NAMES, 100), RARE: 300}


@pytest.mark.usefixtures("real_data")
def test_the_development_set_of_reporting_is_the_published_one_and_more():
    """On AURA's files: the 73 published rows come first, the further ones are of no training set."""
    few, more = (quality_corpus("aura", None, 100, count, 400) for count in (101, None))
    assert_scarce_and_apart(few, more)
    assert (few.sizes[RARE], more.sizes[RARE]) == (101, 925)
    published = quality_corpus("aura", None, 100, 101, 73).dev[RARE]
    assert few.dev[RARE].texts[: len(published)] == published.texts
    assert len(few.dev[RARE]) == 400
    assert 0.3 < few.dev[RARE].labels.mean() < 0.7


@pytest.mark.parametrize("steps", [20, 123])
def test_sigmas_rate_gives_the_stretch_its_phantom_number(steps):
    """The rates that training really uses sum to Lambda = 3 over the absence, and to AURA's own budget at AURA's."""
    p = TaskQualityParameters(steps=steps)

    def rates(regime: str) -> np.ndarray:
        settings = p.job(regime, "unmasked", 0).settings
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=settings.lr_sigma)
        schedule = build_schedule(optimizer, settings)
        found = []
        for _ in range(steps):
            found.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.step()
        return np.array(found)

    assert rates("stretch")[p.stretch.start : p.stretch.stop].sum() == pytest.approx(3.0)
    assert rates(AURA_RATE).sum() == pytest.approx(5e-5 * 12390 / 2, rel=1e-3)


def test_runs_of_a_regime_and_seed_differ_in_the_weighting_alone():
    """Paired comparisons need equal starts, batches and rates."""
    p = TaskQualityParameters(scored=True, seed_count=2, further_seeds=1)
    seen: dict[tuple[str, int], set[str]] = {}
    for regime, policy, seed in p.arms:
        work = p.job(regime, policy, seed).model_dump(exclude={"name"})
        assert work["settings"].pop("policy") == policy
        seen.setdefault((regime, seed), set()).add(str(work))
    assert all(len(kinds) == 1 for kinds in seen.values())
    names = [p.job(*arm).name for arm in p.arms]
    assert len(set(names)) == len(names) == 2 * (3 * 2 + 3) + len(FURTHER) * 2


def test_a_run_that_is_stopped_has_whole_seeds_and_one_that_is_not_scored_has_the_balance_alone():
    """Seed after seed; unscored, every seed of mixing with and without the mask, and one of the other regimes."""
    arms = TaskQualityParameters(scored=True, seed_count=4).arms
    assert [seed for _, _, seed in arms] == sorted(seed for _, _, seed in arms)
    p = TaskQualityParameters(seed_count=3)
    pairs = [(regime, seed) for regime, _, seed in p.arms[::2]]
    assert pairs == [*((regime, 0) for regime in REGIMES), ("mixed", 1), ("mixed", 2)]
    assert {policy for _, policy, _ in p.arms} == set(KENDALL)
    assert not p.job(*p.arms[0]).scored


def test_only_the_regime_with_the_whole_encoder_trains_all_its_layers():
    """The others freeze as many as the parameters say."""
    p = TaskQualityParameters(frozen_layers=1)
    assert {regime: p.job(regime, "masked", 0).frozen_layers for regime in ROWS} == {
        regime: 0 if regime == WHOLE else 1 for regime in ROWS
    }


def test_a_control_has_rows_of_every_task_in_every_batch_and_nothing_else_of_its_own():
    """On the rows of each regime: its model, steps and rates, and a presence of 1 throughout."""
    p = TaskQualityParameters(scored=True, seed_count=2, further_seeds=2)
    assert {rows for rows, _, _ in p.controls} == set(ROWS.values())
    for regime, rows in ROWS.items():
        control, arm = p.job(rows, "masked", 0), p.job(regime, "masked", 0)
        own = {AURA_RATE: {"settings"}, WHOLE: {"frozen_layers"}}
        same = {"name", "presence", "regime", "probes"} | own.get(regime, set())
        assert control.model_dump(exclude=same) == arm.model_dump(exclude=same)
        schedule = control.presence.build(arm.texts.corpus().sizes, p.batch_size, 0, 1)
        assert all(set(batch) == set(TASK_NAMES) for batch in schedule.batches(0, 50))


def test_more_scarce_rows_than_rows_are_refused():
    """The error names both numbers."""
    with pytest.raises(ValidationError, match="reporting_rows = 101 exceeds rows = 64"):
        TaskQualityParameters(rows=64)


def test_scoring_on_the_way_changes_nothing(tmp_path):
    """A run that is scored before two of its steps, and whose updates are looked at, leaves the same record, bit for
    bit, as one that is not."""
    found = []
    work = job()
    scorer = Scorer(work.weighting(CPU), CPU, prepared(), work.settings, (3, 7))
    for place, observer in enumerate((scorer, None)):
        path = tmp_path / f"{place}.parquet"
        with TrajectoryRecorder(path, TASK_NAMES, "masked", 0, CPU) as recorder:
            train(model(), iter(batches(work)), work.settings, recorder, observer=observer)
        found.append(read_trajectories([path]))
        if observer is not None:
            assert {row["step"] for row in observer.scores} == {3, 7}
            assert {row["measure"] for row in observer.scores} == {"auc", "log_loss", "macro_f1", "samples_f1"}
            assert len(observer.kept) == work.settings.steps
            assert list(observer.pulls) == [7]
    pd.testing.assert_frame_equal(*found)


def test_shares_are_what_a_loop_finds():
    """Twin: the second half of a made trajectory of 4 steps, summed by hand; an absent task counts 0."""
    rows = []
    for step in range(4):
        for place, task in enumerate(("a", "b")):
            here = task == "a" or step == 3
            values = {"weight": 1.0 + place, "loss": 0.5 if here else np.nan, "gradient_norm": 2.0 if here else np.nan}
            rows.append({"step": step, "task": task, "present": here, **values})
    kept = np.array([1.0, 1.0, 0.5, 0.25])
    table = shares(pd.DataFrame(rows), kept, {2: [1.0, 0.0], 3: [1.0, 3.0]}).set_index("task")
    assert table["update_share"].tolist() == pytest.approx([0.75 / 1.5, 0.75 / 1.5])
    assert shares(pd.DataFrame(rows), kept, {})["update_share"].isna().all()
    late = [(row, kept[row["step"]]) for row in rows if row["step"] >= 1]
    pull = {task: sum(r["weight"] * r["loss"] for r, _ in late if r["task"] == task and r["present"]) for task in "ab"}
    clip = {task: sum(r["gradient_norm"] * k for r, k in late if r["task"] == task and r["present"]) for task in "ab"}
    assert table.loc["b", "loss_share"] == pytest.approx(pull["b"] / (pull["a"] + pull["b"]))
    assert table.loc["b", "clipped_share"] == pytest.approx(clip["b"] / (clip["a"] + clip["b"]))
    assert table.loc["b", "presence"] == pytest.approx(1 / 3)
    assert table.loc["b", "loss"] == 0.5


@pytest.fixture(scope="module")
def small_files(tmp_path_factory):
    """Every regime and weighting, one seed, 20 steps."""
    p = TaskQualityParameters(seed_count=1, steps=20, scored=True, **SMALL)
    return p, experiment.train_all(p, tmp_path_factory.mktemp("quality"))


def test_until_the_return_scores_are_equal_bit_for_bit(small_files):
    """Masked or not, an absence changes nothing that could be scored before its end."""
    _, files = small_files
    table = tables.long_scores(experiment.all_scores(files))
    before = table[table["moment"] == "before the return"]
    before = before.pivot(index=["task", "measure"], columns="policy", values="score")
    assert len(before) == 5 * 3 + 1  # four tasks and their mean, and the samples-F1 of emotion
    assert (before["masked"] == before["unmasked"]).all()
    assert set(table[table["regime"] == "stretch"]["moment"]) == {"before the return", tables.RETURN, tables.END}
    assert set(table[table["regime"] == "mixed"]["moment"]) == {tables.END}


@pytest.mark.parametrize("policy", KENDALL)
def test_arms_that_fork_at_the_return_leave_what_trainings_of_their_own_leave(policy, small_files, tmp_path):
    """Shares and scores, bit for bit, though the half before the return was trained and watched once for both."""
    p, files = small_files
    (forked,) = [file for file in files if file.stem == f"quality-stretch-{policy}-seed0"]
    alone = run_job(p.job("stretch", policy, 0), tmp_path)
    pd.testing.assert_frame_equal(pd.read_parquet(forked), pd.read_parquet(alone))
    assert job_metadata(forked)["scores"] == job_metadata(alone)["scores"]


def test_predicted_shares_come_from_presence_alone(small_files):
    """A quarter each unmasked, in proportion to presence masked, nothing for equal weights."""
    _, files = small_files
    table = experiment.all_shares(files)
    for (_, policy), rows in table.groupby(["regime", "policy"]):
        expected = {"unmasked": np.full(4, 0.25), "equal": np.full(4, np.nan)}
        np.testing.assert_allclose(
            rows["predicted_share"], expected.get(policy, rows["presence"] / rows["presence"].sum())
        )
        for kind in ("loss_share", "gradient_share", "clipped_share", "update_share"):
            assert rows[kind].sum() == pytest.approx(1)


def test_short_runs_are_void_one_seed_is_inconclusive_and_every_figure_is_drawn(small_files, tmp_path):
    """Real runs go through every table, verdict and figure: 20 steps teach no model, one seed no balance."""
    p, files = small_files
    scores, found = experiment.all_scores(files), experiment.all_shares(files)
    adequacy = experiment.adequacy_of(p, experiment.train_controls(p, tmp_path))
    assert set(adequacy["rows"]) == set(ROWS.values())
    for key, measurement in measurements(scores, adequacy).items():
        undecided = (Verdict.VOID, Verdict.INCONCLUSIVE) if key == "P9d" else (Verdict.VOID,)  # of one easy task
        assert CLAIMS[key].rule.judge(measurement) in undecided, key
    assert CLAIMS["P9h"].rule.judge(tables.measure_balance(found)) == Verdict.INCONCLUSIVE
    table = tables.differences(scores).query("measure == 'auc'")
    relation = tables.shares_and_scores(found, scores)
    slope = float(tables.points_per_doubling(relation)["score per doubling"][0])
    ends = tables.score_table(scores, adequacy).query("moment == 'end' and measure == 'auc'")
    assert ends[ends["task"] != tables.MEAN][["tf_idf", "control"]].notna().all(axis=None)
    for plate in (
        figures.differences(table.query("policy == 'unmasked' and moment == @tables.END"), "regime", 0.01),
        figures.scores(ends),
        figures.shares(tables.share_table(found)),
        figures.shares_and_scores(relation, slope, 0.01),
    ):
        assert plate.encode("png")
    assert set(experiment.resolution(files)["task"]) == set(TASK_NAMES)


def test_a_control_is_scored_on_the_way(tmp_path):
    """After each quarter of its training, and the table says what its loss has lost since the score before."""
    p = TaskQualityParameters(seed_count=1, steps=24, scored=True, **SMALL)
    table = experiment.learning(experiment.train_controls(p, tmp_path))
    for _, rows in table.groupby("rows"):
        assert rows["step"].tolist() == [6, 12, 18, 24]
        losses = rows["log_loss"].to_numpy()
        np.testing.assert_allclose(rows["fell"].to_numpy()[1:], losses[:-1] - losses[1:])


def test_power_says_how_many_seeds_a_difference_needs():
    """Differences of four points are told from one at once, none at a deviation of a tenth of a point soon; one that
    is a point itself never is; and a single pair says nothing."""
    table = tables.power(tables.differences(made({("mixed", "unmasked", "*"): 0.04, ("mixed", "frozen", "*"): 0.01})))
    table = table[(table["measure"] == "auc") & (table["task"] == tables.MEAN)].set_index(["regime", "policy"])
    pairs = tables.gains(made({}), "unmasked", "masked", "mixed")
    assert table.loc[("mixed", "unmasked"), "deviation"] == pytest.approx(pairs.std())
    assert 2 <= table.loc[("mixed", "unmasked"), "seeds_needed"] <= 4
    assert 2 <= table.loc[("mixed", "unmasked"), "seeds_if_none"] <= 5
    assert (
        np.isnan(table.loc[("mixed", "frozen"), "seeds_needed"]) or table.loc[("mixed", "frozen"), "seeds_needed"] > 20
    )
    alone = tables.power(tables.differences(made({}, seeds=1)))
    assert alone[["deviation", "seeds_needed", "seeds_if_none"]].isna().all(axis=None)


def measurements(scores: pd.DataFrame, adequacy: pd.DataFrame):
    """The measurement of every claim on scores."""
    return {
        "P9": tables.measure_quality(scores, adequacy),
        "P9a": tables.measure_one_regime(scores, adequacy, "mixed"),
        "P9b": tables.measure_stretch(scores, adequacy),
        "P9c": tables.measure_one_regime(scores, adequacy, "alternating"),
        "P9d": tables.measure_rare_task(scores, adequacy),
        "P9e": tables.measure_pair(scores, adequacy, "frozen", "masked"),
        "P9f": tables.measure_pair(scores, adequacy, "analytic", "masked"),
        "P9g": tables.measure_pair(scores, adequacy, "masked", "equal"),
    }


def made(changes: dict[tuple[str, str, str], float], seeds: int = 5) -> pd.DataFrame:
    """Areas of runs that differ by the seed, and by ``changes`` of a (regime, policy, task), "*" being all tasks; with
    a macro-F1 that says the contrary."""
    rows = []
    for regime in REGIMES:
        for policy in (*KENDALL, *OTHERS):
            for seed in range(seeds):
                for step, last in ((10, False), (12, False), (20, True)) if regime == "stretch" else ((20, True),):
                    for task in TASK_NAMES:
                        change = changes.get((regime, policy, task), changes.get((regime, policy, "*"), 0.0))
                        jitter = 1e-3 * ((seed + len(policy) + len(task)) % 3)
                        row = {"regime": regime, "policy": policy, "seed": seed, "step": step, "last": last}
                        for measure, sign in (("auc", 1), ("macro_f1", -1)):
                            score = 0.7 + 0.05 * seed + sign * change + jitter
                            rows.append({**row, "task": task, "measure": measure, "score": score})
    return pd.DataFrame(rows)


def held_against(short: dict[tuple[str, str], float]) -> pd.DataFrame:
    """Controls that reach the bag of words but for ``short``, of (rows, task)."""
    places = [(rows, task, measure) for rows in (FEW, ALL) for task in TASK_NAMES for measure in DECISIVE]
    table = pd.DataFrame(places, columns=["rows", "task", "measure"])
    return table.assign(above=[-short.get((rows, task), 0.0) for rows, task, _ in places])


def verdicts(scores: pd.DataFrame, short: dict[tuple[str, str], float] | None = None) -> dict[str, Verdict]:
    found = measurements(scores, held_against(short or {}))
    return {key: CLAIMS[key].rule.judge(measurement) for key, measurement in found.items()}


def test_equal_scores_refute_costs_and_gains_and_confirm_likeness():
    """Nothing but a tenth of a point between the arms: no cost, no help to the rare task, alike."""
    found = verdicts(made({}))
    assert {found[key] for key in ("P9", "P9a", "P9b", "P9c", "P9d", "P9g")} == {Verdict.REFUTED}
    assert found["P9e"] == found["P9f"] == Verdict.CONFIRMED


def test_a_control_that_falls_short_of_a_bag_of_words_voids_what_speaks_of_that_task():
    """Short in emotion on all rows: the regimes on all rows are void, and so is the whole; mixing is not. Short in
    emotion on few rows: all of mixing but the claim on reporting alone. By 0.04 is near enough."""
    every = verdicts(made({}), {(ALL, "emotion"): 0.06})
    assert {key for key, verdict in every.items() if verdict == Verdict.VOID} == {"P9", "P9b", "P9c"}
    few = verdicts(made({}), {(FEW, "emotion"): 0.06})
    assert {key for key, verdict in few.items() if verdict == Verdict.VOID} == {"P9", "P9a", "P9e", "P9f", "P9g"}
    assert Verdict.VOID not in verdicts(made({}), {(FEW, "emotion"): 0.04}).values()
    assert verdicts(made({}), {(FEW, RARE): float("nan")})["P9d"] == Verdict.VOID


def test_a_cost_in_every_regime_is_confirmed_and_in_one_is_limited():
    """Five points lost unmasked: everywhere, P9 holds; by mixing alone, within limits."""
    everywhere = verdicts(made({(regime, "unmasked", "*"): -0.05 for regime in REGIMES}))
    assert {everywhere[key] for key in ("P9", "P9a", "P9b", "P9c")} == {Verdict.CONFIRMED}
    mixing = verdicts(made({("mixed", "unmasked", "*"): -0.05}))
    assert (mixing["P9"], mixing["P9a"], mixing["P9b"]) == (Verdict.WITHIN_LIMITS, Verdict.CONFIRMED, Verdict.REFUTED)


def test_help_to_the_rare_task_is_seen_though_the_mean_hides_it():
    """Reporting gains five points unmasked and the others lose some: P9d holds, P9a does not."""
    changes = {("mixed", "unmasked", task): -0.015 for task in TASK_NAMES} | {("mixed", "unmasked", RARE): 0.05}
    found = verdicts(made(changes))
    assert found["P9d"] == Verdict.CONFIRMED
    assert found["P9a"] == Verdict.REFUTED


def test_where_hardly_a_point_is_left_help_to_the_rare_task_is_void():
    """Masked runs near the ceiling: that the others gain no point there says nothing."""
    scores = made({})
    near = scores["score"].where((scores["task"] != RARE) | (scores["measure"] != "auc"), 0.989)
    found = tables.measure_rare_task(scores.assign(score=near), held_against({}))
    assert found.limits["area that the control leaves to be gained"] == pytest.approx(0.011)
    assert CLAIMS["P9d"].rule.judge(found) == Verdict.VOID


def test_a_difference_in_either_direction_is_not_alike():
    """Frozen three points better, analytic three points worse: both refuted; equal weights five worse: P9g holds."""
    arms = {("mixed", "frozen", "*"): 0.03, ("mixed", "analytic", "*"): -0.03, ("mixed", "equal", "*"): -0.05}
    found = verdicts(made(arms))
    assert found["P9e"] == found["P9f"] == Verdict.REFUTED
    assert found["P9g"] == Verdict.CONFIRMED


def made_shares(unmasked: float, presence: float = 0.1, regime: str = "mixed") -> pd.DataFrame:
    """Reporting's share of 5 seeds, ``unmasked`` and as predicted with the mask."""
    masked = presence / (3 + presence)
    rows = []
    for seed in range(5):
        for policy, share, predicted in (("unmasked", unmasked, 0.25), ("masked", masked, masked)):
            row = {"regime": regime, "policy": policy, "seed": seed, "task": RARE, "predicted_share": predicted}
            rows.append({**row, "loss_share": share * (1 + 0.01 * seed)})
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("unmasked", "verdict", "held"),
    [
        (0.25, Verdict.CONFIRMED, Held.HELD),
        (0.12, Verdict.CONFIRMED, Held.FAILED),
        (0.1 / 3.1, Verdict.REFUTED, Held.FAILED),
        (0.01, Verdict.REFUTED, Held.FAILED),
    ],
)
def test_the_balance_and_its_prediction_are_judged_apart(unmasked, verdict, held):
    """P9h: eight times the share as predicted; four times, distorted, not as predicted; as much, or less: refuted."""
    measurement = tables.measure_balance(pd.concat([made_shares(unmasked), made_shares(9.0, regime="stretch")]))
    assert measurement.predicted == pytest.approx(0.25 * 3.1 / 0.1)
    assert CLAIMS["P9h"].rule.judge(measurement) == verdict
    assert CLAIMS["P9h"].held(measurement) == held


def test_a_rare_task_that_was_in_no_step_has_no_share_to_compare():
    """Then the balance is void, not infinite."""
    shares = made_shares(0.25)
    shares.loc[3, "loss_share"] = 0.0
    assert CLAIMS["P9h"].rule.judge(tables.measure_balance(shares)) == Verdict.VOID


def test_differences_are_paired_by_seed():
    """What a seed does to both arms cancels: the interval is that of the differences, seed by seed."""
    scores = made({("mixed", "unmasked", "toxicity"): 0.02})
    table = tables.differences(scores).query("measure == 'auc'")
    table = table.set_index(["regime", "moment", "policy", "task"])
    row = table.loc[("mixed", tables.END, "unmasked", "toxicity")]
    assert row["difference"] == pytest.approx(0.02, abs=1.5e-3)
    assert row["high"] - row["low"] < 0.01 < 0.05
    mean = table.loc[("mixed", tables.END, "unmasked", tables.MEAN), "difference"]
    assert mean == pytest.approx(
        np.mean([table.loc[("mixed", tables.END, "unmasked", task), "difference"] for task in TASK_NAMES])
    )


def test_points_per_doubling_is_the_slope_that_was_put_in():
    """Scores made as 0.02 x doublings of the share give 0.02 back."""
    rows = [
        {"regime": "mixed", "policy": "unmasked", "task": task, "seed": seed, "doublings": x, "difference": 0.02 * x}
        for seed in range(3)
        for task, x in (("a", -0.4), ("b", 2.0 + seed))
    ]
    found = tables.points_per_doubling(pd.DataFrame(rows)).iloc[0]
    assert found[["score per doubling", "low", "high"]].tolist() == pytest.approx([0.02, 0.02, 0.02])
