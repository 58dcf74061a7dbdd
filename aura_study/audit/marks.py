"""The marks of absence: the ways in which a training step says that a task is not there."""

import math
from enum import StrEnum

TINY_LOSS = 1e-8
SENTINEL = -1.0


class Absence(StrEnum):
    """A way of marking a task absent."""

    ZERO = "zero"
    TINY = "tiny"
    NONE = "none"
    OMIT = "omit"
    MASK = "mask"
    NAN = "nan"
    EMPTY = "empty"
    SENTINEL = "sentinel"
    SHORTER = "shorter"


MARK_TEXT = {
    Absence.ZERO: "its loss is 0",
    Absence.TINY: "its loss is 1e-8",
    Absence.NONE: "its loss is None",
    Absence.OMIT: "its key is left out",
    Absence.MASK: "a presence mask is False for it (its loss 0)",
    Absence.NAN: "its loss is NaN, as the mean over an empty selection is",
    Absence.EMPTY: "its loss is an empty tensor",
    Absence.SENTINEL: "its loss is -1",
    Absence.SHORTER: "the list holds the present losses only",
}

STAND_IN: dict[Absence, float | None] = {
    Absence.ZERO: 0.0,
    Absence.TINY: TINY_LOSS,
    Absence.NONE: None,
    Absence.MASK: 0.0,
    Absence.NAN: math.nan,
    Absence.SENTINEL: SENTINEL,
}
"""What is handed over in place of the absent task's loss: an empty tensor under `Absence.EMPTY`, and nothing at all
under those of ``LEFT_OUT``."""

LEFT_OUT = frozenset({Absence.OMIT, Absence.SHORTER})

AMBIGUOUS = frozenset({Absence.ZERO, Absence.TINY})
"""Marks that a present task's loss may look like. Every other one says explicitly that the task is not there."""

RARE = frozenset({Absence.EMPTY, Absence.SENTINEL, Absence.SHORTER})
"""Marks that most code takes for something else: told of where they are safe, or where they are asked about."""
