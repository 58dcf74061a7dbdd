"""Focal loss against cross-entropy (F1), and what becomes of it when p_t is taken from the wrong number (F5)."""

import numpy as np
import pandas as pd
import torch
from torch.nn.functional import cross_entropy

from aura_study.claims import Measurement
from aura_study.losses import focal_loss

GUIDE_FACTORS = {0.9: 0.01, 0.1: 0.81}
"""Section 1.1 of the guide: modulating factor at gamma = 2, by p_t."""
MARKS = (0.1, 0.5, 0.9)
"""Probabilities of a hard, an unsure and an easy sample, at which tables read the curves."""


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
    return Measurement.over(table["error"], "largest |measured - guide|", predicted=0.0, measured=max)


def published_focal_loss(
    logits: torch.Tensor,
    targets: torch.Tensor,
    gamma: float,
    weight: torch.Tensor | None = None,
    label_smoothing: float = 0.0,
) -> torch.Tensor:
    """The hazard, as AURA's V10 code and many public copies have it: p_t from a CE that carries weights or smoothing.

    exp(-CE) is p_t for the plain cross-entropy only; for a weighted one it is p_t to the power of the weight. Losses
    per sample; nobody should train with this.
    """
    entropy = cross_entropy(logits, targets, weight=weight, reduction="none", label_smoothing=label_smoothing)
    return (1 - torch.exp(-entropy)) ** gamma * entropy


def hazards(class_weights: list[float], label_smoothing: float, gamma: float, points: int) -> pd.DataFrame:
    """Loss of the hazard and of `focal_loss` over p_t, for each class weight and for smoothing; all measured.

    One row per setting and p_t, of samples whose other classes share 1 - p_t evenly. ``clean`` (p_t from
    the logits) and ``published`` are losses over that of the same sample without weights and smoothing; ``distortion``
    is published / clean.
    """
    classes = len(class_weights)
    curve, marks = torch.linspace(0, 1, points + 2, dtype=torch.float64)[1:-1], torch.tensor(MARKS, dtype=torch.float64)
    p_true = torch.cat([curve, marks]).unique()
    weights = torch.tensor(class_weights, dtype=torch.float64)
    frames = []
    for label, weight in enumerate(class_weights):
        targets = torch.full(p_true.shape, label)
        frames.append(_hazard(f"class weight {weight:g}", _logits(p_true, targets, classes), targets, gamma, weights))
        frames[-1]["predicted"] = ((1 - p_true**weight) / (1 - p_true)).pow(gamma).numpy()
    targets = torch.zeros(p_true.shape, dtype=torch.long)
    logits = _logits(p_true, targets, classes)
    frames.append(_hazard(f"label smoothing {label_smoothing:g}", logits, targets, gamma, None, label_smoothing))
    mean_log = (p_true.log() + (classes - 1) * ((1 - p_true) / (classes - 1)).log()) / classes
    smoothed = -(1 - label_smoothing) * p_true.log() - label_smoothing * mean_log
    frames[-1]["predicted"] = (-torch.expm1(-smoothed) / (1 - p_true)).pow(gamma).numpy()
    return pd.concat([frame.assign(p_true=p_true.numpy()) for frame in frames], ignore_index=True)


def _logits(p_true: torch.Tensor, targets: torch.Tensor, classes: int) -> torch.Tensor:
    others = ((1 - p_true) / (classes - 1)).log().unsqueeze(-1).expand(-1, classes)
    return others.scatter(-1, targets.unsqueeze(-1), p_true.log().unsqueeze(-1))


def _hazard(
    setting: str,
    logits: torch.Tensor,
    targets: torch.Tensor,
    gamma: float,
    weights: torch.Tensor | None,
    label_smoothing: float = 0.0,
) -> pd.DataFrame:
    plain = focal_loss(logits, targets, gamma, reduction="none")
    clean = focal_loss(logits, targets, gamma, weight=weights, label_smoothing=label_smoothing, reduction="none")
    published = published_focal_loss(logits, targets, gamma, weights, label_smoothing)
    columns = {"clean": clean / plain, "published": published / plain, "distortion": published / clean}
    frame = pd.DataFrame({name: values.numpy() for name, values in columns.items()})
    return frame.assign(setting=setting, asked=float(weights[targets[0]]) if weights is not None else np.nan)


def hazards_at_marks(table: pd.DataFrame) -> pd.DataFrame:
    """`hazards` at three probabilities, one row per setting: what was asked for, what each loss does."""
    chosen = table[table["p_true"].isin(MARKS)]
    columns = ["setting", "p_true", "asked", "clean", "published", "distortion", "predicted"]
    return chosen[columns].sort_values(["setting", "p_true"], ignore_index=True)


def measure_hazards(table: pd.DataFrame) -> Measurement:
    """F5: the least distortion of an easy sample (p_t = 0.9), upwards or downwards, over weights and smoothing."""
    easy, hard = (table[table["p_true"] == mark] for mark in (MARKS[-1], MARKS[0]))
    return Measurement.over(
        _folds(easy["distortion"]),
        "factor by which the loss is off at p_t = 0.9, the least",
        predicted=float(_folds(easy["predicted"]).min()),
        limits={"least distortion of a hard sample (p_t = 0.1)": float(_folds(hard["distortion"]).min())},
        measured=min,
    )


def _folds(ratio: pd.Series) -> np.ndarray:
    """Ratios as factors >= 1, whichever way they go."""
    return np.exp(np.abs(np.log(ratio.to_numpy(float))))
