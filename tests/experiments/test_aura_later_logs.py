"""AURA's later logs: what division shows, the small balancers, the small model's trainings, the lineage, sigma."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional as F

from aura_study.claims import CLAIMS, Measurement, Verdict
from aura_study.claims.notebooks.aura_later_logs import DECADES, FLOOR, SCALE
from aura_study.experiments.aura_later_logs import falling, lineage, logs, simulation, solved
from aura_study.experiments.aura_later_logs.balancers import (
    AuraGradNorm,
    Scales,
    gradient_norms,
    log_losses,
    scaled_total,
)
from aura_study.experiments.aura_later_logs.parameters import AuraLaterLogsParameters
from aura_study.experiments.aura_later_logs.small_model import ROWS, batches, task_loss
from aura_study.losses import MaskedKendallLoss
from aura_study.theory.driven import driven_path
from aura_study.theory.optimizers import Adam


@pytest.fixture(scope="module")
def p() -> AuraLaterLogsParameters:
    """Long enough for reporting to be solved; one seed."""
    return AuraLaterLogsParameters(seeds=1, batches=240, flow_steps=2_000)


@pytest.fixture(scope="module")
def scaled(p: AuraLaterLogsParameters) -> tuple[pd.DataFrame, pd.DataFrame]:
    return simulation.scaled_trainings(p)


def verdict(key: str, measurement: Measurement) -> Verdict:
    return CLAIMS[key].decide(measurement).verdict


def test_the_reported_loss_is_one_term_and_never_beyond_the_floor() -> None:
    """Nine epochs; no ratio lies below ln 1e-8 by more than rounding; a tenth more of anything else is refuted."""
    ratios = logs.floor_ratios()
    assert ratios["epoch"].tolist() == list(range(2, 11))
    assert (ratios["ratio"] >= FLOOR * (1 + 1e-6)).all()
    assert verdict("A1", logs.measure_floor(ratios)) == Verdict.CONFIRMED
    assert verdict("A1", logs.measure_floor(ratios.assign(ratio=1.1 * ratios["ratio"]))) == Verdict.REFUTED


@pytest.mark.parametrize("rows", [1, 101, 925, 6_440, 50_000])
def test_rows_and_presence_undo_each_other(rows: int) -> None:
    """Whatever the other tasks hold; V10.2's 925 of 52,860 rows are in a quarter of the batches."""
    for others in (logs.OTHERS, logs.CAPPED_OTHERS):
        assert logs.rows_for(logs.presence(rows, others), others) == pytest.approx(rows, rel=1e-9)
    assert logs.presence(925, logs.CAPPED_OTHERS) == pytest.approx(0.246, abs=1e-3)


def test_the_presence_of_a_made_log_is_found_and_can_refute(monkeypatch: pytest.MonkeyPatch) -> None:
    """A log whose scale always stands at the clamp gives its rows back; one of 500 rows refutes the claim."""
    for rows, expected in ((6_440, Verdict.CONFIRMED), (500, Verdict.REFUTED)):
        weight = 1 + 4 * logs.presence(rows)
        made = pd.DataFrame({"epoch": [1, 2, 3], "weight_reporting": [1.0, weight, 1 + 0.9 * (weight - 1)]})
        monkeypatch.setattr(logs, "later_log", lambda _, made=made: made)
        measured = logs.measure_presence(logs.presence_bounds())
        assert measured.measured == pytest.approx(rows, rel=1e-6)
        assert measured.low < rows < measured.high
        assert verdict("A4", measured) == expected


def test_scales_equalise_the_norms_and_blow_up_at_zero() -> None:
    """Scale times norm is the largest norm; a norm of 0 gets the largest over 1e-12; all zeros get 1e12."""
    scales = Scales()({"a": 2.0, "b": 0.5, "c": 0.0})
    assert scales == {"a": 1.0, "b": 4.0, "c": pytest.approx(2e12)}
    assert Scales()({"a": 0.0, "b": 0.0}) == {"a": pytest.approx(1e12), "b": pytest.approx(1e12)}


def test_a_clamp_and_running_norms_by_hand() -> None:
    """An absent task's running norm stays; one that the first batch lacked starts at 0; no scale exceeds the clamp."""
    scales = Scales(clamp=5.0, memory=0.9)
    assert scales({"a": 1.0, "b": 0.5}) == {"a": 1.0, "b": 2.0}
    assert scales({"a": 1.0}) == {"a": 1.0}
    assert scales({"a": 1.0, "b": 0.0})["b"] == pytest.approx(1 / 0.45)
    assert scales({"a": 1.0, "c": 2.0})["c"] == pytest.approx(5.0)  # .2 against 1
    for _ in range(30):
        last = scales({"a": 1.0, "b": 0.0})
    assert last["b"] == 5.0


