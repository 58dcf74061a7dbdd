"""Which tasks are measured, where they are many: those whose first absent step is unlike the others'."""

from collections.abc import Collection, Sequence

from aura_study.audit.laboratory import say
from aura_study.audit.marks import Absence
from aura_study.audit.measuring.bench import LOSS_LEVELS
from aura_study.audit.measuring.numbers import FEW, ratio_of
from aura_study.audit.measuring.warm import WarmBench

ALIKE, BLOCK = 1e-3, 16
"""First steps of two tasks that differ by less are alike; and so many tasks are compared at once, away together."""


def chosen_tasks(bench: WarmBench, mark: Absence) -> list[str]:
    """Tasks to measure: all that may go, or one of each level and those whose first step away is unlike that one's."""
    say(f"{mark}: first step without each of {len(bench.tasks)} tasks")
    left_out = mark in (Absence.NONE, Absence.OMIT) and bench.convention.optional
    tasks = [task for task in bench.tasks if not left_out or task in left_out]
    if len(tasks) <= FEW:
        return tasks
    levels = len(LOSS_LEVELS)
    chosen = tasks[:levels]
    usual = _first_step(bench, (), mark)
    for level, first in enumerate(chosen[:]):
        alone = _first_step(bench, (first,), mark)
        others = tasks[level + levels :: levels]
        for start in range(0, len(others), BLOCK):
            several = others[start : start + BLOCK]
            if not _alike(bench, several, alone, usual, mark):
                chosen += [task for task in several if not _alike(bench, (task,), alone, usual, mark)]
    return chosen


def _alike(
    bench: WarmBench, several: Sequence[str], alone: tuple[float, ...], usual: tuple[float, ...], mark: Absence
) -> bool:
    """Whether tasks that are away together pull so many times as much as the one alone, and as little at others."""
    expected = (usual[0] + len(several) * (alone[0] - usual[0]), *alone[1:]) if alone[0] >= 0 else alone
    pairs = zip(_first_step(bench, several, mark), expected, strict=True)
    return all(abs(a - b) <= ALIKE / len(several) * (abs(a) + abs(b)) + 1e-6 for a, b in pairs)


def _first_step(bench: WarmBench, absent: Collection[str], mark: Absence) -> tuple[float, ...]:
    reading = bench.fresh().read(bench.losses(bench.warm.subject.step), absent, mark)
    if not reading.finite:
        return (-1.0, 0.0, 0.0)
    pull = sum(float(gradient.abs().sum()) for gradient in reading.gradients if gradient is not None)
    ratios = [ratio_of(weight, bench.warm.reading.weights[name]) for name, weight in reading.weights.items()]
    return pull, min(ratios), max(ratios)
