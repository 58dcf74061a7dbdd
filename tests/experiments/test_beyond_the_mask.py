"""What the mask leaves behind: coasting, decay, NaN and shards, measured, and shards in theory."""

import math

import numpy as np
import pytest

from aura_study.claims import CLAIMS, Verdict
from aura_study.experiments.beyond_the_mask import figures, negative, residue
from aura_study.experiments.beyond_the_mask import nan as residue_nan
from aura_study.experiments.beyond_the_mask import shards as residue_shards
from aura_study.experiments.beyond_the_mask.parameters import BeyondTheMaskParameters
from aura_study.experiments.beyond_the_mask.shards import FOUR, TWO, WAYS, Case, ShardModel
from aura_study.theory.shards import WAYS as THEORY_WAYS
from aura_study.theory.shards import encoder_coefficient, settled_variance


@pytest.fixture(scope="module")
def p():
    return BeyondTheMaskParameters.for_profile("smoke")


@pytest.fixture(scope="module")
def paths(p):
    return residue.coasting(p.paths, p.present_steps, p.absent_steps, p.lr, p.noise, p.seed)


def test_b1_holds(p, paths):
    """Measured coasting and decay lie on their closed forms; frozen moves by exactly 0."""
    summary, still = residue.coasting_summary(paths), residue.stillness(p.lr, p.noise, p.seed)
    assert np.allclose(summary["over_exact min"], 1, rtol=1e-6)
    assert (still.loc[still["policy"] == "frozen", "displacement"] == 0).all()
    assert CLAIMS["B1"].rule.judge(residue.b1_measurement(summary, still)) == Verdict.CONFIRMED


def test_b1_fails_if_frozen_moves(p, paths):
    """One frozen parameter that moves by a hair refutes the claim."""
    summary, still = residue.coasting_summary(paths), residue.stillness(p.lr, p.noise, p.seed)
    still.loc[still["policy"] == "frozen", "displacement"] = 1e-12
    assert CLAIMS["B1"].rule.judge(residue.b1_measurement(summary, still)) != Verdict.CONFIRMED


def test_short_past_goes_farther(paths):
    """While the bias correction of v still grows, coasting overshoots the simple formula by a few percent."""
    summary = residue.coasting_summary(paths).set_index("past")
    assert summary.loc[10, "over_limit min"] > 1.03
    assert summary.loc[100, "over_limit min"] > 1.03


def test_b2_holds_within_its_limit():
    """Masks after the term leave NaN; cleaning saves sigma for every source, and the encoder for one of two."""
    table = residue_nan.nan_table()
    measurement = residue_nan.b2_measurement(table)
    assert measurement.measured == 0
    assert CLAIMS["B2"].rule.judge(measurement) == Verdict.WITHIN_LIMITS
    out = table[table["way"].isin(["never stacked: left out", "MaskedKendallLoss, key left out"])]
    assert out[["total", "sigma", "encoder", "present"]].to_numpy().all()


@pytest.mark.parametrize("way", THEORY_WAYS)
@pytest.mark.parametrize("case", [*TWO, *FOUR], ids=lambda case: case.name)
def test_settled_variance_is_where_the_mean_gradient_vanishes(way, case):
    """The closed form is the root, in s, of the mean over shards of d/ds (share e^{-2s} l / 2 + kept s)."""
    count, total = len(case.counts), sum(case.counts)

    def gradient(s):
        slopes = []
        for held, loss in zip(case.counts, case.losses, strict=True):
            share = count * held / total if way == "global count" else float(held > 0)
            kept = 1.0 if way != "local mask" else float(held > 0)
            slopes.append(kept - share * loss * math.exp(-2 * s))
        return sum(slopes) / count

    low, high = -5.0, 5.0
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if gradient(middle) < 0 else (low, middle)
    assert settled_variance(way, case.counts, case.losses) == pytest.approx(math.exp(2 * low), rel=1e-9)


def test_shard_ways_are_refused_by_name():
    """Unknown ways, lengths that differ, and a task that no shard holds."""
    with pytest.raises(ValueError, match="local mask"):
        settled_variance("some mask", (1,), (1.0,))
    for counts, losses in (((1, 2), (1.0,)), ((0, 0), (1.0, 1.0))):
        with pytest.raises(ValueError, match="shard"):
            settled_variance("local mask", counts, losses)


