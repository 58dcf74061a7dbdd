r"""Ways to write one uncertainty-weighted term.

A parameterisation is a pair of functions of the learned parameter :math:`\theta`,

.. math:: \text{term}(\theta, L) = \text{weight}(\theta)\, L + \text{regularizer}(\theta),

and :math:`\sigma` is, for every one of them, the number for which
:math:`\text{weight} = 1/(2\sigma^2)` (Kendall et al., 2018, eq. 7, with the 1/2 kept). All are element-wise: a
:math:`\theta` of any shape gives results of that shape, in its dtype and on its device (a single number in half
precision, of shape ``()``, in float32).
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias, final

import torch
from torch import Tensor
from torch.nn.functional import softplus as torch_softplus

# As tensors of shape () these act as numbers on any device; a Python number would be made one anew at every use, which
# costs more than the operation on a few tasks' values. All are exact in every precision.
ZERO, HALF, ONE, TWO, MINUS_TWO = (torch.tensor(value) for value in (0.0, 0.5, 1.0, 2.0, -2.0))


def softplus(x: Tensor) -> Tensor:
    """log(1 + exp(x)); torch's default switch to x at 20 is a jump of 2e-9, which float64 would see."""
    return torch_softplus(x, threshold=40.0)


class Parameterization(ABC):
    """One row of the study's table of parameterisations: a weight and a regulariser of the learned theta."""

    name: ClassVar[str]
    initial_theta: ClassVar[float]
    """Where published code of this form starts the parameter."""

    @abstractmethod
    def weight(self, theta: Tensor) -> Tensor:
        """Factor on the task's loss, d term / d L."""

    @abstractmethod
    def regularizer(self, theta: Tensor) -> Tensor:
        """Summand that does not depend on the loss."""

    @abstractmethod
    def theta(self, sigma: float) -> float:
        """Parameter at which the weight is 1 / (2 sigma^2), for a finite ``sigma`` > 0."""

    def sigma(self, theta: Tensor) -> Tensor:
        """Uncertainty for which the weight is 1 / (2 sigma^2)."""
        return (2 * self.weight(theta)).rsqrt()

    @final
    def term(self, theta: Tensor, loss: Tensor) -> Tensor:
        """``weight(theta) * loss + regularizer(theta)``."""
        return self.weight(theta) * loss + self.regularizer(theta)

    def _slope(self, theta: Tensor, weight: Tensor, weighted: Tensor) -> Tensor:
        """d term / d theta = w' L + r', of theta, w and w L; a class without one of its own is left to autograd."""
        raise TypeError(
            f"{type(self).__name__} has no closed slope; `aura_study.losses.fused.fits` tells before it is asked"
        )


@dataclass(frozen=True)
class Sigma(Parameterization):
    r"""theta = sigma: :math:`L/(2\sigma^2) + \log\sigma`, the guide's formula read literally (section 2.1).

    Undefined at sigma <= 0, where the term is NaN or infinite: nothing here keeps an optimiser from stepping there.
    """

    name: ClassVar[str] = "sigma"
    initial_theta: ClassVar[float] = 1.0

    def weight(self, theta: Tensor) -> Tensor:
        """1 / (2 sigma^2)."""
        return HALF / theta.square()

    def regularizer(self, theta: Tensor) -> Tensor:
        """Log sigma, NaN for sigma < 0."""
        return theta.log()

    def _slope(self, theta: Tensor, weight: Tensor, weighted: Tensor) -> Tensor:
        return torch.sub(ONE, weighted, alpha=2) / theta

    def theta(self, sigma: float) -> float:
        """``sigma`` itself."""
        return sigma

    def sigma(self, theta: Tensor) -> Tensor:
        """``theta`` itself, sign included, so that a crossing of zero stays visible."""
        return theta


@dataclass(frozen=True)
class LogSigma(Parameterization):
    r"""theta = s = log sigma: :math:`\tfrac12 e^{-2s} L + s`. The same objective as `Sigma`, defined everywhere."""

    name: ClassVar[str] = "log_sigma"
    initial_theta: ClassVar[float] = 0.0

    def weight(self, theta: Tensor) -> Tensor:
        """exp(-2s) / 2."""
        return HALF * torch.exp(MINUS_TWO * theta)

    def regularizer(self, theta: Tensor) -> Tensor:
        """The parameter s."""
        return theta

    def _slope(self, theta: Tensor, weight: Tensor, weighted: Tensor) -> Tensor:
        return torch.sub(ONE, weighted, alpha=2)

    def theta(self, sigma: float) -> float:
        """Log of ``sigma``."""
        return math.log(sigma)

    def sigma(self, theta: Tensor) -> Tensor:
        """exp(s)."""
        return theta.exp()


