"""Closed forms of an absent stretch against sympy and against ``torch.optim`` on the real loss modules."""

import numpy as np
import pytest
import sympy
import torch
from dynamics_twin import absent_path, theta_of, torch_optimizer

from aura_study.losses import PARAMETERIZATIONS, UnmaskedKendallLoss
from aura_study.theory.absence import absent_trajectory, collapse_step, momentum_phantom, precision_inflation
from aura_study.theory.adam import AdamState
from aura_study.theory.flow import absent_flow
from aura_study.theory.forms import FORMS, LOG_SIGMA, LOG_VARIANCE, SIGMA
from aura_study.theory.optimizers import SGD, Adam
from aura_study.theory.schedules import constant, linear_warmup_decay, one_cycle

OPTIMIZERS = {
    "sgd": SGD(),
    "momentum": SGD(momentum=0.9),
    "sgd_l2": SGD(momentum=0.5, weight_decay=0.1),
    "adam": Adam(),
    "adamw": Adam(weight_decay=0.1),
    "adam_l2": Adam(weight_decay=0.1, decoupled=False),
}
SCHEDULES = {
    "constant": constant(1e-2, 120),
    "warmup": linear_warmup_decay(2e-2, 120, 30),
    "one_cycle": one_cycle(2e-2, 120),
}


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("form", FORMS)
def test_trajectory_equals_torch(form: str, optimizer: str, schedule: str) -> None:
    """Within 1e-9 at every step, up to the collapse of the sigma form, from which on both are undefined."""
    rates, theta0 = SCHEDULES[schedule], FORMS[form].initial_theta
    predicted = absent_trajectory(FORMS[form], theta0, rates, OPTIMIZERS[optimizer])
    real = absent_path(form, theta0, rates, OPTIMIZERS[optimizer])
    defined = np.isfinite(predicted)
    np.testing.assert_allclose(predicted[defined], real[defined], atol=1e-9, rtol=0)
    assert (predicted[defined][1:] < theta0).any()
    if form == "sigma":
        assert np.array_equal(defined, np.cumsum(real <= 0) == 0)
    else:
        assert defined.all()


@pytest.mark.parametrize("form", ["log_sigma", "aura_softplus"])
def test_trajectory_from_a_warm_start_equals_torch(form: str) -> None:
    """Adam's memory of fifty present steps carries over into the absence."""
    weigh = UnmaskedKendallLoss(["task"], PARAMETERIZATIONS[form], dtype=torch.float64)
    optimizer = torch_optimizer(weigh.parameters(), Adam())
    optimizer.param_groups[0]["lr"] = 1e-2
    losses = np.random.default_rng(0).lognormal(size=50)
    path = []
    for loss in [*losses, *[None] * 80]:
        optimizer.zero_grad()
        weigh({} if loss is None else {"task": torch.tensor(loss)}).backward()
        path.append(theta_of(weigh))
        if len(path) == 51:
            memory = optimizer.state[weigh.theta]
            state = AdamState(memory["exp_avg"].item(), memory["exp_avg_sq"].item(), int(memory["step"]))
        optimizer.step()
    predicted = absent_trajectory(FORMS[form], path[50], constant(1e-2, 80), Adam(), state)
    np.testing.assert_allclose(predicted[:-1], path[50:], atol=1e-9, rtol=0)
    cold = absent_trajectory(FORMS[form], path[50], constant(1e-2, 80), Adam())
    assert np.abs(cold - predicted).max() > 1e-2


def test_flows_solve_their_equation_symbolically() -> None:
    """Each flow's invariant F(theta) has dF/dtheta * slope = -dF/dLambda, so that F + c Lambda stays constant."""
    x = sympy.Symbol("x", positive=True)
    softplus_slope = sympy.exp(x) / (1 + sympy.exp(x)) / 2
    invariants = {
        "sigma": (x**2, 1 / x, 2),
        "log_sigma": (x, 1, 1),
        "log_variance": (x, sympy.Rational(1, 2), sympy.Rational(1, 2)),
        "aura_softplus": (x - sympy.exp(-x), softplus_slope, sympy.Rational(1, 2)),
        "log_one_plus_square": (2 * sympy.log(x) + x**2, 2 * x / (1 + x**2), 4),
    }
    for invariant, slope, speed in invariants.values():
        assert sympy.simplify(sympy.diff(invariant, x) * slope - speed) == 0


