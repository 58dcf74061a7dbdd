"""Properties of training jobs: kept by key, run side by side, scored at the end, or leaving what their probe saw."""

import numpy as np
import pandas as pd
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from small_encoders import bert, save
from small_runs import batches, job, model, prepared, settings

from aura_study.data.tasks import TASK_NAMES
from aura_study.runs.jobs import is_finished, job_metadata, job_path
from aura_study.training.loop import train
from aura_study.training.parameters import BatchSize, DevRows, MaxLength, Rows
from aura_study.training.recording import Recorder, TrajectoryRecorder, read_trajectories
from aura_study.training.runs import Presence, Probe, TrainingJob, load_runs, prepare, run_job, scores, train_jobs
from aura_study.training.scores import macro_f1, predictions, samples_f1


def test_a_finished_job_is_not_run_again_and_a_changed_one_is(tmp_path):
    """The record is kept for an equal job and replaced for one that differs in any setting."""
    (path,) = train_jobs([job()], tmp_path, workers=1)
    before = path.stat().st_mtime_ns
    assert is_finished(job(), tmp_path)
    train_jobs([job()], tmp_path, workers=1)
    assert path.stat().st_mtime_ns == before
    assert not is_finished(job(lr_sigma=0.02), tmp_path)
    train_jobs([job(lr_sigma=0.02)], tmp_path, workers=1)
    assert path.stat().st_mtime_ns != before
    assert job_metadata(path)["job"]["settings"]["lr_sigma"] == 0.02


def test_an_altered_trajectory_is_named_and_trained_again(tmp_path, capsys):
    """Data pages changed under an intact footer, as by an edit with pyarrow: not used, and not what is recorded."""
    (path,) = train_jobs([job()], tmp_path)
    whole, table = path.read_bytes(), pq.read_table(path)
    sigma = table.column_names.index("sigma")
    described = pq.read_metadata(path).metadata
    forged = table.set_column(sigma, "sigma", pc.multiply(table["sigma"], 3.0)).replace_schema_metadata(described)
    pq.write_table(forged, path)
    assert job_metadata(path)["key"] == job().key()
    train_jobs([job()], tmp_path)
    assert path.read_bytes() == whole
    assert f"{path.name} was altered since it was written" in capsys.readouterr().err


@pytest.mark.slow
def test_processes_and_one_process_give_equal_files(tmp_path):
    """Where a job runs does not change its record."""
    jobs = [job(f"seed{seed}", seed=seed) for seed in (0, 1)]
    apart = train_jobs(jobs, tmp_path / "apart", workers=2)
    for work, path in zip(jobs, apart, strict=True):
        assert path.read_bytes() == train_jobs([work], tmp_path / "alone", workers=1)[0].read_bytes()


def test_trajectories_of_several_jobs_are_one_frame(tmp_path):
    """Told apart by the name of the job, each row with a number of its own."""
    paths = train_jobs([job(f"seed{seed}", seed=seed) for seed in (0, 1)], tmp_path, workers=1)
    both = load_runs(paths)
    assert set(both["run"]) == {"seed0", "seed1"}
    assert both.index.is_unique


@pytest.mark.parametrize(
    ("kind", "least", "most"),
    [(Rows, 16, None), (DevRows, 16, None), (BatchSize, 4, 4096), (MaxLength, 8, 512)],
)
def test_sizes_of_a_training_are_taken_up_to_their_bounds(kind, least, most):
    """The bounds belong to what is allowed."""
    allowed = TypeAdapter(kind)
    for bound, step in ((least, -1), (most, 1)):
        if bound is not None:
            assert allowed.validate_python(bound) == bound
            with pytest.raises(ValidationError):
                allowed.validate_python(bound + step)


def test_job_names_are_distinct(tmp_path):
    """Two jobs of one name would overwrite each other."""
    with pytest.raises(ValueError, match="repeated: \\['small'\\]"):
        train_jobs([job(), job(seed=1)], tmp_path)
    assert job_path(job(), tmp_path).name == "small.parquet"


def test_a_stretch_must_end_before_training_does():
    """An absence without a return is a typing error."""
    with pytest.raises(ValidationError, match="ends at step 99, after the last of 12"):
        job(presence=Presence(schedule="stretch", start=1, stop=99))


