r"""A task that is present and solved: how fast its loss falls to a clamp's floor, where Kendall's sigma goes, how far.

A solved row has a logit z (signed so that right is large) and the focal loss
:math:`L = \sigma(-z)^\gamma\, \ell`, with :math:`\ell = \log(1 + e^{-z})`; gamma = 0 is binary cross-entropy. Under
gradient flow at rate 1 on the logit (a parameter w with z = w h moves it at the rate :math:`\lVert h \rVert^2`),

===========  ====================================================  ================================================
descended    speed :math:`\dot z`                                  time from z_0 to the floor, for large z
===========  ====================================================  ================================================
L            :math:`\sigma(-z)^\gamma(\gamma\sigma(z)\ell +        :math:`e^{(\gamma+1) z_1} / (\gamma+1)^2`: some
             \sigma(-z))`, which dies with the loss                hundred million at a floor of 1e-8
log L        :math:`\gamma\sigma(z) + \sigma(-z)/\ell \to          :math:`(z_1 - z_0)/(\gamma+1)`: a constant push,
             \gamma + 1`                                           until the clamp makes it exactly 0
===========  ====================================================  ================================================

Kendall's term :math:`\tfrac12 e^{-2s} L + s` takes the logarithm itself. With :math:`L = e^{-z}`, rates eta_s and
eta_z and :math:`y = L/\sigma^2`, the flow :math:`\dot s = \eta_s (y - 1)`, :math:`\dot z = \tfrac12\eta_z y` gives the
logistic :math:`\dot y = 2\eta_s y\,(1 - y/y_*)`, so that

.. math:: y \to y_* = \frac{4\eta_s}{4\eta_s + \eta_z}, \qquad
    \dot s \to -\frac{\eta_s \eta_z}{4\eta_s + \eta_z}, \qquad \dot z \to \frac{2\eta_s\eta_z}{4\eta_s + \eta_z}.

Sigma falls for ever, as an absent, unmasked task's does, but by a factor :math:`\eta_z / (4\eta_s + \eta_z) < 1` more
slowly, and for another reason: sigma^2 follows a loss that is really falling. The task's pull on what it shares,
:math:`\tfrac12 y`, keeps its size; an absent task's y decays like :math:`e^{-2\Lambda}` on paper (its loss counts as 0)
and is :math:`e^{2\Lambda}` times too large when it returns. A focal loss counts as :math:`e^{-(\gamma+1)z}`: the same
with :math:`(\gamma+1)^2\eta_z` for eta_z.

Where the loss falls by itself, :math:`L = L_0 e^{-kt}` whatever its weight (Adam takes steps of one size on the logit:
:math:`k = (\gamma+1)\,\eta_z \lVert h \rVert_1`), :math:`\dot y = 2\eta_s y\,(1 - k/2\eta_s - y)`, so that

.. math:: \dot s \to -\min(k/2,\, \eta_s), \qquad y \to \max(1 - k/2\eta_s,\, 0).

Up to :math:`k = 2\eta_s` sigma keeps up and the weight is the one that the loss asks for; beyond it, as after a loss
that is exactly 0, sigma falls as beside an absent task, and nothing in sigma tells the two apart. Under Adam the speed
is the same, :math:`\eta_s` being what it walks in a step.

How far: a loss that stays at L > 0 has sigma rest at :math:`\sqrt L`; one of exactly 0 has it rest nowhere. A row of
loss L_1 that comes then counts :math:`L_1/\sigma^2` times what it should, solved or absent alike. With a floor epsilon
added to the loss sigma rests at :math:`\sqrt\varepsilon` and the weight at :math:`1/2\varepsilon`. That is the least
that bounds both: the gradient on the model's side keeps its form, and s has a rest that it is pulled back to from
either side. A clamp on s has none: its gradient is 0 below it. A softened variance
:math:`\sigma^2 = \varepsilon + e^{2s}` bounds the weight, but lets s fall on, so that the way back grows with the
stretch (under Adam less than in proportion, see `aura_study.theory.unregularised.adam_speed`). Maximising the posterior
under an inverse-gamma prior on sigma^2 adds the same :math:`\varepsilon/2\sigma^2`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.special import expit, exprel, spence

Array = NDArray[np.float64]


def log_focal(z: ArrayLike, gamma: float = 0.0) -> Array:
    """Logarithm of the focal loss of a row with logit ``z`` (any shape), without underflow."""
    z = np.asarray(z, float)
    return -gamma * np.logaddexp(0, z) + np.log(np.logaddexp(0, -z))


def push(z: ArrayLike, gamma: float = 0.0, *, log: bool = False) -> Array:
    """Speed of the logit under gradient flow at rate 1 on the loss or, with ``log``, on its logarithm."""
    z = np.asarray(z, float)
    of_log = gamma * expit(z) + expit(-z) / np.logaddexp(0, -z)
    return of_log if log else of_log * np.exp(log_focal(z, gamma))


def time_to(start: float, end: float, gamma: float = 0.0, *, log: bool = False) -> float:
    r"""Time that the logit takes from ``start`` to ``end`` at rate 1; in steps, divide by the learning rate.

    In closed form for gamma = 0: :math:`[z + e^z]` on the loss, and on its logarithm
    :math:`[e^z \log(1+e^{-z}) + \log(1+e^z) + \mathrm{Li}_2(-e^{-z})]`; by quadrature for a focal loss.
    """
    if gamma == 0:
        first, last = (_spent_log(z) if log else z + float(np.exp(z)) for z in (start, end))
        return last - first
    return float(quad(lambda z: 1 / float(push(z, gamma, log=log)), start, end, limit=200)[0])


def _spent_log(z: float) -> float:
    small = float(np.exp(-z))
    return float(np.exp(z) * np.log1p(small) + np.logaddexp(0, z) + spence(1 + small))  # spence(x) = Li2(1 - x)


def floor_logit(floor: float = 1e-8, gamma: float = 0.0) -> float:
    """Logit at which the loss has fallen to ``floor``, below which a clamp makes its gradient exactly 0.

    Raises:
        ValueError: a floor that is not above 0 and below the loss of an undecided row.
    """
    if not 0 < floor < np.exp(log_focal(0.0, gamma)):
        raise ValueError(f"the floor must lie above 0 and below the loss at z = 0, got {floor}")
    return float(brentq(lambda z: float(log_focal(z, gamma)) - np.log(floor), 0.0, 1.0 - np.log(floor)))


@dataclass(frozen=True)
class SolvedFlow:
    """Kendall's sigma beside a loss exp(-z) that its own weight drives down; see the module.

    Attributes:
        sigma_rate: learning rate of s = log sigma, above 0.
        logit_rate: rate of the logit, its learning rate times the squared norm of its features; 0 stands still.
        start: s at time 0.
        loss: at time 0.
    """

    sigma_rate: float
    logit_rate: float
    start: float = 0.0
    loss: float = 1.0

    @property
    def rest(self) -> float:
        """L / sigma^2 in the end: 1 were the loss to stand still."""
        return 4 * self.sigma_rate / (4 * self.sigma_rate + self.logit_rate)

    @property
    def speed(self) -> float:
        """Fall of s per step in the end; of an absent, unmasked task it is the learning rate of s."""
        return self.sigma_rate * (1 - self.rest)

    def ratio(self, steps: ArrayLike) -> Array:
        """L / sigma^2 after ``steps`` (any shape)."""
        first = self.loss * np.exp(-2 * self.start)
        return 1 / (1 / self.rest + (1 / first - 1 / self.rest) * np.exp(-2 * self.sigma_rate * self._time(steps)))

    def sigma(self, steps: ArrayLike) -> Array:
        """S = log sigma after ``steps``."""
        return self.start + self.sigma_rate * (self._pulled(steps) - self._time(steps))

    def log_loss(self, steps: ArrayLike) -> Array:
        """Logarithm of the loss after ``steps``."""
        return np.log(self.loss) - 0.5 * self.logit_rate * self._pulled(steps)

    def time_to(self, loss: float) -> float:
        """Steps until the loss has fallen to ``loss``, such as a clamp's floor.

        Raises:
            ValueError: a loss that is not above 0 and at most the first; a logit that stands still.
        """
        if not (0 < loss <= self.loss and self.logit_rate > 0):
            raise ValueError(f"the loss falls from {self.loss} and stays above 0, got {loss}; rate {self.logit_rate}")
        drop = float(np.log(self.loss / loss))
        slowest = self.logit_rate * min(self.rest, float(self.ratio(0.0)))  # the ratio lies between start and rest
        return float(brentq(lambda t: float(np.log(self.loss) - self.log_loss(t)) - drop, 0.0, 2 * drop / slowest + 1))

    def _pulled(self, steps: ArrayLike) -> Array:
        """Integral of L / sigma^2 over the steps, from d log y = 2 eta_s (1 - y / y*) dt."""
        gained = np.log(self.ratio(steps)) - np.log(self.ratio(0.0))
        return self.rest * (self._time(steps) - gained / (2 * self.sigma_rate))

    @staticmethod
    def _time(steps: ArrayLike) -> Array:
        return np.asarray(steps, float)


@dataclass(frozen=True)
class FallingLoss:
    """Kendall's sigma beside a loss that falls by itself, L = loss exp(-decay t); see the module.

    Attributes:
        sigma_rate: learning rate of s = log sigma, above 0.
        decay: k, the fall of the loss's logarithm in a step, at least 0.
        start: s at time 0; one that stays goes on from the end of one that falls.
        loss: at time 0. At a loss of 0 sigma falls as an absent, unmasked task's does.
    """

    sigma_rate: float
    decay: float
    start: float = 0.0
    loss: float = 1.0

    @property
    def rest(self) -> float:
        """L / sigma^2 in the end, under gradient flow; 0 where sigma cannot keep up."""
        return max(1 - self.decay / (2 * self.sigma_rate), 0.0)

    @property
    def speed(self) -> float:
        """Fall of s per step in the end: half that of the loss's logarithm, at most an absent task's."""
        return min(self.decay / 2, self.sigma_rate)

    def sigma(self, steps: ArrayLike) -> Array:
        r"""S = log sigma after ``steps`` (any shape).

        From :math:`d e^{2s}/dt = 2\eta_s (L - e^{2s})`, linear in the variance.
        """
        time, fall = np.asarray(steps, float), 2 * self.sigma_rate
        log_first = 2 * self.start - fall * time  # of what is left of the variance at the start
        apart = (fall - self.decay) * time
        mean = np.maximum(-apart, 0.0) + np.log(exprel(-np.abs(apart)))  # of exp(-apart u) over u in [0, 1], as a log
        with np.errstate(divide="ignore"):  # the logarithm of 0, at time 0 or of a loss of 0, is what is meant
            gained = np.log(self.loss * fall * time) - self.decay * time + mean
        return np.asarray(0.5 * np.logaddexp(log_first, gained), float)
