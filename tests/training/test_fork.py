"""The fork: every arm is bit for bit the training of its own that it stands in for, and nothing is trained twice."""

import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from pydantic import ValidationError
from small_encoders import save
from small_runs import job, prepared, settings

from aura_study.runs.jobs import job_metadata, job_path
from aura_study.training import fork
from aura_study.training.fork import ArmJob, prefix_of, train_forked
from aura_study.training.recording import read_trajectories
from aura_study.training.runs import Presence, Probe, run_job, train_jobs

AWAY = Presence(schedule="stretch", absent="reporting", start=4, stop=9)
WAYS = {
    "AdamW, clipped": {"clip_norm": 1.0},
    "AdamW, decay and accumulation": {"clip_norm": None, "weight_decay_sigma": 0.1, "accumulation": 3},
    "SGD with momentum": {"optimizer": "sgd", "momentum": 0.9, "lr_encoder": 1e-2},
    "warm-up": {"schedule": "linear", "warmup": 0.3},
    "OneCycle": {"schedule": "onecycle"},
    "AURA's softplus": {"parameterization": "aura_softplus"},
    "an encoder that is frozen at first": {"frozen_encoder_epochs": 1, "steps_per_epoch": 6},
}


@pytest.fixture(scope="module")
def small_bert(tmp_path_factory):
    return str(save(tmp_path_factory.mktemp("encoder")))


def arms(way, **changes):
    """One job for each policy."""
    given = {"presence": AWAY, "steps": 14, "lr_sigma": 0.1, **WAYS[way]}
    made = [job(f"arm-{policy}", policy=policy, **given) for policy in ("masked", "unmasked", "frozen")]
    return [work.model_copy(update=changes) for work in made]


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_every_arm_is_bit_for_bit_a_training_of_its_own(way, tmp_path):
    """Trajectories and scores are equal in every bit, under the three policies, from one prefix."""
    _assert_forked_equals_whole(arms(way), tmp_path)


def test_on_a_bert_from_files_too(small_bert, tmp_path):
    """The encoder's kind does not matter."""
    _assert_forked_equals_whole(arms("AdamW, clipped", encoder=small_bert), tmp_path)


def _assert_forked_equals_whole(jobs, folder):
    assert len({prefix_of(work).name for work in jobs}) == 1
    forked = train_forked(jobs, folder / "forked", workers=1)
    whole = train_jobs(jobs, folder / "whole", workers=1)
    for one, other in zip(forked, whole, strict=True):
        pd.testing.assert_frame_equal(read_trajectories([one]), read_trajectories([other]), check_exact=True)
        assert job_metadata(one) == job_metadata(other)
    assert not (folder / "forked" / fork.PREFIXES).exists()
    weights = pd.concat(read_trajectories([path]) for path in forked)
    back = weights[(weights["task"] == "reporting") & (weights["step"] == jobs[0].presence.stop)]
    assert back["weight"].nunique() == len(jobs)


def test_a_task_alone_is_a_training_of_its_own_as_well(tmp_path):
    """From the return on the batches hold its rows only, the same as beside the others."""
    work = ArmJob(**{**dict(arms("AdamW, clipped")[0]), "name": "alone", "alone": True})
    (forked,), whole = train_forked([work], tmp_path / "forked", 1), run_job(work, tmp_path)
    pd.testing.assert_frame_equal(read_trajectories([forked]), read_trajectories([whole]), check_exact=True)
    frame = read_trajectories([forked])
    assert set(frame.loc[frame["present"] & (frame["step"] >= AWAY.stop), "task"].astype(str)) == {"reporting"}
    some = next(work.batches(prepared()))
    alone = some.only("reporting")
    assert alone.input_ids.tolist() == [
        row[: len(alone.input_ids[0])].tolist() for row in some.input_ids[some.rows["reporting"]]
    ]
    assert alone.attention_mask.sum() == some.attention_mask[some.rows["reporting"]].sum()


