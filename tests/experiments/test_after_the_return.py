"""The aftermath of a return: the watched run is the plain run, its parts add up, and its twins are twins."""

import numpy as np
import pandas as pd
import pytest
import torch
from pydantic import ValidationError
from small_runs import batches, job, model, prepared

from aura_study.claims import CLAIMS, Measurement
from aura_study.experiments.after_the_return import measures, tables
from aura_study.experiments.after_the_return import trainings as study
from aura_study.experiments.after_the_return.parameters import AfterTheReturnParameters
from aura_study.experiments.after_the_return.split_weighting import SplitWeighting, flat
from aura_study.experiments.after_the_return.watch import ReturnJob, ReturnWatch
from aura_study.training.loop import train


class Keeper(ReturnWatch):
    """Keeps, besides, what the optimiser itself holds and what it moved."""

    def __init__(self, *given, **named):
        super().__init__(*given, **named)
        self.gradient, self.moments, self.moved = [], [], []

    def gradients(self, step, model, optimizer):
        super().gradients(step, model, optimizer)
        self.before = flat(list(model.encoder.parameters()))

    def updated(self, step, model, optimizer):
        super().updated(step, model, optimizer)
        states = [optimizer.state[p] for p in model.encoder.parameters()]
        if states[0]:
            self.moments.append([torch.cat([s[key].flatten() for s in states]) for key in ("exp_avg", "exp_avg_sq")])
        self.moved.append(flat(list(model.encoder.parameters())) - self.before)


def watched(**changes):
    """A small run with everything kept, scored at one step."""
    work = job(lr_sigma=0.3, weight_decay=0.0, weight_decay_sigma=0.0, **changes)
    network, split = model(), SplitWeighting(work.settings, "reporting")
    watch = Keeper(split, work.settings, prepared().dev, (9,))
    train(network, batches(work).iterate(), work.settings, weighting=split, observer=watch)
    return work, network, watch


@pytest.mark.parametrize("policy", ["unmasked", "masked"])
def test_watching_a_run_does_not_change_it(policy):
    """Parameters after 12 steps equal those of the plain loop without split, shadow or scores, to rounding.

    Under SGD: Adam turns the rounding of gradients that are 0, a key's bias, into whole steps.
    """
    work, network, _ = watched(policy=policy, optimizer="sgd")
    plain = model()
    train(plain, batches(work).iterate(), work.settings)
    for (name, found), expected in zip(network.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=2e-5, msg=name)


@pytest.mark.parametrize("clip_norm", [None, 1.0])
def test_the_parts_of_the_memory_add_up_to_the_optimisers_own(clip_norm):
    """m of the task plus m of the others is Adam's m; v is its v; the whole update is what the encoder moved."""
    _, _, watch = watched(policy="unmasked", clip_norm=clip_norm)
    memory, (m, v) = watch.memory, watch.moments[-1]
    scale = v.max().item()
    torch.testing.assert_close(memory.m_task + memory.m_others, m, rtol=1e-3, atol=1e-4 * scale**0.5)
    torch.testing.assert_close(memory.v, v, rtol=1e-3, atol=1e-7 * scale)
    part = (memory.m_task + memory.m_others) / (1 - 0.9**memory.steps)
    update = -1e-3 * part / memory._root(memory.v)
    torch.testing.assert_close(update, watch.moved[-1], rtol=1e-2, atol=2e-6)


def test_under_the_mask_the_task_is_its_own_proper_self():
    """The shadow of a masked run is the run: proper weight, update and clipping are the actual ones."""
    _, _, watch = watched(policy="masked", clip_norm=1.0)
    rows = pd.DataFrame(watch.weighting.rows)
    np.testing.assert_array_equal(rows["weight"], rows["proper_weight"])
    back = rows[rows["step"] >= 8]
    np.testing.assert_allclose(back["left_by_v"], 1, rtol=1e-5)
    np.testing.assert_allclose(back["others_update"], back["others_proper"], rtol=1e-5)
    np.testing.assert_array_equal(back["kept"], back["kept_proper"])


def test_clipping_is_the_loops_own(monkeypatch):
    """The factor that the rows tell is the one that the loop's clipping applied."""
    seen = []
    original = torch.nn.utils.clip_grad_norm_

    def spy(parameters, bound):
        parameters = list(parameters)
        norm = original(parameters, bound)
        seen.append(min(1.0, bound / (norm.item() + 1e-6)))
        return norm

    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", spy)
    _, _, watch = watched(policy="unmasked", clip_norm=1.0)
    rows = pd.DataFrame(watch.weighting.rows)
    np.testing.assert_allclose(rows["kept"].dropna(), seen[8:], rtol=1e-4)


def test_scores_are_taken_at_the_checkpoint_only():
    """One score per task, and the model is left in training mode."""
    _, network, watch = watched(policy="masked")
    assert set(watch.scores) == {9}
    assert set(watch.scores[9]) == set(prepared().dev)
    assert network.training


