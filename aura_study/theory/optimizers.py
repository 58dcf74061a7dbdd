r"""The optimisers that the closed forms and the grid know: PyTorch's update rules, as plain settings.

=====================  ==============================================================================================
`SGD`                  v <- mu v + g;  theta <- theta - eta v
`Adam`                 m <- b1 m + (1-b1) g;  v <- b2 v + (1-b2) g^2;
                       theta <- theta - eta (m / (1-b1^t)) / (sqrt(v / (1-b2^t)) + epsilon)
decoupled decay        theta <- (1 - eta lambda) theta before the step (AdamW)
coupled decay          g <- g + lambda theta (L2, the ``weight_decay`` of ``torch.optim.SGD`` and ``Adam``)
=====================  ==============================================================================================
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar


def _check_decay(weight_decay: float) -> None:
    if not (weight_decay >= 0 and math.isfinite(weight_decay)):
        raise ValueError(f"weight_decay must be finite and >= 0, got {weight_decay}")


@dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent; ``weight_decay`` is coupled (L2), as in ``torch.optim.SGD``."""

    name: ClassVar[str] = "SGD"
    momentum: float = 0.0
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must lie in [0, 1), got {self.momentum}")
        _check_decay(self.weight_decay)


@dataclass(frozen=True)
class Adam:
    """Adam (Kingma and Ba, 2015); ``decoupled`` decay is AdamW (Loshchilov and Hutter, 2019), coupled is Adam with L2.

    Differs from the papers in nothing; follows PyTorch in adding ``epsilon`` after the bias-corrected root.
    """

    name: ClassVar[str] = "Adam"
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0
    decoupled: bool = True

    def __post_init__(self) -> None:
        for name in ("beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must lie in [0, 1), got {getattr(self, name)}")
        if not (self.epsilon >= 0 and math.isfinite(self.epsilon)):
            raise ValueError(f"epsilon must be finite and >= 0, got {self.epsilon}")
        _check_decay(self.weight_decay)


Optimizer = SGD | Adam
PLAIN_SGD = SGD()
DEFAULT_ADAM = Adam()
OPTIMIZERS: Mapping[str, Optimizer] = {"SGD": PLAIN_SGD, "Adam": DEFAULT_ADAM}
"""By the name of their class in ``torch.optim``, with its defaults."""
