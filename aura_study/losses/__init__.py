"""The objects under study: focal loss and Kendall's uncertainty weighting, in torch alone."""

from aura_study.losses.base import KendallLoss
from aura_study.losses.focal import focal_loss
from aura_study.losses.kendall import FrozenKendallLoss, MaskedKendallLoss, UnmaskedKendallLoss
from aura_study.losses.parameterisation import (
    PARAMETERIZATIONS,
    AuraSoftplus,
    LogOnePlusSquare,
    LogSigma,
    LogVariance,
    Parameterization,
    ParameterizationName,
    Sigma,
)

__all__ = [
    "PARAMETERIZATIONS",
    "AuraSoftplus",
    "FrozenKendallLoss",
    "KendallLoss",
    "LogOnePlusSquare",
    "LogSigma",
    "LogVariance",
    "MaskedKendallLoss",
    "Parameterization",
    "ParameterizationName",
    "Sigma",
    "UnmaskedKendallLoss",
    "focal_loss",
]
