"""Measure ready subjects: how a weighting behaves while a task is away, and when it comes back.

All measurements start from a module warmed up with every task present at constant losses, because an initial value can
hide the effect: the pull of an s^2 regulariser is 0 at its usual start s = 0. An absence then lasts ``steps`` steps of
a fresh optimiser, so the phantom number is ``lr * steps``.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cached_property

import torch
from torch import Tensor

from aura_study.audit.call import ADAPT
from aura_study.audit.evidence import Drift, Evidence, Measured, Residue, Return, Settings, WarmState
from aura_study.audit.laboratory import AuditedCodeError, CannotAudit, audited_code
from aura_study.audit.marks import Absence
from aura_study.audit.subject import Reading, Subject

LOSS_LEVELS = (0.3, 2.0, 0.8)
"""Losses of the tasks in turn, below and above the fixed points of usual starts; not 1, often a fixed point itself."""
WARM_UP_STEPS, WARM_UP_LR = 160, 0.05
LONG_STEPS, LONG_LR = 200, 0.5
RESIDUE_DECAY, RESIDUE_STEPS = 0.01, 20
OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {"SGD": torch.optim.SGD, "Adam": torch.optim.Adam}
MOVED = 1e-4
"""Smallest change of a weight, in logarithm, that counts: rounding is below it, the slowest drift here far above."""


def measure(subjects: Sequence[Subject], absence: Absence | None, settings: Settings) -> Measured:
    """Each mark of absence on the first subject that accepts it; only ``absence`` if it is given.

    A target that takes a presence mask is told of an absence by that mask: NaN is then asked about under the mask, and
    a bare 0 aside.

    Raises:
        CannotAudit: no mark is accepted; says why.
    """
    takes_mask = any(subject.convention.masked for subject in subjects)
    benches = [Bench(subject, settings) for subject in subjects]
    evidence: list[Evidence] = []
    without_mask: Evidence | None = None
    refused: dict[Absence, str] = {}
    for mark in Absence if absence is None else (absence,):
        if takes_mask and mark == Absence.TINY and absence is None:
            continue  # 0 says what a loss without the mask does
        able = [bench for bench in benches if mark in bench.convention.marks]
        if takes_mask and mark == Absence.NAN:
            able = [bench for bench in able if bench.convention.masked]
        found = _first(able, mark)
        if isinstance(found, str):
            refused[mark] = found
        elif takes_mask and mark == Absence.ZERO and absence is None and not found.convention.masked:
            without_mask = found
        else:
            evidence.append(found)
    if not evidence:
        reasons = "; ".join(f"{mark}: {reason}" for mark, reason in refused.items())
        raise CannotAudit(f"It accepts no such way of marking a task absent ({reasons})", ADAPT)
    one = subjects[0]
    return Measured(one.made.way.text, one.tasks, settings, tuple(evidence), without_mask, refused)


def _first(benches: Iterable["Bench"], mark: Absence) -> Evidence | str:
    """What the first bench that accepts ``mark`` measured, or why the last one did not."""
    error = f"no way of calling it can say that {mark} marks an absence"
    for bench in benches:
        try:
            with audited_code():
                return bench.measure(mark)
        except AuditedCodeError as raised:
            error = str(raised)
        finally:
            bench.subject.restore()
    return error


def distance(growth: float) -> float:
    """How far a ratio is from 1, in logarithm."""
    return abs(math.log(growth)) if 0 < growth < math.inf else math.inf


def worst(drifts: Sequence[Drift]) -> Drift:
    """The drift farthest from none."""
    return max(drifts, key=lambda drift: distance(drift.growth))


class Bench:
    """Measures one ready subject on others like it.

    Args:
        subject: one that has been called.
        settings: of the absence.
    """

    def __init__(self, subject: Subject, settings: Settings) -> None:
        self.subject, self.settings = subject, settings
        self.convention, self.tasks = subject.convention, subject.tasks
        self.losses = {task: LOSS_LEVELS[i % len(LOSS_LEVELS)] for i, task in enumerate(subject.tasks)}

    def measure(self, mark: Absence) -> Evidence:
        """Everything that `judge` asks of one mark; lets the module's own error out."""
        for task in self.tasks:
            self.fresh().read(self.losses, task, mark)
        drifts = tuple(self.drift(mark, task, optimizer) for optimizer in OPTIMIZERS for task in self.tasks)
        evidence = Evidence(mark, self.convention, self.warm, drifts)
        if any(drift.broke_at is not None for drift in drifts) or self.warm.responds is None:
            return evidence
        farthest = worst(drifts)
        if distance(farthest.growth) <= MOVED:
            return replace(evidence, residue=self.residue(mark, self.tasks[0]))
        returns = {
            optimizer: self.come_back(mark, worst([d for d in drifts if d.optimiser == optimizer]).task, optimizer)
            for optimizer in OPTIMIZERS
        }
        return replace(evidence, returns=returns, ceiling=self.ceiling(mark, farthest.task))

    def fresh(self) -> Subject:
        """A new module at the warm state."""
        warm = self.warm
        subject = self.subject.another()
        subject.read(self.losses)
        subject.load(warm.values)
        return subject

    @cached_property
    def warm(self) -> WarmState:
        """At rest with all tasks present."""
        subject = self.subject.another()
        subject.read(self.losses)
        responds_first = self._responds(subject)
        fall, falling = self._descend(subject)
        subject.restore()
        if subject.parameters:
            optimizer = torch.optim.Adam(subject.parameters, lr=WARM_UP_LR)
            for _ in range(WARM_UP_STEPS):
                if not subject.read(self.losses).finite:
                    break
                optimizer.step()
        last = subject.read(self.losses)
        learned = any(gradient is not None for gradient in last.gradients)
        responds = self._responds(subject)
        both = {task: responds[task] and responds_first[task] for task in self.tasks} if learned else None
        return WarmState(subject.values(), last, fall, falling, both)

    def _descend(self, subject: Subject) -> tuple[dict[str, float], dict[str, float]]:
        """Weights along sign descent, which does not slow down as an exponential's gradient fades."""
        trace = [subject.read(self.losses).weights]
        for _ in range(WARM_UP_STEPS):
            reading = subject.read(self.losses)
            if not reading.finite:
                break
            trace.append(reading.weights)
            with torch.no_grad():
                for parameter, gradient in zip(subject.parameters, reading.gradients, strict=True):
                    if gradient is not None:
                        parameter -= WARM_UP_LR * gradient.sign()
        earlier = trace[len(trace) * 5 // 6]
        fall = {task: _ratio(trace[-1][task], trace[0][task]) for task in self.tasks}
        return fall, {task: 1 - _ratio(trace[-1][task], earlier[task]) for task in self.tasks}

    def _responds(self, subject: Subject) -> dict[str, bool]:
        return {task: bool(self._own_entries(subject, task)) for task in self.tasks}

    def _own_entries(self, subject: Subject, task: str) -> list[tuple[int, Tensor]]:
        """Parameter entries whose gradient depends on the task's loss: (index of the tensor, boolean mask)."""
        low = subject.read({**self.losses, task: 1e-2}).gradients
        high = subject.read({**self.losses, task: 1e4}).gradients
        own = []
        for index, (one, other) in enumerate(zip(low, high, strict=True)):
            if one is not None and other is not None and bool((differs := one != other).any()):
                own.append((index, differs))
        return own

    def drift(self, mark: Absence, task: str, optimizer: str) -> Drift:
        """``steps`` steps without ``task``, marked by ``mark``."""
        subject = self.fresh()
        own = self._own_entries(subject, task)
        first, broke_at = self._stay_away(subject, mark, task, optimizer)
        after = subject.read(self.losses)
        before = self.warm.reading.weights
        others = [_ratio(first.weights[other], before[other]) for other in self.tasks if other != task]
        dead = broke_at is None and after.finite and self.warm.responds is not None
        return Drift(
            optimizer,
            task,
            _ratio(after.weights[task], before[task]),
            broke_at,
            _largest(first.gradients, own),
            (min(others), max(others)),
            dead and not self._own_entries(subject, task),
        )

    def _stay_away(self, subject: Subject, mark: Absence, task: str, optimizer: str) -> tuple[Reading, float | None]:
        """First reading of the absence, and the phantom number at which it broke."""
        if not subject.parameters:
            only = subject.read(self.losses, task, mark)
            return only, None if only.finite else 0.0
        stepper = OPTIMIZERS[optimizer](subject.parameters, lr=self.settings.lr)
        first: Reading | None = None
        for step in range(self.settings.steps):
            reading = subject.read(self.losses, task, mark)
            if first is None:
                first = reading
            if not reading.finite:
                return first, step * self.settings.lr
            stepper.step()
        assert first is not None
        return first, None

    def come_back(self, mark: Absence, task: str, optimizer: str) -> Return:
        """An absence, then the task again, with the same optimiser."""
        subject = self.fresh()
        stepper = OPTIMIZERS[optimizer](subject.parameters, lr=self.settings.lr)
        for _ in range(self.settings.steps):
            subject.read(self.losses, task, mark)
            stepper.step()
        before = self.warm.reading.weights[task]
        trace = []
        for _ in range(3 * self.settings.steps):
            reading = subject.read(self.losses)
            trace.append(_ratio(reading.weights[task], before))
            if not reading.finite:
                return Return(min(trace), math.nan, math.inf, False)
            stepper.step()
        outside = [step for step, ratio in enumerate(trace) if abs(math.log(max(ratio, 1e-300))) > math.log(1.1)]
        recovery = 0 if not outside else outside[-1] + 1
        steps = self.settings.steps
        return Return(min(trace), trace[steps - 1], math.inf if recovery == len(trace) else recovery / steps, True)

    def ceiling(self, mark: Absence, task: str) -> tuple[float, float]:
        """Growth of the weight under SGD halfway through and at the end of a very long absence."""
        subject = self.fresh()
        stepper = torch.optim.SGD(subject.parameters, lr=LONG_LR)
        growths = []
        for _ in range(2):
            for _ in range(LONG_STEPS // 2):
                subject.read(self.losses, task, mark)
                stepper.step()
            weight = subject.read(self.losses).weights[task]
            growths.append(_ratio(weight, self.warm.reading.weights[task]))
        return growths[0], growths[1]

    def residue(self, mark: Absence, task: str) -> Residue:
        """Displacement of the task's own parameters by Adam's momentum and by AdamW's decay during an absence."""
        momentum = self.fresh()
        stepper = torch.optim.Adam(momentum.parameters, lr=self.settings.lr)
        for _ in range(RESIDUE_STEPS):
            momentum.read({**self.losses, task: 2 * self.losses[task]})
            stepper.step()
        decay = self.fresh()
        decayer = torch.optim.AdamW(decay.parameters, lr=self.settings.lr, weight_decay=RESIDUE_DECAY)
        return Residue(*(self._moved(*pair, mark, task) for pair in ((momentum, stepper), (decay, decayer))))

    def _moved(self, subject: Subject, stepper: torch.optim.Optimizer, mark: Absence, task: str) -> float:
        own = self._own_entries(subject, task)
        before = subject.values()
        for _ in range(self.settings.steps):
            subject.read(self.losses, task, mark)
            stepper.step()
        moved: list[Tensor | None] = [b - a for b, a in zip(subject.values(), before, strict=True)]
        return _largest(moved, own) or 0.0


def _ratio(value: float, reference: float) -> float:
    if reference == 0:
        return 1.0 if value == 0 else math.inf
    return value / reference


def _largest(tensors: Sequence[Tensor | None], own: Sequence[tuple[int, Tensor]]) -> float | None:
    entries = [tensor[chosen].abs().max() for index, chosen in own if (tensor := tensors[index]) is not None]
    return float(max(entries)) if entries else None
