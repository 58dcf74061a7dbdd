"""Data parallelism: shards add up to the global batch, two processes train what one trains, a killed run goes on."""

import os
import subprocess
import sys
import time

import numpy as np
import psutil
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch
from accelerate.state import AcceleratorState
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from small_runs import batches, job, model
from typer.testing import CliRunner

from aura_study.cli import app
from aura_study.data.tasks import TASK_NAMES
from aura_study.losses import MaskedKendallLoss
from aura_study.paths import RunFolders
from aura_study.runs.lock import locked
from aura_study.runs.records import unfinished
from aura_study.training import checkpoints
from aura_study.training.parallel.ranks import ShardedLoss, shard
from aura_study.training.parallel.training import train_parallel
from aura_study.training.recording import read_trajectories
from aura_study.training.runs import Presence, train_jobs


@pytest.fixture(autouse=True)
def fresh_accelerate():
    """Forget accelerate's settings, which it keeps for the whole process; may be called again within a test."""

    def forget():
        AcceleratorState._reset_state(reset_partial_state=True)

    forget()
    return forget


POINT = {
    "rows": 64,
    "dev_rows": 16,
    "max_length": 32,
    "steps": 24,
    "accumulation": 2,
    "optimizer": "sgd",
    "lr_encoder": 1e-3,
    "lr_heads": 1e-3,
    "lr_sigma": 0.2,
    "schedule": "linear",
    "presence": "stretch",
    "absent_start": 6,
    "absent_stop": 12,
}


@given(st.lists(st.integers(0, 9), min_size=1, max_size=4), st.integers(1, 5))
def test_shards_cover_the_batch_once_and_evenly(counts, ranks):
    """Every row lies on one rank; ranks differ by one row at most; a task without rows there has no key."""
    drawn = {f"task {place}": np.arange(count) for place, count in enumerate(counts) if count}
    total = sum(counts)
    if total < ranks:
        with pytest.raises(ValueError, match=f"{total} rows cannot be split over {ranks} ranks"):
            shard(drawn, 0, ranks)
        return
    parts = [shard(drawn, rank, ranks) for rank in range(ranks)]
    for task, rows in drawn.items():
        assert sorted(row for part in parts for row in part.get(task, [])) == rows.tolist()
    sizes = [sum(map(len, part.values())) for part in parts]
    assert max(sizes) - min(sizes) <= 1
    assert all(len(rows) for part in parts for rows in part.values())


def test_the_average_over_ranks_is_the_global_batchs_own_gradient():
    """Three simulated ranks: means of losses and of all gradients equal one process's, absent task and all."""
    work = job(presence=Presence(schedule="stretch", absent="reporting", start=0, stop=4))
    source = batches(work)
    drawn = source.schedule.batch(0)
    counts = {task: len(rows) for task, rows in drawn.items()}
    assert "reporting" not in counts

    def gradients(ranks):
        net = model().eval()
        loss = ShardedLoss(net, MaskedKendallLoss(TASK_NAMES), work.settings, ranks)
        totals = []
        for rank in range(ranks):
            total, _ = loss(source.collate(shard(drawn, rank, ranks)), counts)
            (total / ranks).backward()
            totals.append(total.item() / ranks)
        return sum(totals), [parameter.grad for parameter in loss.parameters()]

    total, alone = gradients(1)
    averaged_total, averaged = gradients(3)
    assert averaged_total == pytest.approx(total, rel=1e-5)
    for first, second in zip(alone, averaged, strict=True):
        assert (first is None) == (second is None)
        if first is not None:
            torch.testing.assert_close(second, first, rtol=1e-4, atol=1e-6)


def arguments(out, **changes):
    """The command line of a small training."""
    point = {**POINT, **changes}
    return ["train", "--cpu", "--out", str(out), *(f"--parameter={name}={value}" for name, value in point.items())]


