"""The marks of absence: the ways in which a training step says that a task is not there."""

import math
from enum import StrEnum

TINY_LOSS = 1e-8


class Absence(StrEnum):
    """A way of marking a task absent."""

    ZERO = "zero"
    TINY = "tiny"
    NONE = "none"
    OMIT = "omit"
    MASK = "mask"
    NAN = "nan"


MARK_TEXT = {
    Absence.ZERO: "its loss is 0",
    Absence.TINY: "its loss is 1e-8",
    Absence.NONE: "its loss is None",
    Absence.OMIT: "its key is left out",
    Absence.MASK: "a presence mask is False for it (its loss 0)",
    Absence.NAN: "its loss is NaN, as the mean over an empty selection is",
}

STAND_IN: dict[Absence, float | None] = {
    Absence.ZERO: 0.0,
    Absence.TINY: TINY_LOSS,
    Absence.NONE: None,
    Absence.MASK: 0.0,
    Absence.NAN: math.nan,
}
"""What is handed over in place of the absent task's loss; nothing at all under `Absence.OMIT`."""
