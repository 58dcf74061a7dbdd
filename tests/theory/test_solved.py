"""A solved task's way to the clamp's floor and Kendall's sigma beside it, against autograd and integration."""

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from torch.nn import functional as F

from aura_study.losses import focal_loss
from aura_study.theory.solved import FallingLoss, SolvedFlow, floor_logit, log_focal, push, time_to

LOGITS = [-3.0, 0.0, 2.5, 12.0, 18.4]


@pytest.mark.parametrize("z", LOGITS)
@pytest.mark.parametrize("gamma", [0.0, 1.0, 2.0, 5.0])
def test_loss_and_push_are_those_of_autograd(z: float, gamma: float) -> None:
    """The focal loss of one row of two classes with logits 0 and z, in float64."""
    at = torch.tensor(z, dtype=torch.float64, requires_grad=True)
    right = F.logsigmoid(at)
    loss = (-torch.expm1(right)) ** gamma * -right
    (slope,) = torch.autograd.grad(loss, at, retain_graph=True)
    (log_slope,) = torch.autograd.grad(loss.log(), at)
    assert float(log_focal(z, gamma)) == pytest.approx(loss.log().item(), rel=1e-7)
    assert float(push(z, gamma)) == pytest.approx(-slope.item(), rel=1e-6)
    assert float(push(z, gamma, log=True)) == pytest.approx(-log_slope.item(), rel=1e-6)


def test_the_loss_is_the_projects_own() -> None:
    """`aura_study.losses.focal_loss` of two logits that differ by z."""
    for z in (-1.0, 0.5, 3.0):
        logits = torch.tensor([[0.0, z]], dtype=torch.float64)
        ours = focal_loss(logits, torch.tensor([1]), gamma=2.0)
        assert float(np.exp(log_focal(z, 2.0))) == pytest.approx(ours.item(), rel=1e-9)


@pytest.mark.parametrize(
    ("gamma", "log", "end"), [(0.0, False, 6.0), (0.0, True, 18.4), (2.0, False, 2.5), (2.0, True, 6.1)]
)
@pytest.mark.parametrize("start", [-2.0, 0.0, 1.0])
def test_time_is_that_of_the_integrated_flow(gamma: float, log: bool, end: float, start: float) -> None:
    """The logit, integrated step by step for that long, arrives."""
    time = time_to(start, end, gamma, log=log)
    path = solve_ivp(lambda _, z: push(z, gamma, log=log), (0, time), [start], rtol=1e-10, atol=1e-12, method="LSODA")
    assert path.y[0, -1] == pytest.approx(end, abs=1e-5)


@pytest.mark.parametrize("gamma", [0.0, 2.0])
def test_the_logarithm_turns_a_hundred_million_into_a_few(gamma: float) -> None:
    """On the loss the time to a floor of 1e-8 is 1e8 / (gamma + 1)^2, on its logarithm a push of gamma + 1."""
    end = floor_logit(1e-8, gamma)
    assert np.exp(log_focal(end, gamma)) == pytest.approx(1e-8, rel=1e-9)
    assert end == pytest.approx(-np.log(1e-8) / (gamma + 1), rel=0.01)
    assert time_to(0.0, end, gamma) == pytest.approx(1e8 / (gamma + 1) ** 2, rel=0.05)
    late = end - 3.0
    assert time_to(late, end, gamma, log=True) == pytest.approx(3.0 / (gamma + 1), rel=0.02)


@pytest.mark.parametrize("floor", [0.0, -1.0, 0.7])
def test_a_floor_that_no_solved_row_reaches_is_refused(floor: float) -> None:
    """At 0 there is none; above the loss of an undecided row it is none."""
    with pytest.raises(ValueError, match=r"the floor must lie above 0 .* got"):
        floor_logit(floor)


@pytest.mark.parametrize("rates", [(0.01, 0.01), (0.1, 0.001), (0.002, 0.2)])
@pytest.mark.parametrize(("start", "loss"), [(0.0, 1.0), (-1.0, 0.02), (0.3, 3.0)])
def test_sigma_and_loss_follow_the_integrated_flow(rates: tuple[float, float], start: float, loss: float) -> None:
    """Of Kendall's term, by its two derivatives."""
    sigma_rate, logit_rate = rates

    def flow(_: float, state: np.ndarray) -> list[float]:
        s, z = state
        y = np.exp(-2 * s - z)
        return [sigma_rate * (y - 1), 0.5 * logit_rate * y]

    steps = np.array([0.0, 3.0, 50.0, 800.0])
    path = solve_ivp(flow, (0, 800), [start, -np.log(loss)], t_eval=steps, rtol=1e-10, atol=1e-12)
    solved = SolvedFlow(sigma_rate, logit_rate, start, loss)
    np.testing.assert_allclose(solved.sigma(steps), path.y[0], atol=1e-6)
    np.testing.assert_allclose(solved.log_loss(steps), -path.y[1], atol=1e-6)
    np.testing.assert_allclose(solved.ratio(steps), np.exp(-2 * path.y[0] - path.y[1]), rtol=1e-6)