def test_a_log_loss_below_the_clamp_has_no_gradient_and_its_scale_changes_nothing() -> None:
    """Not small: 0; the total's gradient is bit for bit that of the other tasks."""
    z = torch.tensor([19.0, 1.0], requires_grad=True)
    losses = {"solved": F.softplus(-z[0]), "other": F.softplus(-z[1])}
    held = log_losses(losses)
    assert gradient_norms(held, z)["solved"] == 0
    gradients = [
        torch.autograd.grad(scaled_total(held, {"solved": scale, "other": 1.0}), z, retain_graph=True)[0]
        for scale in (1.0, 4e11)
    ]
    assert torch.equal(*gradients)


def test_gradnorm_steps_as_auras_code_does() -> None:
    """Two tasks by hand: the pull above its target loses rate times norm, the other gains it; then sum and clamp."""
    shared = torch.tensor([1.0, 2.0], requires_grad=True)
    losses = {"a": 3 * shared[0], "b": shared[1]}  # norms 3 and 1, losses 3 and 2
    balancer = AuraGradNorm({"a": 6.0, "b": 2.0, "c": 1.0}, alpha=1.5)
    balancer.step(losses, shared)
    moved = {"a": 1 - 0.025 * 3, "b": 1 + 0.025 * 1, "c": 1.0}
    total = sum(moved.values())
    assert balancer.weights == pytest.approx({task: 3 * weight / total for task, weight in moved.items()})
    for _ in range(200):
        balancer.step(losses, shared)
    assert sum(balancer.weights.values()) == pytest.approx(3)
    assert min(balancer.weights.values()) > 0.05
    before = dict(balancer.weights)
    balancer.step({"a": losses["a"]}, shared)
    assert balancer.weights == before


def test_the_focal_loss_is_the_one_that_aura_smooths() -> None:
    """.9 on the right class and .1 on the other, the factor taken from the smoothed entropy."""
    logits, label = torch.tensor([[0.3, -1.2]]), torch.tensor([[1.0]])
    log_p = F.log_softmax(logits, -1)[0]
    entropy = -(0.1 * log_p[0] + 0.9 * log_p[1])
    assert task_loss("toxicity", logits, label).item() == pytest.approx(
        ((1 - torch.exp(-entropy)) ** 2 * entropy).item(), rel=1e-6
    )


def test_batches_are_drawn_once_for_all_arms_and_hold_the_tasks_as_often_as_their_sizes_say() -> None:
    """Equal for equal seeds; reporting in about .56 of them, and told by one feature."""
    one, other = (list(batches(600, seed=3)) for _ in range(2))
    for mine, theirs in zip(one, other, strict=True):
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(mine[task][0], theirs[task][0]) for task in mine)
        assert sum(len(rows) for rows, _ in mine.values()) == logs.BATCH
    held = [batch["reporting"] for batch in one if "reporting" in batch]
    assert len(held) / len(one) == pytest.approx(logs.presence(ROWS["reporting"]), abs=0.07)
    for rows, label in held:
        assert torch.equal((rows[:, :1] > 0).float(), label)


