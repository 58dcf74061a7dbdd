"""Where sigma settles: fixed points, curvature, inflation and jitter."""

import numpy as np
import pytest
import sympy
import torch

from aura_study.dynamics import grid, simulate, trajectories
from aura_study.losses import PARAMETERIZATIONS
from aura_study.theory.fixed_points import curvature, fixed_point
from aura_study.theory.fluctuations import gradient_noise, rate_for_jitter, relaxation_steps, weight_jitter
from aura_study.theory.forms import FORMS, LOG_SIGMA
from aura_study.theory.optimizers import SGD, Adam
from aura_study.theory.presence import adam_effective_presence, presence_inflation, time_average_weight

LOSSES = [1e-10, 1e-3, 0.3, 1.0, 40.0, 1e6]


def mean_gradient(form: str, theta: float, loss: float, presence: float) -> tuple[float, float]:
    """Gradient and its slope of p * (present term) + (1 - p) * (absent term), by autograd through the loss module."""
    value = torch.tensor(theta, dtype=torch.float64, requires_grad=True)
    module = PARAMETERIZATIONS[form]
    total = presence * module.term(value, torch.tensor(loss, dtype=torch.float64))
    total = total + (1 - presence) * module.term(value, torch.zeros((), dtype=torch.float64))
    (gradient,) = torch.autograd.grad(total, value, create_graph=True)
    (slope,) = torch.autograd.grad(gradient, value)
    return gradient.item(), slope.item()


@pytest.mark.parametrize("presence", [1.0, 0.3, 0.01])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("form", FORMS)
def test_mean_gradient_vanishes_at_the_fixed_point(form: str, loss: float, presence: float) -> None:
    """Relative to the regulariser's own pull, and with the predicted positive slope."""
    theta = float(fixed_point(FORMS[form], loss, presence))
    gradient, slope = mean_gradient(form, theta, loss, presence)
    pull = float(FORMS[form].absent_gradient(theta))
    assert abs(gradient) <= 1e-5 * abs(pull)
    assert slope == pytest.approx(float(curvature(FORMS[form], loss, presence)), rel=1e-3)
    assert slope > 0


def test_fixed_point_of_log_one_plus_square_symbolically() -> None:
    """sigma^2 = (A + sqrt(A^2 + 8 A)) / 4 is the one positive root, for every A > 0."""
    a, q = sympy.symbols("A q", positive=True)
    roots = sympy.solve(sympy.Eq(2 * q**2, a * (1 + q)), q)
    positive = [root for root in roots if root.subs(a, 1) > 0]
    assert len(roots) == 2
    assert len(positive) == 1
    assert sympy.simplify(positive[0] - (a + sympy.sqrt(a**2 + 8 * a)) / 4) == 0


@pytest.mark.parametrize("presence", [0.5, 0.1, 0.01])
def test_inflation_is_inverse_presence_and_its_root_for_aura(presence: float) -> None:
    """1/p for sigma, s, u whatever the loss; 1/sqrt(p) for AURA softplus; between the two for log(1+sigma^2)."""
    for loss in (0.01, 1.0, 10.0):
        for form in ("sigma", "log_sigma", "log_variance"):
            assert presence_inflation(FORMS[form], presence, loss) == pytest.approx(1 / presence)
        assert presence_inflation(FORMS["aura_softplus"], presence, loss) == pytest.approx(presence**-0.5, rel=1e-5)
        between = float(presence_inflation(FORMS["log_one_plus_square"], presence, loss))
        assert presence**-0.5 <= between <= 1 / presence


def test_unmasked_rare_task_weighs_as_if_always_there() -> None:
    """1/(2L) against p/(2L)."""
    assert time_average_weight(LOG_SIGMA, 2.0, 0.1, masked=False) == pytest.approx(1 / 4)
    assert time_average_weight(LOG_SIGMA, 2.0, 0.1, masked=True) == pytest.approx(0.1 / 4)
    half = time_average_weight(FORMS["aura_softplus"], 2.0, 0.1, masked=False)
    assert half == pytest.approx(np.sqrt(0.1) / 2, rel=1e-5)


def test_time_average_of_the_weight_is_exact_at_large_steps() -> None:
    """SGD on log sigma: E[weight] = 1/(2 p L) where the typical weight already falls short."""
    cells = grid(presence=0.5, rate=0.07, noise=0.5, loss=[2.0] * 16)
    done = simulate(cells, 100_000, burn_in=1000)
    assert done["mean_weight"].mean() == pytest.approx(1 / (2 * 0.5 * 2.0), rel=0.01)
    typical = LOG_SIGMA.weight(done["mean_theta"].to_numpy()).mean()
    assert typical < 0.95 / 2.0


