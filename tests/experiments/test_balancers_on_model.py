"""Balancers in the training loop: what they hand the optimiser, by slow twins; the runs, their tables and figures."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from small_runs import batches, job, model

from aura_study.balancing import BALANCERS, balancer
from aura_study.claims import CLAIMS
from aura_study.data.tasks import TASK_NAMES, TASKS
from aura_study.experiments.balancers import model_figures as figures
from aura_study.experiments.balancers import model_tables, on_model
from aura_study.experiments.balancers.model_balancer import ModelBalancer
from aura_study.experiments.balancers.parameters import BalancersParameters
from aura_study.runs.jobs import job_metadata
from aura_study.training.loop import NonFiniteError, task_loss, train

pytest.importorskip("torchjd")
pytest.importorskip("cvxpy")


def task_losses(network, batch):
    """Bare loss of each present task."""
    return {task: task_loss(TASKS[task], out, batch.labels[task]) for task, out in network(batch).items()}


def one_step(name: str, cured: bool, step: int):
    """A balancer's step on batch ``step`` of the small stretch (4 to 8: reporting is away), and the bare gradients."""
    network = model().eval()
    batch = batches(job()).batch(step)
    rows = {}
    for task, loss in task_losses(network, batch).items():  # before the balancer watches the encoder's gradients
        found = torch.autograd.grad(loss, list(network.encoder.parameters()), retain_graph=True, materialize_grads=True)
        rows[task] = torch.cat([gradient.flatten() for gradient in found])
    weighing = ModelBalancer(balancer(name), TASK_NAMES, network, cured)
    (batch,) = weighing.watched(iter([batch]))
    losses = task_losses(network, batch)
    weighing.backward(losses, network, 1.0)
    parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in network.encoder.parameters()]
    update = torch.cat([part.flatten() for part in parts])
    return weighing, losses, rows, update


@pytest.mark.parametrize("cured", [False, True])
@pytest.mark.parametrize("name", on_model.ON_MODEL)
def test_the_update_is_the_weighted_sum_of_the_tasks_gradients(name, cured):
    """Weights, pulls and update of a step are those of one gradient per task, taken slowly; absent tasks pull at 0."""
    weighing, _, rows, update = one_step(name, cured, 5)
    noted = {row["task"]: row for row in weighing.rows}
    expected = sum(noted[task]["weight"] * row for task, row in rows.items())
    scale = max(float(row.norm()) for row in rows.values())
    assert float((update - expected).norm()) < 1e-4 * scale
    for task in TASK_NAMES:
        pull = abs(noted[task]["weight"]) * float(rows[task].norm()) if task in rows else 0.0
        assert noted[task]["pull"] == pytest.approx(pull, rel=1e-3, abs=1e-9)
        assert noted[task]["present"] == (task in rows)
    assert noted["toxicity"]["update"] == pytest.approx(float(update.norm()), rel=1e-4, abs=1e-9)


@pytest.mark.parametrize(
    ("name", "ratio"),
    [("UW", 1.0), ("DWA", 1.0), ("Geometric mean", 0.0), ("FAMO", 0.0), ("MGDA", 0.0), ("UPGrad", 0.75)],
)
def test_the_first_absent_step_is_what_the_formula_says(name, ratio):
    """On the real model a zero scales the update by k/m, by 0, or not at all."""
    zero, cured = one_step(name, False, 5)[3], one_step(name, True, 5)[3]
    assert float((zero - ratio * cured).norm()) < 1e-3 * float(cured.norm())


@pytest.mark.parametrize("entry", BALANCERS, ids=lambda entry: entry.name)
def test_every_balancer_trains_the_model_when_cured(entry):
    """Through an absence no balancer breaks, every parameter stays finite, and the absent head is not pulled."""
    if entry.name in ("Nash-MTL", "ExcessMTL"):
        pytest.skip("a solver per step, and a square of the Jacobian: slow, and nothing of their own here")
    work = job(steps=10)
    network = model()
    weighing = ModelBalancer(entry, TASK_NAMES, network, cured=True, epoch=2)

    class Steps:
        def gradients(self, step, model, optimizer):
            if 4 <= step < 8:
                assert all(p.grad is None or not p.grad.any() for p in model.heads["reporting"].parameters())

        def updated(self, step, model, optimizer):
            batch = weighing.batch
            with torch.no_grad():
                losses = task_losses(model, batch)
            weighing.moved(losses)

    train(network, weighing.watched(iter(batches(work))), work.settings, weighting=weighing, observer=Steps())
    assert weighing.steps == 10
    assert all(bool(parameter.isfinite().all()) for parameter in network.parameters())


