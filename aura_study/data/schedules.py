"""Presence schedules: which rows of which task stand in each micro-batch.

Steps are counted in micro-batches from 0: with gradient accumulation over 4, optimiser step k sees micro-batches 4k to
4k + 3. A schedule depends on sizes and seed alone, never on the model, so every policy trained with one seed sees the
same batches; and ``batch(step)`` answers for any step at once, so a run resumes without replaying the steps before.
"""

import math
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

Rows = dict[str, np.ndarray]
"""Row indices, int64, by task: the present tasks only, in the order of the sizes."""


@dataclass(frozen=True)
class Schedule(ABC):
    """Endless sequence of micro-batches over ``sizes`` rows per task; the subclasses say which rows."""

    sizes: Mapping[str, int]
    batch_size: int
    seed: int

    def __post_init__(self) -> None:
        if not self.sizes:
            raise ValueError("a schedule needs at least one task")
        if bad := {task: size for task, size in self.sizes.items() if size < 1}:
            raise ValueError(f"every task needs at least 1 row, got {bad}")
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {self.batch_size}")
        if self.seed < 0:
            raise ValueError(f"a seed is at least 0, got {self.seed}")

    @property
    def tasks(self) -> tuple[str, ...]:
        """Task names, in the order of the sizes."""
        return tuple(self.sizes)

    @property
    def steps_per_epoch(self) -> int:
        """Micro-batches in which as many rows pass as there are; the last one of an epoch may be smaller."""
        return math.ceil(sum(self.sizes.values()) / self.batch_size)

    def batch(self, step: int) -> Rows:
        """Rows of micro-batch ``step``, which counts from 0."""
        if step < 0:
            raise ValueError(f"steps count from 0, got {step}")
        return self._draw(step)

    @abstractmethod
    def _draw(self, step: int) -> Rows: ...

    def batches(self, start: int = 0, stop: int | None = None) -> Iterator[Rows]:
        """Rows of micro-batches ``start`` to ``stop`` (exclusive; endless if not given)."""
        step = start
        while stop is None or step < stop:
            yield self.batch(step)
            step += 1

    def __iter__(self) -> Iterator[Rows]:
        return self.batches()


@lru_cache(maxsize=16)
def _shuffled(size: int, *key: int) -> np.ndarray:
    rows = np.random.default_rng(key).permutation(size)
    rows.flags.writeable = False  # shared by every caller
    return rows


def _stream(task: str, size: int, seed: int, start: int, count: int) -> np.ndarray:
    """Rows ``start`` to ``start + count`` of a task's own endless stream: one shuffle of all its rows after another.

    The stream's key is the task's name, so that neither the other tasks nor their sizes change it.
    """
    parts = []
    while count > 0:
        epoch, offset = divmod(start, size)
        part = _shuffled(size, seed, zlib.crc32(task.encode()), epoch)[offset : offset + count]
        parts.append(part)
        start, count = start + len(part), count - len(part)
    return np.concatenate(parts)


@dataclass(frozen=True)
class _Mixed(Schedule):
    def _draw(self, step: int) -> Rows:
        epoch, position = divmod(step, self.steps_per_epoch)
        sizes = list(self.sizes.values())
        shuffled = _shuffled(sum(sizes), self.seed, epoch)
        drawn = np.sort(shuffled[position * self.batch_size : (position + 1) * self.batch_size])
        starts = np.concatenate([[0], np.cumsum(sizes)])
        bounds = np.searchsorted(drawn, starts)
        return {
            task: drawn[bounds[place] : bounds[place + 1]] - starts[place]
            for place, task in enumerate(self.sizes)
            if bounds[place] < bounds[place + 1]
        }


@dataclass(frozen=True)
class _Stretch(Schedule):
    absent: str = ""
    start: int = 0
    stop: int = 0
    quotas: Mapping[str, int] = field(default_factory=dict)
    every: int | None = None

    def _draw(self, step: int) -> Rows:
        turn = step if self.every is None or step < self.start else self.start + (step - self.start) % self.every
        away = self.absent if self.start <= turn < self.stop else None
        return {
            task: _stream(task, self.sizes[task], self.seed, step * quota, quota)
            for task, quota in self.quotas.items()
            if task != away
        }


@dataclass(frozen=True)
class _Alternating(Schedule):
    def _draw(self, step: int) -> Rows:
        turn, place = divmod(step, len(self.sizes))
        task = self.tasks[place]
        return {task: _stream(task, self.sizes[task], self.seed, turn * self.batch_size, self.batch_size)}


def mixed(sizes: Mapping[str, int], batch_size: int, seed: int) -> Schedule:
    """Rows of all tasks shuffled together, each once per epoch: AURA's data loader. Presence is left to chance.

    Raises:
        ValueError: no tasks, a task without rows, or a batch of no rows.
    """
    return _Mixed(dict(sizes), batch_size, seed)


def stretch(
    sizes: Mapping[str, int],
    batch_size: int,
    seed: int,
    absent: str = "reporting",
    start: int = 0,
    stop: int = 0,
    every: int | None = None,
) -> Schedule:
    """Every task in every micro-batch, but ``absent`` missing from micro-batch ``start`` to ``stop`` (exclusive).

    It goes missing again for as long whenever ``every`` more micro-batches have passed since it last did.

    Each task has a fixed quota of rows per batch (`quotas`) and draws them from a stream of its own, which runs on
    during the absence. So the other tasks' rows, and the absent task's rows after its return, are those of the same
    schedule without an absence (``start == stop``), its control; a batch in the stretch is smaller by the quota.

    Raises:
        ValueError: an unknown task, a stretch that is not 0 <= start <= stop, one that would begin again before it
            has ended, more tasks than rows in a batch, or an absence that would leave no task.
    """
    if absent not in sizes:
        raise ValueError(f"unknown task {absent!r}; the tasks are {list(sizes)}")
    if not 0 <= start <= stop:
        raise ValueError(f"a stretch needs 0 <= start <= stop, got start={start}, stop={stop}")
    if every is not None and every <= stop - start:
        raise ValueError(f"an absence of {stop - start} steps cannot begin again every {every}")
    if len(sizes) == 1 and start < stop:
        raise ValueError(f"{absent!r} is the only task: its absence would leave empty batches")
    return _Stretch(dict(sizes), batch_size, seed, absent, start, stop, quotas(sizes, batch_size), every)


def alternating(sizes: Mapping[str, int], batch_size: int, seed: int) -> Schedule:
    """One task per micro-batch, in turn; each task's rows from a shuffle of its own, again and again.

    Raises:
        ValueError: no tasks, a task without rows, or a batch of no rows.
    """
    return _Alternating(dict(sizes), batch_size, seed)


def quotas(sizes: Mapping[str, int], batch_size: int) -> dict[str, int]:
    """Rows per task that fill a batch in proportion to ``sizes``, at least 1 each (largest remainders first).

    Raises:
        ValueError: a batch too small for one row of each task.
    """
    if batch_size < len(sizes):
        raise ValueError(f"a batch of {batch_size} rows cannot hold one row of each of {len(sizes)} tasks")
    total = sum(sizes.values())
    exact = {task: batch_size * size / total for task, size in sizes.items()}
    rows = {task: max(1, math.floor(share)) for task, share in exact.items()}
    while (gap := batch_size - sum(rows.values())) != 0:
        if gap > 0:
            rows[max(rows, key=lambda task: exact[task] - rows[task])] += 1
        else:
            rows[max((task for task in rows if rows[task] > 1), key=lambda task: rows[task] - exact[task])] -= 1
    return rows