def test_the_explosion_comes_and_changes_no_parameter(scaled: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    """The gate is open and the trainings end alike; without an explosion the measurement is void."""
    ends, epochs = scaled
    measured = simulation.measure_end(ends, epochs)
    assert measured.limits[SCALE] > 1e9
    assert ends["difference"].tolist() == [0.0]
    calm = epochs.assign(scale=1.0)
    assert verdict("A3", simulation.measure_end(ends, calm)) == Verdict.VOID
    differ = pd.concat([ends.assign(seed=seed, difference=1e-7) for seed in range(3)])
    assert verdict("A3", simulation.measure_end(differ, epochs)) == Verdict.REFUTED


def test_the_pull_is_compared_over_seeds_and_void_without_one() -> None:
    """Twice as much in each of three seeds; nothing at all in one of them."""
    rows = [
        {"epoch": 2, "version": version, "scale": 1e12, "pull": pull * (1 + 0.1 * seed), "seed": seed}
        for seed in range(3)
        for version, pull in (("V11.5", 1.0), ("V11.6", 2.0))
    ]
    epochs = pd.DataFrame(rows)
    measured = simulation.measure_pull(epochs)
    assert measured.measured == pytest.approx(2)
    assert verdict("A3a", measured) == Verdict.CONFIRMED
    assert verdict("A3a", simulation.measure_pull(epochs.assign(pull=1 / epochs["pull"]))) == Verdict.REFUTED
    assert verdict("A3a", simulation.measure_pull(epochs.assign(pull=0.0))) == Verdict.VOID


def made_runs(reporting: dict[str, float], loss: float) -> pd.DataFrame:
    """Last epochs of three seeds, with that weight of reporting by version; the others share the rest."""
    return pd.DataFrame(
        {"version": version, "seed": seed, "epoch": 10, "task": task, "loss": loss}
        | {"weight": weight if task == "reporting" else (4 - weight) / 3}
        for version, weight in reporting.items()
        for seed in range(3)
        for task in ROWS
    )


def test_directions_are_held_against_the_logs() -> None:
    """All eight as logged confirm, V11.4 the other way refutes, and an unsolved task says nothing."""
    for weights, loss, expected in (
        ({"V11.3": 0.2, "V11.4": 3.0}, 1e-4, Verdict.CONFIRMED),
        ({"V11.3": 0.2, "V11.4": 0.2}, 1e-4, Verdict.REFUTED),
        ({"V11.3": 0.2, "V11.4": 3.0}, 0.1, Verdict.VOID),
    ):
        runs = made_runs(weights, loss)
        assert verdict("A5", simulation.measure_directions(simulation.directions(runs), runs)) == expected
    solved_runs = made_runs({"V11.3": 0.2, "V11.4": 3.0}, 1e-4)
    measured = simulation.measure_alpha(solved_runs)
    assert measured.measured == pytest.approx(15)
    assert measured.limits[DECADES] == pytest.approx(math.log10(math.log(2) / 1e-4))


def test_gradnorm_trainings_start_at_one_and_keep_their_sum(p: AuraLaterLogsParameters) -> None:
    """Weights of 1 after the frozen epoch; a sum of 4 after each."""
    run = simulation.gradnorm_training(p, 0, 1.5)
    first = run[run["epoch"] == 1]
    assert (first["weight"] == 1).all()
    assert run.groupby("epoch")["weight"].sum().to_numpy() == pytest.approx(np.full(10, 4.0))
    assert run["weight"].nunique() > 10


def test_exploded_batches_have_a_scale_and_no_gradient() -> None:
    """And the log loss of the clamp."""
    table = solved.exploded_batches(3)
    assert len(table) == 3
    assert table["log_loss"].to_numpy() == pytest.approx(FLOOR)
    assert verdict("A2", solved.measure_gradient(table)) == Verdict.CONFIRMED
    assert verdict("A2", solved.measure_gradient(table.assign(gradient=1e-9))) == Verdict.REFUTED
    assert verdict("A2", solved.measure_gradient(table.assign(scale=5.0))) == Verdict.VOID


def test_single_precision_opens_the_door_before_the_clamp() -> None:
    """At two logits that float64 tells apart from the floor: there a gradient is left, in float32 none."""
    table = solved.doors()
    assert verdict("A2a", solved.measure_doors(table)) == Verdict.CONFIRMED
    for row in table.to_dict("records"):
        assert row["logit"] < -FLOOR
        sign = 1 if row["label"] == "positive" else -1
        for kind, still in ((torch.float32, True), (torch.float64, False)):
            at = torch.tensor(sign * (row["logit"] + 0.01), dtype=kind, requires_grad=True)
            label = torch.tensor(max(sign, 0), dtype=kind)
            (slope,) = torch.autograd.grad(F.binary_cross_entropy_with_logits(at, label).clamp(min=1e-8).log(), at)
            assert (slope == 0) == still


@pytest.mark.slow
def test_each_version_gets_the_verdict_that_is_told_and_a_wrong_one_would_refute() -> None:
    """Six forms, the marks that AURA's versions use themselves."""
    table = lineage.lineage()
    assert table["version"].tolist() == ["V9", "V10", "V10.2", "V11 baseline", "V11", "V12"]
    assert verdict("A6", lineage.measure_lineage(table)) == Verdict.CONFIRMED
    assert verdict("A6", lineage.measure_lineage(table.assign(verdict="safe"))) == Verdict.REFUTED


def test_a_zero_without_a_gradient_moves_the_weight_as_one_with_a_gradient_does() -> None:
    """As gradient flow of the regulariser alone says."""
    table = lineage.dummies()
    assert table["growth"].nunique() == 1
    assert table["growth"].to_numpy() == pytest.approx(table["predicted"].to_numpy(), rel=1e-3)
    assert verdict("A6a", lineage.measure_dummy(table)) == Verdict.REFUTED


def test_sigma_falls_beside_a_solved_task_at_the_speed_of_the_flow() -> None:
    """Slower than beside an absent one, at a ratio of loss to variance that stays."""
    table = solved.descents(AuraLaterLogsParameters(flow_steps=20_000))
    speeds = solved.speeds(table)
    assert verdict("A7", solved.measure_speeds(speeds)) == Verdict.CONFIRMED
    assert (speeds["of_phantom"] < 1).all()
    assert speeds["ratio"].to_numpy() == pytest.approx(1 - speeds["of_phantom"].to_numpy(), abs=0.01)
    absent = table[table["task"] == "absent"]
    assert absent["s"].to_numpy() == pytest.approx(-(absent["rate"] * absent["step"]).to_numpy())


def test_focal_losses_reach_the_floor_sooner() -> None:
    """On the logarithm a few units of time, on the loss itself millions."""
    times = solved.times_to_the_floor()
    assert times["on_log"].is_monotonic_decreasing
    assert (times["on_log"] < 25).all()
    assert (times["on_loss"] > 1e6).all()
    assert times["under_kendall"].is_monotonic_decreasing
    assert (times["under_kendall"] > times["on_log"]).all()
    assert (times["under_kendall"] < 10 * times["on_log"]).all()


def test_beside_a_loss_that_falls_by_itself_sigma_falls_half_as_fast_and_no_faster_than_beside_an_absent_one() -> None:
    """Both optimisers, with noise and without; SGD's path is the closed form's; another speed would be refuted."""
    table = falling.descents()
    speeds = falling.speeds(table)
    assert len(speeds) == 2 * 2 * 2 * len(falling.PACES)
    assert verdict("A8", falling.measure_speeds(speeds)) == Verdict.CONFIRMED
    assert verdict("A8", falling.measure_speeds(speeds.assign(measured=speeds["rate"] * speeds["pace"]))) != "confirmed"
    slow = speeds[(speeds["optimizer"] == "SGD") & (speeds["noise"] == 0)]
    assert slow["ratio"].to_numpy() == pytest.approx(slow["rest"].to_numpy(), abs=1e-3)
    still = table[(table["optimizer"] == "SGD") & (table["noise"] == 0)]
    assert np.abs(still["s"] - still["theory"]).max() < 0.05


def test_of_the_ways_to_bound_a_weight_a_floor_on_the_loss_forgets_the_stretch() -> None:
    """The clamp never comes back, without a bound Adam is poisoned; a way back that grew would be refuted.

    A stretch that is short against Adam's own memory shows: its way back is longer, by the young clock.
    """
    table = falling.floors(AuraLaterLogsParameters())
    back = table.groupby("way")["back"].agg(list)
    assert set(back["clamp on s"]) == set(back["no bound"]) == {math.inf}
    assert verdict("A8a", falling.measure_floor(table)) == Verdict.CONFIRMED
    assert verdict("A8a", falling.measure_floor(table.assign(back=table["stretch"]))) == Verdict.REFUTED
    young = falling.floors(AuraLaterLogsParameters(solved_steps=1_000))
    assert falling.measure_floor(young).measured < 0.95
    bounded = table[table["way"] != "no bound"]["weight"]
    assert bounded.to_numpy() == pytest.approx(1 / falling.FLOOR, rel=0.01)


def test_the_floors_recursion_is_the_loss_module_under_torch() -> None:
    """A masked loss with a floor and Adam, step by step: there, at 0, and there again."""
    losses = np.repeat([1.0, 0.0, 1.0], [20, 400, 60])
    path = driven_path(falling.WAYS["floor on the loss"], 0.0, losses, falling.SOLVED_RATE, Adam())
    weigh = MaskedKendallLoss(["task"], loss_floor=falling.FLOOR, dtype=torch.float64)
    adam = torch.optim.Adam(weigh.parameters(), lr=falling.SOLVED_RATE)
    for step, loss in enumerate(losses):
        assert weigh.theta.item() == pytest.approx(path[step], abs=1e-10)
        adam.zero_grad()
        weigh({"task": torch.tensor(loss, dtype=torch.float64)}).backward()
        adam.step()


def test_loss_over_variance_tells_a_phantom_from_a_solved_task_and_sigma_alone_does_not() -> None:
    """The rule of thumb, by its numbers: far above 1 after an unmasked absence alone."""
    signs = falling.signs().set_index("cause")
    assert signs.loc["absent, unmasked", "fall"] == pytest.approx(signs.loc["solved, fast", "fall"], rel=0.05)
    assert (signs["after"] > 10).tolist() == [True, False, False, False]
    assert signs.loc["solved, slowly", "during"] > 0.5 > 0.1 > signs.loc["solved, fast", "during"]
    assert abs(signs.loc["absent, masked", "fall"]) < 0.05
