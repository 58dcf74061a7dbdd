"""Properties of the training loop and of what it records."""

import numpy as np
import pandas as pd
import pytest
import torch
from pydantic import ValidationError
from small_runs import batches, job, model, prepared, settings

from aura_study.data.batches import Batch
from aura_study.data.tasks import TASK_NAMES
from aura_study.training.loop import AURA, NonFiniteError, TrainingSettings, build_optimizer, build_schedule, train
from aura_study.training.recording import CHUNK, Recorder, TrajectoryRecorder, read_trajectories
from aura_study.training.runs import Presence, Probe, build_model
from aura_study.training.weighting import build_weighting


def trained(folder, name="run", **changes):
    """Train and record a small job; the trajectory and what training left behind."""
    work = job(name, **changes)
    with TrajectoryRecorder(
        folder / f"{name}.parquet", TASK_NAMES, work.settings.policy, 0, torch.device("cpu")
    ) as recorder:
        result = train(model(), batches(work).iterate(), work.settings, recorder)
    return read_trajectories([folder / f"{name}.parquet"]), result


def test_policies_differ_in_nothing_but_sigma_until_the_return(tmp_path):
    """Same seed, same batches: losses and encoder gradients agree bit for bit until the absent task is back."""
    first, _ = trained(tmp_path, "a", policy="unmasked")
    second, _ = trained(tmp_path, "b", policy="masked")
    others = (first["task"] != "reporting") & (first["step"] <= 8)
    for column in ("loss", "gradient_norm", "sigma"):
        before_return = others if column == "loss" else others & (first["step"] < 8)
        assert first.loc[before_return, column].equals(second.loc[before_return, column])
    absent = (first["task"] == "reporting") & (first["step"] == 8)
    assert first.loc[absent, "sigma"].item() < second.loc[absent, "sigma"].item()
    ratio = first.loc[absent, "gradient_norm"].item() / second.loc[absent, "gradient_norm"].item()
    assert ratio == pytest.approx(first.loc[absent, "weight"].item() / second.loc[absent, "weight"].item(), rel=1e-4)


def test_frozen_stands_still_and_masked_does_not(tmp_path):
    """Over the absence the frozen sigma moves by exactly 0; the masked one coasts."""
    moved = {}
    for policy in ("masked", "frozen"):
        run, _ = trained(tmp_path, policy, policy=policy)
        absent = run[(run["task"] == "reporting") & run["step"].between(4, 8)]["sigma"]
        moved[policy] = absent.max() - absent.min()
    assert moved["frozen"] == 0.0
    assert moved["masked"] > 0


def test_trajectory_columns(tmp_path):
    """One row per step and task; sigma and weight belong together; absent tasks have no loss and send no gradient."""
    run, result = trained(tmp_path)
    assert list(run["step"]) == list(np.repeat(np.arange(12), 4))
    assert list(run["task"][:4]) == list(TASK_NAMES)
    np.testing.assert_allclose(run["weight"], 1 / (2 * run["sigma"] ** 2), rtol=1e-5)
    absent = ~run["present"]
    assert set(run[absent]["step"]) == {4, 5, 6, 7}
    assert run[absent]["loss"].isna().all()
    assert (run[absent]["gradient_norm"] == 0).all()
    assert run[~absent]["loss"].notna().all()
    assert (run[~absent]["gradient_norm"] > 0).all()
    assert (run["lr"] == 0.01).all()
    assert result.lr_sigma == [0.01] * 12


def test_recording_changes_nothing(tmp_path):
    """A recorded run and an unrecorded one end in the same weights, bit for bit."""
    _, recorded = trained(tmp_path)
    work = job()
    plain = train(model(), batches(work).iterate(), work.settings)
    for first, second in zip(recorded.model.parameters(), plain.model.parameters(), strict=True):
        assert torch.equal(first, second)


def test_equal_seeds_give_equal_files_and_others_do_not(tmp_path):
    """Byte for byte, on the same machine."""
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        trained(tmp_path, name, seed=seed)
    files = {name: (tmp_path / f"{name}.parquet").read_bytes() for name in "abc"}
    assert files["a"] == files["b"]
    assert files["a"] != files["c"]


