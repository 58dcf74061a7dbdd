"""The objects under study: focal loss and Kendall's uncertainty weighting, in torch alone."""

from aura_study.losses.focal import focal_loss
from aura_study.losses.kendall import (
    FrozenKendallLoss,
    KendallLoss,
    MaskedKendallLoss,
    UnmaskedKendallLoss,
)
from aura_study.losses.parameterisation import (
    AuraSoftplus,
    LogOnePlusSquare,
    LogSigma,
    LogVariance,
    Parameterization,
    Sigma,
)

__all__ = [
    "AuraSoftplus",
    "FrozenKendallLoss",
    "KendallLoss",
    "LogOnePlusSquare",
    "LogSigma",
    "LogVariance",
    "MaskedKendallLoss",
    "Parameterization",
    "Sigma",
    "UnmaskedKendallLoss",
    "focal_loss",
]