def test_a_loss_that_stands_still_brings_sigma_to_rest_and_a_solved_one_never() -> None:
    """With a logit that does not move, sigma^2 settles at the loss; with one that does, s falls at the stated speed."""
    still = SolvedFlow(0.05, 0.0, 0.0, 0.25)
    assert still.speed == 0
    assert float(still.sigma(2000.0)) == pytest.approx(0.5 * np.log(0.25), abs=1e-9)
    falling = SolvedFlow(0.05, 0.1)
    late = falling.sigma(np.array([2000.0, 2001.0]))
    assert late[0] - late[1] == pytest.approx(falling.speed, rel=1e-9)
    assert falling.speed == pytest.approx(0.05 * 0.1 / (4 * 0.05 + 0.1))
    assert falling.speed < falling.sigma_rate


@pytest.mark.parametrize(("rate", "decay"), [(0.05, 0.01), (0.05, 0.1), (0.05, 0.5), (0.01, 0.0)])
@pytest.mark.parametrize(("start", "loss"), [(0.0, 1.0), (-1.0, 0.02), (0.3, 3.0)])
def test_sigma_beside_a_falling_loss_follows_the_integrated_flow(
    rate: float, decay: float, start: float, loss: float
) -> None:
    """Slower than sigma can follow, exactly as fast, faster, and standing still; at time 0 it is the start."""
    steps = np.array([0.0, 1.0, 7.0, 50.0, 400.0])
    falling = FallingLoss(rate, decay, start, loss)

    def flow(time: float, s: np.ndarray) -> list[float]:
        return [rate * (loss * np.exp(-decay * time - 2 * s[0]) - 1)]

    path = solve_ivp(flow, (0, 400), [start], t_eval=steps, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(falling.sigma(steps), path.y[0], atol=1e-8)
    late = falling.sigma(np.array([40_000.0, 40_001.0]))
    assert late[0] - late[1] == pytest.approx(falling.speed, rel=1e-3, abs=1e-6)
    ratio = np.exp(np.log(loss) - decay * 40_000 - 2 * late[0])
    assert ratio == pytest.approx(falling.rest, rel=1e-6, abs=1e-3)  # at decay = 2 rate it dies like 1 / (2 rate t)
    assert falling.speed <= falling.sigma_rate


def test_a_loss_that_falls_and_stays_brings_sigma_to_rest_and_one_of_zero_does_not() -> None:
    """In two pieces: a fall to a millionth, then that level, whose root sigma reaches; or 0, and no rest."""
    fallen = FallingLoss(0.05, 0.2).sigma(np.log(1e6) / 0.2)
    assert float(FallingLoss(0.05, 0.0, float(fallen), 1e-6).sigma(1e4)) == pytest.approx(0.5 * np.log(1e-6), abs=1e-9)
    steps = np.array([0.0, 1.0, 1e3, 1e5])
    np.testing.assert_allclose(FallingLoss(0.05, 0.0, float(fallen), 0.0).sigma(steps), fallen - 0.05 * steps)


@pytest.mark.parametrize("gamma", [0.0, 2.0])
def test_time_to_the_floor_under_kendalls_weight_is_that_of_the_descent(gamma: float) -> None:
    """A row's cross-entropy or focal loss by its own logit, small steps: the stated steps to 1e-8, within 5 %."""
    rate, logit_rate = 0.002, 0.004
    start = 3.0
    s, z, step = 0.5 * float(log_focal(start, gamma)), start, 0
    flow = SolvedFlow(rate, (gamma + 1) ** 2 * logit_rate, s, float(np.exp(log_focal(start, gamma))))
    while log_focal(z, gamma) > np.log(1e-8):
        weight = 0.5 * np.exp(-2 * s)
        s, z = (
            s - rate * (1 - 2 * weight * float(np.exp(log_focal(z, gamma)))),
            z + logit_rate * weight * push(z, gamma),
        )
        step += 1
    assert flow.time_to(1e-8) == pytest.approx(step, rel=0.05)
    assert float(flow.log_loss(flow.time_to(1e-8))) == pytest.approx(np.log(1e-8), rel=1e-9)
    hair = 1e-6  # by which the loss falls, at the rate of its weight then: under a step
    assert flow.time_to(flow.loss * (1 - hair)) == pytest.approx(
        2 * hair / (flow.logit_rate * flow.ratio(0.0)), rel=0.01
    )


@pytest.mark.parametrize(("flow", "loss"), [(SolvedFlow(0.1, 0.0), 0.5), (SolvedFlow(0.1, 0.1), 2.0),
                                            (SolvedFlow(0.1, 0.1), 0.0)])  # fmt: skip
def test_a_loss_that_is_never_reached_is_refused(flow: SolvedFlow, loss: float) -> None:
    """A logit that stands still, a loss above the first, a loss of 0: one error that names it."""
    with pytest.raises(ValueError, match=r"the loss falls from .* got"):
        flow.time_to(loss)