def test_accumulation_averages_micro_batches(tmp_path):
    """Two micro-batches a step: half the recorded steps' worth of batches each, all tasks' losses averaged."""
    run, _ = trained(tmp_path, accumulation=2, steps=3, presence=Presence(schedule="alternating"))
    assert run.groupby("step")["present"].sum().tolist() == [2, 2, 2]


@pytest.mark.parametrize("schedule", ["constant", "linear", "onecycle"])
def test_schedules(schedule):
    """Rates as PyTorch and transformers define them; every group follows."""
    chosen = settings(schedule=schedule, steps=100, lr_sigma=0.02)
    net = model()
    weighting = build_weighting(chosen.policy, chosen.parameterization, TASK_NAMES, "cpu")
    optimizer = build_optimizer(net, weighting, chosen)
    scheduler = build_schedule(optimizer, chosen)
    rates = []
    for _ in range(100):
        rates.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
    sigma_rates = np.array(rates)[:, 2]
    peak = {"constant": 0, "linear": 10, "onecycle": 29}[schedule]
    assert sigma_rates.argmax() == peak
    assert sigma_rates.max() == pytest.approx(0.02)
    np.testing.assert_allclose(np.array(rates)[:, 0] * 20, sigma_rates, rtol=1e-9)


def test_parameter_groups():
    """Encoder, heads and sigmas have rates and decays of their own, and together hold every parameter once."""
    chosen = settings(lr_encoder=1e-5, lr_heads=2e-5, lr_sigma=3e-5, weight_decay=0.1, weight_decay_sigma=0.2)
    net = model()
    weighting = build_weighting(chosen.policy, chosen.parameterization, TASK_NAMES, "cpu")
    groups = build_optimizer(net, weighting, chosen).param_groups
    assert [(group["lr"], group["weight_decay"]) for group in groups] == [(1e-5, 0.1), (2e-5, 0.1), (3e-5, 0.2)]
    held = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(held) == sorted(map(id, [*net.parameters(), *weighting.parameters()]))


def test_frozen_encoder_epochs(tmp_path):
    """The encoder keeps its weights for the frozen epochs and then moves; its gradient norms are null meanwhile."""
    start = [value.clone() for value in model().encoder.parameters()]
    run, result = trained(tmp_path, frozen_encoder_epochs=1, steps_per_epoch=6, steps=6, presence=Presence())
    assert all(torch.equal(a, b) for a, b in zip(start, result.model.encoder.parameters(), strict=True))
    assert run["gradient_norm"].isna().all()
    run, result = trained(tmp_path, frozen_encoder_epochs=1, steps_per_epoch=6, steps=9, presence=Presence())
    assert not all(torch.equal(a, b) for a, b in zip(start, result.model.encoder.parameters(), strict=True))
    assert run[run["step"] >= 6]["gradient_norm"].notna().all()


def test_clipping_bounds_the_step_and_leaves_sigma_alone(tmp_path):
    """Under SGD the clipped model moves by at most rate x norm a step; sigma moves as without clipping."""
    shared = {
        "presence": Presence(),
        "optimizer": "sgd",
        "steps": 1,
        "lr_encoder": 1.0,
        "lr_heads": 1.0,
        "weight_decay": 0.0,
    }
    start = [value.clone() for value in model().parameters()]
    _, clipped = trained(tmp_path, clip_norm=0.01, **shared)
    _, free = trained(tmp_path, clip_norm=None, **shared)
    moved = torch.stack([(a - b).norm() for a, b in zip(start, clipped.model.parameters(), strict=True)]).norm()
    assert moved.item() == pytest.approx(0.01, rel=1e-3)
    assert torch.equal(clipped.weighting.thetas(), free.weighting.thetas())


class PoisonedBatches:
    """The batches of a job, one of them with a label that is not a number."""

    def __init__(self, work, step, task):
        self.source, self.step, self.task = batches(work), step, task

    def iterate(self):
        for step, batch in enumerate(self.source):
            if step == self.step:
                labels = {**batch.labels, self.task: torch.full_like(batch.labels[self.task], torch.nan)}
                batch = Batch(batch.input_ids, batch.attention_mask, batch.rows, labels)
            yield batch


def test_non_finite_loss_names_task_and_step():
    """Training stops at the first loss that is not a number."""
    work = job()
    with pytest.raises(NonFiniteError, match="loss of emotion is nan at step 3"):
        train(model(), PoisonedBatches(work, 3, "emotion").iterate(), work.settings)


