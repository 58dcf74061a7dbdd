"""The focal loss of much public code, AURA's V10 included: p_t is taken from a loss that is not -log p any more."""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy


def taken_from_weighted_loss(
    logits: Tensor, targets: Tensor, gamma: float = 2.0, weight: Tensor | None = None, label_smoothing: float = 0.0
) -> Tensor:
    """(1 - exp(-CE))^gamma CE, the cross-entropy CE already carrying class weights and label smoothing; mean."""
    losses = cross_entropy(logits, targets, weight=weight, label_smoothing=label_smoothing, reduction="none")
    return ((1 - torch.exp(-losses)) ** gamma * losses).mean()