@dataclass(frozen=True)
class LogVariance(Parameterization):
    r"""theta = u = log sigma^2: :math:`\tfrac12 e^{-u} L + \tfrac12 u`.

    The form of LibMTL's and TorchJD's ``UW``. Code that drops both halves has the same trajectories under Adam and
    twice the learning rate under SGD.
    """

    name: ClassVar[str] = "log_variance"
    initial_theta: ClassVar[float] = 0.0

    def weight(self, theta: Tensor) -> Tensor:
        """exp(-u) / 2."""
        return HALF * torch.exp(-theta)

    def regularizer(self, theta: Tensor) -> Tensor:
        """u / 2."""
        return HALF * theta

    def _slope(self, theta: Tensor, weight: Tensor, weighted: Tensor) -> Tensor:
        return HALF - weighted

    def theta(self, sigma: float) -> float:
        """Twice the log of ``sigma``."""
        return 2 * math.log(sigma)

    def sigma(self, theta: Tensor) -> Tensor:
        """exp(u/2)."""
        return (0.5 * theta).exp()


@dataclass(frozen=True)
class AuraSoftplus(Parameterization):
    r"""theta = x: :math:`L/(\mathrm{softplus}(x) + 10^{-8}) + \tfrac12\mathrm{softplus}(x)`, AURA's V10 code.

    Differs from the guide's formula: the regulariser is linear in softplus, not a logarithm, so the fixed point is
    softplus(x)^2 = 2L and not sigma^2 = L. x is a softplus input, not a log variance. The term is bounded below by 0,
    and so is sigma^2 = softplus(x)/2: an absent task's weight grows only as x falls through 0.
    """

    name: ClassVar[str] = "aura_softplus"
    initial_theta: ClassVar[float] = 0.0
    epsilon: ClassVar[float] = 1e-8

    def weight(self, theta: Tensor) -> Tensor:
        """1 / (softplus(x) + 1e-8)."""
        return 1 / (softplus(theta) + self.epsilon)

    def regularizer(self, theta: Tensor) -> Tensor:
        """softplus(x) / 2."""
        return HALF * softplus(theta)

    def _slope(self, theta: Tensor, weight: Tensor, weighted: Tensor) -> Tensor:
        return torch.sigmoid(theta) * (HALF - weight * weighted)

    def theta(self, sigma: float) -> float:
        """Inverse softplus of 2 sigma^2 - 1e-8."""
        value = 2 * sigma**2 - self.epsilon
        if value <= 0:
            raise ValueError(f"AuraSoftplus cannot express sigma={sigma}: its weight is at most {1 / self.epsilon:g}")
        return value + math.log(-math.expm1(-value))


@dataclass(frozen=True)
class LogOnePlusSquare(Parameterization):
    r"""theta = sigma: :math:`L/(2\sigma^2) + \log(1 + \sigma^2)`, AutomaticWeightedLoss's form.

    From Liebel and Koerner (2018). The regulariser is never negative, and its pull 2 sigma / (1 + sigma^2) fades near
    0 instead of growing.
    """

    name: ClassVar[str] = "log_one_plus_square"
    initial_theta: ClassVar[float] = 1.0

    def weight(self, theta: Tensor) -> Tensor:
        """1 / (2 sigma^2)."""
        return HALF / theta.square()

    def regularizer(self, theta: Tensor) -> Tensor:
        """log(1 + sigma^2)."""
        return torch.log1p(theta.square())

    def _slope(self, theta: Tensor, weight: Tensor, weighted: Tensor) -> Tensor:
        return TWO * (theta / (ONE + theta.square()) - weighted / theta)

    def theta(self, sigma: float) -> float:
        """``sigma`` itself."""
        return sigma

    def sigma(self, theta: Tensor) -> Tensor:
        """``theta`` itself, sign included: theta and -theta give the same term."""
        return theta


PARAMETERIZATIONS: Mapping[str, Parameterization] = {
    form.name: form for form in (Sigma(), LogSigma(), LogVariance(), AuraSoftplus(), LogOnePlusSquare())
}
"""Every parameterisation by name."""
ParameterizationName: TypeAlias = Literal["sigma", "log_sigma", "log_variance", "aura_softplus", "log_one_plus_square"]
