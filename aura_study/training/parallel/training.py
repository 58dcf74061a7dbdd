"""The training loop in data parallel: ranks agree on presence, rank 0 records, a killed run goes on where it was."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, broadcast
from torch import Tensor
from tqdm import tqdm

from aura_study.data.batches import Batch, Batches
from aura_study.data.tasks import TASK_NAMES
from aura_study.errors import StudyError
from aura_study.paths import RunFolders
from aura_study.runs.fingerprint import code_digest
from aura_study.runs.jobs import footer, keep_tables
from aura_study.runs.lock import locked
from aura_study.runs.sealed import is_sealed
from aura_study.training import checkpoints
from aura_study.training.loop import NonFiniteError, Stepper, StepValues
from aura_study.training.parallel.ranks import ShardedLoss, shard
from aura_study.training.recording import TrajectoryRecorder
from aura_study.training.runs import Prepared, TrainingJob, build_model, prepare
from aura_study.training.scores import macro_f1, samples_f1
from aura_study.training.weighting import build_weighting

Precision = Literal["no", "bf16"]


@dataclass(frozen=True)
class ParallelRun:
    """What a parallel training leaves behind.

    Attributes:
        trajectory: file of every step, with job and final scores as its metadata; rank 0 writes it.
        resumed_from: first step that this run did.
        rank, ranks: this process, and how many there are.
    """

    trajectory: Path
    resumed_from: int
    rank: int
    ranks: int


def train_parallel(
    job: TrainingJob,
    folder: Path,
    precision: Precision = "no",
    checkpoint_every: int = 200,
    cpu: bool = False,
) -> ParallelRun:
    """Train ``job`` on all ranks that `accelerate launch` started, or on one without it.

    The batches are the job's own global batches, whatever the number of ranks, and without dropout sigma's path is that
    of one process up to rounding. Per-task gradient norms are not measured. A run that finds a checkpoint under
    ``folder`` goes on from it, with the step that an undisturbed run would have done next; where the checkpoint or the
    record of a step before it is lost or altered, it says so on standard error and starts again.

    Args:
        job: see `TrainingJob`.
        folder: for ``checkpoints/``, ``segments/`` and ``<job's name>.parquet``.
        precision: of the forward pass, through accelerate; losses and uncertainties stay in float32.
        checkpoint_every: optimiser steps between checkpoints.
        cpu: leave GPUs alone.

    Raises:
        StudyError: a checkpoint of another job, of other code or another number of ranks; the folder is in use.
        NonFiniteError: the total of a step is not finite.
        ValueError: fewer rows in a batch than ranks, or a policy whose state comes from the rank's own losses.
    """
    if job.settings.policy == "analytic":
        raise ValueError("policy 'analytic' keeps a mean of the losses it sees, and a rank sees only its own rows")
    # A head without rows in the global batch is in no rank's graph: its gradient must stay None, as in one process.
    unused = DistributedDataParallelKwargs(find_unused_parameters=True)
    accelerator = Accelerator(mixed_precision=precision, cpu=cpu, kwargs_handlers=[unused])
    alone = locked(RunFolders(folder, folder / "figures")) if accelerator.is_main_process else nullcontext()
    try:
        with alone:
            return _ParallelTraining(job, folder, accelerator, checkpoint_every).run()
    finally:
        accelerator.free_memory()  # a model wrapped by DDP would hold the group's threads until they abort the process
        accelerator.end_training()


class _ParallelTraining:
    def __init__(self, job: TrainingJob, folder: Path, accelerator: Accelerator, checkpoint_every: int) -> None:
        self.job, self.folder, self.accelerator = job, folder, accelerator
        self.every = checkpoint_every
        self.ranks, self.rank = accelerator.num_processes, accelerator.process_index
        settings, device = job.settings, accelerator.device
        with accelerator.main_process_first():  # one rank trains the tokenizer, the others find it
            self.prepared: Prepared = prepare(job)
        model = build_model(job, self.prepared).to(device)
        weighting = build_weighting(settings.policy, settings.parameterization, TASK_NAMES, device)
        self.loss = ShardedLoss(model, weighting, settings, self.ranks).train()
        self.stepper = Stepper(model, weighting, settings)
        self.start = self._resume()
        self.parallel = accelerator.prepare_model(self.loss)
        drawn = job.presence.build(self.prepared.corpus.sizes, job.batch_size, settings.seed, settings.accumulation)
        self.batches = Batches(self.prepared.train, drawn)

    def run(self) -> ParallelRun:
        steps, step = self.job.settings.steps, self.start
        bar = tqdm(total=steps, initial=step, desc=self.job.name, disable=self.rank != 0, mininterval=1.0)
        while step < steps:
            stop = min(steps, (step // self.every + 1) * self.every)
            self._segment(step, stop, bar)
            step = stop
        bar.close()
        path = self.folder / f"{self.job.name}.parquet"
        if self.rank == 0:
            self._finish(path)
        self.accelerator.wait_for_everyone()
        return ParallelRun(path, self.start, self.rank, self.ranks)

    def _segment(self, start: int, stop: int, bar: tqdm) -> None:
        """Steps ``start`` to ``stop``, their records, and the checkpoint after them."""
        settings, device = self.job.settings, self.accelerator.device
        path = self.folder / "segments" / f"step-{stop:08d}.parquet"
        records: list[StepValues] = []
        for step in range(start, stop):
            records.append(self._step(step))
            bar.update()
        if self.rank == 0:
            with TrajectoryRecorder(path, TASK_NAMES, settings.policy, settings.seed, device, start) as recorder:
                for record in records:
                    recorder.record(*record)
        self._save(stop)

    def _step(self, step: int) -> StepValues:
        values = self.stepper.step(step, self._passes(step))
        return values._replace(loss=self.accelerator.reduce(values.loss, "mean"))

    def _passes(self, step: int) -> Iterator[dict[str, Tensor]]:
        """Forward and backward of this rank's micro-batches; their losses."""
        for batch, counts in self._micro_batches(step):
            total, losses = self.parallel(batch, counts)
            if not torch.isfinite(total):
                values = {task: loss.item() for task, loss in losses.items()}
                raise NonFiniteError(f"the total on rank {self.rank} is {total.item()} at step {step}: {values}")
            self.accelerator.backward(total / self.job.settings.accumulation)
            yield losses
        if step < self.job.settings.frozen_encoder_steps:
            for parameter in self.loss.model.encoder.parameters():
                parameter.grad = None

    def _micro_batches(self, step: int) -> Iterator[tuple[Batch, dict[str, int]]]:
        """This rank's part of the step's micro-batches, and the global rows of each task."""
        count = self.job.settings.accumulation
        for drawn in self.batches.schedule.batches(step * count, (step + 1) * count):
            own = self.batches.collate(shard(drawn, self.rank, self.ranks))
            yield own.to(self.accelerator.device), {task: len(rows) for task, rows in drawn.items()}

    def _described(self) -> dict[str, Any]:
        return {"job": self.job.model_dump(mode="json"), "ranks": self.ranks, "code": code_digest(list(self.job.code))}

    def _save(self, step: int) -> None:
        generators = self.accelerator.gather(checkpoints.generator_state(self.accelerator.device)[None])
        if self.rank == 0:
            tensors = {**checkpoints.module_tensors(self.loss, self.stepper.optimizer), "generators": generators}
            state = {**self._described(), "schedule": _json_ready(self.stepper.schedule.state_dict())}
            checkpoints.save(self.folder / "checkpoints", step, tensors, state)
        self.accelerator.wait_for_everyone()

    def _resume(self) -> int:
        """Put the latest checkpoint in place; the step to do next."""
        device = self.accelerator.device
        torch.manual_seed(self.job.settings.seed + self.rank)  # ranks drop different units
        whole = torch.tensor([self._is_whole() if self.rank == 0 else 0], device=device)
        found = checkpoints.latest(self.folder / "checkpoints") if broadcast(whole).item() else None
        if self.rank == 0:
            for segment in self._segments():
                if found is None or int(segment.stem.removeprefix("step-")) > found.step:
                    segment.unlink()  # steps that no checkpoint knows of will be done again
        if found is None:
            return 0
        stored, own = found.state(), self._described()
        if different := [name for name in own if stored.get(name) != own[name]]:
            raise StudyError(
                f"{found.folder} was written by a training with another {' and '.join(different)}: "
                f"{[stored.get(name) for name in different]}; choose another output folder"
            )
        tensors = found.tensors()
        generators = tensors.pop("generators")
        checkpoints.restore(self.loss, self.stepper.optimizer, tensors)
        self.stepper.schedule.load_state_dict(stored["schedule"])
        for group, rate in zip(self.stepper.optimizer.param_groups, self.stepper.schedule.get_last_lr(), strict=True):
            group["lr"] = rate
        checkpoints.set_generator_state(device, generators[self.rank])
        return found.step

    def _is_whole(self) -> bool:
        """Whether there is a checkpoint to go on from, unaltered, with the unaltered record of every step before it."""
        found = checkpoints.latest(self.folder / "checkpoints")
        if found is None:
            return False
        altered = [] if found.is_whole() else [found.folder.name]
        before = [path for path in self._segments() if int(path.stem.removeprefix("step-")) <= found.step]
        altered += [path.name for path in before if not is_sealed(path)]
        if not altered and _steps(before) != list(range(found.step)):
            altered = [f"the record of the {found.step} steps before {found.folder.name}"]
        if altered:
            said = f"{', '.join(altered)} in {self.folder} was lost or altered; the training starts again"
            print(said, file=sys.stderr)
        return not altered

    def _segments(self) -> list[Path]:
        return sorted((self.folder / "segments").glob("step-*.parquet"))

    def _finish(self, path: Path) -> None:
        """One trajectory from all segments, with the final scores."""
        model, dev = self.loss.model, self.prepared.dev
        table = pa.concat_tables([pq.read_table(part) for part in self._segments()]).unify_dictionaries()
        results = {"macro_f1": macro_f1(model, dev), "samples_f1": samples_f1(model, dev), "ranks": self.ranks}
        keep_tables([table.replace_schema_metadata(None)], path, footer(self.job, results))


def _steps(segments: Sequence[Path]) -> list[int]:
    """Steps that the files hold, in their order, each once for all tasks."""
    columns = [pq.read_table(path, columns=["step"])["step"].to_numpy() for path in segments]
    return [int(step) for column in columns for step in column[:: len(TASK_NAMES)]]


def _json_ready(state: dict[str, Any]) -> dict[str, Any]:
    """A scheduler's state without functions and back references, which the rebuilt one has of its own."""
    kept = {}
    for name, value in state.items():
        try:
            json.dumps(value)
        except TypeError:
            continue
        kept[name] = value
    return kept