def test_scores_are_macro_f1_of_the_predictions():
    """Predictions come in the labels' shape and form."""
    found = macro_f1(model(), prepared().dev)
    assert set(found) == set(prepared().dev)
    assert all(0 <= score <= 1 for score in found.values())
    for task, split in prepared().dev.items():
        guess, true = predictions(model(), task, split)
        assert guess.shape == true.shape == split.labels.shape
        assert set(np.unique(guess)) <= {0, 1}


@pytest.mark.slow
def test_the_tiny_model_learns(tmp_path):
    """A few hundred steps on the embedded corpus beat the majority baseline clearly and stay below 0.99."""
    work = job(presence=Presence(), steps=400, lr_encoder=1e-3, lr_heads=1e-3, accumulation=1)
    work = work.model_copy(update={"rows": None, "dev_rows": 200})
    (path,) = train_jobs([work], tmp_path, workers=1)
    found = scores([path]).set_index("task")["macro_f1"]
    assert (found[["toxicity", "sentiment"]] > 0.8).all()
    assert (found < 0.99).all()


def test_samples_f1_is_the_mean_of_rows_f1():
    """scikit-learn's average over rows equals the definition written out; a row with nothing on either side is 1."""
    found, true = predictions(model(), "emotion", prepared().dev["emotion"])
    both, either = (found & true).sum(1), found.sum(1) + true.sum(1)
    rows = np.where(either == 0, 1.0, 2 * both / np.maximum(either, 1))
    assert samples_f1(model(), prepared().dev) == {"emotion": pytest.approx(rows.mean())}


def test_a_job_on_an_encoder_from_files_leaves_its_trajectory_and_knows_the_files(tmp_path):
    """A small BERT under the heads trains as the built encoder does; other weights in its folder are another job."""
    work = job().model_copy(update={"encoder": str(save(tmp_path / "encoder"))})
    (path,) = train_jobs([work], tmp_path, workers=1)
    found = read_trajectories([path])
    assert ((found["gradient_norm"] > 0) == found["present"]).all()
    assert found["loss"].nunique() > work.settings.steps
    assert is_finished(work, tmp_path)
    bert(pooler=True, initializer_range=0.5).save_pretrained(tmp_path / "encoder")
    assert not is_finished(work, tmp_path)


class Norms(Probe):
    """The gradient's norm at every step."""

    def __init__(self, weighting):
        super().__init__(weighting)
        self.rows = []

    def gradients(self, step, model, optimizer):
        found = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
        self.rows.append({"step": step, "norm": float(torch.nn.utils.get_total_norm(found))})

    def table(self, model):
        return pd.DataFrame(self.rows)

    def results(self, model):
        return {"training": model.training}


class ProbedJob(TrainingJob):
    def probe(self, prepared, model):
        return Norms(self.weighting(model.device))


def test_a_job_with_a_probe_leaves_the_probes_table(tmp_path):
    """In place of the trajectory; the probe's results stand beside it, and the job counts as finished."""
    work = ProbedJob(name="probed", rows=64, dev_rows=16, max_length=32, settings=settings(steps=3))
    table = pd.read_parquet(run_job(work, tmp_path))
    assert table["step"].tolist() == [0, 1, 2]
    assert (table["norm"] > 0).all()
    assert job_metadata(job_path(work, tmp_path))["training"] is True
    assert is_finished(work, tmp_path)


def test_texts_are_prepared_once_for_all_jobs_that_read_the_same():
    """Settings and names do not matter to them; a length does."""
    assert prepare(job("other", lr_sigma=0.5)) is prepare(job())
    assert prepare(job().model_copy(update={"max_length": 16})) is not prepare(job())


def test_a_trajectory_in_memory_is_the_one_on_disk(tmp_path):
    """Column by column, types included."""
    work, path = job(), tmp_path / "run.parquet"
    memory = Recorder(TASK_NAMES, "masked", 0, torch.device("cpu"))
    train(model(), batches(work).iterate(), work.settings, memory)
    with TrajectoryRecorder(path, TASK_NAMES, "masked", 0, torch.device("cpu")) as disk:
        train(model(), batches(work).iterate(), work.settings, disk)
    pd.testing.assert_frame_equal(memory.frame(), read_trajectories([path]))
