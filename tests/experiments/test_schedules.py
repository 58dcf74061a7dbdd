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
from aura_study.training.runs import train_jobs


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
    paths = schedule_movement.movement(files, work, large_budget=p.budget)
    trained, replayed = paths.iloc[: len(paths) // 2], paths.iloc[len(paths) // 2 :]
    both = trained.merge(replayed, on=["step", "task"], suffixes=("", "_replayed"))
    assert len(both) == p.steps * 4
    np.testing.assert_allclose(both["s"], both["s_replayed"], atol=1e-5)


def test_the_phases_hold_all_of_the_movement(short_run):
    """Measured and predicted shares add up to 1 over the phases, in every run."""
    p, work, files = short_run
    shares = schedule_movement.phase_shares(schedule_movement.movement(files, work, p.large_budget))
    sums = shares.groupby(["schedule", "budget", "seed"])[["share", "predicted"]].sum()
    np.testing.assert_allclose(sums, 1, rtol=1e-9)


def made_shares(share: float) -> pd.DataFrame:
    """Last-phase shares of 3 seeds around ``share``."""
    rows = {"schedule": "onecycle", "phase": "last 30 %", "budget": 0.3, "predicted": 0.08}
    return pd.DataFrame([{**rows, "seed": seed, "share": share + 0.001 * seed} for seed in range(3)])


@pytest.mark.parametrize(("share", "verdict"), [(0.05, Verdict.REFUTED), (0.5, Verdict.CONFIRMED)])
def test_a_busy_last_phase_would_confirm_s2(share, verdict):
    """The rule goes both ways."""
    assert CLAIMS["S2"].rule.judge(schedule_movement.measure_refinement(made_shares(share))) == verdict


def test_run_lengths_out_of_range_are_named():
    """A run of 5 steps is refused with the value and the range."""
    with pytest.raises(ValidationError, match=r"between 20 and 100,000 steps, got \[5\]"):
        SchedulesParameters(lengths=[5, 100])