@pytest.mark.parametrize("form", FORMS)
def test_flow_starts_at_theta0_and_follows_the_slope(form: str) -> None:
    """d theta / d Lambda = -absent gradient, by central differences."""
    theta0 = 0.8
    phantom = np.linspace(0.01, 0.25, 7)
    assert absent_flow(FORMS[form], theta0, 0.0) == pytest.approx(theta0, abs=1e-12)
    step = 1e-6
    slope = (absent_flow(FORMS[form], theta0, phantom + step) - absent_flow(FORMS[form], theta0, phantom - step)) / (
        2 * step
    )
    here = absent_flow(FORMS[form], theta0, phantom)
    np.testing.assert_allclose(slope, -FORMS[form].absent_gradient(here), rtol=1e-6)


@pytest.mark.parametrize("form", FORMS)
def test_flow_predicts_sgds_precision_within_two_percent_at_small_steps(form: str) -> None:
    """An approximation for three of the forms: eta = 1e-3, sigma no closer to its collapse than Lambda = 0.4."""
    rates = constant(1e-3, 400)
    start = FORMS[form].initial_theta
    flow = absent_flow(FORMS[form], start, np.cumsum(rates))
    exact = absent_trajectory(FORMS[form], start, rates)[1:]
    np.testing.assert_allclose(FORMS[form].weight(flow), FORMS[form].weight(exact), rtol=0.02)


def test_precision_grows_by_the_published_factors() -> None:
    """exp(2 Lambda) on s; exp(Lambda/2) and, for Adam, exp(Lambda) on u; 1/(1 - 2 Lambda) for small SGD on sigma."""
    rates = one_cycle(2e-2, 300)
    phantom = rates.sum()
    cases = [
        (LOG_SIGMA, SGD(), 2 * phantom),
        (LOG_SIGMA, Adam(), 2 * phantom),
        (LOG_VARIANCE, SGD(), phantom / 2),
        (LOG_VARIANCE, Adam(), phantom),
    ]
    for form, optimizer, exponent in cases:
        path = absent_trajectory(form, 0.3, rates, optimizer)
        assert np.log(precision_inflation(form, path[0], path[-1])) == pytest.approx(exponent, rel=1e-7)
    path = absent_trajectory(SIGMA, 1.0, constant(1e-4, 3000))
    assert precision_inflation(SIGMA, path[0], path[-1]) == pytest.approx(1 / (1 - 0.6), rel=0.02)


@pytest.mark.parametrize("rate", [0.1, 0.03, 0.01, 1e-3])
@pytest.mark.parametrize("sigma0", [1.0, 1.7])
def test_collapse_step_is_the_first_undefined_step(sigma0: float, rate: float) -> None:
    """The number of SGD steps after which sigma <= 0, to the step."""
    rates = constant(rate, int(sigma0**2 / rate) + 10)
    theta = sigma0
    steps = 0
    while theta > 0:
        theta -= rate / theta
        steps += 1
    assert collapse_step(sigma0, rates) == steps


def test_no_collapse_within_half_of_sigma_squared() -> None:
    """Lambda below sigma_0^2 / 2 leaves sigma positive."""
    assert collapse_step(1.0, constant(1e-2, 49)) is None


def test_momentum_multiplies_the_phantom_number() -> None:
    """In the long run by 1/(1 - mu), and exactly so on a constant slope; at momentum 0 not at all."""
    rates = linear_warmup_decay(1e-2, 400, 40)
    np.testing.assert_allclose(momentum_phantom(rates, 0.0), np.cumsum(rates))
    assert momentum_phantom(rates, 0.9)[-1] / rates.sum() == pytest.approx(10, rel=0.05)
    real = absent_path("log_sigma", 0.0, rates, SGD(momentum=0.9))
    np.testing.assert_allclose(real[1:], -momentum_phantom(rates, 0.9), atol=1e-12)


def test_bad_input_is_named() -> None:
    """A start outside the form's domain and rates that are no vector."""
    with pytest.raises(ValueError, match=r"sigma needs theta0 = sigma > 0, got -1"):
        absent_trajectory(SIGMA, -1.0, [0.1])
    with pytest.raises(ValueError, match=r"vector, got shape \(1, 1\)"):
        absent_trajectory(LOG_SIGMA, 0.0, [[0.1]])
    with pytest.raises(ValueError, match="sigma0 must be > 0, got 0"):
        collapse_step(0.0, [0.1])
    with pytest.raises(ValueError, match=r"momentum must lie in \[0, 1\), got 1"):
        SGD(momentum=1.0)
    with pytest.raises(ValueError, match="weight_decay must be finite and >= 0, got -1"):
        SGD(weight_decay=-1.0)
    with pytest.raises(ValueError, match=r"beta2 must lie in \[0, 1\), got 1"):
        Adam(beta2=1.0)
    with pytest.raises(ValueError, match="weight_decay must be finite and >= 0, got -1"):
        Adam(weight_decay=-1.0)
