"""Properties of training jobs: kept by key, run side by side, scored at the end; and of what 04 concludes from them."""

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError
from small_runs import job, model, prepared

from aura_study.claims import CLAIMS
from aura_study.experiments.aura_training import tables as aura_training
from aura_study.experiments.aura_training.parameters import AuraTrainingParameters
from aura_study.experiments.aura_training.trainings import stretch_jobs
from aura_study.runs.jobs import is_finished, job_metadata, job_path
from aura_study.training.runs import Presence, load_runs, scores, train_jobs
from aura_study.training.scores import macro_f1, majority_macro_f1, predictions, samples_f1


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


def test_processes_and_one_process_give_equal_files(tmp_path):
    """Where a job runs does not change its record."""
    jobs = [job(f"seed{seed}", seed=seed) for seed in (0, 1)]
    apart = train_jobs(jobs, tmp_path / "apart", workers=2)
    for work, path in zip(jobs, apart, strict=True):
        assert path.read_bytes() == train_jobs([work], tmp_path / "alone", workers=1)[0].read_bytes()


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
    """Predictions come in the labels' shape and form; the majority baseline is what a constant guess scores."""
    found = macro_f1(model(), prepared().dev)
    assert set(found) == set(prepared().dev)
    assert all(0 <= score <= 1 for score in found.values())
    for task, split in prepared().dev.items():
        guess, true = predictions(model(), task, split)
        assert guess.shape == true.shape == split.labels.shape
        assert set(np.unique(guess)) <= {0, 1}
    labels = prepared().dev["toxicity"].labels
    share = max(labels.mean(), 1 - labels.mean())
    assert majority_macro_f1(prepared().train, prepared().dev)["toxicity"] == pytest.approx(share / (1 + share))


@pytest.mark.slow
def test_the_tiny_model_learns(tmp_path):
    """A few hundred steps on the embedded corpus beat the majority baseline clearly and stay below 0.99."""
    work = job(presence=Presence(), steps=400, lr_encoder=1e-3, lr_heads=1e-3, accumulation=1)
    work = work.model_copy(update={"rows": None, "dev_rows": 200})
    (path,) = train_jobs([work], tmp_path, workers=1)
    found = scores([path]).set_index("task")["macro_f1"]
    assert (found[["toxicity", "sentiment"]] > 0.8).all()
    assert (found < 0.99).all()


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    """The stretch runs of notebook 04, smaller than its smoke profile."""
    folder = tmp_path_factory.mktemp("trajectories")
    p = AuraTrainingParameters(seed_count=1, before=8, absent_steps=12, after=4, rows=64, dev_rows=16, max_length=32)
    runs = load_runs(train_jobs(stretch_jobs(p), folder, workers=1))
    return p, runs, aura_training.predictions(runs, p)


def test_prediction_of_the_absence_uses_nothing_measured_in_it(smoke):
    """Theory gives sigma of all three policies to 0.1 %, and the same if the absence's record is wiped."""
    p, runs, predicted = smoke
    absent = runs[(runs["task"] == p.absent) & runs["step"].between(8, 20)]
    joined = predicted.merge(absent, on=["policy", "seed", "step"], suffixes=("_theory", ""))
    assert len(joined) == 3 * 13
    np.testing.assert_allclose(joined["sigma_theory"], joined["sigma"], rtol=1e-3)
    wiped = runs.copy()
    wiped.loc[runs["step"].between(9, 20) & (runs["task"] == p.absent), ["sigma", "loss"]] = np.nan
    pd.testing.assert_frame_equal(aura_training.predictions(wiped, p), predicted)


def test_return_spike_is_the_precision_ratio(smoke):
    """The encoder gradient's ratio is the predicted ratio of weights; one seed alone decides nothing."""
    p, runs, predicted = smoke
    table = aura_training.returns(runs, predicted, p)
    assert table["gradient_over_predicted"].item() == pytest.approx(1, rel=2e-3)
    assert table["weight_ratio"].item() > 1.1
    assert table["others_identical"].all()
    verdict = CLAIMS["P6"].decide(aura_training.measure_return(table)).verdict
    assert verdict == "inconclusive"


def test_samples_f1_is_the_mean_of_rows_f1():
    """scikit-learn's average over rows equals the definition written out; a row with nothing on either side is 1."""
    found, true = predictions(model(), "emotion", prepared().dev["emotion"])
    both, either = (found & true).sum(1), found.sum(1) + true.sum(1)
    rows = np.where(either == 0, 1.0, 2 * both / np.maximum(either, 1))
    assert samples_f1(model(), prepared().dev) == {"emotion": pytest.approx(rows.mean())}
