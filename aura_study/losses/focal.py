r"""Focal loss (Lin et al., 2017, eq. 5), with p_t the model's own probability of the true class whatever else is on.

Published copies often take :math:`p_t = e^{-CE}` from a cross-entropy that already carries class weights or label
smoothing; the modulating factor then sees a number that is not a probability of anything. Here it never does.
"""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.compiler import is_compiling
from torch.func import debug_unwrap
from torch.nn.functional import log_softmax, logsigmoid


def focal_loss(
    logits: Tensor,
    targets: Tensor,
    gamma: float = 2.0,
    alpha: float | None = None,
    weight: Tensor | Sequence[float] | None = None,
    label_smoothing: float = 0.0,
    reduction: Literal["mean", "sum", "none"] = "mean",
) -> Tensor:
    r"""Focal loss :math:`w_y\,\alpha_y\,(1 - p_t)^\gamma\,\mathrm{CE}`, binary or multi-class.

    Binary when ``logits`` and ``targets`` have the same shape: independent sigmoids, any shape, classes 0 and 1.
    Multi-class when ``targets`` holds integer class indices of shape ``(...)`` for ``logits`` of shape
    ``(..., classes)``.

    Args:
        logits: unnormalised scores, floating point.
        targets: 0/1 values of the logits' shape (binary), or integer class indices (multi-class).
        gamma: focusing parameter, >= 0; 0 gives (weighted, smoothed) cross-entropy.
        alpha: weight of class 1, with 1 - alpha for class 0 (Lin et al., section 3.1); two classes only.
        weight: one factor per class, multiplying the loss of that class's samples (not the modulating factor).
        label_smoothing: share of the target spread evenly over the classes, in [0, 1); it changes the cross-entropy,
            never p_t.
        reduction: ``"mean"`` over samples, ``"sum"`` or ``"none"``.

    Returns:
        A scalar, or the losses in the targets' shape for ``"none"``.

    Differs from ``torch.nn.functional.cross_entropy``: the mean is over samples even with ``weight``, and ``weight``
    scales a sample's whole loss by the weight of its own class, under label smoothing too.

    Raises:
        ValueError: gamma < 0, alpha outside [0, 1] or with more than two classes, a weight of the wrong length,
            targets out of range or of the wrong shape, smoothing outside [0, 1). Target values are read only where
            that costs no device synchronisation (on the CPU, outside ``torch.compile``).
        TypeError: logits that are not floating point, class indices that are not integers.
    """
    binary = logits.shape == targets.shape
    classes = 2 if binary else logits.shape[-1] if logits.ndim else 0
    _check_settings(gamma, alpha, label_smoothing, reduction, classes)
    _check_targets(logits, targets, classes, binary)
    class_weight = _class_weight(weight, alpha, classes, logits)

    if binary:
        labels = targets.long()
        sign = (2 * labels - 1).to(logits.dtype)
        log_true, log_false = logsigmoid(sign * logits), logsigmoid(-sign * logits)
        log_mean = 0.5 * (log_true + log_false)
    else:
        labels = targets
        log_probabilities = log_softmax(logits, dim=-1)
        log_true = log_probabilities.gather(-1, labels.unsqueeze(-1)).squeeze(-1)
        log_mean = log_probabilities.mean(-1)

    cross_entropy = -log_true
    if label_smoothing:
        cross_entropy = -((1 - label_smoothing) * log_true + label_smoothing * log_mean)
    # For 0 < gamma < 1 the slope of x^gamma is infinite at x = 0, where p_t rounds to 1; the floor keeps it finite.
    miss = (-torch.expm1(log_true)).clamp_min(torch.finfo(log_true.dtype).tiny)
    losses = cross_entropy if gamma == 0 else miss.pow(gamma) * cross_entropy
    if class_weight is not None:
        losses = class_weight[labels] * losses
    if reduction == "none":
        return losses
    return losses.mean() if reduction == "mean" else losses.sum()


def _check_settings(gamma: float, alpha: float | None, label_smoothing: float, reduction: str, classes: int) -> None:
    if not (gamma >= 0 and math.isfinite(gamma)):
        raise ValueError(f"gamma must be finite and >= 0, got {gamma}")
    if alpha is not None and not 0 <= alpha <= 1:
        raise ValueError(f"alpha must lie in [0, 1], got {alpha}")
    if alpha is not None and classes != 2:
        raise ValueError(f"alpha weighs class 1 against class 0 and needs two classes, got {classes}: use `weight`")
    if not 0 <= label_smoothing < 1:
        raise ValueError(f"label_smoothing must lie in [0, 1), got {label_smoothing}")
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"reduction must be 'mean', 'sum' or 'none', got {reduction!r}")


def _check_targets(logits: Tensor, targets: Tensor, classes: int, binary: bool) -> None:
    if not logits.is_floating_point():
        raise TypeError(f"logits must be floating point, got {logits.dtype}")
    if not binary:
        if targets.shape != logits.shape[:-1]:
            raise ValueError(
                f"targets must have the logits' shape {tuple(logits.shape)} (binary) or that shape less its last, "
                f"class, dimension (multi-class), got {tuple(targets.shape)}"
            )
        if targets.dtype not in (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8):
            raise TypeError(f"class indices must be integers, got {targets.dtype}")
    if targets.device.type != "cpu" or is_compiling():
        return
    # What `vmap` batches has no values that a condition could read; what lies beneath has, and only an error shows it.
    values = debug_unwrap(targets)
    if binary:
        bad = values[(values != 0) & (values != 1)]
        valid = "0 or 1 (use label_smoothing for soft targets)"
    else:
        bad = values[(values < 0) | (values >= classes)]
        valid = f"class indices from 0 to {classes - 1}"
    if bad.numel():
        raise ValueError(f"targets must be {valid}, got {bad.unique().tolist()[:5]}")


def _class_weight(
    weight: Tensor | Sequence[float] | None, alpha: float | None, classes: int, logits: Tensor
) -> Tensor | None:
    factors = None
    if weight is not None:
        factors = torch.as_tensor(weight, dtype=logits.dtype, device=logits.device)
        if factors.shape != (classes,):
            raise ValueError(f"weight must hold one factor per class, shape ({classes},), got {tuple(factors.shape)}")
    if alpha is not None:
        balance = torch.tensor([1 - alpha, alpha], dtype=logits.dtype, device=logits.device)
        factors = balance if factors is None else factors * balance
    return factors
