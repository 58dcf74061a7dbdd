"""How far an update is from the one it should be, and the plain words for it."""

import math
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from torch import Tensor

UNTOUCHED_WITHIN, SAME_DIRECTION, STOPPED_BELOW, SHARE_MOVED = 0.01, 0.9999, 1e-3, 1.05
BLOWN_UP, LEFT_BEHIND = 10.0, 2.0


class Effect(StrEnum):
    """What an absent task does to the present tasks' update, or leaves behind in the balancer, in plain words."""

    UNTOUCHED = "untouched"
    SHRUNK = "shrunk"
    CHANGED = "changed"
    STOPPED = "stops everyone"
    NAN = "NaN"
    STRONG = "returns too strong"
    WEAK = "returns too weak"
    ERROR = "raises an error"


class Broken(StrEnum):
    """How a balancer breaks on a task that is present and solved; the gravest first."""

    NAN = "NaN"
    """The update is not finite, while the task is solved or once its loss is back."""
    STOPS = "stops the others"
    """While the task is solved the update is shorter than a thousandth of the others' own."""
    BLOWS_UP = "blows up"
    """While the task is solved the update is more than ten times as long as the others' own."""
    LEFT_BEHIND = "left behind"
    """Once its loss is back the task's share of the weights is off by more than a factor of two."""
    NOT = "unbroken"


def broken(finite: bool, length: float, growth: float) -> Broken:
    """How a balancer breaks on a solved task.

    Args:
        finite: whether every update was.
        length: of the update while the task is solved, over that of the others' own.
        growth: of the task's share of the weights once its loss is back, over what it would be; NaN where unknown.
    """
    if not finite:
        return Broken.NAN
    if length < STOPPED_BELOW:
        return Broken.STOPS
    if length > BLOWN_UP:
        return Broken.BLOWS_UP
    return Broken.LEFT_BEHIND if growth > LEFT_BEHIND or growth < 1 / LEFT_BEHIND else Broken.NOT


def distance(update: Tensor, reference: Tensor) -> dict[str, Any]:
    """Length, direction and difference of an update against the reference; NaN where that is 0."""
    length, other = float(reference.norm()), float(update.norm())
    comparable = length > 0
    return {
        "finite": bool(update.isfinite().all()),
        "ratio": other / length if comparable else math.nan,
        "cosine": float(update @ reference) / (length * other) if comparable and other > 0 else math.nan,
        "difference": float((update - reference).norm()) / length if comparable else math.nan,
    }


def in_words(found: Mapping[Any, Any]) -> Effect:
    """What `distance` found, as an effect on the present tasks' update."""
    if not found["finite"]:
        return Effect.NAN
    if found["ratio"] < STOPPED_BELOW:
        return Effect.STOPPED
    if not found["difference"] >= UNTOUCHED_WITHIN:  # NaN where the reference is 0 as well
        return Effect.UNTOUCHED
    return Effect.SHRUNK if found["cosine"] > SAME_DIRECTION and found["ratio"] < 1 else Effect.CHANGED


def return_in_words(found: Mapping[Any, Any], growth: float) -> Effect:
    """What `distance` found on a task's return, with the growth of its share of the weights (NaN where unknown)."""
    effect = in_words(found)
    if effect in (Effect.NAN, Effect.UNTOUCHED):
        return effect
    return Effect.STRONG if growth > SHARE_MOVED else Effect.WEAK if growth < 1 / SHARE_MOVED else Effect.CHANGED
