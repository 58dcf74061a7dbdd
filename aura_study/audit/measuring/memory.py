"""Whether a module remembers earlier losses, and losses in a rhythm, to which such a module is used."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aura_study.audit.calls.subject import Reading, Subject
from aura_study.audit.laboratory import AuditedCodeError, audited_code

PAST = 26
SWING = 0.25

Trace = Sequence[Mapping[str, float]]
"""Weights, step by step."""


@dataclass(frozen=True)
class RealPast:
    """What real losses alone make of the weights after the steps of a short absence.

    Attributes:
        starts: subjects at many points of the rhythm, at the beginning of an epoch each.
        usual: weights after these steps with every task, step by step, one trace for each start.
        others: the same where one task's losses were those of as many steps and more ago meanwhile, so that its memory
            on the return is that of the beginning; and where these steps are left out.
    """

    starts: Sequence[Subject]
    usual: Sequence[Trace]
    others: Sequence[Sequence[Trace]]


def varied(levels: Mapping[str, float], step: int) -> dict[str, float]:
    """Losses around ``levels``, each with a rhythm of its own."""
    return {
        task: level * (1 + SWING * math.sin(2.4 * step + 1.7 * i + 0.3 * math.sin(0.9 * step * (1 + i % 3))))
        for i, (task, level) in enumerate(levels.items())
    }


def remembers(subject: Subject, tasks: Sequence[str]) -> tuple[bool, bool]:
    """Whether two pasts at the same parameters and number of steps give different weights; and whether two draws do."""
    levels = {task: 0.5 + 0.25 * (i % 4) for i, task in enumerate(tasks)}
    first = subject.another()
    first.read(levels)
    readings: list[Reading] = []
    try:
        with audited_code():
            for bend in (0.0, 0.7):
                twin = first.twin()
                for step in range(PAST):
                    wave = [1 + bend * math.sin(2.1 * step + i) for i in range(len(levels))]
                    twin.read({task: level * by for (task, level), by in zip(levels.items(), wave, strict=True)})
                other_draw = twin.twin()
                other_draw.step += PAST
                readings.append(twin.read(levels))
            readings.append(other_draw.read(levels))
    except AuditedCodeError:
        return False, False
    finally:
        subject.restore()
    return not _alike(readings[0], readings[1], tasks), not _alike(readings[1], readings[2], tasks)


def _alike(one: Reading, other: Reading, tasks: Sequence[str]) -> bool:
    if not (one.finite and other.finite):
        return one.finite == other.finite
    return all(math.isclose(one.weights[t], other.weights[t], rel_tol=1e-5, abs_tol=1e-12) for t in tasks)
