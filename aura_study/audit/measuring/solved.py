"""A task that is present and solved: its loss falls to 0, stays there, and is back. No absence: nobody leaves."""

import math
from dataclasses import replace

from aura_study.audit.evidence import LongAbsence, Solved
from aura_study.audit.laboratory import AuditedCodeError, audited_code, say
from aura_study.audit.marks import TINY_LOSS
from aura_study.audit.measuring.long import LONG_LR, LONG_STEPS
from aura_study.audit.measuring.numbers import MOVED, distance
from aura_study.audit.measuring.warm import WarmBench

TASKS = 3
"""Solved in turn, one at each level of the losses; the one whose weight went farthest is told of."""


def solve(bench: WarmBench) -> Solved | None:
    """What the weight does meanwhile, by SGD; None where the module raises on a loss that is there."""
    try:
        with audited_code():
            found = [_solve(bench, task) for task in bench.tasks[:TASKS]]
            worst = next((one for one in found if one.broke), max(found, key=lambda one: distance(one.fall * one.stay)))
            moved = not worst.broke and distance(worst.fall * worst.stay) > MOVED
            return replace(worst, long=_long(bench, worst.task)) if moved else worst
    except AuditedCodeError:
        return None
    finally:
        bench.subject.restore()


def _solve(bench: WarmBench, task: str) -> Solved:
    say(f"solved: the loss of {task!r} falls to 0 and stays")
    subject, steps = bench.fresh(), bench.settings.steps
    stepper = bench.stepper(subject, "SGD")
    growth, broke = [], ""
    factors = {
        "while it falls": [TINY_LOSS ** ((step + 1) / steps) for step in range(steps)],
        "at 0": [0.0] * steps,
        "when it is back": [1.0] * steps,
    }
    for stage, levels in factors.items():
        for level in levels:
            losses = bench.losses(subject.step)
            if not subject.read({**losses, task: level * losses[task]}).finite:
                broke = stage
                break
            stepper()
        if broke:
            break
        growth.append(bench.growth(subject, task))
    learns = bool(bench.own_entries(subject, task)) if not broke and bench.warm.responds is not None else True
    fall, high = [*growth, math.nan, math.nan][:2]
    stay = high / fall if fall else math.nan
    return Solved(task, fall, stay, broke, not learns)


def _long(bench: WarmBench, task: str) -> LongAbsence | None:
    """Growth halfway through and at the end of a very long time at 0, and the dose if it has died by then."""
    say(f"solved: the loss of {task!r} stays at 0 for a very long time")
    subject = bench.fresh()
    stepper = bench.stepper(subject, "SGD", LONG_LR)
    growths = []
    for step in range(LONG_STEPS):
        if not subject.read({**bench.losses(subject.step), task: 0.0}).finite:
            return None
        stepper()
        if step + 1 in (LONG_STEPS // 2, LONG_STEPS):
            growths.append(bench.growth(subject, task))
    alive = bench.warm.responds is None or bool(bench.own_entries(subject, task))
    return LongAbsence(growths[0], growths[1], None if alive else LONG_STEPS * LONG_LR)
