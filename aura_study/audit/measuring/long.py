"""What comes after an absence, what a very long one leads to, and what one from the very first batch does."""

import math

import torch
from torch import Tensor

from aura_study.audit.calls.subject import Subject
from aura_study.audit.evidence import ColdStart, LongAbsence, Residue, Return
from aura_study.audit.laboratory import AuditedCodeError, audited_code, say
from aura_study.audit.marks import Absence
from aura_study.audit.measuring.numbers import MANY, largest, ratio_of
from aura_study.audit.measuring.warm import WarmBench

LONG_STEPS, LONG_LR, FADED = 200, 0.5, 0.1
RESIDUE_DECAY, RESIDUE_STEPS = 0.01, 20
COLD_STEPS, COLD_BACK = 3, 4


def come_back(bench: WarmBench, mark: Absence, task: str, optimizer: str) -> Return:
    """An absence, then the task again, with the same optimiser."""
    say(f"{mark}: {task!r} comes back, {optimizer}")
    subject, steps = bench.fresh(), bench.settings.steps
    stepper = bench.stepper(subject, optimizer)
    for _ in range(steps):
        subject.read(bench.base, task, mark)
        stepper()
    before = bench.warm.reading.weights[task]
    trace = []
    for _ in range(3 * steps):
        reading = subject.read(bench.base)
        trace.append(ratio_of(reading.weights[task], before))
        if not reading.finite:
            return Return(min(trace), math.nan, math.inf, False)
        stepper()
    outside = [step for step, ratio in enumerate(trace) if abs(math.log(max(ratio, 1e-300))) > math.log(1.1)]
    recovery = 0 if not outside else outside[-1] + 1
    return Return(min(trace), trace[steps - 1], math.inf if recovery == len(trace) else recovery / steps, True)


def ceiling(bench: WarmBench, mark: Absence, task: str) -> LongAbsence:
    """A very long absence under SGD, and under Adam if SGD, whose gradient may fade, killed nothing."""
    say(f"{mark}: {task!r} absent for a very long time")
    subject = bench.fresh()
    growths: list[float] = []
    died, faded = _stay(bench, subject, mark, task, "SGD", growths)
    if died is None and faded and len(bench.tasks) <= MANY:
        died, _ = _stay(bench, bench.fresh(), mark, task, "Adam", [])
    return LongAbsence(growths[0], growths[1], died)


def _stay(
    bench: WarmBench, subject: Subject, mark: Absence, task: str, optimizer: str, growths: list[float]
) -> tuple[float | None, bool]:
    """Phantom number after which the task's loss was seen to move no parameter any more; whether its pull faded."""
    stepper = bench.stepper(subject, optimizer, LONG_LR)
    own = bench.own_entries(subject, task)
    died: float | None = None
    first: float | None = None
    for step in range(LONG_STEPS):
        reading = subject.read(bench.losses(subject.step), task, mark)
        pull = largest(reading.gradients, own)
        first = pull if first is None else first
        if died is None and pull is not None and pull == 0.0 and not bench.own_entries(subject, task):
            died = step * LONG_LR
        stepper()
        if step + 1 in (LONG_STEPS // 2, LONG_STEPS):
            growths.append(bench.growth(subject, task))
    return died, not (first and pull and pull > FADED * first)


def cold_start(bench: WarmBench, mark: Absence, task: str) -> ColdStart:
    """The task is absent from the very first batches, then all are there."""
    say(f"{mark}: {task!r} absent from the very first batch")
    subject = bench.subject.another()
    try:
        with audited_code():
            stepper = bench.stepper(subject, "SGD")
            for _ in range(COLD_STEPS):
                if not subject.read(bench.losses(subject.step), task, mark).finite:
                    return ColdStart(task, finite=False, ratio=math.nan)
                stepper()
            ratios: list[float] = []
            for _ in range(COLD_BACK):
                reading = subject.read(bench.losses(subject.step))
                if not reading.finite:
                    return ColdStart(task, finite=False, ratio=math.nan)
                started = bench.subject.another()
                started.step = subject.step - 1  # the same draws
                usual = started.read(bench.losses(started.step)).weights
                ratios += [ratio_of(weight, usual[name]) for name, weight in reading.weights.items()]
                stepper()
    except AuditedCodeError as error:
        return ColdStart(task, finite=True, ratio=1.0, raised=str(error))
    finally:
        bench.subject.restore()
    strangest = max(ratios, key=lambda ratio: abs(math.log(ratio)) if ratio > 0 else math.inf)
    return ColdStart(task, finite=True, ratio=strangest)


def residue(bench: WarmBench, mark: Absence, task: str) -> Residue:
    """Displacement of the task's own parameters by Adam's momentum and by AdamW's decay during an absence."""
    momentum = bench.fresh()
    stepper = torch.optim.Adam(momentum.learned, lr=bench.settings.lr)
    for _ in range(RESIDUE_STEPS):
        momentum.read({**bench.base, task: 2 * bench.base[task]})
        stepper.step()
    decay = bench.fresh()
    decayer = torch.optim.AdamW(decay.learned, lr=bench.settings.lr, weight_decay=RESIDUE_DECAY)
    return Residue(*(_moved(bench, *pair, mark, task) for pair in ((momentum, stepper), (decay, decayer))))


def _moved(bench: WarmBench, subject: Subject, stepper: torch.optim.Optimizer, mark: Absence, task: str) -> float:
    own = bench.own_entries(subject, task)
    before = subject.values()
    for _ in range(bench.settings.steps):
        subject.read(bench.base, task, mark)
        stepper.step()
    moved: list[Tensor | None] = [b - a for b, a in zip(subject.values(), before, strict=True)]
    return largest(moved, own) or 0.0
