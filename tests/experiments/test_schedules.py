"""The schedule experiments: shapes, where sigma moves, and absences under OneCycleLR."""

import math

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from aura_study.claims import CLAIMS, Verdict
from aura_study.experiments.schedules import movement as schedule_movement
from aura_study.experiments.schedules import rates as schedules
from aura_study.experiments.schedules.parameters import SchedulesParameters
from aura_study.training.runs import load_runs, train_jobs


def test_the_closed_forms_are_pytorchs_schedules():
    """Rates of all three schedules equal what the schedulers set, at three lengths, to 1e-12."""
    table = schedules.shapes([20, 101, 1000])
    np.testing.assert_allclose(table["rate"], table["predicted"], atol=1e-12)


def test_onecycles_peak_is_not_midway_and_the_rule_would_notice_if_it_were():
    """S1 is refuted as measured, and confirmed for a peak moved to half time."""
    table = schedules.shape_table(schedules.shapes([1000]))
    judge = CLAIMS["S1"].rule.judge
    assert judge(schedules.measure_peak(table)) == Verdict.REFUTED
    assert judge(schedules.measure_peak(table.assign(peak_position=0.49))) == Verdict.CONFIRMED


def test_onecycle_cycles_beta1_and_the_others_do_not():
    """Beta1 runs from 0.95 to 0.85 under OneCycleLR and stays at 0.9 under the others."""
    table = schedules.shape_table(schedules.shapes([300])).set_index("schedule")
    assert (table.loc["onecycle", "lowest_beta1"], table.loc["onecycle", "highest_beta1"]) == pytest.approx(
        (0.85, 0.95)
    )
    assert (table.loc[["linear", "constant"], ["lowest_beta1", "highest_beta1"]] == 0.9).all(axis=None)


def test_cycled_directions_are_those_of_a_written_out_adam():
    """A constant gradient through Adam with a changing beta1, step by step, gives the closed form to 1e-12."""
    steps, first, last = 60, 5, 40
    betas = schedules.one_cycle_momentum(steps)[first:last]
    m, v, expected = 0.0, 0.0, []
    for k, beta1 in enumerate(betas, start=1):
        m, v = beta1 * m + (1 - beta1), 0.999 * v + 0.001
        expected.append((m / (1 - beta1**k)) / math.sqrt(v / (1 - 0.999**k)))
    np.testing.assert_allclose(schedules.cycled_directions(steps, first, last), expected, rtol=1e-9)


def test_an_absence_moves_log_sigma_by_the_sum_of_its_rates():
    """SGD and Adam: Lambda to 1e-6 in every window; cycled beta1 follows its own closed form to 1e-6."""
    table = schedules.absences([60])
    np.testing.assert_allclose(table["measured"], table["predicted"], rtol=1e-6)
    plain = table[table["optimizer"] != "Adam, cycled beta1"]
    np.testing.assert_allclose(plain["over_phantom"], 1, rtol=1e-6)
    cycled = table[table["optimizer"] == "Adam, cycled beta1"]
    assert (cycled["over_phantom"] - 1).abs().max() > 0.01


@pytest.fixture(scope="module")
def short_run(tmp_path_factory):
    p = SchedulesParameters.for_profile("smoke", seed_count=1, rows=64, dev_rows=16)
    work = schedule_movement.jobs(p)[:1]
    folder = tmp_path_factory.mktemp("schedules")
    return p, work, train_jobs(work, folder, workers=1)


def test_a_replay_at_the_trained_budget_repeats_the_run(short_run):
    """The recorded losses in a fresh module give the recorded log sigma, to 1e-5: sigma feels only its losses."""
    p, work, files = short_run
    paths = schedule_movement.movement(files, work, [p.budget])
    replayed = paths[paths["schedule"] == "onecycle"]
    both = load_runs(files).merge(replayed, on=["step", "task"])
    assert len(both) == p.steps * 4
    np.testing.assert_allclose(both["s"], np.log(both["sigma"]), atol=1e-5)


def test_replays_of_a_seed_see_the_same_losses(short_run):
    """Under every schedule and budget, so that nothing but sigma's rates differs; absent tasks have none."""
    p, work, files = short_run
    paths = schedule_movement.movement(files, work, [p.budget, p.large_budget])
    seen = paths.groupby(["step", "task"])["loss"]
    assert (seen.nunique(dropna=False) == 1).all()
    assert paths["loss"].isna().any()


def test_the_phases_hold_all_of_the_movement(short_run):
    """Measured and predicted shares add up to 1 over the phases, in every run."""
    p, work, files = short_run
    shares = schedule_movement.phase_shares(schedule_movement.movement(files, work, [p.budget, p.large_budget]))
    sums = shares.groupby(["schedule", "budget", "seed"])[["share", "predicted"]].sum()
    np.testing.assert_allclose(sums, 1, rtol=1e-9)