def test_gradients_are_kept_apart_for_one_batch_a_step():
    """Accumulation is refused by name."""
    with pytest.raises(ValidationError, match="takes accumulation 1, got 4"):
        ReturnJob(name="x")


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Both policies in all arms, smaller than the smoke profile."""
    folder = tmp_path_factory.mktemp("returns")
    shorter = {"before": 4, "absent_steps": 9, "after": 6, "lr_sigma": 0.4, "rows": 64, "max_length": 32}
    p = AfterTheReturnParameters.for_profile("smoke", **shorter)
    paths = study.train_all(p, folder)
    return p, paths, study.load(p, paths)


def test_until_the_return_the_twins_are_one_run(small):
    """In every arm the others' losses agree bit for bit, and the spike is the predicted precision ratio."""
    p, _, runs = small
    table = tables.spikes(runs, p)
    assert sorted(table["arm"]) == sorted(arm.name for arm in study.ARMS)
    assert table["others_identical"].all()
    np.testing.assert_allclose(table["gradient_over_predicted"], 1, rtol=2e-3)
    assert (table["weight_ratio"] > 10).all()


def test_the_prediction_uses_nothing_of_the_run_that_it_predicts(small):
    """Wiping V10.1's losses changes no prediction; V10.2's own sigma is its recursion, and V10.1's up to the return."""
    _, _, runs = small
    own = runs[(runs["policy"] == "masked") | (runs["since"] <= 0)]
    np.testing.assert_allclose(own["predicted_theta"], own["theta"], atol=2e-4)
    twins = runs.set_index(["arm", "stretch", "seed", "step"]).sort_index()
    masked = twins.loc[twins["policy"] == "masked", "loss"]
    unmasked = twins.loc[twins["policy"] == "unmasked", "twin_loss"]
    pd.testing.assert_series_equal(masked, unmasked, check_names=False)


def test_sgds_throw_lands_where_theory_says_and_clipping_does_not_stop_it(small):
    """The landing is exact in both SGD arms, far above after the long absence, and the task is then switched off."""
    p, _, runs = small
    table = tables.whiplash(runs, p)
    np.testing.assert_allclose(table["landed"], table["predicted"], rtol=1e-3, atol=1e-3)
    long = table[table["absence"] == "long"]
    assert set(long["arm"]) == {"SGD", "SGD, clipped"}
    assert (long["landed"] > 2).all()
    assert (long["off"] == p.after - 1).all()


def test_without_clipping_v_is_poisoned_and_with_it_the_others_are_scaled_down(small):
    """The two kinds of damage, each where it belongs, and the shrinkage near its closed form."""
    p, paths, runs = small
    late = tables.late(tables.shrinkages(runs, study.q_classes(p, paths), p)).set_index("clipped")
    assert late.loc[False, "left_by_v"] < 0.8 < late.loc[True, "left_by_v"]
    assert late.loc[False, "left_by_v"] == pytest.approx(late.loc[False, "predicted"], rel=0.3)
    assert late.loc[False, "left_in_layers"] < late.loc[False, "left_by_v"]
    assert late.loc[False, "left_in_layers"] == pytest.approx(late.loc[False, "predicted_in_layers"], rel=0.4)
    assert late.loc[False, "left"] == pytest.approx(late.loc[False, "left_by_v"], rel=1e-5)
    assert late.loc[True, "left"] < 0.8
    clipped = tables.clippings(runs, p)
    np.testing.assert_allclose(clipped["measured"], clipped["predicted"], rtol=0.15)
    assert (clipped["measured"] < 0.5).all()


def test_a_way_back_that_was_not_seen_counts_what_was_seen(small):
    """NaN for the steps back, and the watched steps over the absence as the least it can be."""
    p, _, runs = small
    table = tables.ways_back(runs, p)
    unseen = table[table["back"].isna()]
    assert len(unseen)
    np.testing.assert_allclose(unseen["over_absence"], unseen["seen"] / unseen["absent_steps"])
    seen = table.dropna(subset="back")
    np.testing.assert_allclose(seen["over_absence"], seen["back"] / seen["absent_steps"])


def part(key, value, seeds=3):
    """A measurement that the part's rule confirms at ``value`` = 1 and refutes at 0."""
    limits = {CLAIMS[key].rule.limit.quantity: 1e9}
    if key == "P7c":
        value = 1 - value
    return Measurement(value, value, value, "x", predicted=1.0, seeds=seeds, limits=limits)


@pytest.mark.parametrize(
    ("refuted", "seeds", "verdict"), [(0, 3, "confirmed"), (1, 3, "refuted"), (0, 1, "inconclusive")]
)
def test_the_whole_claim_is_as_good_as_its_parts(refuted, seeds, verdict):
    """All parts confirmed confirm it; one refuted part refutes it; undecided parts leave it open."""
    parts = {key: part(key, 1.0, seeds) for key in measures.PARTS}
    for key in measures.PARTS[:refuted]:
        parts[key] = part(key, 0.0, seeds)
    assert CLAIMS["P7"].decide(measures.measure_whole(parts)).verdict == verdict
