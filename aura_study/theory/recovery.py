r"""What follows a task's return: overshoot (whiplash) and the way back to the fixed point.

Distances are measured in :math:`\Delta = \theta - \theta^*`: negative where the absence has left too large a weight,
positive where the task is switched off. The task is present in every step after its return.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.integrate import quad

from aura_study.theory.adam import AdamState
from aura_study.theory.fixed_points import fixed_point
from aura_study.theory.forms import Form
from aura_study.theory.optimizers import DEFAULT_ADAM, Adam

Array = NDArray[np.float64]


def return_step(form: Form, theta: ArrayLike, rate: ArrayLike, loss: ArrayLike = 1.0) -> Array:
    r"""Delta after SGD's first step with the task back; exact.

    For log sigma, Lambda away from its fixed point: :math:`\Delta = -\Lambda + \eta (e^{2\Lambda} - 1)`.
    """
    theta = np.asarray(theta, float)
    return theta - np.asarray(rate, float) * form.gradient(theta, loss) - fixed_point(form, loss)


def whiplash_rate(form: Form, theta: ArrayLike, loss: ArrayLike = 1.0) -> Array:
    r"""SGD's learning rate above which the first step of the returning task overshoots the fixed point; exact.

    :math:`\eta_w = (\theta^* - \theta) / |g(\theta, L)|`: the zero of `return_step`. For log sigma
    :math:`\Lambda / (e^{2\Lambda} - 1)`, whatever the loss.

    Example: after an absence of Lambda = 1 a rate above 0.157 throws the task out.

    >>> from aura_study.theory.forms import FORMS
    >>> round(float(whiplash_rate(FORMS["log_sigma"], -1.0)), 3)
    0.157
    """
    theta = np.asarray(theta, float)
    return (fixed_point(form, loss) - theta) / -form.gradient(theta, loss)


def recovery_phantom(form: Form, theta: float, loss: float = 1.0, tolerance: float = 0.05) -> float:
    r"""Sum of learning rates that SGD needs to bring the weight from ``theta`` to within a factor 1 + ``tolerance``
    of its fixed point; 0 if it is there already.

    Gradient flow: :math:`\int d\theta / |g(\theta, L)|`. For a form of constant steepness (log sigma, log
    variance) in closed form: with w the
    weight over its fixed point, 1/w - 1 decays as exp(-c Lambda), c the `curvature` (2 and 1/2), so that
    :math:`\Lambda = c^{-1}\log\frac{1/w_0 - 1}{1/w_1 - 1}`. A weight that an absence left far too large costs at most
    :math:`c^{-1}\log((1+\text{tolerance})/\text{tolerance})`, whatever the length of the absence; a task thrown Delta
    above its fixed point needs about Delta over the regulariser's slope, that pull being all that is left.

    An approximation of first order in eta; after a whiplash it counts from the point that `return_step` gives.
    """
    if not tolerance > 0:
        raise ValueError(f"tolerance must be > 0, got {tolerance}")
    aim = float(form.weight(fixed_point(form, loss)))
    ratio = float(form.weight(np.asarray(theta, float))) / aim
    goal = 1 + tolerance if ratio > 1 else 1 / (1 + tolerance)
    if (ratio - goal) * (goal - 1) <= 0:
        return 0.0
    if form.steepness is not None:
        aimed = fixed_point(form, loss)
        stiffness = float(form.curvature(aimed))
        offset = form.steepness * (theta - float(aimed))  # log(1/w), also where w itself underflows
        return float((_log_abs_expm1(offset) - _log_abs_expm1(-np.log(goal))) / stiffness)
    end = float(form.at_weight(np.asarray(goal * aim)))
    return abs(quad(lambda t: 1 / float(form.gradient(t, loss)), theta, end, limit=200)[0])


def adam_recovery_steps(
    form: Form,
    theta: float,
    rate: float,
    state: AdamState,
    loss: float = 1.0,
    tolerance: float = 0.05,
    optimizer: Adam = DEFAULT_ADAM,
    limit: int = 100_000,
) -> int | None:
    r"""Steps that Adam needs to bring the weight from ``theta`` to within a factor 1 + ``tolerance`` of its aim.

    The recursion itself, without noise: the way back couples theta and v, and has no closed form. What happens on log
    sigma: the returning task's first gradients, larger than the phantom gradient by :math:`R = e^{2\Lambda}`, fill v
    within a few steps. Until m has decayed they make one burst of some ten steps, each of several eta; what it does not
    cover waits for v, for the gradient shrinks and the step with it, eta g / sqrt(v). With v about (1-b2) A R^2, A
    being how many steps the spike lasts, the distance x falls by
    :math:`dx/dn = -\eta e^{2x} / (R\sqrt{(1-b_2) A})`, and the way back within a factor 2 takes about
    :math:`T = R\sqrt{(1-b_2) A} / 4\eta` steps, less by the root of the bias correction in a young Adam, and
    :math:`\frac{2}{1-b_2}\ln(1 + \frac{1-b_2}{2} T)` once v forgets. It is longer than the absence (hysteresis) from
    Lambda of about 1.6 on for an Adam that was cold before the absence at a rate of .01; from less at smaller rates and
    after a quiet loss, from more where the burst reaches far or a noisy loss had filled v before.

    Args:
        form, theta, loss, tolerance: as in `recovery_phantom`.
        rate: constant learning rate.
        state: Adam's memory on return, for instance `adam_state_after` the absent gradients.
        optimizer: betas and epsilon; its decay is ignored.
        limit: steps after which to give up and return None.
    """
    aim = float(form.weight(fixed_point(form, loss)))
    m, v = state.m, state.v
    for step in range(limit + 1):
        here = np.asarray(theta)
        if 1 / (1 + tolerance) <= float(form.weight(here)) / aim <= 1 + tolerance:
            return step
        g = float(form.gradient(here, loss))
        m += (1 - optimizer.beta1) * (g - m)
        v += (1 - optimizer.beta2) * (g * g - v)
        age = state.steps + step + 1
        corrected = v / (1 - optimizer.beta2**age)
        theta -= rate * m / (1 - optimizer.beta1**age) / (corrected**0.5 + optimizer.epsilon)
    return None


def _log_abs_expm1(x: float) -> float:
    """Log of abs(exp(x) - 1) without overflow."""
    return float(max(x, 0.0) + np.log(-np.expm1(-abs(x))))