def steady_losses(noise: float, steps: int = 400, settle: int = 80) -> pd.DataFrame:
    """Losses of two tasks that fall to 0.3 and 0.05 within ``settle`` steps and then vary by ``noise``."""
    rng = np.random.default_rng(0)
    fall = 1 + 4 * np.exp(-np.arange(steps) / (settle / 5))
    draws = rng.gamma(1 / noise**2, noise**2, (steps, 2)) if noise else np.ones((steps, 2))
    return pd.DataFrame(fall[:, None] * draws * [0.3, 0.05], columns=["emotion", "reporting"]).rename_axis("step")


def ended(budget: float, noise: float) -> float:
    """OneCycleLR's distance from the fixed point over that of a constant rate, on such losses."""
    losses, rows = steady_losses(noise), []
    for name in schedules.SCHEDULES:
        s = schedule_movement._replay(losses, name, budget, 0.0)
        long = pd.DataFrame({"s": s.rename_axis(columns="task").stack(), "loss": losses.stack()}).reset_index()
        rows.append(long.set_axis(["step", "task", "s", "loss"], axis=1).assign(schedule=name, budget=budget, seed=0))
    wide = schedule_movement.distances(pd.concat(rows)).set_index("schedule")["distance"]
    return wide["onecycle"] / wide["constant"]


def test_equal_sums_bring_log_sigma_equally_far():
    """Under way: at a sum of 0.3 the two schedules end within a tenth of each other, whatever the noise."""
    assert ended(0.3, 0.0) == pytest.approx(1, abs=0.1)
    assert ended(0.3, 0.5) == pytest.approx(1, abs=0.1)


def test_a_falling_rate_lets_the_jitter_rest():
    """Arrived, on losses that no longer fall: OneCycleLR ends nearer, so that S2b could come out either way."""
    assert ended(12.0, 0.5) < 0.8


def test_lag_and_jitter_are_the_parts_of_the_distance():
    """A parameter that stands 0.3 above its fixed point and swings by 0.4 has a lag of 0.3 and a jitter of 0.4."""
    swing = 0.5 * math.log(0.2) + 0.3 + 0.4 * np.array([1, -1] * 10)
    s = np.concatenate([np.zeros(180), swing])
    table = pd.DataFrame({"schedule": "onecycle", "budget": 3.0, "seed": 0, "step": np.arange(200), "task": "emotion"})
    found = schedule_movement.distances(table.assign(s=s, loss=0.2)).iloc[0]
    assert (found["lag"], found["jitter"], found["distance"]) == pytest.approx((0.3, 0.4, 0.5))


def test_targets_are_those_of_the_last_losses():
    """Half the log of the mean loss over the last 30 %, and none for a task that was not there."""
    table = pd.DataFrame({"seed": 0, "step": np.arange(10), "task": "emotion", "loss": [9.0] * 7 + [0.1, 0.2, 0.3]})
    gone = table.assign(task="reporting", loss=[1.0] * 7 + [np.nan] * 3)
    found = schedule_movement.targets(pd.concat([table, gone]))
    assert found["task"].tolist() == ["emotion"]
    assert found["target"].tolist() == pytest.approx([0.5 * math.log(0.2)])


def made_distances(ratio: float) -> pd.DataFrame:
    """Distances of 3 seeds, OneCycleLR's about ``ratio`` times those of a constant rate."""
    rows = [
        {
            "schedule": name,
            "budget": 0.3,
            "seed": seed,
            "distance": (0.5 + 0.1 * seed) * factor,
            "lag": 0.1,
            "jitter": 0.1,
        }
        for seed in range(3)
        for name, factor in {"onecycle": ratio * (1 + 0.001 * seed), "constant": 1.0, "linear": 1.0}.items()
    ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize("key", ["S2", "S2b"])
@pytest.mark.parametrize(("ratio", "verdict"), [(0.5, Verdict.CONFIRMED), (1.0, Verdict.REFUTED)])
def test_an_end_nearer_to_the_fixed_point_is_refinement(key, ratio, verdict):
    """The rule goes both ways, by the ratio of the distances and not by the distances themselves."""
    measurement = schedule_movement.measure_refinement(made_distances(ratio), 0.3)
    assert measurement.measured == pytest.approx(ratio, rel=0.01)
    assert CLAIMS[key].rule.judge(measurement) == verdict


def made_shares(share: float) -> pd.DataFrame:
    """Last-phase shares of 3 seeds around ``share``."""
    rows = {"schedule": "onecycle", "phase": "last 30 %", "budget": 0.3, "predicted": 0.08}
    return pd.DataFrame([{**rows, "seed": seed, "share": share + 0.001 * seed} for seed in range(3)])


@pytest.mark.parametrize(("share", "verdict"), [(0.05, Verdict.CONFIRMED), (0.5, Verdict.REFUTED)])
def test_a_busy_last_phase_would_refute_s2a(share, verdict):
    """The rule goes both ways."""
    assert CLAIMS["S2a"].rule.judge(schedule_movement.measure_last_share(made_shares(share))) == verdict


def test_run_lengths_out_of_range_are_named():
    """A run of 5 steps is refused with the value and the range."""
    with pytest.raises(ValidationError, match=r"between 20 and 100,000 steps, got \[5\]"):
        SchedulesParameters(lengths=[5, 100])
