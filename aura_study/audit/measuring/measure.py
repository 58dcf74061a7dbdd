"""Measure ready subjects: how a weighting behaves while a task is away, and when it comes back.

Measurements start from a module warmed up with every task present, because an initial value can hide the effect: the
pull of an s^2 regulariser is 0 at its usual start s = 0. An absence then lasts ``steps`` steps of a fresh optimiser, so
the phantom number is ``lr * steps``. Apart from that an absence from the very first batch is tried. What is read to
learn about a module is read from a twin, so that it does not enter the module's memory.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from aura_study.audit.calls.advice import ADAPT
from aura_study.audit.calls.subject import Reading, Subject
from aura_study.audit.evidence import Drift, Evidence, Measured, Settings
from aura_study.audit.laboratory import AuditedCodeError, CannotAudit, audited_code, say
from aura_study.audit.marks import RARE, SENTINEL, Absence
from aura_study.audit.measuring import history
from aura_study.audit.measuring.bench import OPTIMIZERS
from aura_study.audit.measuring.chosen import chosen_tasks
from aura_study.audit.measuring.long import ceiling, cold_start, come_back, residue
from aura_study.audit.measuring.numbers import FEW, MANY, MOVED, distance, largest, ratio_of, worst
from aura_study.audit.measuring.solved import solve
from aura_study.audit.measuring.warm import WarmBench

COUNTED = 1200
"""Steps of an absence where a module counts its steps and nothing moved: it may keep what it is told for an epoch."""


def measure(subjects: Sequence[Subject], absence: Absence | None, settings: Settings) -> Measured:
    """Each mark of absence on the first subject that accepts it; only ``absence`` if it is given.

    A target that takes a presence mask is told of an absence by that mask: NaN is then asked about under the mask, and
    a bare 0 aside.

    Raises:
        CannotAudit: no mark is accepted; says why.
    """
    takes_mask = any(subject.convention.masked for subject in subjects)
    benches = [WarmBench(subject, settings) for subject in subjects]
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


def _first(benches: Iterable[WarmBench], mark: Absence, rare: bool) -> Evidence | str:
    """What the first bench that accepts ``mark`` measured, or why the last one did not."""
    error = f"no way of calling it can say that {mark} marks an absence"
    for bench in benches:
        try:
            with audited_code():
                if rare and not leaves_out(bench, mark):
                    error = "it is taken for something else"
                    continue
                return evidence_of(bench, mark)
        except AuditedCodeError as raised:
            error = str(raised)
        finally:
            bench.subject.restore()
    return error


def evidence_of(bench: WarmBench, mark: Absence) -> Evidence:
    """Everything that `judge` asks of one mark; lets the module's own error out."""
    chosen = chosen_tasks(bench, mark)
    pairs = [(optimizer, task) for optimizer in OPTIMIZERS for task in chosen]
    if len(bench.tasks) > FEW:
        pairs = [pair for pair in pairs if pair[0] == "SGD" or pair[1] == chosen[0]]
    drifts = [drift(bench, mark, task, optimizer) for optimizer, task in pairs]
    if bench.later is not None:
        drifts += [drift(bench.later, mark, task, "SGD") for task in chosen]
    if bench.warm.counts and distance(worst(drifts).growth) <= MOVED:
        drifts.append(_longer(bench, mark, chosen[0]))
    cold = next((found for task in chosen[:FEW] if (found := cold_start(bench, mark, task)).strange), None)
    evidence = Evidence(mark, bench.convention, bench.warm, tuple(drifts), cold=cold, measured=tuple(chosen))
    if any(found.broke_at is not None for found in drifts) or bench.warm.responds is None:
        return evidence
    farthest = worst(drifts)
    if distance(farthest.growth) <= MOVED:
        many = len(bench.tasks) > MANY
        return evidence if many else replace(evidence, residue=residue(bench, mark, chosen[0]))
    again, bench.moved = bench.moved and len(bench.tasks) > FEW, True
    if any(bench.memory) or again:
        return replace(evidence, ceiling=ceiling(bench, mark, farthest.task)) if not again else evidence
    returns = {
        optimizer: come_back(bench, mark, worst([d for d in drifts if d.optimiser == optimizer]).task, optimizer)
        for optimizer in OPTIMIZERS
        if len(bench.tasks) <= MANY
    }
    return replace(evidence, returns=returns, ceiling=ceiling(bench, mark, farthest.task))


def drift(bench: WarmBench, mark: Absence, task: str, optimizer: str) -> Drift:
    """``steps`` steps without ``task``, marked by ``mark``."""
    say(f"{mark}: {task!r} absent for {bench.settings.steps} steps, {optimizer}")
    subject = bench.fresh()
    own = bench.own_entries(subject, task)
    if bench.remembers:
        return history.drift(bench, subject, mark, task, optimizer, own)
    at_first = bench.usual(subject.step)
    first, last, broke_at = _stay_away(bench, subject, mark, task, optimizer)
    after = subject.twin().read(bench.base)
    others = [ratio_of(first.weights[other], at_first[other]) for other in bench.tasks if other != task]
    dead = broke_at is None and after.finite and bool(bench.warm.responds) and task not in bench.warm.constant
    growth = ratio_of(after.weights[task], bench.usual(subject.step)[task])
    pull = largest(first.gradients, own)
    gone = dead and not bench.own_entries(subject, task)
    return Drift(
        optimizer, task, growth, broke_at, pull, (min(others), max(others)), gone, totals=(first.total, last.total)
    )


def _stay_away(
    bench: WarmBench, subject: Subject, mark: Absence, task: str, optimizer: str
) -> tuple[Reading, Reading, float | None]:
    """First and last reading of the absence, and the phantom number at which it broke."""
    stepper = bench.stepper(subject, optimizer)
    first: Reading | None = None
    for step in range(bench.settings.steps):
        reading = subject.read(bench.base, task, mark)
        if first is None:
            first = reading
        if not reading.finite:
            return first, reading, step * bench.settings.lr
        stepper()
    assert first is not None
    return first, reading, None


def _longer(bench: WarmBench, mark: Absence, task: str) -> Drift:
    """The same phantom number over many more steps, which a module's own count may divide into epochs."""
    say(f"{mark}: {task!r} absent for {COUNTED} steps")
    longer = WarmBench(bench.subject, Settings(bench.settings.phantom_number / COUNTED, COUNTED))
    subject = longer.fresh()
    return history.drift(longer, subject, mark, task, "SGD", longer.own_entries(subject, task))


def leaves_out(bench: WarmBench, mark: Absence) -> bool:
    """Whether an absence that is marked so pulls at nothing of its own and leaves the present weights alone."""
    task = bench.tasks[0]
    subject = bench.fresh()
    own = bench.own_entries(subject, task)
    with_all = subject.twin().read(bench.base)
    without = subject.read(bench.base, task, mark)
    usual = [with_all, subject.twin().read(bench.base, task)] if Absence.ZERO in bench.convention.marks else [with_all]
    same = any(
        all(distance(ratio_of(weight, one.weights[t])) <= MOVED for t, weight in without.weights.items())
        for one in usual  # or of a loss of 0, whose gradient is in nobody's way
    )
    if without.used:
        return False  # it is added up: an empty term, not one that is left out
    if mark == Absence.SENTINEL and subject.twin().read({**bench.base, task: SENTINEL}).weights[task] != 0:
        return False  # it counts as a loss of -1
    return without.finite and same and not largest(without.gradients, own)
