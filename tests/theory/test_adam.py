"""Adam's directions, warm start and coasting against ``torch.optim``."""

import numpy as np
import pytest
import torch

from aura_study.theory.absence import adam_phantom
from aura_study.theory.adam import AdamState, adam_coasting, adam_directions, adam_state_after, warm_start_factor
from aura_study.theory.fluctuations import adam_memory
from aura_study.theory.forms import FORMS
from aura_study.theory.optimizers import Adam
from aura_study.theory.schedules import constant, one_cycle


def torch_adam(gradients, rates, betas=(0.9, 0.999)):
    """Positions of one parameter under given gradients, and the optimiser's final memory."""
    theta = torch.nn.Parameter(torch.zeros((), dtype=torch.float64))
    optimizer = torch.optim.Adam([theta], betas=betas)
    path = [0.0]
    for gradient, rate in zip(gradients, rates, strict=True):
        theta.grad = torch.tensor(float(gradient), dtype=torch.float64)
        optimizer.param_groups[0]["lr"] = float(rate)
        optimizer.step()
        path.append(theta.item())
    memory = optimizer.state[theta]
    return np.array(path), AdamState(memory["exp_avg"].item(), memory["exp_avg_sq"].item(), int(memory["step"]))


def test_directions_and_state_equal_torch() -> None:
    """For random gradients, betas and rates, in one piece and in two."""
    gradients = np.random.default_rng(0).normal(size=200)
    rates = one_cycle(0.1, 200)
    optimizer = Adam(beta1=0.7, beta2=0.99)
    path, memory = torch_adam(gradients, rates, (0.7, 0.99))
    np.testing.assert_allclose(np.diff(path), -rates * adam_directions(gradients, optimizer), atol=1e-12)
    state = adam_state_after(gradients[:50], optimizer)
    np.testing.assert_allclose(
        adam_directions(gradients[50:], optimizer, state), adam_directions(gradients, optimizer)[50:], rtol=1e-9
    )
    end = adam_state_after(gradients, optimizer)
    assert end.steps == memory.steps == 200
    assert (end.m, end.v) == pytest.approx((memory.m, memory.v), rel=1e-12)


@pytest.mark.parametrize("gradient", [1e-3, 0.5, 1.0, 1e4])
def test_cold_start_moves_by_the_rate_but_for_epsilon(gradient: float) -> None:
    """A constant gradient g gives g / (|g| + epsilon) at every step, whatever g."""
    directions = adam_directions(np.full(300, gradient))
    np.testing.assert_allclose(directions, gradient / (gradient + 1e-8), rtol=1e-12)


@pytest.mark.parametrize("noise", [0.0, 0.01, 0.25, 1.0])
@pytest.mark.parametrize("age", [0, 1, 100, 3000, 10**7])
def test_warm_start_factor_is_adams_step_from_a_settled_memory(noise: float, age: int) -> None:
    """m = 0, bias-corrected v = noise * g^2 after that many steps, then a constant gradient."""
    g, steps, adam = 0.5, 400, Adam(epsilon=0.0)
    state = AdamState(0.0, (1 - adam.beta2**age) * noise * g * g, age)
    exact = adam_directions(np.full(steps, g), adam, state)
    np.testing.assert_allclose(warm_start_factor(steps, noise, age=age), exact, rtol=1e-9)
    if age == 10**7:
        np.testing.assert_allclose(warm_start_factor(steps, noise), exact, rtol=1e-9)


def test_an_empty_memory_starts_cold() -> None:
    """At age 0 every factor is 1, whatever the noise: the phantom number is Lambda."""
    np.testing.assert_allclose(adam_phantom(one_cycle(0.1, 300), 0.7, age=0), np.cumsum(one_cycle(0.1, 300)))


@pytest.mark.parametrize(
    ("variation", "after_60", "after_400", "after_1000"),
    [(0.05, 4.98, 2.77, 1.97), (0.3, 2.46, 2.04, 1.64), (0.5, 1.62, 1.60, 1.40), (1.0, 0.85, 0.98, 0.99)],
)
def test_a_quiet_loss_carries_adam_further(
    variation: float, after_60: float, after_400: float, after_1000: float
) -> None:
    """Displacement over Lambda, by coefficient of variation of the loss and length of the absence."""
    moved = adam_phantom(constant(1.0, 1000), variation**2)
    assert [moved[k - 1] / k for k in (60, 400, 1000)] == pytest.approx([after_60, after_400, after_1000], abs=0.006)


