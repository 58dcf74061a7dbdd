"""The return of a task: overshoot and recovery, against ``torch.optim`` on the real loss modules."""

import numpy as np
import pytest
import torch
from dynamics_twin import theta_of, torch_optimizer

from aura_study.losses import PARAMETERIZATIONS, MaskedKendallLoss
from aura_study.theory.absence import absent_trajectory
from aura_study.theory.adam import COLD_START, adam_state_after
from aura_study.theory.fixed_points import fixed_point
from aura_study.theory.forms import FORMS, LOG_SIGMA
from aura_study.theory.optimizers import SGD, Adam
from aura_study.theory.recovery import adam_recovery_steps, recovery_phantom, return_step, whiplash_rate
from aura_study.theory.schedules import constant


def present_path(form: str, theta: float, rate: float, steps: int, loss: float = 1.0) -> np.ndarray:
    """Theta of a task that is there in every step, under SGD."""
    weigh = MaskedKendallLoss(["task"], PARAMETERIZATIONS[form], dtype=torch.float64)
    with torch.no_grad():
        weigh.theta.fill_(theta)
    optimizer = torch_optimizer(weigh.parameters(), SGD())
    optimizer.param_groups[0]["lr"] = rate
    path = [theta]
    for _ in range(steps):
        optimizer.zero_grad()
        weigh({"task": torch.tensor(loss, dtype=torch.float64)}).backward()
        optimizer.step()
        path.append(theta_of(weigh))
    return np.array(path)


@pytest.mark.parametrize("form", FORMS)
def test_return_step_equals_torch_and_vanishes_at_the_whiplash_rate(form: str) -> None:
    """The first step lands where predicted; at the threshold exactly on the fixed point, above it beyond."""
    loss = 0.7
    goal = float(fixed_point(FORMS[form], loss))
    theta = float(fixed_point(FORMS[form], loss, 0.05))
    threshold = float(whiplash_rate(FORMS[form], theta, loss))
    for rate in (0.3 * threshold, threshold, 3 * threshold):
        landed = present_path(form, theta, rate, 1, loss)[-1] - goal
        assert float(return_step(FORMS[form], theta, rate, loss)) == pytest.approx(landed, abs=1e-12)
        assert np.sign(round(landed, 12)) == np.sign(round(rate / threshold - 1, 12))


def test_whiplash_rate_of_log_sigma_is_the_published_one() -> None:
    """Lambda / (exp(2 Lambda) - 1), whatever the loss."""
    phantom = np.array([0.1, 1.0, 4.0])
    for loss in (0.1, 1.0, 10.0):
        theta = fixed_point(LOG_SIGMA, loss) - phantom
        np.testing.assert_allclose(whiplash_rate(LOG_SIGMA, theta, loss), phantom / np.expm1(2 * phantom), rtol=1e-9)


@pytest.mark.parametrize("side", ["too heavy", "switched off"])
@pytest.mark.parametrize("form", FORMS)
def test_sgd_recovers_in_the_predicted_learning_rate_sum(form: str, side: str) -> None:
    """From both sides of the fixed point, within 2 % at small steps."""
    loss, tolerance = 1.3, 0.1
    theta = float(fixed_point(FORMS[form], loss, 0.1 if side == "too heavy" else 1.0))
    if side == "switched off":
        theta += 1.5
    predicted = recovery_phantom(FORMS[form], theta, loss, tolerance)
    rate = predicted / 1500
    path = present_path(form, theta, rate, 1700, loss)
    ratio = FORMS[form].weight(path) / FORMS[form].weight(fixed_point(FORMS[form], loss))
    inside = (ratio <= 1 + tolerance) & (ratio >= 1 / (1 + tolerance))
    assert rate * np.argmax(inside) == pytest.approx(predicted, rel=0.02)


def test_recovery_after_an_absence_does_not_grow_with_it_under_sgd() -> None:
    """Too heavy a weight costs at most log((1 + tol)/tol) / 2; a task thrown out needs its distance."""
    bound = np.log(1.05 / 0.05) / 2
    costs = [recovery_phantom(LOG_SIGMA, -phantom) for phantom in (1.0, 3.0, 10.0, 200.0)]
    assert costs == sorted(costs)
    assert costs[-1] == pytest.approx(bound)
    assert recovery_phantom(LOG_SIGMA, 500.0) == pytest.approx(500.0, rel=0.01)
    assert recovery_phantom(LOG_SIGMA, 0.0) == 0.0


def test_adam_recovery_equals_torch_and_shows_hysteresis() -> None:
    """Same number of steps as the optimiser; longer than an absence of Lambda = 3, shorter than one of 0.5."""
    rate = 1e-2
    for phantom, slower in ((3.0, True), (0.5, False)):
        absent = int(phantom / rate)
        start = absent_trajectory(LOG_SIGMA, 0.0, constant(rate, absent), Adam())[-1]
        state = adam_state_after(np.ones(absent))
        taken = adam_recovery_steps(LOG_SIGMA, float(start), rate, state, tolerance=0.5)
        assert taken is not None
        assert (taken > absent) == slower
        theta = torch.nn.Parameter(torch.tensor(float(start), dtype=torch.float64))
        optimizer = torch.optim.Adam([theta], lr=rate)
        optimizer.state[theta] = {
            "step": torch.tensor(float(state.steps)),
            "exp_avg": torch.tensor(state.m, dtype=torch.float64),
            "exp_avg_sq": torch.tensor(state.v, dtype=torch.float64),
        }
        steps = 0
        while np.exp(-2 * theta.item()) > 1.5:
            optimizer.zero_grad()
            (0.5 * torch.exp(-2 * theta) + theta).backward()
            optimizer.step()
            steps += 1
        assert steps == taken


def test_bad_input_is_named() -> None:
    """A tolerance of 0 is never reached; a limit that is too small gives None."""
    with pytest.raises(ValueError, match="tolerance must be > 0, got 0"):
        recovery_phantom(LOG_SIGMA, -1.0, tolerance=0.0)
    assert adam_recovery_steps(LOG_SIGMA, -3.0, 1e-3, COLD_START, limit=5) is None
