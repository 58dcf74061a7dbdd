"""Labelled texts of the four tasks."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np


@dataclass(frozen=True)
class TaskSplit:
    """Texts of one task and their labels, in the form that the task's kind says (see `Task`)."""

    texts: list[str]
    labels: np.ndarray

    def __post_init__(self) -> None:
        if len(self.texts) != len(self.labels):
            raise ValueError(f"{len(self.texts)} texts but {len(self.labels)} labels")

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, rows: np.ndarray) -> "TaskSplit":
        """The rows with these indices, in this order."""
        return TaskSplit([self.texts[row] for row in rows], self.labels[rows])


@dataclass(frozen=True)
class Corpus:
    """Training and development texts by task; no text stands in both.

    ``dropped`` counts, by split and task (``"dev/toxicity"``), the rows left out because their text stood there before.
    """

    name: str
    train: dict[str, TaskSplit]
    dev: dict[str, TaskSplit]
    dropped: dict[str, int] = field(default_factory=dict)

    @property
    def tasks(self) -> tuple[str, ...]:
        """Task names, in the order of `TASKS`."""
        return tuple(self.train)

    @property
    def sizes(self) -> dict[str, int]:
        """Training rows by task."""
        return {task: len(split) for task, split in self.train.items()}

    @cached_property
    def digest(self) -> str:
        """SHA-256 of every text and label, in order: equal digests, equal corpora."""
        sha = hashlib.sha256()
        for kind, splits in (("train", self.train), ("dev", self.dev)):
            for task, split in splits.items():
                sha.update(f"{kind}/{task}/{len(split)}\0".encode())
                sha.update("\0".join(split.texts).encode())
                sha.update(np.ascontiguousarray(split.labels).tobytes())
        return sha.hexdigest()

    def limited(self, rows: Mapping[str, int], dev_rows: Mapping[str, int], seed: int) -> "Corpus":
        """At most so many rows of each task; a smaller limit keeps a subset of what a larger one keeps."""
        train, dev = _limited(self.train, rows, seed), _limited(self.dev, dev_rows, seed)
        return Corpus(self.name, train, dev, self.dropped)


def _limited(splits: dict[str, TaskSplit], limits: Mapping[str, int], seed: int) -> dict[str, TaskSplit]:
    """Each split cut to its limit; the rows kept are the first of a seeded shuffle, in their original order."""
    kept = {}
    for position, (task, split) in enumerate(splits.items()):
        limit = limits.get(task, len(split))
        shuffled = np.random.default_rng([seed, position]).permutation(len(split))
        kept[task] = split if limit >= len(split) else split.take(np.sort(shuffled[:limit]))
    return kept