def test_adam_settles_at_its_effective_presence() -> None:
    """At p = 0.01 its precision lies 5.9 % above 1/p, and theory knows it to 1 %."""
    presence, noise = 0.01, 0.3
    theory = float(presence_inflation(LOG_SIGMA, adam_effective_presence(presence, noise)))
    assert theory * presence == pytest.approx(1.0585, abs=1e-3)
    rate = float(rate_for_jitter(LOG_SIGMA, 1.0, presence, 0.07, Adam(), noise))
    cells = grid(presence=presence, rate=rate, noise=noise, optimizer=Adam(), loss=[1.0] * 32)
    cells["theta0"] = float(fixed_point(LOG_SIGMA, 1.0, presence))
    done = simulate(cells, 400_000, burn_in=40_000)
    assert 2 * done["mean_weight"].mean() == pytest.approx(theory, rel=0.015)


def test_adam_effective_presence_at_the_ends() -> None:
    """Present in every step without noise there is nothing to shift; the shift grows as p falls and with 1 - b2."""
    assert adam_effective_presence(1.0) == 1.0
    shifts = [p / float(adam_effective_presence(p)) for p in (0.3, 0.1, 0.03, 0.01)]
    assert shifts == sorted(shifts)
    assert adam_effective_presence(0.01, beta2=1.0) == pytest.approx(0.01)


@pytest.mark.parametrize("value", [gradient_noise, weight_jitter, rate_for_jitter, relaxation_steps])
def test_unmasked_is_meant_where_nothing_is_said(value) -> None:
    """Of what trembles about the fixed point."""
    given = (LOG_SIGMA, 1.0, 0.2) if value is gradient_noise else (LOG_SIGMA, 1.0, 0.2, 0.05)
    assert value(*given, noise=0.5) == value(*given, noise=0.5, masked=False)
    assert value(*given, noise=0.5) != value(*given, noise=0.5, masked=True)


@pytest.mark.parametrize("optimizer", [SGD(), Adam()], ids=["sgd", "adam"])
@pytest.mark.parametrize("masked", [False, True])
def test_jitter_and_relaxation_are_those_of_the_simulation(optimizer, masked: bool) -> None:
    """Relative standard deviation of the weight within 10 %, its correlation time within 20 %."""
    presence, noise = 0.2, 0.5
    rate = float(rate_for_jitter(LOG_SIGMA, 1.0, presence, 0.05, optimizer, noise, masked=masked))
    assert weight_jitter(LOG_SIGMA, 1.0, presence, rate, optimizer, noise, masked=masked) == pytest.approx(0.05)
    relaxation = float(relaxation_steps(LOG_SIGMA, 1.0, presence, rate, optimizer, noise, masked=masked))
    every = max(int(relaxation / 10), 1)
    policy = "masked" if masked else "unmasked"
    cells = grid(policy=policy, presence=presence, rate=rate, noise=noise, optimizer=optimizer, loss=[1.0] * 8)
    cells["theta0"] = float(fixed_point(LOG_SIGMA, 1.0, 1.0 if masked else presence))
    _, thetas = trajectories(cells, 400 * int(relaxation), every=every)
    logs = -2 * thetas[:, thetas.shape[1] // 8 :]
    logs -= logs.mean()
    assert logs.std() == pytest.approx(0.05, rel=0.1)
    lag = round(relaxation / every)
    correlation = (logs[:, lag:] * logs[:, :-lag]).mean() / logs.var()
    assert -1 / np.log(correlation) == pytest.approx(1.0, rel=0.2)


def test_gradient_noise_is_the_second_moment_of_a_step() -> None:
    """Against the two-valued gradient written out."""
    p, c = 0.25, 0.4
    here, absent = np.array([1 - (1 + c) / p, 1 - (1 - c) / p]), 1.0
    second = p * (here**2).mean() + (1 - p) * absent**2
    assert gradient_noise(LOG_SIGMA, 3.0, p, c) == pytest.approx(second)
    assert gradient_noise(LOG_SIGMA, 3.0, p, c, masked=True) == pytest.approx(p * c**2)


def test_bad_input_is_named() -> None:
    """No fixed point without a loss or a presence."""
    with pytest.raises(ValueError, match="loss > 0, got 0"):
        fixed_point(LOG_SIGMA, 0.0)
    with pytest.raises(ValueError, match=r"presence must lie in \(0, 1\], got 0"):
        fixed_point(LOG_SIGMA, 1.0, 0.0)
    with pytest.raises(ValueError, match=r"presence must lie in \(0, 1\], got 2"):
        adam_effective_presence(2.0)


def test_the_moments_behind_adams_presence_are_those_of_drawn_gradients():
    """h is 1 on absent steps, 1 - X/p on present ones, X lognormal with mean 1: p' from drawn moments, at medium p."""
    chance = np.random.default_rng(0)
    for presence, noise in ((0.5, 0.3), (0.3, 0.5), (0.8, 0.2)):
        width = np.sqrt(np.log1p(noise**2))
        x = chance.lognormal(-(width**2) / 2, width, 400_000)
        moments = [(1 - presence) + presence * ((1 - x / presence) ** k).mean() for k in (2, 3)]
        expected = presence / (1 - 0.1 / 2 * moments[1] / moments[0])
        assert float(adam_effective_presence(presence, noise, beta2=0.9)) == pytest.approx(expected, rel=0.003)
