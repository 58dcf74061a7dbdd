"""The aftermath of a return: the watched run is the plain run, its parts add up, and its twins are twins."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from pydantic import ValidationError
from small_runs import batches, job, model

from aura_study.claims import CLAIMS, Measurement
from aura_study.experiments.after_the_return import alone, measures, tables
from aura_study.experiments.after_the_return import trainings as study
from aura_study.experiments.after_the_return.parameters import AfterTheReturnParameters
from aura_study.experiments.after_the_return.split_weighting import SplitWeighting, flat
from aura_study.experiments.after_the_return.watch import ReturnJob, ReturnWatch, encoder_parts
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
        states = [optimizer.state[p] for p in model.encoder.parameters()]
        if states[0]:
            self.moments.append([torch.cat([s[key].flatten() for s in states]) for key in ("exp_avg", "exp_avg_sq")])
        self.moved.append(flat(list(model.encoder.parameters())) - self.before)


def watched(**changes):
    """A small run with everything kept."""
    work = job(lr_sigma=0.3, weight_decay=0.0, weight_decay_sigma=0.0, **changes)
    network, split = model(), SplitWeighting(work.settings, "reporting")
    watch = Keeper(split, work.settings)
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
    memory, (m, v) = watch.apart, watch.moments[-1]
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
    """The landing is exact in both SGD arms, far above after the long absence, and the run ends before the way back."""
    p, _, runs = small
    table = tables.whiplash(runs, p)
    np.testing.assert_allclose(table["landed"], table["landing"], rtol=1e-3, atol=1e-3)
    long = table[table["absence"] == "long"]
    assert set(long["arm"]) == {"SGD", "SGD, clipped"}
    assert (long["landed"] > 2).all()
    assert long[["off", "back"]].isna().all(axis=None)
    assert (long["predicted"] > p.after).all()


def test_without_clipping_v_is_poisoned_and_with_it_the_others_are_scaled_down(small):
    """The two kinds of damage, each where it belongs, and the shrinkage near its closed form."""
    p, paths, runs = small
    found = tables.late(tables.shrinkages(runs, study.q_classes(p, paths), p))
    late, parts = found.set_index("clipped"), tables.by_part(found).set_index("part")
    assert late.loc[False, "left_by_v"] < 0.8 < late.loc[True, "left_by_v"]
    assert late.loc[False, "left_by_v"] == pytest.approx(late.loc[False, "predicted"], rel=0.3)
    assert late.loc[False, "left_in_layers"] < late.loc[False, "left_by_v"]
    assert set(parts.index) == {"embeddings", "layers", "layer_1", "layer_2"}
    np.testing.assert_allclose(parts["left"], parts["predicted"], rtol=0.4)
    assert parts.loc["layers", "left"] == late.loc[False, "left_in_layers"]
    assert parts.loc["layers", "left"] < parts.loc["embeddings", "left"]
    assert late.loc[False, "left"] == pytest.approx(late.loc[False, "left_by_v"], rel=1e-5)
    assert late.loc[True, "left"] < 0.8
    clipped = tables.clippings(runs, p)
    np.testing.assert_allclose(clipped["measured"], clipped["predicted"], rtol=0.15)
    assert (clipped["measured"] < 0.5).all()


def ways(*back, arm="AdamW", absence="long", absent=10, seen=20.0):
    """Rows of `tables.ways_back`; None where the run ended first."""
    columns = {"absence": absence, "arm": arm, "absent_steps": absent, "seen": seen, "predicted": 25.0}
    return pd.DataFrame({**columns, "seed": range(len(back)), "back": pd.Series(back, dtype=float)})


def test_a_run_that_ended_before_the_return_counts_as_longer_and_not_as_what_it_saw():
    """The median is unknown, and not the watched steps, where most ended first; it is exact where most came back."""
    found = tables.medians(pd.concat([ways(4, 6, None), ways(4, None, None, absence="short")]), "back")
    np.testing.assert_array_equal(found["median"], [6, np.inf])
    np.testing.assert_array_equal(found["reached"], [2, 1])


@pytest.mark.parametrize(
    ("long", "verdict", "held"),
    [
        ([12, 15, 17, 18, 19, 19], "confirmed within limits", "held"),
        ([2, 3, 4, 5, 6, 7], "refuted", "failed"),
        ([None] * 6, "confirmed within limits", "held"),
        ([2, 3, 4, None, None, None], "inconclusive", "none"),
    ],
)
def test_hysteresis_is_a_censored_median_over_the_absence(long, verdict, held):
    """Decided by the interval of the median; runs that all ended later than the absence decide it as well."""
    table = pd.concat([ways(*long), ways(1, 2, 3, absence="short", absent=5)])
    row = CLAIMS["P7b"].decide(measures.measure_hysteresis(table.assign(predicted=20.0)))
    assert (row.verdict, row.prediction_held) == (verdict, held)
    assert row.limits["steps back over steps absent, short absence"] == pytest.approx(0.4)


def thrown(off, back, arm):
    """Rows of `tables.whiplash` after a long absence."""
    columns = {"absence": "long", "arm": arm, "strength": 8.0, "seen": 2500.0, "predicted": 50.0}
    counts = {"off": pd.Series(off, dtype=float), "back": pd.Series(back, dtype=float), "predicted_back": 60.0}
    return pd.DataFrame({**columns, "seed": range(len(off)), **counts})


@pytest.mark.parametrize(
    ("off", "verdict", "held"),
    [
        ([40, 50, 60, 70, 80, 90], "refuted", "held"),
        ([1500, 1600, 1700, 1800, 1900, None], "confirmed", "failed"),
        ([40, 50, 60], "inconclusive", "none"),
    ],
)
def test_thousands_of_steps_are_the_sentences_own_number(off, verdict, held):
    """Hundreds refute it, as the prediction says; thousands would confirm it; three runs have no upper end."""
    row = CLAIMS["P7a"].decide(measures.measure_switched_off(thrown(off, off, "SGD")))
    assert (row.verdict, row.prediction_held) == (verdict, held)


def test_a_throw_that_was_not_watched_to_its_end_says_nothing_of_the_way_back():
    """The ratio's interval is that of the ratio; it is void with a run that ended first."""
    row = CLAIMS["P7f"].decide(measures.measure_throw(thrown([50] * 3, [58, 60, 63], "SGD, clipped")))
    assert row.verdict == "confirmed"
    assert (row.limits["smallest way back"], row.limits["largest way back"]) == (58, 63)
    assert row.interval[0] < row.measured == pytest.approx((58 * 60 * 63) ** (1 / 3) / 60)
    ended = CLAIMS["P7f"].decide(measures.measure_throw(thrown([50] * 3, [58, 60, None], "SGD, clipped")))
    assert (ended.verdict, ended.void) == ("void", "1 of 3 runs with a throw ended before the weight was back")