def test_arms_of_other_lengths_and_with_further_absences_share_the_prefix(tmp_path):
    """Where the rates do not depend on the length of the whole; each is a training of its own as well."""
    whole = arms("AdamW, clipped")[1]
    cycles = job("cycles", presence=AWAY.model_copy(update={"every": 8}), **{**dict(whole.settings), "steps": 26})
    assert prefix_of(whole).name == prefix_of(cycles).name
    (forked, _), own = train_forked([cycles, whole], tmp_path / "forked", 1), run_job(cycles, tmp_path)
    frame = read_trajectories([forked])
    pd.testing.assert_frame_equal(frame, read_trajectories([own]), check_exact=True)
    gone = frame.loc[~frame["present"], "step"].unique()
    assert gone.tolist() == [*range(4, 9), *range(12, 17), *range(20, 25)]
    linear = [
        work.model_copy(update={"settings": work.settings.model_copy(update={"schedule": "linear"})})
        for work in (whole, cycles)
    ]
    assert len({prefix_of(work).name for work in linear}) == 2


def test_a_rate_for_the_absence_moves_sigma_so_far_and_nothing_else(tmp_path):
    """Under SGD log sigma falls by the rate a step; every other value up to the return is the prefix's."""
    plain = settings(steps=14, optimizer="sgd", policy="unmasked", weight_decay_sigma=0.0)
    base = {**dict(arms("SGD with momentum")[1]), "settings": plain}
    rates = {"slow": 0.01, "fast": 0.2}
    jobs = [ArmJob(**{**base, "name": name, "absence_rate": rate}) for name, rate in rates.items()]
    jobs.append(ArmJob(**{**base, "name": "shifted", "absence_rate": 0.01, "shift": -2.0}))
    assert len({prefix_of(work).name for work in jobs}) == 1
    slow, fast, shifted = (read_trajectories([path]) for path in train_forked(jobs, tmp_path, workers=1))
    for frame, rate, shift in ((slow, 0.01, 0.0), (fast, 0.2, 0.0), (shifted, 0.01, -2.0)):
        log = np.log(frame.loc[frame["task"] == "reporting", "sigma"].to_numpy())
        np.testing.assert_allclose(log[4:10] - log[4], [*(-rate * np.arange(5)), -5 * rate + shift], atol=1e-6)
    before = slow["step"] < AWAY.stop
    columns = ["loss", "gradient_norm"]
    pd.testing.assert_frame_equal(slow.loc[before, columns], fast.loc[before, columns], check_exact=True)
    with pytest.raises(ValueError, match="job 'slow' goes on from a prefix: train it with train_forked"):
        run_job(jobs[0], tmp_path)


def damaged(state):
    """Another last byte."""
    state.write_bytes(state.read_bytes()[:-1] + b"x")


def lost(state):
    """With the folder that it was in."""
    shutil.rmtree(state.parent.parent)


@pytest.mark.parametrize("harm", [damaged, lost])
def test_a_run_that_was_stopped_goes_on_from_the_arm_where_it_stopped(harm, tmp_path, monkeypatch):
    """The prefix is kept, and used again unless it was damaged or lost; once all arms are there it is gone."""
    jobs, trained = arms("AdamW, clipped"), []
    original = fork.train
    monkeypatch.setattr(fork, "train", lambda *given, **named: trained.append("prefix") or original(*given, **named))

    def stop(work, folder):
        if work.name == "arm-frozen":
            raise KeyboardInterrupt
        return fork._run_arm(work, folder)

    with monkeypatch.context() as patch:
        patch.setattr(fork, "_run", stop)
        with pytest.raises(KeyboardInterrupt):
            train_forked(jobs, tmp_path, workers=1)
    kept = [job_path(work, tmp_path) for work in jobs if job_path(work, tmp_path).exists()]
    times = [path.stat().st_mtime_ns for path in kept]
    (state,) = (tmp_path / fork.PREFIXES).glob("*/*/state.safetensors")
    harm(state)
    train_forked(jobs, tmp_path, workers=1)
    assert trained == ["prefix", "prefix"]
    assert [path.stat().st_mtime_ns for path in kept] == times
    assert len(kept) == 2
    assert not (tmp_path / fork.PREFIXES).exists()
    train_forked(jobs, tmp_path, workers=1)
    assert len(trained) == 2


