"""Ratios of weights, what counts as movement, and how many tasks are measured in full."""

import math
from collections.abc import Sequence

from torch import Tensor

from aura_study.audit.evidence import Drift

MOVED = 1e-4
"""Smallest change of a weight, in logarithm, that counts: rounding is below it, the slowest drift here far above."""
FEW, MANY = 6, 64
"""Up to FEW tasks each is measured; beyond, one for each level of the losses, and the others by their first step. With
more than MANY, what no verdict needs is left out: returns, momentum, a solved task."""


def distance(growth: float) -> float:
    """How far a ratio is from 1, in logarithm."""
    return abs(math.log(growth)) if 0 < growth < math.inf else math.inf


def worst(drifts: Sequence[Drift]) -> Drift:
    """The drift farthest from none."""
    return max(drifts, key=lambda drift: distance(drift.growth))


def ratio_of(value: float, reference: float) -> float:
    """``value / reference``, 1 for 0 over 0."""
    if reference == 0:
        return 1.0 if value == 0 else math.inf
    return value / reference


def largest(tensors: Sequence[Tensor | None], own: Sequence[tuple[int, Tensor]]) -> float | None:
    """Largest of the ``own`` entries of ``tensors``; None if none of these has any."""
    entries = [tensor[chosen].abs().max() for index, chosen in own if (tensor := tensors[index]) is not None]
    return float(max(entries)) if entries else None