def test_how_samples_fall_does_not_matter_to_the_global_count():
    """The same 16 samples, split in two ways: only the global count settles at the same place, at the same weight."""
    even, uneven = Case("even", (8, 8), (2.0, 1.0)), Case("uneven", (12, 4), (5 / 3, 1.0))
    assert sum(c * x for c, x in zip(even.counts, even.losses, strict=True)) == pytest.approx(
        sum(c * x for c, x in zip(uneven.counts, uneven.losses, strict=True))
    )
    for value in (settled_variance, encoder_coefficient):
        ends = {way: [value(way, case.counts, case.losses) for case in (even, uneven)] for way in THEORY_WAYS}
        assert ends["global count"][0] == pytest.approx(ends["global count"][1])
        assert ends["local mask"][0] != pytest.approx(ends["local mask"][1])


def test_micro_batches_settle_where_theory_says():
    """Every way on every case, sigma and the weight on the encoder."""
    table = residue_shards.micro_batches(120)
    assert set(table["way"]) == set(WAYS)
    assert table["sigma_squared"].to_numpy() == pytest.approx(table["predicted"].to_numpy(), rel=1e-3)
    assert table["encoder"].to_numpy() == pytest.approx(table["encoder_predicted"].to_numpy(), rel=1e-3)


def test_a_shard_without_the_task_gives_its_parameter_nothing():
    """Local mask: a gradient of exactly 0; local frozen: none at all; global presence: the phantom gradient 1."""
    case = TWO[0]
    for way, expected in (("local mask", 0.0), ("local frozen", None), ("global presence", 1.0)):
        model = ShardModel(way)
        model(case, 1).backward()
        gradient = model.weigh.theta[1].grad if way == "local frozen" else model.weigh.theta.grad[1]
        assert gradient == expected if expected is not None else gradient is None


def test_two_real_processes_agree_with_theory_and_with_micro_batches():
    """Gloo and DistributedDataParallel give the fixed points of accumulation; only the frozen policy with its flag
    holds still when no rank has the task.
    """
    table = residue_shards.two_processes(60)
    assert table["ranks_agree"].all()
    assert table["sigma_squared"].to_numpy() == pytest.approx(table["predicted"].to_numpy(), rel=1e-3)
    assert table["encoder"].to_numpy() == pytest.approx(table["encoder_predicted"].to_numpy(), rel=1e-3)
    still = table.set_index("way")["moved_when_absent_everywhere"]
    assert (still["local frozen"] == 0).all()
    assert (still["frozen, no flag"] > 0).all()
    measurement = residue_shards.b3_measurement(table, table)
    assert CLAIMS["B3"].rule.judge(measurement) == Verdict.CONFIRMED


def test_figures_carry_their_theory(paths):
    """Each plate draws and has words."""
    decays = residue.decays(20, 0.01, 0.1)
    plates = (
        figures.residue(paths, decays),
        figures.nan_gradients(residue_nan.nan_table()),
        figures.shards(residue_shards.micro_batches(60)),
    )
    for plate in plates:
        assert plate.encode("png")[:4] == b"\x89PNG"
        assert plate.caption
        assert plate.alt


def test_negative_totals_settle_or_fall_by_the_rate():
    """B4 and B4a on the project's own losses: theory's total with every task there, the rate a step with one away."""
    ends = negative.ends(negative.totals())
    assert (ends.loc[ends["kind"] == "sound", "last"] < 0).all()
    assert ends["ratio"].to_numpy() == pytest.approx(np.ones(len(ends)), abs=0.02)
    assert (ends["moved"] < 1e-9).all()


def test_cures_of_a_negative_total_stop_the_weight_where_it_is_zero():
    """At log sigma = W(-L)/2 the total of tasks of one loss is 0."""
    for loss in negative.SMALL:
        s = -0.5 * np.log(2 * negative._predicted("abs", loss))
        assert 0.5 * loss * np.exp(-2 * s) + s == pytest.approx(0, abs=1e-12)


def test_the_clamp_leaves_a_model_that_has_not_learned():
    """On two regressions; and the plain total comes near to the noise."""
    errors = negative.learned(BeyondTheMaskParameters.for_profile("smoke")).groupby("fix")["error"].mean()
    assert errors["plain"] < 1.5
    assert errors["clamp at 0"] > 3