class Steps(Probe):
    """Every step's number and the weight of the absent task."""

    def __init__(self, weighting):
        super().__init__(weighting)
        self.steps = []

    def updated(self, step, model, optimizer):
        self.steps.append(step)

    def memory(self):
        return {"steps": self.steps}

    def remember(self, memory):
        self.steps = list(memory["steps"])

    def table(self, model):
        return pd.DataFrame({"step": self.steps})


class ProbedArm(ArmJob):
    def probe(self, prepared, model):
        return Steps(self.weighting(model.device))


def test_a_probe_remembers_what_another_has_seen_before_the_return(tmp_path):
    """Its table covers all steps."""
    work = ProbedArm(**{**dict(arms("AdamW, clipped")[0]), "name": "probed"})
    (path,) = train_forked([work], tmp_path, workers=1)
    assert pd.read_parquet(path)["step"].tolist() == list(range(14))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"presence": AWAY.model_copy(update={"stop": 14})}, "an absence from step 4 to 14, and 14 steps"),
        ({"presence": Presence()}, "schedule 'mixed'"),
        ({"settings": settings(steps=14, policy="equal")}, "got policy 'equal'"),
    ],
)
def test_an_arm_needs_a_return_and_a_policy(changed, message):
    """Refused when the job is made, before anything is trained."""
    with pytest.raises(ValidationError, match=message):
        ArmJob(**{**dict(arms("AdamW, clipped")[0]), **changed})


def test_rows_too_few_to_fork_are_refused_before_training(tmp_path):
    """A batch would hold a row twice."""
    work = arms("AdamW, clipped")[0].model_copy(update={"rows": 3})
    with pytest.raises(ValueError, match="toxicity has 3 training rows, too few to fork: every batch of 16 takes 4"):
        train_forked([work], tmp_path)
    assert not list(tmp_path.rglob("*.parquet"))
    fork._refuse_few_rows(work.model_copy(update={"rows": 4}))


def test_what_does_not_fork_is_trained_as_it_is(tmp_path):
    """Beside jobs that do, in the order of the jobs."""
    jobs = [job("mixed", presence=Presence(), steps=3), arms("AdamW, clipped")[0]]
    assert [path.stem for path in train_forked(jobs, tmp_path, workers=1)] == ["mixed", "arm-masked"]


def test_a_state_on_disk_is_the_state_that_was(tmp_path):
    """Every tensor comes back in its dtype and with its bits."""
    work = arms("AdamW, clipped")[0]
    prefix = prefix_of(work)
    fork._run_prefix(prefix, tmp_path)
    state, away = fork._load(prefix, tmp_path)
    assert state.step == AWAY.stop
    assert away["step"].tolist() == [4.0] * 4
    assert state.sigma["step"].tolist() == [9.0] * 4
    assert all(torch.isfinite(tensor.double()).all() for tensor in state.tensors.values())


def test_sigma_goes_on_where_models_are_trained(tmp_path, monkeypatch):
    """Read from a file it would stand on the CPU, and a model on a GPU could not take it over."""
    prefix = prefix_of(arms("AdamW, clipped")[0])
    fork._run_prefix(prefix, tmp_path)
    monkeypatch.setattr(fork, "training_device", lambda: torch.device("meta"))
    state, away = fork._load(prefix, tmp_path)
    assert {tensor.device.type for tensor in (*state.sigma.values(), *away.values())} == {"meta"}