def torch_adam_at_the_fixed_point(variation, rate, before, absent, presence=1.0, runs=300):
    """Displacement of log sigma after 1, 2, ... absent steps, shape ``(absent, runs)``, after ``before`` settled ones.

    One torch optimiser on ``runs`` independent parameters, each with its own loss of mean 1, gamma distributed.
    """
    draw = np.random.default_rng(0)
    theta = torch.nn.Parameter(torch.full((runs,), np.log(presence) / 2, dtype=torch.float64))
    optimizer = torch.optim.Adam([theta], lr=rate)
    for _ in range(before):
        losses = draw.gamma(variation**-2, variation**2, runs) * (draw.random(runs) < presence)
        theta.grad = 1 - torch.from_numpy(losses) * torch.exp(-2 * theta.detach())
        optimizer.step()
    start, moved = theta.detach().clone(), []
    for _ in range(absent):
        theta.grad = torch.ones_like(theta)
        optimizer.step()
        moved.append((start - theta.detach()).numpy())
    return np.stack(moved)


@pytest.mark.parametrize(
    ("variation", "rate", "before", "presence"),
    [
        (0.05, 0.01, 5000, 1.0),
        (0.3, 0.002, 5000, 1.0),
        (0.3, 0.05, 5000, 1.0),
        (1.0, 0.01, 5000, 1.0),
        (0.3, 0.01, 300, 1.0),
        (0.3, 0.01, 5000, 0.25),
    ],
)
def test_adam_phantom_is_where_torch_ends(variation: float, rate: float, before: int, presence: float) -> None:
    """Mean displacement within 1 % from 60 absent steps on: quiet and noisy losses, small and large rates, a young
    Adam, a task that comes and goes. A run alone strays by more."""
    moved = torch_adam_at_the_fixed_point(variation, rate, before, 1000, presence)
    noise = float(adam_memory(FORMS["log_sigma"], 1.0, presence, rate, variation))
    said = adam_phantom(constant(rate, 1000), noise, age=before)
    np.testing.assert_allclose(moved.mean(1)[59:], said[59:], rtol=0.01)


@pytest.mark.parametrize("variation", [0.1, 0.3, 0.5, 1.0, 3.0])
def test_a_long_absence_ends_a_fixed_way_beyond_lambda(variation: float) -> None:
    """2 / (1-b2) ln(2 / (1+c)) steps beyond, less the first moment's lag, b1 / (1-b1) / c."""
    beyond = adam_phantom(constant(1.0, 30_000), variation**2)[-1] - 30_000
    whole = 2000 * np.log(2 / (1 + variation))
    assert beyond == pytest.approx(whole - 9 / variation, abs=max(0.02 * abs(whole), 1))


def test_warm_start_displaces_up_to_sixfold_without_noise_and_less_with_it() -> None:
    """The numbers of the docstring: peak 6.57 and ratio 6 at rho = 0, 1.7 at 1/4, never above 1 at 1."""

    def largest_ratio(noise: float) -> float:
        factor = warm_start_factor(20_000, noise)
        return float((np.cumsum(factor) / np.arange(1, factor.size + 1)).max())

    assert warm_start_factor(100).max() == pytest.approx(6.57, abs=0.01)
    assert largest_ratio(0.0) == pytest.approx(6.0, abs=0.1)
    assert largest_ratio(0.25) == pytest.approx(1.7, abs=0.05)
    assert largest_ratio(1.0) <= 1.0


def test_coasting_equals_torch() -> None:
    """Gradients of exactly 0 after 60 others: momentum carries theta on."""
    gradients = np.random.default_rng(1).normal(0.3, 1.0, size=60)
    rates = np.concatenate([constant(0.01, 60), one_cycle(0.05, 90)])
    path, _ = torch_adam(np.concatenate([gradients, np.zeros(90)]), rates)
    _, state = torch_adam(gradients, rates[:60])
    coasted = adam_coasting(state, rates[60:])
    np.testing.assert_allclose(path[61:] - path[60], coasted, rtol=1e-5)  # epsilon is neglected
    assert abs(coasted[-1]) > 1e-3


def test_coasting_tends_to_nine_steps() -> None:
    """r / (1 - r) = 9.05 at the default betas."""
    distance = adam_coasting(AdamState(1.0, 1.0, 10**7), constant(1.0, 500))[-1]
    assert -distance == pytest.approx(9.05, abs=0.01)


def test_bad_state_is_named() -> None:
    """Negative memory, no memory to coast on."""
    with pytest.raises(ValueError, match="v and steps must be >= 0, got v = -1"):
        AdamState(v=-1.0)
    with pytest.raises(ValueError, match="second moment v > 0, got 0"):
        adam_coasting(AdamState(), [0.1])
    with pytest.raises(ValueError, match="noise and age must be >= 0, got noise = -1"):
        warm_start_factor(3, -1.0)
