"""Published loss and gradient balancers, and the one way to feed them a task that is missing.

TorchJD is an optional extra: it is imported when one of its balancers is made.
"""

from aura_study.balancing.db_mtl import DBMTL
from aura_study.balancing.effects import Broken, Effect
from aura_study.balancing.gradnorm import GradNorm
from aura_study.balancing.present_only import PresentOnly
from aura_study.balancing.registry import BALANCERS, Balancer, Kind, balancer
from aura_study.balancing.torchjd_extra import MissingBalancers

__all__ = [
    "BALANCERS",
    "DBMTL",
    "Balancer",
    "Broken",
    "Effect",
    "GradNorm",
    "Kind",
    "MissingBalancers",
    "PresentOnly",
    "balancer",
]
