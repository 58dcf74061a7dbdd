"""The forms in closed form against sympy and against autograd through the loss modules."""

import numpy as np
import pytest
import sympy
import torch

from aura_study.losses import PARAMETERIZATIONS
from aura_study.theory.forms import FORMS

THETA = sympy.Symbol("theta", real=True)
POINTS = np.array([0.02, 0.3, 1.0, 4.0])


@pytest.mark.parametrize("form", FORMS)
def test_slopes_are_the_symbolic_derivatives(form: str) -> None:
    """weight, weight', regularizer, regularizer' as sympy has them."""
    closed = FORMS[form]
    weight, regularizer = (sympy.sympify(text, {"theta": THETA}) for text in closed.symbolic)
    for expression, function in (
        (weight, closed.weight),
        (sympy.diff(weight, THETA), closed.weight_slope),
        (regularizer, closed.regularizer),
        (sympy.diff(regularizer, THETA), closed.regularizer_slope),
    ):
        exact = [float(expression.subs(THETA, point)) for point in POINTS]
        np.testing.assert_allclose(function(POINTS), exact, rtol=1e-12)


@pytest.mark.parametrize("loss", [0.0, 1e-8, 1.0, 1e8])
@pytest.mark.parametrize("form", FORMS)
def test_gradient_is_autograds(form: str, loss: float) -> None:
    """d term / d theta in float64; at a loss of 0 it is the absent gradient, which is positive."""
    theta = torch.tensor(POINTS, requires_grad=True)
    PARAMETERIZATIONS[form].term(theta, torch.full_like(theta, loss)).sum().backward()
    np.testing.assert_allclose(FORMS[form].gradient(POINTS, loss), theta.grad, rtol=1e-12)
    if loss == 0:
        np.testing.assert_allclose(FORMS[form].absent_gradient(POINTS), theta.grad, rtol=1e-12)
        assert (theta.grad > 0).all()
    np.testing.assert_allclose(FORMS[form].sigma(POINTS), PARAMETERIZATIONS[form].sigma(theta).detach(), rtol=1e-12)
    assert FORMS[form].initial_theta == PARAMETERIZATIONS[form].initial_theta


@pytest.mark.parametrize("form", FORMS)
def test_theta_of_a_weight_is_the_weights_inverse(form: str) -> None:
    """There and back; where the steepness is constant it is the slope of -log w everywhere."""
    closed = FORMS[form]
    np.testing.assert_allclose(closed.at_weight(closed.weight(POINTS)), POINTS, rtol=1e-9)
    steepness = -closed.weight_slope(POINTS) / closed.weight(POINTS)
    assert (closed.steepness is not None) == (np.ptp(steepness) < 1e-9)
    if closed.steepness is not None:
        np.testing.assert_allclose(closed.steepness, steepness, rtol=1e-12)
