"""What the audit says of a task that is present and solved, beside what it says of one that is absent.

Both make a learned weight grow. An absent task's may not: its loss is not there (the phantom gradient). A solved
task's may, since its loss really is 0; what it needs is a bound, not a mask. No part of the verdict.

===========  ==========================================================================================================
breaks       the total or a gradient is NaN or infinite, on the way, at 0, or when the loss is back
dies         afterwards, or after a very long time at 0, the task's loss moves no parameter any more
still        its weight does not move
levels off   its weight grows to a bound
grows        no bound was seen: a loss of 0 is read as one that may count for ever more
falls        its weight falls
===========  ==========================================================================================================
"""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from aura_study.audit.evidence import Solved
from aura_study.audit.measuring.numbers import MOVED, distance, ratio_of

LEVEL = 0.05


class Fate(StrEnum):
    """What becomes of a solved task."""

    BREAKS = "breaks"
    DIES = "dies"
    STILL = "still"
    LEVELS = "levels off"
    GROWS = "grows"
    FALLS = "falls"


@dataclass(frozen=True)
class SolvedFinding:
    """What becomes of a task that is present and solved.

    Attributes:
        fate: by the rules of this module.
        reason: in one sentence.
        evidence: the measurement.
    """

    fate: Fate
    reason: str
    evidence: Solved

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; numbers that are not finite become None."""
        numbers = {"while_it_falls": self.evidence.fall, "at_zero": self.evidence.stay}
        plain = {name: value if math.isfinite(value) else None for name, value in numbers.items()}
        return {"fate": str(self.fate), "task": self.evidence.task, "reason": self.reason, "growth": plain}


def judge_solved(found: Solved | None) -> SolvedFinding | None:
    """By the rules above, the first that applies; None where nothing was measured."""
    if found is None:
        return None
    fate, reason = _broken(found) or _moved(found)
    return SolvedFinding(fate, reason, found)


def _broken(found: Solved) -> tuple[Fate, str] | None:
    if found.broke:
        return Fate.BREAKS, f"{found.broke} the total or a gradient is NaN or infinite ({found.task!r})"
    if found.dead or (found.long is not None and found.long.died is not None):
        when = "once its loss is back" if found.dead else "after a very long time at 0"
        return Fate.DIES, f"{when}, the loss of {found.task!r} moves no parameter: its weight stays as it is, for good"
    return None


def _moved(found: Solved) -> tuple[Fate, str]:
    whole = found.fall * found.stay
    if distance(whole) <= MOVED:
        return Fate.STILL, "its weight stays exactly where it was"
    if whole < 1:
        return Fate.FALLS, f"the weight of {found.task!r} falls to x {whole:.3g}"
    growth = f"the weight of {found.task!r} grows x {found.fall:.3g} while its loss falls and x {found.stay:.3g} at 0"
    if distance(found.stay) <= MOVED:  # a long time at a larger rate would say nothing else, or be too large a step
        return Fate.LEVELS, f"{growth}, so that it levels off at x {whole:.3g}"
    if found.long is not None and found.long.end > 1 and distance(ratio_of(found.long.end, found.long.halfway)) < LEVEL:
        return Fate.LEVELS, f"{growth}, and levels off at x {found.long.end:.3g}"
    return Fate.GROWS, (
        f"{growth}, and no bound was seen: rightly, for its loss is 0, and no mask helps; a floor on present losses "
        "would bound it"
    )
