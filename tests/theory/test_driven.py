"""A parameter driven by known losses: step by step, and on average."""

import numpy as np
import pytest

from aura_study.dynamics import grid, trajectories
from aura_study.theory.driven import driven_path, loss_curve, mean_path
from aura_study.theory.forms import FORMS
from aura_study.theory.optimizers import SGD, Adam

LOSSES = np.array([0.8, 0.4, 0.2, 0.1])


@pytest.mark.parametrize("form", ["log_sigma", "log_variance", "sigma", "aura_softplus"])
@pytest.mark.parametrize("optimizer", [SGD(), Adam()])
@pytest.mark.parametrize("masked", [True, False])
def test_the_mean_path_is_the_path_where_nothing_is_random(form, optimizer, masked):
    """Step by step, absent stretches included, it is the optimiser's own recursion."""
    losses = np.where(np.arange(300) % 100 < 60, np.linspace(0.8, 0.2, 300), np.nan)
    start = FORMS[form].initial_theta
    exact = driven_path(FORMS[form], start, losses, 1e-3, optimizer, masked=masked)
    path, spread = mean_path(
        FORMS[form], start, np.nan_to_num(losses), 1e-3, optimizer, masked=masked, presence=np.isfinite(losses) * 1.0
    )
    assert path[0] == pytest.approx(exact, rel=1e-9, abs=1e-9)
    assert (spread == 0).all()


@pytest.mark.parametrize("policy", ["masked", "unmasked"])
@pytest.mark.parametrize("optimizer", [SGD(), Adam()])
@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_the_mean_path_is_the_mean_of_simulations(policy, optimizer, noise):
    """Over many draws of who is present and what its loss is; and its scatter, of the former, has their size."""
    rate, steps, p = (2e-3, 1600, 0.3)
    cells = grid(
        policy=policy, optimizer=optimizer, presence=p, noise=noise, rate=rate, accumulation=2, loss=[1.0] * 64
    )
    curve = loss_curve(LOSSES, steps // LOSSES.size)
    _, thetas = trajectories(cells, steps, every=steps // 8, loss_profile=curve, seed=3)
    parts = 64
    path, spread = mean_path(
        FORMS["log_sigma"], 0.0, loss_curve(LOSSES, parts // LOSSES.size), rate, optimizer,
        masked=policy == "masked", presence=p, noise=noise, accumulation=2, each=steps / parts,
    )  # fmt: skip
    assert path[0, :: parts // 8] == pytest.approx(thetas.mean(0), abs=0.03)
    if not noise:
        assert 0.4 * thetas[:, -1].std() < spread[0, -1] < 2.5 * thetas[:, -1].std()


def test_a_part_of_many_steps_never_passes_the_fixed_point():
    """However large the rate: sigma^2 = L masked, p L unmasked."""
    path, _ = mean_path(FORMS["log_sigma"], 2.0, np.full(50, 0.1), 5.0, SGD(), masked=np.array([True, False]),
                        presence=np.array([[0.5]]), each=100)  # fmt: skip
    assert np.exp(2 * path[:, -1]) == pytest.approx([0.1, 0.05])


@pytest.mark.parametrize("shape", ["steps", "smooth"])
def test_a_loss_curve_keeps_its_means(shape):
    assert loss_curve(LOSSES, 16, shape).reshape(4, -1).mean(1) == pytest.approx(LOSSES)


def test_a_smooth_curve_falls_from_its_first_step_as_it_does_between_the_first_epochs():
    """Before the middle of the first epoch it goes on at the slope of the first two means, however small the step."""
    steps = 16
    falls = np.diff(np.log(loss_curve(LOSSES, steps, "smooth")))
    assert falls[: steps // 2] == pytest.approx(np.log(LOSSES[1] / LOSSES[0]) / steps)
