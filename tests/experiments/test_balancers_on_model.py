"""Balancers in the training loop: what they hand the optimiser, by slow twins; the runs, their tables and figures."""

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


def test_an_absence_too_short_for_dwa_is_refused():
    """Whether zeros break DWA cannot be seen before two of its epochs held nothing else."""
    with pytest.raises(ValueError, match=r"three times model_epoch.*got 8 and 3"):
        BalancersParameters(model_absent=8, model_epoch=3)


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
    changes = {"model_before": 1, "model_absent": 6, "model_back": 1}
    p = BalancersParameters.for_profile("smoke", **changes)
    return on_model.run_all(p, tmp_path_factory.mktemp("balancers"))


def test_runs_are_recorded_whole_and_stops_are_results(ran):
    """Both arms are one run until the absence; a run that broke keeps its steps and the reason."""
    steps = model_tables.read_steps(ran[0])
    assert len(ran[0]) == 2 * len(on_model.ON_MODEL)
    before = steps[steps["phase"] == "before"].pivot_table(index=["balancer", "task"], columns="arm", values="update")
    assert (before["zero"] == before["PresentOnly"]).all()
    stopped = {path.name: job_metadata(path)["stopped"] for path in ran[0]}
    (broken,) = (name for name, why in stopped.items() if why)
    assert "dwa-zero" in broken
    assert "nan" in stopped[broken]
    last = steps.groupby(["balancer", "arm"])["step"].max()
    assert last.pop(("DWA", "zero")) == 5
    assert set(last) == {7}


def test_what_is_left_is_told_with_what_broke(ran):
    """At the last absent step: exactly 0, next to nothing, or not a number, which is said and counts as nothing."""
    steps = model_tables.read_steps(ran[0])
    left = model_tables.left(steps).set_index("balancer")
    assert set(left.index) == set(on_model.STOPPED)
    assert left["left"].drop("FAMO").tolist() == [0.0, 0.0, 0.0]
    assert 0 < left.loc["FAMO", "left"] < 1e-5
    measured = model_tables.n1b_measurement(steps)
    assert measured.measured == pytest.approx(left["left"].max())
    assert measured.limits["runs"] == 4.0
    updates = model_tables.updates(steps).set_index("balancer")
    assert updates.loc["UPGrad", "first absent step"] == "0.75"
    assert updates.loc["Geometric mean", "runs that broke"] == "0 of 1"


def test_famo_on_the_model_keeps_what_its_formula_foretells(ran):
    """The slope of the logarithm at 0 over the others' slopes, with FAMO's own weights, within five percent."""
    told = model_tables.famo_foretold(model_tables.read_steps(ran[0]))
    assert told["ratio"].between(0.95, 1.05).all()
    assert (told["foretold"] < 1e-5).all()


def test_twins_end_in_one_place(ran):
    """With a task that is never there the cured balancer trains the encoder as one made for the others: N2b."""
    measured = model_tables.n2b_measurement(ran[1])
    assert CLAIMS["N2b"].decide(measured).verdict == "confirmed"
    assert measured.measured < 1e-6
    assert CLAIMS["N2b"].rule.judge(model_tables.n2b_measurement(ran[1])) != "refuted"


def test_shares_are_of_all_pulls_and_figures_draw(ran):
    """A step's shares sum to 1 or do not exist; tables have a row for each balancer; plates have bytes and words."""
    steps = model_tables.read_steps(ran[0])
    sums = steps.groupby([*model_tables.RUN, "step"])["share"].sum(min_count=1).dropna()
    assert np.allclose(sums, 1)
    assert list(model_tables.updates(steps)["balancer"]) == sorted(on_model.ON_MODEL)
    assert set(model_tables.shares(steps)["balancer"]) == set(on_model.ON_MODEL)
    away = model_tables.away_steps(steps)
    assert away == (1, 7)
    plate = figures.updates(steps, away)
    assert plate.encode("png")[:4] == b"\x89PNG"
    assert plate.alt


def steps_of(famo: float, seeds: int = 3, dwa_breaks: bool = True) -> pd.DataFrame:
    """Two absent steps of the four balancers: what is left of FAMO's update, and DWA's run over or not."""
    zeros = {"DWA": 1.0, "FAMO": famo, "Geometric mean": 0.0, "MGDA": 0.0, "UPGrad": 0.75}
    return pd.DataFrame(
        {"balancer": name, "arm": arm, "seed": seed, "step": step, "phase": "away", "update": update}
        for name, zero in zeros.items()
        for seed in range(seeds)
        for step in range(2)
        for arm, update in (("zero", zero * (1 + 0.1 * seed)), ("PresentOnly", 1.0))
        if not (dwa_breaks and name == "DWA" and arm == "zero" and step)
    )


@pytest.mark.parametrize(
    ("steps", "broke", "verdict"),
    [
        (steps_of(1e-7), 3, "confirmed"),
        (steps_of(0.5), 3, "refuted"),
        (steps_of(1e-7, dwa_breaks=False), 0, "refuted"),
        (steps_of(1e-7, seeds=2), 2, "inconclusive"),
    ],
)
def test_n1b_asks_what_is_left_of_the_update(steps, broke, verdict):
    """The most that any of the four keeps decides; a run that broke keeps nothing, and is counted."""
    measured = model_tables.n1b_measurement(steps)
    assert measured.limits["runs that broke"] == broke
    assert CLAIMS["N1b"].decide(measured).verdict == verdict