def test_collapsed_sigma_names_step_and_values():
    """The sigma form under SGD crosses zero during the absence, and the total stops being a number."""
    presence = Presence(schedule="stretch", absent="reporting", start=1, stop=40)
    work = job(presence=presence, steps=40, policy="unmasked", parameterization="sigma", optimizer="sgd", lr_sigma=0.05)
    with pytest.raises(NonFiniteError, match=r"weighted total is nan at step \d+: the sigmas are .*'reporting': -"):
        train(model(), batches(work).iterate(), work.settings)


def test_aura_settings():
    """AURA's published configuration, section 4 of the design."""
    assert (AURA.lr_encoder, AURA.lr_heads, AURA.lr_sigma) == (1e-5, 5e-5, 5e-5)
    assert (AURA.weight_decay, AURA.accumulation, AURA.gamma, AURA.label_smoothing) == (0.01, 4, 2.0, 0.1)
    assert (AURA.schedule, AURA.warmup, AURA.steps, AURA.frozen_encoder_steps) == ("linear", 0.1, 12_390, 826)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"policy": "maskd"}, "unmasked.*masked.*frozen"),
        ({"steps": 0}, "greater than or equal to 1"),
        ({"lr_sigma": -1}, "greater than or equal to 0"),
        ({"alpha": -0.1}, "greater than or equal to 0"),
        ({"colour": "red"}, "Extra inputs"),
        ({"frozen_encoder_epochs": 1}, "steps_per_epoch"),
    ],
)
def test_bad_settings(changes, words):
    """Settings are checked when they are made."""
    with pytest.raises(ValidationError, match=words):
        TrainingSettings(**changes)


def test_recorder_streams_in_row_groups(tmp_path):
    """Steps beyond a chunk are written as they fill, and read back whole and in order."""
    path = tmp_path / "long.parquet"
    steps = 2 * CHUNK + 7
    value = torch.arange(4.0)
    with TrajectoryRecorder(path, TASK_NAMES, "masked", 5, torch.device("cpu")) as recorder:
        for step in range(steps):
            recorder.record(value, value, value + step, value, [True, True, True, step % 2 == 0], 0.1)
            assert not path.exists()
    run = read_trajectories([path])
    assert list(run["step"]) == list(np.repeat(np.arange(steps), 4))
    reporting = run[run["task"] == "reporting"]
    assert reporting["loss"].isna().tolist() == [step % 2 == 1 for step in range(steps)]
    assert run[run["task"] == "toxicity"]["loss"].tolist() == list(map(float, range(steps)))


def test_an_interrupted_recording_leaves_no_trajectory(tmp_path):
    """A run that fails keeps what it recorded under another name."""
    path, value = tmp_path / "run.parquet", torch.ones(4)

    def broken() -> None:
        with TrajectoryRecorder(path, TASK_NAMES, "masked", 0, torch.device("cpu")) as recorder:
            recorder.record(value, value, value, value, [True] * 4, 0.1)
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        broken()
    assert not path.exists()
    assert len(read_trajectories([tmp_path / "run.failed.parquet"])) == 4


class Updates(Probe):
    """Norms of the tasks' gradients as Adam scales them, beside those of all parameters' gradients and its state."""

    def __init__(self, weighting):
        super().__init__(weighting)
        self.found, self.expected = [], []

    def updated(self, step, model, optimizer):
        group, scaled = optimizer.param_groups[0], []
        for parameter in model.encoder.parameters():
            state = optimizer.state[parameter]
            second = (state["exp_avg_sq"] / (1 - group["betas"][1] ** float(state["step"]))).sqrt() + group["eps"]
            scaled.append((parameter.grad / second).norm())
        self.expected.append(torch.stack(scaled).norm())

    def updates(self, step, norms):
        self.found.append(norms())

    def table(self, model):
        return pd.DataFrame()