def test_dwa_stops_with_a_sentence_at_the_step_where_its_total_is_nan():
    """Two epochs of zeros, then NaN: the error names the balancer and the step."""
    work = job()
    network = model()
    weighing = ModelBalancer(balancer("DWA"), TASK_NAMES, network, cured=False, epoch=1)

    class Steps:
        def gradients(self, step, model, optimizer):
            pass

        def updated(self, step, model, optimizer):
            weighing.moved({})

    with pytest.raises(NonFiniteError, match="the total of DWA is nan at step 6"):
        train(network, weighing.watched(iter(batches(work))), work.settings, weighting=weighing, observer=Steps())


def test_what_cannot_be_asked_is_refused():
    """A balancer of gradients has no total, and cannot balance a frozen encoder."""
    network = model()
    weighing = ModelBalancer(balancer("MGDA"), TASK_NAMES, network, cured=True)
    with pytest.raises(TypeError, match="MGDA takes gradients"):
        weighing({})
    network.encoder.requires_grad_(False)
    with pytest.raises(ValueError, match="frozen"):
        weighing.backward({}, network, 1.0)


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    changes = {"model_before": 1, "model_absent": 5, "model_back": 1, "mixed_steps": 2}
    p = BalancersParameters.for_profile("smoke", **changes)
    return on_model.run_all(p, tmp_path_factory.mktemp("balancers"))


def test_runs_are_recorded_whole_and_stops_are_results(ran):
    """Both arms are one run until the absence; a run that broke keeps its steps, its losses and the reason."""
    steps, ends = model_tables.read_steps(ran[0]), model_tables.read_ends(ran[0])
    assert len(ends) == 2 * 2 * len(on_model.ON_MODEL)
    before = steps[steps["phase"] == "before"].pivot_table(index=["balancer", "task"], columns="arm", values="update")
    assert (before["zero"] == before["PresentOnly"]).all()
    broken = ends[ends["stopped"].notna()]
    assert set(zip(broken["balancer"], broken["arm"], strict=True)) == {("DWA", "zero")}
    stretch = ends[ends["regime"] == "stretch"].set_index(["balancer", "arm"])
    assert stretch.loc[("DWA", "zero"), "steps"] == 6
    assert ends.filter(like="f1 ").notna().all(axis=None)
    assert "nan" in next(job_metadata(path)["stopped"] for path in ran[0] if "dwa-zero" in path.name)


def test_twins_end_in_one_place(ran):
    """With a task that is never there the cured balancer trains the encoder as one made for the others: N2b."""
    measured = model_tables.n2b_measurement(ran[1])
    assert CLAIMS["N2b"].decide(measured).verdict == "confirmed"
    assert measured.measured < 1e-6
    assert CLAIMS["N2b"].rule.judge(model_tables.n2b_measurement(ran[1])) != "refuted"


def test_shares_are_of_all_pulls_and_figures_draw(ran):
    """A step's shares sum to 1 or do not exist; tables have a row for each balancer; plates have bytes and words."""
    steps, ends = model_tables.read_steps(ran[0]), model_tables.read_ends(ran[0])
    sums = steps.groupby([*model_tables.RUN, "step"])["share"].sum(min_count=1).dropna()
    assert np.allclose(sums, 1)
    assert list(model_tables.updates(steps, ends)["balancer"]) == sorted(on_model.ON_MODEL)
    assert set(model_tables.shares(steps)["regime"]) == {"stretch", "mixed"}
    away = model_tables.away_steps(steps)
    assert away == (1, 6)
    lost, scores = model_tables.lost(ends), model_tables.scores(ends)
    for plate in (figures.updates(steps, away), figures.outcome(lost, scores)):
        assert plate.encode("png")[:4] == b"\x89PNG"
        assert plate.alt


def ends_of(before: float, zero: float, cured: float) -> pd.DataFrame:
    """Three seeds of every balancer with the same losses."""
    return pd.DataFrame(
        {"regime": "stretch", "balancer": name, "arm": arm, "seed": seed, "before": before, "returned": after}
        for name in on_model.ON_MODEL
        for arm, after in (("zero", zero), ("PresentOnly", cured))
        for seed in range(3)
    )


@pytest.mark.parametrize(
    ("zero", "lost", "verdict"),
    [(1.0, 1.0, "confirmed"), (0.9, 0.8, "confirmed"), (0.6, 0.2, "refuted"), (1.5, 2.0, "confirmed")],
)
def test_n1b_is_the_share_of_progress_lost(zero, lost, verdict):
    """Of a fall from 1 to 1/2, what the zero-filled run does not follow; the rule can refute."""
    measured = model_tables.n1b_measurement(ends_of(1.0, zero, 0.5))
    assert measured.measured == pytest.approx(lost)
    assert CLAIMS["N1b"].decide(measured).verdict == verdict
    assert math.isclose(measured.limits["share lost with the least disturbed of the four"], lost)
