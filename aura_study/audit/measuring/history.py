"""Modules that remember earlier losses: dynamic weight averages, running means, own optimisers.

To them a constant loss is an exception, so that losses vary; what an absence did is told by the same run without it,
beside what the weight does anyway: the steps after the return are compared with the range of that run. What the rhythm
hides in one run is told by a mean: short absences begin at many of its points, and the weights on the return are
compared in pairs with those that real losses alone give, whichever these were.
"""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from torch import Tensor

from aura_study.audit.calls.forms import EPOCH
from aura_study.audit.calls.subject import Subject
from aura_study.audit.evidence import Drift
from aura_study.audit.marks import Absence
from aura_study.audit.measuring.memory import RealPast, Trace
from aura_study.audit.measuring.numbers import MOVED, distance, largest, ratio_of
from aura_study.audit.measuring.warm import WarmBench

BACK, RANGE = 12, 90
WIDTHS, MOST = 3.0, 0.25
"""How far beyond the range of the run without an absence a weight may be on its return: so many widths of that range,
which is one of few steps and of losses in a rhythm, and at most such a share of it."""
STARTS, SHORT, LATE, ERRORS = 16, 4 * EPOCH, (0, 7), 4.0
"""Short absences: how many, and their steps; how much longer ago than these the losses of a late task are; and how many
standard errors of a mean difference are none."""


def drift(
    bench: WarmBench, subject: Subject, mark: Absence, task: str, optimizer: str, own: Sequence[tuple[int, Tensor]]
) -> Drift:
    """``steps`` steps without ``task``, then a few with it, beside the same run with it throughout."""
    start, steps, values = subject.step, bench.settings.steps, subject.values()
    twin = bench.fresh()
    usual = _run(bench, twin, optimizer, None, mark, max(steps + BACK, RANGE))[0]
    away, broke, pull = _run(bench, subject, optimizer, task, mark, steps, own)
    if broke is not None:
        return Drift(optimizer, task, math.nan, broke * bench.settings.lr, pull, (1.0, 1.0), False)
    moved = _by_parameters(bench, subject, values, task)
    back, broke, _ = _run(bench, subject, optimizer, None, mark, BACK)
    if broke is not None:
        return Drift(optimizer, task, math.nan, bench.settings.phantom_number, pull, (1.0, 1.0), False, on_return=True)
    assert subject.step == start + steps + BACK
    outside = [moved] if distance(moved) > MOVED else []
    for name in usual[0]:
        low, high = (pick(reading[name] for reading in usual) for pick in (min, max))
        pairs = [(reading[name], same[name]) for reading, same in zip(back, usual[steps:], strict=False)]
        margin = min((high - low) * WIDTHS, MOST * abs(high)) + MOVED * abs(high)
        outside += [ratio_of(now, same) for now, same in pairs if not low - margin <= now <= high + margin]
    if not outside and optimizer == "SGD" and bench.remembers:
        outside = _by_mean(bench, mark, task)
    growth = max(outside, key=distance) if outside else 1.0
    ratios = [ratio_of(_mean(away, other), _mean(usual[:steps], other)) for other in away[0]]
    return Drift(optimizer, task, growth, None, pull, (min(ratios), max(ratios)), False)


def real_past(bench: WarmBench, task: str) -> RealPast:
    """For absences of ``task``."""
    origin, starts = bench.fresh(), []
    _run(bench, origin, "SGD", None, Absence.ZERO, -origin.step % EPOCH)
    for _ in range(STARTS):
        starts.append(origin.twin())
        _run(bench, origin, "SGD", None, Absence.ZERO, 2 * EPOCH)

    def late(step: int, by: int) -> dict[str, float]:
        return {**bench.losses(step), task: bench.losses(step - by)[task]}

    others = [_after(bench, starts, SHORT, losses=partial(late, by=SHORT + more)) for more in LATE]
    return RealPast(starts, _after(bench, starts, SHORT), [*others, _after(bench, starts, 0, skipped=SHORT)])


def _by_mean(bench: WarmBench, mark: Absence, task: str) -> list[float]:
    """Mean ratios of the weights after short absences to those without, where no real past gives such a mean."""
    if task not in bench.pasts:
        bench.pasts[task] = real_past(bench, task)
    past = bench.pasts[task]
    every = [past.usual, *past.others]
    if any(len(trace) < BACK for traces in every for trace in traces):
        return []  # real losses break it too
    back = _after(bench, past.starts, SHORT, task, mark)
    if any(len(trace) < BACK for trace in back):
        return [math.nan]
    ratios = []
    for name in bench.tasks:
        for step in range(BACK):
            now, *real = ([trace[step][name] for trace in traces] for traces in (back, *every))
            usual = sum(map(abs, real[0])) / STARTS
            if all(_other_mean(now, then, MOVED * usual) for then in real):
                ratios.append(ratio_of(sum(now), sum(real[0])))
    return ratios


def _other_mean(now: Sequence[float], then: Sequence[float], least: float) -> bool:
    """Whether the mean difference of pairs is more than ``least`` and more than so many of its standard errors."""
    differences = [a - b for a, b in zip(now, then, strict=True)]
    error = statistics.stdev(differences) / math.sqrt(len(differences))
    return abs(statistics.fmean(differences)) > least + ERRORS * error


def _after(
    bench: WarmBench, starts: Sequence[Subject], steps: int, absent: str | None = None, mark: Absence = Absence.ZERO,
    losses: Callable[[int], Mapping[str, float]] | None = None, skipped: int = 0,
) -> list[Trace]:  # fmt: skip
    """Weights after ``steps`` that were such, from each of ``starts``; shorter where they break."""
    traces: list[Trace] = []
    for start in starts:
        twin = start.twin()
        twin.step += skipped
        _run(bench, twin, "SGD", absent, mark, steps, losses=losses)
        traces.append(_run(bench, twin, "SGD", None, mark, BACK)[0])
    return traces


def _by_parameters(bench: WarmBench, subject: Subject, values: Sequence[Tensor], task: str) -> float:
    """The task's weight over what it would be at earlier ``values`` of the parameters, with the same memory."""
    if not subject.learned:
        return 1.0
    now, then = subject.twin(), subject.twin()
    then.load(values)
    losses = bench.losses(subject.step)
    return ratio_of(now.read(losses).weights[task], then.read(losses).weights[task])


def _run(
    bench: WarmBench, subject: Subject, optimizer: str, absent: str | None, mark: Absence, steps: int,
    own: Sequence[tuple[int, Tensor]] = (), losses: Callable[[int], Mapping[str, float]] | None = None,
) -> tuple[list[dict[str, float]], int | None, float | None]:  # fmt: skip
    """Weights step by step, the step at which they broke, and the pull on ``own`` entries at the first."""
    stepper = bench.stepper(subject, optimizer)
    trace: list[dict[str, float]] = []
    pull: float | None = None
    for step in range(steps):
        reading = subject.read((losses or bench.losses)(subject.step), absent, mark)
        if step == 0:
            pull = largest(reading.gradients, own)
        if not reading.finite:
            return trace, step, pull
        trace.append(reading.weights)
        stepper()
    return trace, None, pull


def _mean(trace: Sequence[Mapping[str, float]], task: str) -> float:
    return sum(weights[task] for weights in trace) / len(trace)