@pytest.mark.parametrize("frozen_layers", [0, 1])
def test_what_a_task_does_to_adams_update_is_its_gradient_over_the_root_of_the_second_moment(frozen_layers):
    """Twin: one task a batch, without clipping, so that its norm is that of the encoder's whole scaled gradient."""
    work = job(presence=Presence(schedule="alternating"), clip_norm=None, steps=8)
    work = work.model_copy(update={"frozen_layers": frozen_layers})
    seen = Updates(work.weighting(torch.device("cpu")))
    train(
        build_model(work, prepared()), batches(work).iterate(), work.settings, weighting=seen.weighting, observer=seen
    )
    assert seen.found == []  # nobody records: gradients are not read
    recorder = Recorder(TASK_NAMES, "masked", 0, torch.device("cpu"))
    seen = Updates(work.weighting(torch.device("cpu")))
    net = build_model(work, prepared())
    train(net, batches(work).iterate(), work.settings, recorder, weighting=seen.weighting, observer=seen)
    for step, (found, expected) in enumerate(zip(seen.found, seen.expected, strict=True)):
        assert (found > 0).tolist() == [place == step % 4 for place in range(4)]
        torch.testing.assert_close(found.sum(), expected, rtol=1e-4, atol=0)


def moves(run):
    """Steps in log sigma of a trajectory, and what its recorded losses and rates foretell under SGD; one row a task."""
    theta, lr = (run.pivot(index="step", columns="task", values=name) for name in ("sigma", "lr"))
    theta = np.log(theta)
    loss = run.pivot(index="step", columns="task", values="loss")
    return theta.diff().shift(-1)[:-1], (lr * (loss * np.exp(-2 * theta) - 1))[:-1].fillna(0.0)


def test_every_update_of_sigma_is_at_its_own_steps_rate(tmp_path):
    """Under SGD log sigma moves by lr (L / sigma^2 - 1): with the rate of the same row, as it warms up and falls."""
    run, _ = trained(tmp_path, optimizer="sgd", schedule="linear", lr_sigma=0.1, weight_decay_sigma=0.0)
    assert run["lr"].nunique() > 6
    moved, foretold = moves(run)
    np.testing.assert_allclose(moved, foretold, rtol=1e-4, atol=1e-7)


def alternating(folder, accumulation):
    """A trajectory of micro-batches that hold one task each, and how many of each step's hold each task."""
    changes = {"optimizer": "sgd", "lr_sigma": 0.05, "weight_decay_sigma": 0.0, "accumulation": accumulation}
    work = job(presence=Presence(schedule="alternating"), **changes)
    path = folder / f"{accumulation}.parquet"
    with TrajectoryRecorder(path, TASK_NAMES, "masked", 0, torch.device("cpu")) as recorder:
        train(model(), batches(work).iterate(), work.settings, recorder)
    drawn = batches(work).schedule.batches(0, accumulation * work.settings.steps)
    held = np.array([[task in batch for task in TASK_NAMES] for batch in drawn])
    return read_trajectories([path]), held.reshape(-1, accumulation, len(TASK_NAMES)).sum(axis=1)


def test_under_accumulation_the_recorded_loss_is_the_mean_of_the_micro_batches_that_held_the_task(tmp_path):
    """In one of six micro-batches a task moves log sigma by a sixth of what its recorded loss says, in two by two."""
    run, held = alternating(tmp_path, accumulation=6)
    assert set(held.ravel()) == {1, 2}
    moved, foretold = moves(run)
    expected = foretold[list(TASK_NAMES)].to_numpy() * held[:-1] / 6
    np.testing.assert_allclose(moved[list(TASK_NAMES)], expected, rtol=1e-4, atol=1e-7)


def test_under_accumulation_the_recorded_norm_is_that_of_the_tasks_part_of_the_step(tmp_path):
    """The same micro-batch at the same weights sends half the gradient when it is one of two."""
    norms = [alternating(tmp_path, count)[0].query("step == 0").set_index("task")["gradient_norm"] for count in (1, 2)]
    first = norms[0].idxmax()
    assert norms[0][first] > 0
    assert norms[1][first] == pytest.approx(norms[0][first] / 2, rel=1e-5)


def test_toxicitys_alpha_reaches_toxicity_and_no_other_task(tmp_path):
    """Its loss at the first step is the focal loss with that alpha; the others' are what they were."""
    first = {}
    for alpha in (None, 0.9):
        run, _ = trained(tmp_path, f"alpha-{alpha}", alpha=alpha, gamma=2.0)
        first[alpha] = run[run["step"] == 0].set_index("task")["loss"]
    assert first[0.9]["toxicity"] != pytest.approx(first[None]["toxicity"], rel=0.02)
    others = [task for task in TASK_NAMES if task != "toxicity"]
    assert first[0.9][others].equals(first[None][others])
