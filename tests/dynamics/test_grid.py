"""The grid: independence of how it is split, its random numbers, its loss model, its outcomes, its input checks."""

import tracemalloc

import numpy as np
import pandas as pd
import pytest
from scipy.special import ndtri

from aura_study.dynamics import grid, micro_batches, simulate, trajectories
from aura_study.dynamics.draws import AHEAD
from aura_study.dynamics.kernel import ABSENCE_CODES, FORM_CODES
from aura_study.dynamics.random import normal, quantiles, stream_key, uniform
from aura_study.theory.forms import FORMS, LOG_SIGMA
from aura_study.theory.optimizers import SGD, Adam
from aura_study.training.weighting import POLICIES

MASK = (1 << 64) - 1


@pytest.fixture(scope="module")
def mixed() -> pd.DataFrame:
    """Cells of every kind."""
    return grid(
        parameterization=list(FORMS),
        policy=["unmasked", "masked", "frozen"],
        optimizer=[SGD(), Adam(weight_decay=0.1)],
        presence=[0.1, 0.7],
        rate=[1e-3, 1e-2],
        noise=0.5,
        batch=3,
        accumulation=2,
        absent_start=10,
        absent_steps=20,
    )


def test_results_do_not_depend_on_how_the_grid_is_split(mixed: pd.DataFrame) -> None:
    """Shuffled, in pieces and in one thread or four: bit for bit the same rows."""
    whole = simulate(mixed, 60, seed=3)
    shuffled = mixed.sample(frac=1, random_state=0)
    parts = [simulate(part, 60, seed=3, workers=4) for part in (shuffled[:50], shuffled[50:51], shuffled[51:])]
    pd.testing.assert_frame_equal(pd.concat(parts).sort_index(), whole, check_exact=True)


def test_seeds_and_streams_change_the_draws_and_nothing_else_does(mixed: pd.DataFrame) -> None:
    """Same stream, same presences whatever the policy; another seed, other ones."""
    cells = grid(policy=["unmasked", "masked", "frozen"], presence=0.5, noise=0.3)
    cells["stream"] = 7
    present, losses = micro_batches(cells, 200, seed=1)
    assert (present == present[0]).all()
    assert (losses == losses[0]).all()
    other, _ = micro_batches(cells, 200, seed=2)
    assert 0.3 < (other[0] != present[0]).mean() < 0.7
    first, second = micro_batches(grid(presence=0.5, loss=[1.0, 1.0]), 200)[0]
    assert 0.3 < (first != second).mean() < 0.7


def splitmix(word: int) -> int:
    """SplitMix64's finaliser on Python's own integers."""
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & MASK
    return word ^ (word >> 31)


def test_uniform_is_splitmix64() -> None:
    """The published first output of seed 0, and the twin in Python's integers."""
    golden = 0x9E3779B97F4A7C15
    assert splitmix(golden) == 0xE220A8397B1DCDAF
    key = stream_key(np.uint64(5), np.uint64(9))
    assert int(key) == splitmix(splitmix((5 + golden) & MASK) ^ ((9 * golden + 1) & MASK))
    for counter in range(50):
        word = splitmix((int(key) + (counter + 1) * golden) & MASK)
        assert uniform(key, np.uint64(counter)) == ((word >> 11) + 1) / 2**53


def test_normal_is_the_quantile_of_the_uniform() -> None:
    """To 1e-13 in the middle and in both tails."""
    key = np.uint64(11)
    counters = np.arange(20_000, dtype=np.uint64)
    u = np.array([uniform(key, counter) for counter in counters])
    z = np.array([normal(key, counter) for counter in counters])
    np.testing.assert_allclose(z, ndtri(u), rtol=1e-12, atol=1e-15)
    assert np.abs(z).max() > 3.5


def test_normals_drawn_together_are_those_drawn_one_by_one() -> None:
    """Bit for bit, in the centre, in both tails and at u = 1."""
    key = np.uint64(5)
    u = np.append([uniform(key, counter) for counter in np.arange(5_000, dtype=np.uint64)], 1.0)
    together, room = np.zeros(u.size), np.zeros(u.size, np.int64)
    quantiles(u, u.size, together, room)
    assert together[:-1].tolist() == [normal(key, counter) for counter in np.arange(5_000, dtype=np.uint64)]
    assert together[-1] == together.max() < 9