def test_a_ratio_stands_in_its_own_unit_beside_the_raw_range():
    """P6a prints by how much the worst arm misses, not a mean of jumps that differ tenfold; no jump, no verdict."""
    jumps = {"seed": [0, 0, 1, 1, 2, 2], "gradient_ratio": [400.0, 6000, 400, 700, 400, 1300]}
    table = pd.DataFrame({**jumps, "gradient_over_predicted": [1.001, 0.999, 1, 1.002, 1, 0.998]})
    row = CLAIMS["P6a"].decide(measures.measure_spikes(table))
    assert row.verdict == "confirmed"
    assert 1 < row.measured < 1.01
    assert (row.limits["smallest jump"], row.limits["largest jump"]) == (400, 6000)
    assert CLAIMS["P6a"].decide(measures.measure_spikes(table.assign(gradient_ratio=1.0))).verdict == "void"


def test_each_part_of_the_encoder_has_to_keep_its_own_prediction():
    """P7g is decided by the part that misses most, above or below; the layers together are not one more part."""
    parts = pd.DataFrame({"part": ["embeddings", "layers", "layer_1"] * 3, "seed": np.repeat([0, 1, 2], 3)})
    near = parts.assign(left=[0.9, 9, 0.1] * 3, predicted=[0.9, 1, 0.15] * 3)
    row = CLAIMS["P7g"].decide(measures.measure_by_part(near))
    assert (row.verdict, row.measured) == ("confirmed", pytest.approx(1.5))
    assert CLAIMS["P7g"].decide(measures.measure_by_part(near.assign(predicted=0.3))).verdict == "refuted"


