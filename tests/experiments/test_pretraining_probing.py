"""What a probed encoder is asked, and that fine-tuning it leaves the held-out corpus alone."""

from itertools import islice

import numpy as np
import pandas as pd
import pytest
import torch
from small_encoders import save

from aura_study.data.batches import dev_batches
from aura_study.experiments.pretraining.probing import (
    HELD_OUT,
    RANDOM_STARTS,
    ProbingJob,
    Questions,
    StartJob,
    run_start,
)
from aura_study.training.fork import train_forked
from aura_study.training.loop import TrainingSettings
from aura_study.training.model import build_encoder
from aura_study.training.runs import Presence, prepare
from aura_study.training.unpadded import encode

ROWS, LENGTH, STEPS = 48, 32, 8


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return str(save(tmp_path_factory.mktemp("encoder")))


@pytest.fixture(scope="module")
def asked(encoder):
    return Questions("embedded", encoder, ROWS, LENGTH)


def made(asked, last):
    """States of one layer: ``last``, and nothing else."""
    return torch.as_tensor(last, dtype=torch.float32)[None]


def test_the_states_are_the_encoders_own(asked, encoder):
    """Those of the last layer, text by text in their order, are what the encoder alone gives for each, to 1e-5."""
    model = build_encoder(encoder, 1, LENGTH, 0)
    states = asked.states(model)
    assert states.shape == (2, 2 * ROWS + 2 * (ROWS // 2), 32)
    assert model.training
    rows = asked._rows
    order = np.argsort(rows.lengths, kind="stable")
    model.eval()
    with torch.no_grad():
        for place, batch in zip(order[:5], dev_batches(HELD_OUT, rows, 1), strict=False):
            alone, _ = encode(model, batch)
            torch.testing.assert_close(states[-1, place], alone.mean(0), rtol=1e-5, atol=1e-5)


def test_states_that_hold_the_labels_answer_the_probe(asked):
    """A probe of the labels themselves ranks every row right; of noise, none better than chance."""
    texts = sum(asked._parts)
    known = np.zeros((texts, asked._fit.shape[1] + 1))
    known[:ROWS, :-1], known[ROWS : 2 * ROWS, :-1] = asked._fit, asked._test
    known[:, -1] = 1.0
    assert asked.answers(made(asked, known))["probe"] == 1.0
    noise = np.random.default_rng(0).normal(size=(texts, 8))
    assert abs(asked.answers(made(asked, noise))["probe"] - 0.5) < 0.2


def test_halves_that_are_alike_find_each_other(asked):
    """Equal states of both halves give rank 1; the order turned round leaves about what chance gives."""
    pairs = asked._parts[-1]
    states = np.random.default_rng(0).normal(size=(sum(asked._parts), 16))
    states[-pairs:] = 3 * states[-2 * pairs : -pairs]
    assert asked.answers(made(asked, states))["retrieval"] == 1.0
    states[-pairs:] = states[-pairs:][::-1]
    assert asked.answers(made(asked, states))["retrieval"] < 0.5


def test_an_encoder_is_like_itself_layer_by_layer(asked, encoder):
    """CKA 1 in every layer."""
    states = asked.states(build_encoder(encoder, 1, LENGTH, 0))
    assert asked.likeness(states, states) == pytest.approx({"cka_1": 1.0, "cka_2": 1.0})


def test_the_start_is_told_with_random_ones(encoder, tmp_path):
    """The encoder as it is, and others of its kind with weights of their own."""
    table = pd.read_parquet(
        run_start(StartJob(name="start", data="embedded", encoder=encoder, rows=ROWS, max_length=LENGTH), tmp_path)
    )
    assert table["start"].tolist() == ["pre-trained", *(f"random {seed}" for seed in range(RANDOM_STARTS))]
    assert table["probe"].between(0, 1).all()
    assert table["retrieval"].nunique() == len(table)


def test_the_held_out_corpus_is_in_no_batch_and_each_arm_is_asked(encoder, tmp_path):
    """One prefix, two arms; what is asked stands where it was asked, with a CKA for every layer."""
    jobs = [
        ProbingJob(
            name=arm,
            regime="clipped",
            arm=arm,
            encoder=encoder,
            probe_rows=ROWS,
            rows=64,
            dev_rows=16,
            max_length=LENGTH,
            batch_size=6,
            looks=(6,),
            presence=Presence(schedule="stretch", start=2, stop=4),
            settings=TrainingSettings(
                steps=STEPS, accumulation=1, schedule="constant", lr_encoder=1e-3, lr_sigma=0.5, policy=arm
            ),
        )
        for arm in ("masked", "unmasked")
    ]
    batches = list(islice(jobs[0].batches(prepare(jobs[0])), STEPS))
    assert [HELD_OUT in batch.tasks for batch in batches] == [False] * STEPS
    assert ["reporting" in batch.tasks for batch in batches] == [True, True, False, False, *[True] * 4]
    tables = [pd.read_parquet(path) for path in train_forked(jobs, tmp_path, workers=1)]
    for table in tables:
        assert table.loc[table["probe"].notna(), "step"].tolist() == [4, 6, STEPS]
        assert table.dropna()[["cka_1", "cka_2"]].lt(1).all(axis=None)
    same = tables[0]["cka_2"].dropna() == tables[1]["cka_2"].dropna()
    assert same.tolist() == [True, False, False]
