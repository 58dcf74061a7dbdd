"""Every step's sigma, weight, loss, presence, learning rate and encoder gradient norm, streamed to parquet.

A step's values stay on the device until `CHUNK` steps are full; they then cross to the host together and become one
row group. Memory does not grow with the number of steps, and no step waits for the device.
"""

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from aura_study.runs.records import unfinished
from aura_study.runs.sealed import SealedWriter

CHUNK = 512

SCHEMA = pa.schema(
    [
        ("step", pa.int32()),
        ("task", pa.dictionary(pa.int8(), pa.string())),
        ("sigma", pa.float64()),
        ("weight", pa.float64()),
        ("loss", pa.float64()),
        ("present", pa.bool_()),
        ("gradient_norm", pa.float64()),
        ("lr", pa.float64()),
        ("policy", pa.dictionary(pa.int8(), pa.string())),
        ("seed", pa.int32()),
    ]
)
"""Columns of a trajectory, one row per optimiser step and task.

``sigma`` and ``weight`` are those the step's loss was computed with, before its update; ``loss`` is the mean over the
step's micro-batches that held the task, null where none did; ``gradient_norm`` is the norm of the gradient that the
task's weighted term sends into the encoder, before clipping, null while the encoder is frozen; ``lr`` is the rate that
the step's update of sigma uses.
"""

_MEASURED = ("sigma", "weight", "loss", "gradient_norm")


class Recorder:
    """Gathers a trajectory in memory.

    Args:
        tasks: names, in the order of every ``(tasks,)`` value.
        policy, seed: constant columns.
        device: where the values live.
        start: number of the first step recorded.
    """

    def __init__(self, tasks: Sequence[str], policy: str, seed: int, device: torch.device, start: int = 0) -> None:
        self._tasks = tuple(tasks)
        self._policy = policy
        self._seed = seed
        self._values = torch.empty(CHUNK, len(_MEASURED), len(tasks), dtype=torch.float64, device=device)
        self._present = np.empty((CHUNK, len(tasks)), dtype=bool)
        self._lr = np.empty(CHUNK)
        self._filled = 0
        self._flushed = start
        self._tables: list[pa.Table] = []

    def record(
        self, sigma: Tensor, weight: Tensor, loss: Tensor, gradient_norm: Tensor, present: Sequence[bool], lr: float
    ) -> None:
        """Keep one step's ``(tasks,)`` values; ``loss`` is read only where ``present``."""
        row = self._values[self._filled]
        for place, value in zip(row, (sigma, weight, loss, gradient_norm), strict=True):
            place.copy_(value)
        self._present[self._filled] = present
        self._lr[self._filled] = lr
        self._filled += 1
        if self._filled == CHUNK:
            self._flush()

    def resume(self, trajectory: pd.DataFrame) -> None:
        """Take over the steps of a trajectory, all before the first one that is to be recorded, under its policy."""
        self._keep(pa.Table.from_pandas(trajectory[SCHEMA.names], SCHEMA, preserve_index=False))
        self._flushed = int(trajectory["step"].max()) + 1

    def frame(self) -> pd.DataFrame:
        """What `read_trajectories` would read of a file of these steps."""
        self._flush()
        return _frame(self._tables)

    def _flush(self) -> None:
        if not self._filled:
            return
        steps, tasks = self._filled, len(self._tasks)
        values = dict(zip(_MEASURED, self._values[:steps].cpu().numpy().transpose(1, 0, 2).reshape(4, -1), strict=True))
        present = self._present[:steps].reshape(-1)
        columns = {
            "step": np.repeat(np.arange(self._flushed, self._flushed + steps, dtype=np.int32), tasks),
            "task": pa.DictionaryArray.from_arrays(np.tile(np.arange(tasks, dtype=np.int8), steps), list(self._tasks)),
            "sigma": values["sigma"],
            "weight": values["weight"],
            "loss": pa.array(values["loss"], mask=~present),
            "present": present,
            "gradient_norm": pa.array(values["gradient_norm"], mask=np.isnan(values["gradient_norm"])),
            "lr": np.repeat(self._lr[:steps], tasks),
            "policy": pa.DictionaryArray.from_arrays(np.zeros(steps * tasks, dtype=np.int8), [self._policy]),
            "seed": np.full(steps * tasks, self._seed, dtype=np.int32),
        }
        self._keep(pa.table(columns, schema=SCHEMA))
        self._flushed += steps
        self._filled = 0

    def _keep(self, table: pa.Table) -> None:
        self._tables.append(table)


class TrajectoryRecorder(Recorder):
    """Writes one trajectory file; the file appears, whole, when the ``with`` block ends without an error.

    Args:
        path: of the parquet file.
        tasks, policy, seed, device, start: see `Recorder`.
    """

    def __init__(
        self, path: Path, tasks: Sequence[str], policy: str, seed: int, device: torch.device, start: int = 0
    ) -> None:
        super().__init__(tasks, policy, seed, device, start)
        self.path = path
        self._partial = unfinished(path)
        self._writer: SealedWriter | None = None
        self._described: dict[bytes, bytes] = {}

    def __enter__(self) -> Self:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._writer = SealedWriter(self._partial, SCHEMA)
        return self

    def annotate(self, metadata: dict[bytes, bytes]) -> None:
        """Add key-value metadata to the file's footer."""
        self._described.update(metadata)

    def _keep(self, table: pa.Table) -> None:
        if self._writer is not None:
            self._writer.write(table)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._flush()
        finally:
            if self._writer is not None:
                self._writer.close(self._described if kind is None else None)
        if kind is None:
            self._partial.replace(self.path)
        else:
            self._partial.replace(self.path.with_suffix(".failed.parquet"))


def read_trajectories(paths: Sequence[Path]) -> pd.DataFrame:
    """Trajectories of several files as one tidy frame, task and policy as categories in order of appearance."""
    return _frame([pq.read_table(path) for path in paths])


def _frame(tables: Sequence[pa.Table]) -> pd.DataFrame:
    return pa.concat_tables(tables, promote_options="default").unify_dictionaries().to_pandas()
