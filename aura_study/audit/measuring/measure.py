"""Measure ready subjects: how a weighting behaves while a task is away, and when it comes back.

Measurements start from a module warmed up with every task present, because an initial value can hide the effect: the
pull of an s^2 regulariser is 0 at its usual start s = 0. An absence then lasts ``steps`` steps of a fresh optimiser, so
the phantom number is ``lr * steps``. Apart from that an absence from the very first batch is tried. What is read to
learn about a module is read from a twin, so that it does not enter the module's memory.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from functools import cached_property

import torch
from torch import Tensor

from aura_study.audit.calls.advice import ADAPT
from aura_study.audit.calls.subject import Reading, Subject
from aura_study.audit.evidence import Drift, Evidence, Measured, Settings, WarmState
from aura_study.audit.laboratory import AuditedCodeError, CannotAudit, audited_code, say
from aura_study.audit.marks import RARE, SENTINEL, Absence
from aura_study.audit.measuring import history
from aura_study.audit.measuring.long import ceiling, cold_start, come_back, residue
from aura_study.audit.measuring.numbers import FEW, MANY, MOVED, distance, largest, ratio_of, worst
from aura_study.audit.measuring.solved import solve
from aura_study.audit.measuring.warm import LOSS_LEVELS, warm_up

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {"SGD": torch.optim.SGD, "Adam": torch.optim.Adam}
COUNTED = 1200
"""Steps of an absence where a module counts its steps and nothing moved: it may keep what it is told for an epoch."""
ALIKE, BLOCK = 1e-3, 16
"""First steps of two tasks that differ by less are alike; and so many tasks are compared at once, away together."""


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
        found = _first(able, mark, rare=absence is None and mark in RARE)
        if isinstance(found, str):
            if mark not in RARE or absence is not None:
                refused[mark] = found
        elif takes_mask and mark == Absence.ZERO and absence is None:
            without_mask = found
        else:
            evidence.append(found)
    if not evidence:
        reasons = "; ".join(f"{mark}: {reason}" for mark, reason in refused.items())
        raise CannotAudit(f"It accepts no such way of marking a task absent ({reasons})", ADAPT)
    one = subjects[0]
    used = next(bench for bench in benches if bench.convention == evidence[0].convention)
    solved = solve(used) if len(used.tasks) <= MANY else None
    return Measured(one.made.way.text, one.tasks, settings, tuple(evidence), without_mask, refused, solved)


def _first(benches: Iterable["Bench"], mark: Absence, rare: bool) -> Evidence | str:
    """What the first bench that accepts ``mark`` measured, or why the last one did not."""
    error = f"no way of calling it can say that {mark} marks an absence"
    for bench in benches:
        try:
            with audited_code():
                if rare and not bench.leaves_out(mark):
                    error = "it is taken for something else"
                    continue
                return bench.measure(mark)
        except AuditedCodeError as raised:
            error = str(raised)
        finally:
            bench.subject.restore()
    return error


class Bench:
    """Measures one ready subject on others like it.

    Args:
        subject: one that has been called.
        settings: of the absence.
        late: whether its counters are moved far ahead first, beyond any warm-up of its own.
    """

    def __init__(self, subject: Subject, settings: Settings, late: bool = False) -> None:
        self.subject, self.settings, self.late = subject, settings, late
        self.convention, self.tasks = subject.convention, subject.tasks
        self.moved = False
        self._pasts: dict[str, history.RealPast] = {}

    @cached_property
    def memory(self) -> tuple[bool, bool]:
        """Whether earlier losses, and whether draws, decide the weights, and not the parameters alone."""
        return history.remembers(self.subject, self.tasks)

    @property
    def remembers(self) -> bool:
        """Whether earlier losses decide the weights."""
        return self.memory[0]

    def losses(self, step: int) -> dict[str, float]:
        """Of all tasks: constant, but for a module that remembers, to which a constant is an exception."""
        levels = {task: LOSS_LEVELS[i % len(LOSS_LEVELS)] for i, task in enumerate(self.tasks)}
        return history.varied(levels, step) if self.remembers else levels

    @cached_property
    def base(self) -> dict[str, float]:
        """Of all tasks, at the level that they have on average."""
        return {task: LOSS_LEVELS[i % len(LOSS_LEVELS)] for i, task in enumerate(self.tasks)}

    @cached_property
    def warm(self) -> WarmState:
        """At rest with all tasks present."""
        return warm_up(self)

    @cached_property
    def later(self) -> "Bench | None":
        """The same beyond a warm-up of the module's own; None where nothing counts the steps, or it is no different."""
        if self.late or not self.warm.counts or self.warm.forwarded:
            return None
        later = Bench(self.subject, self.settings, late=True)
        try:
            with audited_code():
                usable = later.warm.reading.finite and later.warm.forwarded and all(later.warm.reading.weights.values())
                return later if usable else None
        except AuditedCodeError:
            return None

    def _longer(self, mark: Absence, task: str) -> Drift:
        """The same phantom number over many more steps, which a module's own count may divide into epochs."""
        say(f"{mark}: {task!r} absent for {COUNTED} steps")
        bench = Bench(self.subject, Settings(self.settings.phantom_number / COUNTED, COUNTED))
        subject = bench.fresh()
        return history.drift(bench, subject, mark, task, "SGD", bench.own_entries(subject, task))

    def fresh(self) -> Subject:
        """A new module at the warm state."""
        twin = self.warm.subject.twin()
        twin.load(self.warm.values)
        return twin

    def measure(self, mark: Absence) -> Evidence:
        """Everything that `judge` asks of one mark; lets the module's own error out."""
        chosen = self._chosen(mark)
        pairs = [(optimizer, task) for optimizer in OPTIMIZERS for task in chosen]
        if len(self.tasks) > FEW:
            pairs = [pair for pair in pairs if pair[0] == "SGD" or pair[1] == chosen[0]]
        drifts = [self.drift(mark, task, optimizer) for optimizer, task in pairs]
        if self.later is not None:
            drifts += [self.later.drift(mark, task, "SGD") for task in chosen]
        if self.warm.counts and distance(worst(drifts).growth) <= MOVED:
            drifts.append(self._longer(mark, chosen[0]))
        cold = next((found for task in chosen[:FEW] if (found := cold_start(self, mark, task)).strange), None)
        evidence = Evidence(mark, self.convention, self.warm, tuple(drifts), cold=cold, measured=tuple(chosen))
        if any(drift.broke_at is not None for drift in drifts) or self.warm.responds is None:
            return evidence
        farthest = worst(drifts)
        if distance(farthest.growth) <= MOVED:
            many = len(self.tasks) > MANY
            return evidence if many else replace(evidence, residue=residue(self, mark, self.tasks[0]))
        again, self.moved = self.moved and len(self.tasks) > FEW, True
        if any(self.memory) or again:
            return replace(evidence, ceiling=ceiling(self, mark, farthest.task)) if not again else evidence
        returns = {
            optimizer: come_back(self, mark, worst([d for d in drifts if d.optimiser == optimizer]).task, optimizer)
            for optimizer in OPTIMIZERS
            if len(self.tasks) <= MANY
        }
        return replace(evidence, returns=returns, ceiling=ceiling(self, mark, farthest.task))

    def leaves_out(self, mark: Absence) -> bool:
        """Whether an absence that is marked so pulls at nothing of its own and leaves the present weights alone."""
        task = self.tasks[0]
        subject = self.fresh()
        own = self.own_entries(subject, task)
        with_all = subject.twin().read(self.base)
        without = subject.read(self.base, task, mark)
        usual = (
            [with_all, subject.twin().read(self.base, task)] if Absence.ZERO in self.convention.marks else [with_all]
        )
        same = any(
            all(distance(ratio_of(weight, one.weights[t])) <= MOVED for t, weight in without.weights.items())
            for one in usual  # or of a loss of 0, whose gradient is in nobody's way
        )
        if without.used:
            return False  # it is added up: an empty term, not one that is left out
        if mark == Absence.SENTINEL and subject.twin().read({**self.base, task: SENTINEL}).weights[task] != 0:
            return False  # it counts as a loss of -1
        return without.finite and same and not largest(without.gradients, own)

    def _chosen(self, mark: Absence) -> list[str]:
        """Tasks to measure: all, or one of each level and those whose first absent step is unlike that one's."""
        say(f"{mark}: first step without each of {len(self.tasks)} tasks")
        if len(self.tasks) <= FEW:
            return list(self.tasks)
        levels = len(LOSS_LEVELS)
        chosen = list(self.tasks[:levels])
        usual = self._first_step((), mark)
        for level, first in enumerate(chosen[:]):
            alone = self._first_step((first,), mark)
            others = self.tasks[level + levels :: levels]
            for start in range(0, len(others), BLOCK):
                several = others[start : start + BLOCK]
                if not self._alike(several, alone, usual, mark):
                    chosen += [task for task in several if not self._alike((task,), alone, usual, mark)]
        return chosen

    def _alike(self, several: Sequence[str], alone: tuple[float, ...], usual: tuple[float, ...], mark: Absence) -> bool:
        """Whether tasks that are away together pull so many times as much as the one alone, and as little at others."""
        expected = (usual[0] + len(several) * (alone[0] - usual[0]), *alone[1:]) if alone[0] >= 0 else alone
        pairs = zip(self._first_step(several, mark), expected, strict=True)
        return all(abs(a - b) <= ALIKE / len(several) * (abs(a) + abs(b)) + 1e-6 for a, b in pairs)

    def _first_step(self, absent: Collection[str], mark: Absence) -> tuple[float, ...]:
        reading = self.fresh().read(self.losses(self.warm.subject.step), absent, mark)
        if not reading.finite:
            return (-1.0, 0.0, 0.0)
        pull = sum(float(gradient.abs().sum()) for gradient in reading.gradients if gradient is not None)
        ratios = [ratio_of(weight, self.warm.reading.weights[name]) for name, weight in reading.weights.items()]
        return pull, min(ratios), max(ratios)

    def own_entries(self, subject: Subject, task: str) -> list[tuple[int, Tensor]]:
        """Parameter entries whose gradient depends on the task's loss: (index of the tensor, boolean mask)."""
        return subject.own_entries(task, self.base)

    def drift(self, mark: Absence, task: str, optimizer: str) -> Drift:
        """``steps`` steps without ``task``, marked by ``mark``."""
        say(f"{mark}: {task!r} absent for {self.settings.steps} steps, {optimizer}")
        subject = self.fresh()
        own = self.own_entries(subject, task)
        if self.remembers:
            return history.drift(self, subject, mark, task, optimizer, own)
        at_first = self._reading_at(subject.step)
        first, last, broke_at = self._stay_away(subject, mark, task, optimizer)
        after = subject.twin().read(self.base)
        others = [ratio_of(first.weights[other], at_first[other]) for other in self.tasks if other != task]
        dead = broke_at is None and after.finite and bool(self.warm.responds) and task not in self.warm.constant
        growth = ratio_of(after.weights[task], self._reading_at(subject.step)[task])
        pull = largest(first.gradients, own)
        gone = dead and not self.own_entries(subject, task)
        return Drift(
            optimizer, task, growth, broke_at, pull, (min(others), max(others)), gone, totals=(first.total, last.total)
        )

    def real_past(self, task: str) -> history.RealPast:
        """What absences of ``task`` are compared with; the same for every mark."""
        if task not in self._pasts:
            self._pasts[task] = history.real_past(self, task)
        return self._pasts[task]

    def growth(self, subject: Subject, task: str) -> float:
        """The task's weight now over that at rest, by the same draws."""
        return ratio_of(subject.twin().read(self.base).weights[task], self._reading_at(subject.step)[task])

    def _reading_at(self, step: int) -> dict[str, float]:
        """Weights at rest with all tasks, by the draws of ``step``."""
        if not self.memory[1]:
            return self.warm.reading.weights
        subject = self.fresh()
        subject.step = step
        return subject.read(self.base).weights

    def _stay_away(
        self, subject: Subject, mark: Absence, task: str, optimizer: str
    ) -> tuple[Reading, Reading, float | None]:
        """First and last reading of the absence, and the phantom number at which it broke."""
        stepper = self.stepper(subject, optimizer)
        first: Reading | None = None
        for step in range(self.settings.steps):
            reading = subject.read(self.base, task, mark)
            if first is None:
                first = reading
            if not reading.finite:
                return first, reading, step * self.settings.lr
            stepper()
        assert first is not None
        return first, reading, None

    def stepper(self, subject: Subject, optimizer: str, lr: float | None = None) -> Callable[[], object]:
        """What steps the parameters that the training loop learns; nothing where there are none."""
        learned = subject.learned
        return OPTIMIZERS[optimizer](learned, lr=lr or self.settings.lr).step if learned else lambda: None
