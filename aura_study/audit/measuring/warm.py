"""A module brought to rest with every task present, and what can be told of it there."""

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

from aura_study.audit.calls.copies import counters, forward_counters, moved
from aura_study.audit.calls.subject import Reading, Subject
from aura_study.audit.evidence import WarmState
from aura_study.audit.laboratory import AuditedCodeError, audited_code, say
from aura_study.audit.measuring.bench import Bench
from aura_study.audit.measuring.memory import RealPast
from aura_study.audit.measuring.numbers import ratio_of

WARM_UP_STEPS, WARM_UP_LR = 160, 0.05
AHEAD = 1_000_000
"""Where a module counts its steps, how far its counters are moved: beyond any warm-up."""
FEW_RESPONSES = 8


class WarmBench(Bench):
    """A bench whose subjects start at rest, as they are after a warm-up with every task present."""

    moved = False
    """Whether an absence has moved a weight here; of many tasks further marks are then measured in short."""

    @cached_property
    def warm(self) -> WarmState:
        """At rest with all tasks present."""
        return warm_up(self)

    @cached_property
    def pasts(self) -> dict[str, RealPast]:
        """What absences of a task are compared with where losses are remembered; the same for every mark."""
        return {}

    @cached_property
    def later(self) -> "WarmBench | None":
        """The same beyond a warm-up of the module's own; None where nothing counts the steps, or it is no different."""
        if self.late or not self.warm.counts or self.warm.forwarded:
            return None
        later = WarmBench(self.subject, self.settings, late=True)
        try:
            with audited_code():
                usable = later.warm.reading.finite and later.warm.forwarded and all(later.warm.reading.weights.values())
                return later if usable else None
        except AuditedCodeError:
            return None

    def fresh(self) -> Subject:
        """A new module at the warm state."""
        twin = self.warm.subject.twin()
        twin.load(self.warm.values)
        return twin

    def usual(self, step: int) -> dict[str, float]:
        """Weights at rest with all tasks, by the draws of ``step``."""
        if not self.memory[1]:
            return self.warm.reading.weights
        subject = self.fresh()
        subject.step = step
        return subject.read(self.base).weights

    def growth(self, subject: Subject, task: str) -> float:
        """The task's weight now over that at rest, by the same draws."""
        return ratio_of(subject.twin().read(self.base).weights[task], self.usual(subject.step)[task])


def warm_up(bench: Bench) -> WarmState:
    """The module at rest, with all that it remembers."""
    say("warming up with every task present")
    subject = bench.subject.another()
    before = counters(subject.made.module)
    subject.read(bench.losses(0))
    responds_first = _responds(bench, subject)
    fall, falling = _descend(bench, subject.twin())
    subject.restore()
    _rest(bench, subject)
    counts = bool(moved(subject.made.module, before))
    last = subject.twin().read(bench.base)
    still = bool(subject.learned) and not _learns(subject, last)  # its own warm-up may hold the parameters
    forwarded = counts and (bench.late or still)
    if forwarded:
        forward_counters(subject.made.module, before, AHEAD)
        _rest(bench, subject)
        last = subject.twin().read(bench.base)
    responds = _responds(bench, subject)
    both = {task: moves and (responds_first.get(task, True) or counts) for task, moves in responds.items()}
    constant = frozenset(bench.tasks[:FEW_RESPONSES]) - set(both) if len(bench.tasks) <= FEW_RESPONSES else frozenset()
    learned = _learns(subject, last)
    return WarmState(
        subject, subject.values(), last, fall, falling, both if learned else None, constant, counts, forwarded
    )


def _rest(bench: Bench, subject: Subject) -> None:
    stepper = bench.stepper(subject, "Adam", WARM_UP_LR)
    for _ in range(WARM_UP_STEPS):
        if not subject.read(bench.losses(subject.step)).finite:
            break
        stepper()


def _learns(subject: Subject, reading: Reading) -> bool:
    learned = {id(parameter) for parameter in subject.learned}
    pairs = zip(subject.parameters, reading.gradients, strict=True)
    return any(gradient is not None and id(parameter) in learned for parameter, gradient in pairs)


def _descend(bench: Bench, subject: Subject) -> tuple[dict[str, float], dict[str, float]]:
    """Weights along sign descent, which does not slow down as an exponential's gradient fades.

    The change over all of it, and the share of the weight that the last sixth took.
    """
    learned = {id(parameter) for parameter in subject.learned}
    trace = [subject.read(bench.losses(subject.step)).weights]
    for _ in range(WARM_UP_STEPS if learned else 1):
        reading = subject.read(bench.losses(subject.step))
        if not reading.finite:
            break
        trace.append(reading.weights)
        with torch.no_grad():
            for parameter, gradient in zip(subject.parameters, reading.gradients, strict=True):
                if gradient is not None and id(parameter) in learned:
                    parameter -= WARM_UP_LR * gradient.sign()
    earlier = trace[len(trace) * 5 // 6]
    fall = {task: ratio_of(trace[-1][task], trace[0][task]) for task in bench.tasks}
    return fall, {task: 1 - ratio_of(trace[-1][task], earlier[task]) for task in bench.tasks}


def _responds(bench: Bench, subject: Subject) -> dict[str, bool]:
    """Whether a task's loss moves any parameter; of many tasks, each only where all at once leave some entry still.

    A task without a parameter of its own, such as one of constant weight, is not among them.
    """
    tasks = list(bench.tasks)
    if len(tasks) > FEW_RESPONSES:
        low, high = (subject.twin().read(dict.fromkeys(tasks, value)).gradients for value in (1e-2, 1e4))
        moving = sum(int((a != b).sum()) for a, b in zip(low, high, strict=True) if a is not None and b is not None)
        tasks = tasks[:3] if moving >= len(tasks) else tasks
    own = {task: bench.own_entries(subject, task) for task in tasks}
    still = [task for task in tasks if not own[task]]
    if still and not _unclaimed(subject, [entry for entries in own.values() for entry in entries]):
        return {task: True for task in tasks if task not in still}
    return {task: task not in still for task in tasks}


def _unclaimed(subject: Subject, claimed: Sequence[tuple[int, Tensor]]) -> bool:
    """Whether an entry of a parameter in the graph is moved by no task's loss."""
    left = {i: torch.ones_like(p, dtype=torch.bool) for i, p in enumerate(subject.parameters) if p.grad is not None}
    for index, entries in claimed:
        left[index] &= ~entries
    return not claimed or any(bool(entries.any()) for entries in left.values())
