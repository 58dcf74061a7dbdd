"""V10.1 and V10.2 on the AURA model: what notebook 04 predicts of an absence, and what it finds at the return."""

import numpy as np
import pandas as pd
import pytest

from aura_study.claims import CLAIMS
from aura_study.experiments.aura_training import tables
from aura_study.experiments.aura_training.parameters import AuraTrainingParameters
from aura_study.experiments.aura_training.trainings import stretch_jobs
from aura_study.training.parameters import OnModel
from aura_study.training.runs import load_runs, train_jobs


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    """The stretch runs of notebook 04, smaller than its smoke profile."""
    folder = tmp_path_factory.mktemp("trajectories")
    p = AuraTrainingParameters(seed_count=1, before=8, absent_steps=12, after=4, rows=64, dev_rows=16, max_length=32)
    runs = load_runs(train_jobs(stretch_jobs(p), folder, workers=1))
    return p, runs, tables.predictions(runs, p)


def test_prediction_of_the_absence_uses_nothing_measured_in_it(smoke):
    """Theory gives sigma of all three policies to 0.1 %, and the same if the absence's record is wiped."""
    p, runs, predicted = smoke
    absent = runs[(runs["task"] == p.absent) & runs["step"].between(8, 20)]
    joined = predicted.merge(absent, on=["policy", "seed", "step"], suffixes=("_theory", ""))
    assert len(joined) == 3 * 13
    np.testing.assert_allclose(joined["sigma_theory"], joined["sigma"], rtol=1e-3)
    wiped = runs.copy()
    wiped.loc[runs["step"].between(9, 20) & (runs["task"] == p.absent), ["sigma", "loss"]] = np.nan
    pd.testing.assert_frame_equal(tables.predictions(wiped, p), predicted)


def test_return_spike_is_the_precision_ratio(smoke):
    """The encoder gradient's ratio is the predicted ratio of weights; one seed alone decides nothing."""
    p, runs, predicted = smoke
    table = tables.returns(runs, predicted, p)
    assert table["gradient_over_predicted"].item() == pytest.approx(1, rel=2e-3)
    assert table["weight_ratio"].item() > 1.1
    assert table["others_identical"].all()
    row = CLAIMS["P6"].decide(tables.measure_return(table))
    assert (row.verdict, row.measured) == ("void", pytest.approx(1, rel=2e-3))
    jump = table.assign(gradient_ratio=5.0, predicted_ratio=5.0)
    assert CLAIMS["P6"].decide(tables.measure_return(jump)).verdict == "inconclusive"
    assert CLAIMS["P6"].decide(tables.measure_return(pd.concat([jump] * 3))).verdict == "confirmed"


def test_a_job_takes_over_what_the_parameters_say_of_texts_and_model():
    """Data, encoder, rows, batch and length of every job are those of the notebook."""
    p = AuraTrainingParameters(data="aura", encoder="aura", rows=64, dev_rows=32, batch_size=4, max_length=16)
    for job in stretch_jobs(p):
        assert {name: getattr(job, name) for name in OnModel.__annotations__} == p.on_model
    assert all(p.on_model[name] == getattr(p, name) for name in OnModel.__annotations__)
