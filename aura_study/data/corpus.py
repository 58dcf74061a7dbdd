"""Labelled texts of the four tasks, from the embedded generator or from AURA's public files."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from aura_study.data.tasks import TASKS, task_order
from aura_study.datasets import DATASETS, DEFAULT_DATASET, DatasetName

Limits = Mapping[str, int] | int | None


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


def load_corpus(
    name: DatasetName = DEFAULT_DATASET,
    seed: int = 0,
    rows: Limits = None,
    dev_rows: Limits = None,
    *,
    download: bool = False,
) -> Corpus:
    """Texts and labels of the four tasks.

    Args:
        name: one of `aura_study.datasets.DATASETS`: "embedded" (generated from ``seed``, no download), "aura" (the
            public files, see `aura.load_aura`).
        seed: of the generator, and of the choice of rows.
        rows: most training rows to keep, for every task or by task name; a smaller limit keeps a subset of what a
            larger one keeps. Without it, or for tasks it leaves out, the corpus's own sizes: for "embedded" AURA's
            V10.2 mixture scaled down, for "aura" that mixture itself (SST-2's sentence release has only 6,920
            training rows, where AURA took 20,000 of its phrases).
        dev_rows: the same for the development rows.
        download: whether missing files may be downloaded.

    Raises:
        ValueError: an unknown corpus or task, a limit below 1, or a file whose content is not what it should be.
        FileNotFoundError: a file that is missing, if ``download`` is false.
    """
    limits, dev_limits = _limits(rows, "rows"), _limits(dev_rows, "dev_rows")
    if name not in DATASETS:
        raise ValueError(f"unknown corpus {name!r}; choose one of {', '.join(map(repr, DATASETS))}")
    corpus = DATASETS[name].load(seed, download)
    limits = {**DATASETS[name].rows, **limits}
    return Corpus(
        corpus.name, _limited(corpus.train, limits, seed), _limited(corpus.dev, dev_limits, seed), corpus.dropped
    )


def _limits(rows: Limits, what: str) -> dict[str, int]:
    limits = {} if rows is None else dict(rows) if isinstance(rows, Mapping) else dict.fromkeys(TASKS, rows)
    task_order(limits)
    if bad := {task: limit for task, limit in limits.items() if limit < 1}:
        raise ValueError(f"{what} must keep at least 1 row of each task, got {bad}")
    return limits


def _limited(splits: dict[str, TaskSplit], limits: Mapping[str, int], seed: int) -> dict[str, TaskSplit]:
    """Each split cut to its limit; the rows kept are the first of a seeded shuffle, in their original order."""
    kept = {}
    for position, (task, split) in enumerate(splits.items()):
        limit = limits.get(task, len(split))
        shuffled = np.random.default_rng([seed, position]).permutation(len(split))
        kept[task] = split if limit >= len(split) else split.take(np.sort(shuffled[:limit]))
    return kept