def start(out, processes, every=4, **changes):
    """`accelerate launch`ed training in a process group of its own."""
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--num_processes", str(processes)]
    launch += ["--multi_gpu"] if processes > 1 else ["--cpu"]  # torchrun's launcher; --cpu below keeps it on gloo
    launch += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]
    command = [*launch, "-m", "aura_study", *arguments(out, **changes), "--checkpoint-every", str(every)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", "TORCH_CPP_LOG_LEVEL": "ERROR"}
    return subprocess.Popen(
        command, env=environment, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def finish(process):
    """Wait for a training; its output."""
    output, _ = process.communicate(timeout=1200)
    assert process.returncode == 0, output
    return output


def test_one_process_trains_what_the_loop_trains(tmp_path):
    """Without dropout: the same micro-batches in the same steps, sigma to 1e-5 and losses to 1e-4."""
    work = job(accumulation=2, dropout=0.0)
    parallel = read_trajectories([train_parallel(work, tmp_path / "parallel", cpu=True).trajectory])
    loop = read_trajectories(train_jobs([work], tmp_path / "loop", workers=1))
    assert parallel["present"].equals(loop["present"])
    np.testing.assert_allclose(parallel["sigma"], loop["sigma"], rtol=1e-5)
    np.testing.assert_allclose(parallel["loss"], loop["loss"], rtol=1e-4)


@pytest.mark.slow
def test_two_processes_train_what_one_trains(tmp_path):
    """Without dropout, sigma's whole path under the mask is that of one process on the same global batches, to 1e-5."""
    outputs = {count: finish(start(tmp_path / str(count), count, dropout=0)) for count in (1, 2)}
    assert "Trained on 2 processes" in outputs[2]
    one, two = (read_trajectories([tmp_path / str(count) / "training.parquet"]) for count in (1, 2))
    assert one["present"].equals(two["present"])
    np.testing.assert_allclose(two["sigma"], one["sigma"], rtol=1e-5)
    np.testing.assert_allclose(two["loss"], one["loss"], rtol=1e-4)
    assert one["step"].max() == POINT["steps"] - 1


@pytest.mark.slow
def test_a_killed_training_goes_on_to_the_same_end(tmp_path):
    """Two ranks with dropout, killed after a checkpoint: the rest is what an undisturbed run does, byte for byte."""
    finish(start(tmp_path / "whole", 2))
    process = start(tmp_path / "killed", 2)
    deadline = time.monotonic() + 1200
    while not list((tmp_path / "killed" / "checkpoints").glob("step-*")):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    for one in [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]:
        one.kill()  # torchrun gives every rank a process group of its own
    process.communicate()
    (tmp_path / "killed" / "segments" / "step-00000099.parquet").write_bytes(b"of steps no checkpoint knows")
    assert not (tmp_path / "killed" / "training.parquet").exists()
    assert "going on from step" in finish(start(tmp_path / "killed", 2))
    whole, killed = (tmp_path / name / "training.parquet" for name in ("whole", "killed"))
    assert whole.read_bytes() == killed.read_bytes()
    states = [
        load_file(next((tmp_path / name).glob("checkpoints/*/state.safetensors"))) for name in ("whole", "killed")
    ]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


FEW = {"steps": 4, "absent_start": 0, "absent_stop": 0, "presence": "mixed", "rows": 64, "dev_rows": 16}


def test_what_was_left_of_a_checkpoint_is_not_taken_along(tmp_path):
    """Written beside its place, where a run that was killed may have left a part."""
    left = unfinished(tmp_path / "step-00000003")
    left.mkdir()
    (left / "half").write_bytes(b"a checkpoint")
    checkpoint = checkpoints.save(tmp_path, 3, {"theta": torch.ones(2)}, {"job": "small"})
    assert checkpoint.is_whole()
    assert sorted(path.name for path in checkpoint.folder.iterdir()) == ["state.json", "state.safetensors"]
    assert list(tmp_path.iterdir()) == [checkpoint.folder]


def test_a_checkpoint_of_another_job_is_refused(tmp_path):
    """One error each, and nothing is overwritten."""
    out = tmp_path / "run"
    runner = CliRunner()
    assert runner.invoke(app, arguments(out, **FEW)).exit_code == 0
    other = runner.invoke(app, arguments(out, **{**FEW, "seed": 1}))
    assert "another job" in str(other.exception)
    (folder,) = (out / "checkpoints").iterdir()
    checkpoint = checkpoints.Checkpoint(folder)
    for changed, said in (({"ranks": 2}, "another ranks"), ({"code": "0"}, "another code")):
        state = checkpoint.state()
        checkpoint = checkpoints.save(out / "checkpoints", checkpoint.step, checkpoint.tensors(), {**state, **changed})
        assert said in str(runner.invoke(app, arguments(out, **FEW)).exception)
        checkpoint = checkpoints.save(out / "checkpoints", checkpoint.step, checkpoint.tensors(), state)


def lose(path):
    """One file less."""
    path.unlink()


def triple(path):
    """A segment whose every sigma is three times what was trained, its metadata kept."""
    table = pq.read_table(path)
    column = table.column_names.index("sigma")
    table = table.set_column(column, "sigma", pc.multiply(table["sigma"], 3.0))
    pq.write_table(table.replace_schema_metadata(pq.read_metadata(path).metadata), path)


def shorten(path):
    """A file that ends too early."""
    path.write_bytes(path.read_bytes()[:-9])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pattern", "harm"),
    [
        *(("segments/step-00000002.parquet", harm) for harm in (lose, triple, shorten)),
        *((f"checkpoints/step-*/state.{kind}", shorten) for kind in ("json", "safetensors")),
    ],
)
def test_a_training_whose_record_was_lost_or_altered_starts_again(pattern, harm, tmp_path, capsys):
    """It says what it found, and ends with the file of a training that nobody touched."""
    runner = CliRunner()
    assert runner.invoke(app, [*arguments(tmp_path, **FEW), "--checkpoint-every", "2"]).exit_code == 0
    whole = (tmp_path / "training.parquet").read_bytes()
    (path,) = tmp_path.glob(pattern)
    harm(path)
    told = runner.invoke(app, [*arguments(tmp_path, **FEW), "--checkpoint-every", "2"])
    assert told.exit_code == 0
    assert "lost or altered; the training starts again" in told.stderr
    assert (tmp_path / "training.parquet").read_bytes() == whole


def test_two_trainings_do_not_write_to_one_folder(tmp_path):
    """The second is refused."""
    with locked(RunFolders(tmp_path, tmp_path / "figures")):
        refused = CliRunner().invoke(app, arguments(tmp_path, **FEW))
    assert "another run is writing to" in str(refused.exception)


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--parameter=policy=analytic"], "a rank sees only its own rows"),
        (["--parameter=seed=0,1"], "one value for each parameter"),
        (["--precision", "int3"], "choose one of"),
        (["--parameter=polcy=masked"], "polcy"),
    ],
)
def test_what_cannot_be_trained_is_said_before_anything_is(extra, message, tmp_path):
    """One error that names the value; no folder appears."""
    result = CliRunner().invoke(app, [*arguments(tmp_path / "run"), *extra])
    assert result.exit_code != 0
    assert message in str(result.exception)
    assert not (tmp_path / "run").exists()


def test_bfloat16_trains_and_sigma_stays_in_float32(tmp_path, fresh_accelerate):
    """Mixed precision moves the losses by its own rounding only."""
    few = {"steps": 3, "dropout": 0, "presence": "mixed", "absent_start": 0, "absent_stop": 0}
    for precision in ("no", "bf16"):
        fresh_accelerate()
        result = CliRunner().invoke(app, [*arguments(tmp_path / precision, **few), "--precision", precision])
        assert result.exit_code == 0, result.exception
    full, half = (read_trajectories([tmp_path / name / "training.parquet"]) for name in ("no", "bf16"))
    both = full["loss"].notna()
    np.testing.assert_allclose(half["loss"][both], full["loss"][both], rtol=0.05)
    assert not half["loss"].equals(full["loss"])
    state = load_file(next((tmp_path / "bf16").glob("checkpoints/*/state.safetensors")))
    assert {tensor.dtype for name, tensor in state.items() if "weighting" in name} == {torch.float32}