def test_a_step_sums_its_micro_batches_wherever_the_draws_are_cut() -> None:
    """More micro-batches a step than are drawn at a time, with an absent stretch: the sums of `micro_batches`."""
    cells = grid(presence=0.3, noise=0.5, batch=2, accumulation=AHEAD + 7, absent_start=3, absent_steps=4, rate=0.1)
    present, losses = micro_batches(cells, 3 * AHEAD, seed=2)
    _, thetas = trajectories(cells, 3 * AHEAD, seed=2)
    theta, path = 0.0, [0.0]
    for loss in losses[0].sum(axis=1) / (AHEAD + 7):
        theta -= 0.1 * (1 - np.exp(-2 * theta) * loss)
        path.append(theta)
    np.testing.assert_allclose(thetas[0], path, rtol=1e-12, atol=1e-12)
    assert not present[0, 3:7].any()


@pytest.mark.parametrize(("batch", "accumulation"), [(1, 1), (16, 4)])
def test_presences_and_losses_have_the_stated_moments(batch: int, accumulation: int) -> None:
    """Presence 1 - (1-p)^batch; mean loss as asked; its variation that of a mean over the task's samples."""
    p, noise = 0.05, 0.8
    cells = grid(presence=p, noise=noise, batch=batch, accumulation=accumulation, loss=2.0)
    present, losses = micro_batches(cells, 200_000 // accumulation, loss_profile=None)
    assert present.mean() == pytest.approx(1 - (1 - p) ** batch, rel=0.02)
    assert (losses[~present] == 0).all()
    seen = losses[present]
    assert seen.mean() == pytest.approx(2.0, rel=0.02)
    counts = np.random.default_rng(0).binomial(batch, p, size=400_000)
    expected = noise * np.sqrt((1 / counts[counts > 0]).mean())
    assert seen.std() / seen.mean() == pytest.approx(expected, rel=0.05)


def test_profiles_scale_losses_and_rates() -> None:
    """``loss_profile`` multiplies the losses; a schedule of 0 freezes theta."""
    cells = grid(loss=3.0)
    _, losses = micro_batches(cells, 3, loss_profile=[1.0, 2.0, 0.5])
    assert losses.ravel().tolist() == [3.0, 6.0, 1.5]
    _, thetas = trajectories(cells, 4, schedule=[1.0, 0.0, 0.0, 1.0])
    assert thetas[0, 1] == thetas[0, 2] == thetas[0, 3] != thetas[0, 4]


def test_absent_task_moves_by_policy() -> None:
    """Unmasked sigma falls; masked it coasts and decays; frozen it moves by exactly 0."""
    cells = grid(
        policy=["unmasked", "masked", "frozen"],
        optimizer=Adam(weight_decay=0.1),
        noise=0.3,
        absent_start=50,
        absent_steps=100,
        rate=1e-2,
    )
    cells["stream"] = 0
    steps, thetas = trajectories(cells, 150)
    assert steps[-1] == 150
    unmasked, masked, frozen = thetas[:, 150] - thetas[:, 50]
    assert unmasked < -0.5
    assert 0 < abs(masked) < 0.2
    assert frozen == 0.0


def test_outcomes_are_those_of_the_trajectory() -> None:
    """Means, extremes, weights around the absence and the return, recomputed from the full path."""
    cells = grid(rate=0.05, noise=0.4, presence=0.9, absent_start=40, absent_steps=30, loss=0.5)
    _, thetas = trajectories(cells, 400, seed=5)
    done = simulate(cells, 400, seed=5, burn_in=100, band=1.5).iloc[0]
    weight = LOG_SIGMA.weight(thetas[0])
    present, _ = micro_batches(cells, 400, seed=5)
    before = weight[:-1]
    assert done["theta"] == thetas[0, -1]
    assert done["weight"] == pytest.approx(weight[-1])
    assert done["mean_theta"] == pytest.approx(thetas[0, 100:-1].mean())
    assert done["mean_weight"] == pytest.approx(before[100:].mean())
    assert done["mean_present_weight"] == pytest.approx((before * present[0, :, 0])[100:].mean())
    assert done["max_weight"] == pytest.approx(before.max())
    assert (done["start_weight"], done["return_weight"]) == pytest.approx((weight[40], weight[70]))
    assert done["low_weight"] == pytest.approx(before[70:].min())
    outside = np.flatnonzero(np.abs(np.log(before / weight[40])) > np.log(1.5))
    late = outside[outside >= 70]
    expected = -1 if late[-1] == 399 else late[-1] + 1 - 70
    assert done["settled_after"] == expected
    assert done["undefined_step"] == -1


def test_thinned_trajectory_keeps_every_nth_and_the_last() -> None:
    """Same numbers as the full one."""
    cells = grid(presence=0.5, noise=0.2, loss=[1.0, 2.0])
    _, full = trajectories(cells, 25)
    kept, thin = trajectories(cells, 25, every=10)
    assert kept.tolist() == [0, 10, 20, 25]
    assert np.array_equal(thin, full[:, kept])


def test_memory_does_not_grow_with_the_steps() -> None:
    """Thirty times the steps, the same peak (but for the two profiles)."""
    cells = grid(loss=[1.0] * 50_000, presence=0.5)
    peaks = []
    for steps in (2, 60):
        tracemalloc.start()
        simulate(cells, steps)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.05 * peaks[0]


def test_grid_is_the_product_of_its_axes() -> None:
    """Every combination once, the last axis fastest, defaults elsewhere, distinct streams."""
    cells = grid(optimizer=[SGD(), Adam()], presence=[0.1, 0.2, 0.3])
    assert cells["presence"].tolist() == [0.1, 0.2, 0.3] * 2
    assert [optimizer.name for optimizer in cells["optimizer"]] == ["SGD"] * 3 + ["Adam"] * 3
    assert cells["stream"].tolist() == list(range(6))
    assert set(cells["policy"]) == {"unmasked"}


def test_the_kernel_knows_every_form_and_policy() -> None:
    """Its codes, which need no torch, are of the study's names."""
    assert list(FORM_CODES) == list(FORMS)
    assert list(ABSENCE_CODES) == list(POLICIES)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: grid(speed=1), r"unknown columns \['speed'\]; a cell has"),
        (lambda: grid(rate=[]), r"axes without values: \['rate'\]"),
        (lambda: grid(policy=["masked", "masked"]), "the values of policy must be distinct"),
        (lambda: simulate(grid(presence=0.0), 5), r"presence must be in \(0, 1\], got 0"),
        (lambda: simulate(grid(rate=-1.0), 5), "rate must be finite and >= 0, got -1"),
        (lambda: simulate(grid(batch=1.5), 5), r"batch must be a whole number in \[1, 1,000,000\], got 1.5"),
        (lambda: simulate(grid(policy="none"), 5), r"unknown policy \['none'\]; known: \['unmasked'"),
        (lambda: simulate(grid(parameterization="tau"), 5), r"unknown parameterization \['tau'\]"),
        (lambda: simulate(grid(optimizer="adam"), 5), "optimizer must be an SGD or Adam"),
        (lambda: simulate(grid(), 0), "steps must be at least 1, got 0"),
        (lambda: simulate(grid(), 5, schedule=[1.0]), r"schedule must hold 5 finite values >= 0, got shape \(1,\)"),
        (lambda: simulate(grid(), 5, burn_in=5), r"burn_in must lie in \[0, steps = 5\), got 5"),
        (lambda: simulate(grid(), 5, band=1.0), "band must be > 1, got 1"),
        (lambda: simulate(grid().drop(columns="loss"), 5), r"cells lack the columns \['loss'\]"),
        (lambda: simulate(grid().iloc[:0], 5), "there are no cells"),
        (lambda: trajectories(grid(), 5, every=0), "every must be at least 1, got 0"),
        (lambda: micro_batches(grid(accumulation=[1, 2]), 5), r"one accumulation for all cells, got \[1, 2\]"),
    ],
)
def test_bad_input_is_named(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