def test_the_parts_of_the_encoder_make_it_up():
    """Embeddings and each layer, one behind the other, all of it; the layers are what is not embeddings."""
    network = model()
    parts = encoder_parts(network)
    layers = parts.pop("layers")
    size = sum(parameter.numel() for parameter in network.encoder.parameters())
    places = np.concatenate([np.arange(size)[place] for place in parts.values()])
    np.testing.assert_array_equal(places, np.arange(size))
    np.testing.assert_array_equal(np.arange(size)[layers], np.arange(parts["embeddings"].stop, size))


def test_sigma_alone_comes_back_when_theory_says():
    """The median of noisy runs lies within a quarter of the times at a loss without noise, and 1.5 steps."""
    p = AfterTheReturnParameters(repeats=25, horizon=500)
    for rate, absent in ((0.2, 10), (0.05, 10), (0.05, 20)):
        for name, said in (("SGD", alone._sgd(rate, absent)), ("Adam", alone._adam(rate, absent, 0.3, 500))):
            found = np.median(alone._measured(p, name, rate, absent, 0.3))
            np.testing.assert_allclose(found, said, rtol=0.25, atol=1.5)


def test_an_order_counts_only_where_theory_tells_the_two_apart():
    """Rows within a factor 2, or with a weight that was never out, are left out; unseen is later than seen."""
    times = {"SGD_predicted": [10.0, 10, 10, 10], "Adam_predicted": [30.0, 15, np.nan, 0]}
    seen = {"SGD": [10.0, 10, np.nan, 10], "Adam": [5.0, 30, np.nan, 30]}
    table = pd.DataFrame({**times, **seen, "repeat": 0, "strength": 0.5})
    found = alone.order(table, 100)
    assert found[["sooner", "sooner_predicted"]].to_numpy().tolist() == [["Adam", "SGD"], ["neither", "SGD"]]


def part(key, value, seeds):
    """A measurement that the part's rule confirms at ``value`` = 1 and refutes at 0."""
    rule = CLAIMS[key].rule
    limits = {named.quantity: 1e9 for named in (rule.limit, *rule.gates) if named}
    if key == "P7c":
        value = 1 - value
    return Measurement(value, value, value, "x", predicted=1.0, seeds=seeds, limits=limits)


@pytest.mark.parametrize(
    ("refuted", "seeds", "void", "verdict"),
    [
        (0, 6, "", "confirmed"),
        (1, 6, "", "refuted"),
        (0, 1, "", "inconclusive"),
        (0, 6, "says nothing", "inconclusive"),
        (1, 6, "says nothing", "refuted"),
    ],
)
def test_the_whole_claim_is_as_good_as_its_parts(refuted, seeds, void, verdict):
    """All parts confirmed confirm it; one refuted part refutes it; undecided and void parts leave it open."""
    parts = {key: part(key, 1.0, seeds) for key in measures.PARTS}
    for key in measures.PARTS[:refuted]:
        parts[key] = part(key, 0.0, seeds)
    parts["P7d"] = replace(parts["P7d"], void=void)
    assert CLAIMS["P7"].decide(measures.measure_whole(parts)).verdict == verdict
