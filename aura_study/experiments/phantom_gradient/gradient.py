"""The phantom gradient itself (claim P1): its value, derived four ways."""

import numpy as np
import pandas as pd
import sympy
import torch

from aura_study.claims import Measurement
from aura_study.losses import PARAMETERIZATIONS, Parameterization, UnmaskedKendallLoss
from aura_study.theory.forms import FORMS


def symbolic_gradients() -> dict[str, sympy.Expr]:
    """d regularizer / d theta of every form, differentiated by sympy."""
    theta = sympy.Symbol("theta", real=True)
    terms = {name: sympy.sympify(form.symbolic[1], {"theta": theta}) for name, form in FORMS.items()}
    return {name: sympy.simplify(sympy.diff(term, theta)) for name, term in terms.items()}


def absent_gradients(points: int) -> pd.DataFrame:
    """The unmasked gradient at a loss of 0, four ways: closed form, sympy, autograd, finite differences; float64."""
    sigma = np.geomspace(0.1, 10, points)
    symbol = sympy.Symbol("theta", real=True)
    symbolic = {name: sympy.lambdify(symbol, term, "numpy") for name, term in symbolic_gradients().items()}
    frames = []
    for name, form in PARAMETERIZATIONS.items():
        theta = np.array([form.theta(value) for value in sigma])
        frames.append(
            pd.DataFrame(
                {
                    "parameterization": name,
                    "sigma": sigma,
                    "theta": theta,
                    "closed_form": FORMS[name].absent_gradient(theta),
                    "symbolic": np.broadcast_to(symbolic[name](theta), theta.shape),
                    "autograd": _autograd(form, theta),
                    "finite_difference": _finite_difference(form, theta),
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def _autograd(form: Parameterization, theta: np.ndarray) -> np.ndarray:
    slopes = []
    for value in theta:
        weigh = _absent_loss(form, value)
        (slope,) = torch.autograd.grad(weigh({}), weigh.theta)
        slopes.append(slope.item())
    return np.array(slopes)


def _finite_difference(form: Parameterization, theta: np.ndarray, step: float = 1e-5) -> np.ndarray:
    """Central differences of the module's own total."""
    with torch.no_grad():
        rise = [_absent_loss(form, x + step)({}).item() - _absent_loss(form, x - step)({}).item() for x in theta]
    return np.array(rise) / (2 * step)


def _absent_loss(form: Parameterization, theta: float) -> UnmaskedKendallLoss:
    weigh = UnmaskedKendallLoss(["absent"], form, dtype=torch.float64)
    with torch.no_grad():
        weigh.theta.fill_(theta)
    return weigh


def measure_gradients(table: pd.DataFrame) -> Measurement:
    """P1: largest relative distance of sympy, autograd and finite difference from the closed form."""
    reference = table["closed_form"]
    errors = [
        ((table[way] - reference) / reference).abs().max() for way in ("symbolic", "autograd", "finite_difference")
    ]
    return Measurement.over(errors, "largest relative difference", predicted=0.0, measured=max)
