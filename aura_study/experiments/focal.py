"""Focal loss against cross-entropy (claim F1): what gamma does to easy and to hard samples."""

import numpy as np
import pandas as pd
import torch
from pydantic import Field

from aura_study.claims import Measurement
from aura_study.losses import focal_loss
from aura_study.parameters import Parameters

GUIDE_FACTORS = {0.9: 0.01, 0.1: 0.81}
"""Section 1.1 of the guide: modulating factor at gamma = 2, by p_t."""


class FocalParameters(Parameters):
    """Parameters of notebook ``01_focal_loss``."""

    notebook = "01_focal_loss"
    profiles = {"smoke": {"points": 21}, "full": {"points": 999}}

    gammas: list[float] = Field([0.0, 0.5, 1.0, 2.0, 5.0], min_length=1, description="focusing parameters to compare")
    points: int = Field(199, ge=3, le=100_000, description="probabilities between 0 and 1 on every curve")


def losses_at(p_true: torch.Tensor, gamma: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Focal loss and its gradient on the logit, for samples whose true class has probability ``p_true``."""
    logit = torch.logit(p_true).detach().requires_grad_()
    loss = focal_loss(logit, torch.ones_like(logit), gamma=gamma, reduction="none")
    (gradient,) = torch.autograd.grad(loss.sum(), logit)
    return loss.detach(), gradient


def modulation(gammas: list[float], points: int) -> pd.DataFrame:
    """Loss, share of the cross-entropy kept, and gradient on the logit, over p_t, for each gamma; all measured."""
    p_true = torch.linspace(0, 1, points + 2, dtype=torch.float64)[1:-1]
    entropy, entropy_gradient = losses_at(p_true, 0.0)
    frames = []
    for gamma in gammas:
        loss, gradient = losses_at(p_true, gamma)
        frames.append(
            pd.DataFrame(
                {
                    "gamma": gamma,
                    "p_true": p_true.numpy(),
                    "loss": loss.numpy(),
                    "factor": (loss / entropy).numpy(),
                    "predicted": (1 - p_true.numpy()) ** gamma,
                    "gradient": gradient.abs().numpy(),
                    "gradient_factor": (gradient / entropy_gradient).numpy(),
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def guide_factors() -> pd.DataFrame:
    """The guide's two numbers, measured: factor of the loss and of the gradient at gamma = 2."""
    p_true = torch.tensor(list(GUIDE_FACTORS), dtype=torch.float64)
    (focal, focal_gradient), (entropy, entropy_gradient) = losses_at(p_true, 2.0), losses_at(p_true, 0.0)
    table = pd.DataFrame({"p_true": p_true.numpy(), "guide": list(GUIDE_FACTORS.values())})
    table["measured"] = (focal / entropy).numpy()
    table["error"] = (table["measured"] - table["guide"]).abs()
    table["gradient_factor"] = (focal_gradient / entropy_gradient).numpy()
    return table


def measure_factors(table: pd.DataFrame) -> Measurement:
    """F1: the largest error of the guide's two factors."""
    errors = np.asarray(table["error"])
    return Measurement(errors.max(), errors.min(), errors.max(), "largest |measured - guide|", predicted=0.0)
