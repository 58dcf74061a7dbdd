"""Micro-batches of token ids, padded to their longest row, with the rows of each task side by side."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from aura_study.data.schedules import Schedule
from aura_study.data.tasks import TASKS, task_order
from aura_study.data.tokenization import TokenizedSplit


@dataclass(frozen=True)
class Batch:
    """One micro-batch; only present tasks have a key, in the order of `TASKS`.

    Attributes:
        input_ids: int64 ``(rows, longest)``.
        attention_mask: int64 ``(rows, longest)``, 1 on tokens and 0 on padding.
        rows: the slice of rows that belongs to each task.
        labels: by task; multiclass int64 ``(n,)``, binary float32 ``(n,)``, multilabel float32 ``(n, labels)``.
    """

    input_ids: Tensor
    attention_mask: Tensor
    rows: dict[str, slice]
    labels: dict[str, Tensor]

    def __len__(self) -> int:
        return len(self.input_ids)

    @property
    def tasks(self) -> tuple[str, ...]:
        """Present tasks, in the order of `TASKS`."""
        return tuple(self.rows)

    def only(self, task: str) -> "Batch":
        """The rows of one task alone, padded to the longest of them."""
        rows = self.rows[task]
        longest = int(self.attention_mask[rows].sum(1).max())
        ids, mask = (tensor[rows, :longest] for tensor in (self.input_ids, self.attention_mask))
        return Batch(ids, mask, {task: slice(0, len(ids))}, {task: self.labels[task]})

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "Batch":
        """The same batch on ``device``."""
        return Batch(
            self.input_ids.to(device, non_blocking=non_blocking),
            self.attention_mask.to(device, non_blocking=non_blocking),
            self.rows,
            {task: labels.to(device, non_blocking=non_blocking) for task, labels in self.labels.items()},
        )


class Batches:
    """The micro-batches that a schedule draws from tokenised training splits.

    Args:
        splits: tokenised rows by task.
        schedule: which rows; its sizes must be those of the splits.
        pad_to_multiple_of: round the longest row up to a multiple of this, for kernels that like it.

    Iterating gives `Batch` after `Batch` without end; ``iterate(start, stop)`` gives a range of steps;
    ``collate(rows)`` makes the `Batch` of any rows by task.

    Raises:
        ValueError: tasks or sizes that differ between splits and schedule; an unknown task.
    """

    def __init__(
        self, splits: Mapping[str, TokenizedSplit], schedule: Schedule, *, pad_to_multiple_of: int = 1
    ) -> None:
        sizes = {task: len(split) for task, split in splits.items()}
        if sizes != dict(schedule.sizes):
            raise ValueError(f"the schedule's sizes {dict(schedule.sizes)} are not the splits' {sizes}")
        self.schedule = schedule
        self.collate = _Collator(splits, pad_to_multiple_of)

    @property
    def steps_per_epoch(self) -> int:
        """Micro-batches in one epoch."""
        return self.schedule.steps_per_epoch

    def batch(self, step: int) -> Batch:
        """Micro-batch ``step``."""
        return self.collate(self.schedule.batch(step))

    def iterate(self, start: int = 0, stop: int | None = None) -> Iterator[Batch]:
        """Micro-batches ``start`` to ``stop`` (exclusive; endless if not given)."""
        return map(self.collate, self.schedule.batches(start, stop))

    def __iter__(self) -> Iterator[Batch]:
        return self.iterate()


def dev_batches(
    task: str, split: TokenizedSplit, batch_size: int = 64, *, pad_to_multiple_of: int = 1
) -> Iterator[Batch]:
    """All rows of one task once, shortest first, so that hardly any padding is computed.

    Raises:
        ValueError: an unknown task, or a batch of no rows.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    collate = _Collator({task: split}, pad_to_multiple_of)
    order = np.argsort(split.lengths, kind="stable")
    return (collate({task: order[start : start + batch_size]}) for start in range(0, len(order), batch_size))


class _Collator:
    """Rows by task to a `Batch`: one gather from the tokens of all tasks laid end to end."""

    def __init__(self, splits: Mapping[str, TokenizedSplit], multiple: int) -> None:
        if multiple < 1:
            raise ValueError(f"pad_to_multiple_of must be at least 1, got {multiple}")
        self.order = task_order(splits)
        self.multiple = multiple
        if len(pads := {split.pad for split in splits.values()}) > 1:
            raise ValueError(f"the splits come from different tokenizers: padding ids {sorted(pads)}")
        self.pad = pads.pop()
        tokens = [len(splits[task].ids) for task in self.order]
        bases = dict(zip(self.order, np.cumsum([0, *tokens]), strict=False))
        self.ids = np.concatenate([splits[task].ids for task in self.order]).astype(np.int64)
        self.starts = {task: splits[task].offsets[:-1] + bases[task] for task in self.order}
        self.lengths = {task: splits[task].lengths for task in self.order}
        self.labels = {task: _for_loss(task, splits[task].labels) for task in self.order}

    def __call__(self, drawn: Mapping[str, np.ndarray]) -> Batch:
        present = [task for task in self.order if task in drawn]
        starts = np.concatenate([self.starts[task][drawn[task]] for task in present])
        lengths = np.concatenate([self.lengths[task][drawn[task]] for task in present])
        columns = np.arange(-(-int(lengths.max()) // self.multiple) * self.multiple)
        real = columns < lengths[:, None]
        ids = np.full(real.shape, self.pad, np.int64)
        ids[real] = self.ids[(starts[:, None] + columns)[real]]
        ends = np.cumsum([0, *(len(drawn[task]) for task in present)]).tolist()
        return Batch(
            torch.from_numpy(ids),
            torch.from_numpy(real.astype(np.int64)),
            {task: slice(ends[place], ends[place + 1]) for place, task in enumerate(present)},
            {task: self.labels[task][torch.from_numpy(drawn[task])] for task in present},
        )


def _for_loss(task: str, labels: np.ndarray) -> Tensor:
    """Labels in the dtype that the task's loss takes."""
    return torch.from_numpy(labels.astype(np.int64 if TASKS[task].kind == "multiclass" else np.float32))
