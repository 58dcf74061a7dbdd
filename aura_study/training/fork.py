"""One prefix, many returns: what trainings through an absence have in common is done once.

An absent task sends no gradient into the model, whatever its sigma does meanwhile (claim P4). So until it returns,
trainings with one seed that differ in the absence policy, or in how fast sigma learns during the absence, are one
training bit for bit, but for the absent task's sigma: a number that follows its own optimiser and needs no network.
The *prefix* is trained under the mask and its state kept; every *arm* goes on from there, with the sigma that its own
absence has left.
"""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import ClassVar, Self, cast

import pandas as pd
import torch
from pydantic import Field, SerializeAsAny, model_validator
from torch import Tensor, nn

from aura_study.data.batches import Batch
from aura_study.data.schedules import quotas
from aura_study.data.tasks import TASK_NAMES
from aura_study.errors import StudyError
from aura_study.runs.jobs import Job, is_finished, job_metadata, job_path, keep_table, run_jobs
from aura_study.training import checkpoints
from aura_study.training.loop import Observer, Stepper, TrainingSettings, train
from aura_study.training.model import AuraModel, training_device
from aura_study.training.recording import Recorder
from aura_study.training.runs import Begun, Prepared, TrainingJob, prepare, run_job
from aura_study.training.state import SigmaState, TrainingState, set_sigma, sigma_state
from aura_study.training.weighting import POLICIES, Weighting, build_weighting

PREFIXES = "prefixes"
"""Folder of the states that arms go on from, beside the arms' files; gone once all arms are there."""


class ArmJob(TrainingJob):
    """A training through an absence that may differ from others only from the return on: `train_forked` trains it.

    A subclass with more such fields names them in ``after_return``.
    """

    code = ("import aura_study.training.fork",)
    after_return: ClassVar[tuple[str, ...]] = ("absence_rate", "shift", "alone")

    absence_rate: float | None = Field(
        None, ge=0, description="sigma's rate for the absent task while it is away; none: as at all other times"
    )
    shift: float = Field(0.0, description="added to the absent task's learned parameter at its return")
    alone: bool = Field(False, description="from the return on, batches hold rows of the returned task alone")

    @property
    def stands_alone(self) -> bool:
        """Not where sigma is moved by another hand than its optimiser's."""
        return self.absence_rate is None and not self.shift

    def batches(self, prepared: Prepared) -> Iterator[Batch]:
        """Micro-batches; of an arm that is ``alone``, with the returned task's rows only, once it is back."""
        all_rows = super().batches(prepared)
        if not self.alone:
            return all_rows
        before = islice(all_rows, self.presence.stop * self.settings.accumulation)
        return chain(before, (batch.only(self.presence.absent) for batch in all_rows))

    @model_validator(mode="after")
    def _returns(self) -> Self:
        if not forks(self):
            away, settings = self.presence, self.settings
            raise ValueError(
                "an arm goes on from the return of an absent task, under one of the policies "
                f"{', '.join(POLICIES)}: got policy {settings.policy!r}, schedule {away.schedule!r}, an absence from "
                f"step {away.start} to {away.stop}, and {settings.steps} steps"
            )
        return self


class Prefix(Job):
    """A training up to the return, under the mask; equal ones have one key, whatever goes on from them."""

    job: SerializeAsAny[TrainingJob]

    def inputs(self) -> Mapping[str, str]:
        """Those of the training."""
        return self.job.inputs()

    def key(self) -> str:
        """That of the training."""
        return self.job.key()

    def state_folder(self, folder: Path) -> Path:
        """Of the state at the return, beside the prefix's record in ``folder``."""
        return folder / self.name


def forks(job: TrainingJob) -> bool:
    """Whether the job has an absence, a step after it, and a policy under which nothing but sigma shows before it."""
    away = job.presence
    has_return = away.schedule == "stretch" and away.start < away.stop < job.settings.steps
    return has_return and job.settings.policy in POLICIES


def prefix_of(job: TrainingJob) -> Prefix:
    """What a job that `forks` shares with others, named by its key."""
    away, settings = job.presence, job.settings.model_copy(update={"policy": "masked"})
    if settings.schedule == "constant":  # else the rates depend on the length of the whole
        settings = settings.model_copy(update={"steps": away.stop})
    own = {name: type(job).model_fields[name].default for name in getattr(job, "after_return", ())}
    away = away.model_copy(update={"every": None})
    shared = job.model_copy(update={"name": "prefix", "settings": settings, "presence": away, **own})
    return Prefix(name=f"prefix-{shared.key()[:16]}", job=shared)


def train_forked(jobs: Sequence[TrainingJob], folder: Path, workers: int = 0, progress: str = "training") -> list[Path]:
    """`aura_study.training.runs.train_jobs`, but what jobs share up to the return of an absent task is trained once.

    Every job leaves the file that a training of its own from the first step would leave. A job that does not fork is
    trained as it is. Prefixes are kept under ``folder`` until all their arms are there, so that a run that was stopped
    goes on from the job where it stopped.

    Args:
        jobs: with distinct names.
        folder: of the jobs' files.
        workers: see `aura_study.runs.jobs.run_jobs`.
        progress: label of the progress bar.

    Raises:
        ValueError: a task with fewer rows than a batch holds of it; two jobs of one name.
    """
    prefixes = {job.name: prefix_of(job) for job in jobs if forks(job)}
    waiting = {prefixes[job.name].name: job for job in jobs if job.name in prefixes and not is_finished(job, folder)}
    for job in waiting.values():
        _refuse_few_rows(job)
    needed = [prefix_of(job) for job in waiting.values()]
    for prefix in needed:
        if not _is_whole(prefix, folder / PREFIXES):
            job_path(prefix, folder / PREFIXES).unlink(missing_ok=True)
    run_jobs(_run_prefix, needed, folder / PREFIXES, workers, f"{progress}, up to the return")
    files = run_jobs(_run, jobs, folder, workers, progress)
    for prefix in prefixes.values():
        job_path(prefix, folder / PREFIXES).unlink(missing_ok=True)
        shutil.rmtree(prefix.state_folder(folder / PREFIXES), ignore_errors=True)
    if (folder / PREFIXES).is_dir() and not any((folder / PREFIXES).iterdir()):
        (folder / PREFIXES).rmdir()
    return files


def _refuse_few_rows(job: TrainingJob) -> None:
    sizes = job.texts.corpus().sizes
    for task, rows in quotas(sizes, job.batch_size).items():
        if sizes[task] < rows:
            raise ValueError(
                f"{task} has {sizes[task]} training rows, too few to fork: every batch of {job.batch_size} takes {rows}"
            )


def _is_whole(prefix: Prefix, folder: Path) -> bool:
    """Whether record and state are there, the state as it was written."""
    found = checkpoints.latest(prefix.state_folder(folder))
    if found is None or not is_finished(prefix, folder):
        return False
    return found.is_whole()


def _run(job: TrainingJob, folder: Path) -> Path:
    return _run_arm(job, folder) if forks(job) else run_job(job, folder)


class _UpToTheReturn:
    """An `Observer` that keeps sigma's state at the start of the absence and the whole at its end, beside another."""

    def __init__(self, job: TrainingJob, inner: Observer | None) -> None:
        self.away, self.inner = job.presence, inner
        self.sigma: SigmaState = {}
        self.state: TrainingState | None = None

    def gradients(self, step: int, model: AuraModel, optimizer: torch.optim.Optimizer) -> None:
        if step == self.away.start:
            self.sigma = sigma_state(optimizer)
        if self.inner is not None:
            self.inner.gradients(step, model, optimizer)

    def updated(self, step: int, model: AuraModel, optimizer: torch.optim.Optimizer) -> None:
        if self.inner is not None:
            self.inner.updated(step, model, optimizer)
        if step == self.away.stop - 1:
            self.state = TrainingState.of(step + 1, model, optimizer)


def _run_prefix(prefix: Prefix, folder: Path) -> Path:
    """Leaves the state at the return, and beside it what was recorded on the way."""
    job = prefix.job
    prepared, settings = prepare(job), job.settings
    model = job.model(prepared)
    probe = job.probe(prepared, model)
    recorder = probe.recorder if probe else Recorder(TASK_NAMES, settings.policy, settings.seed, model.device)
    weighting = probe.weighting if probe else job.weighting(model.device)
    seen = _UpToTheReturn(job, probe)
    train(model, job.batches(prepared), settings, recorder, weighting=weighting, observer=seen, stop=job.presence.stop)
    state = cast(TrainingState, seen.state)
    parts = {"sigma": state.sigma, "away": seen.sigma, "generator": {"state": state.generator}}
    tensors = {f"{part}|{name}": value for part, values in parts.items() for name, value in values.items()}
    checkpoints.save(prefix.state_folder(folder), state.step, {**state.tensors, **tensors}, {})
    frame = recorder.frame() if recorder else pd.DataFrame()
    memory = probe.memory() if probe else {}
    return keep_table(prefix, frame, folder, memory=memory)


def _run_arm(job: TrainingJob, folder: Path) -> Path:
    """Goes on from the prefix, as `run_job`."""
    prefix, away = prefix_of(job), job.presence
    state, before = _load(prefix, folder / PREFIXES)
    absence = through_absence(job, before)
    place = TASK_NAMES.index(away.absent)
    sigma = {name: values.clone() for name, values in state.sigma.items()}
    for name, values in sigma.items():
        values[place] = absence.sigma[name][place] + (getattr(job, "shift", 0.0) if name == "theta" else 0.0)
    record = job_path(prefix, folder / PREFIXES)
    trajectory = pd.read_parquet(record)
    if len(trajectory):
        trajectory = _with_its_own(trajectory, job, absence)
    begun = Begun(replace(state, sigma=sigma), trajectory, job_metadata(record)["memory"])
    return run_job(job, folder, begun)


def _load(prefix: Prefix, folder: Path) -> tuple[TrainingState, SigmaState]:
    """The state at the return, and sigma's at the start of the absence.

    Raises:
        StudyError: the state is not there, or not as it was written.
    """
    found = checkpoints.latest(prefix.state_folder(folder))
    if found is None or not _is_whole(prefix, folder):
        raise StudyError(f"the state that {prefix.name} has left under {folder} is missing or damaged")
    tensors = found.tensors()
    parts: dict[str, dict[str, Tensor]] = {"sigma": {}, "away": {}, "generator": {}}
    for name in list(tensors):
        part, _, own = name.partition("|")
        if part in parts:
            parts[part][own] = tensors.pop(name).to(training_device())
    return TrainingState(found.step, tensors, parts["sigma"], parts["generator"]["state"]), parts["away"]


@dataclass(frozen=True)
class Absence:
    """What an absence makes of the absent task's sigma: `SigmaState` at its end, and what each step was done with.

    ``rows``: step, sigma, weight (both before the step's update) and lr; of the other tasks ``sigma`` says nothing.
    """

    sigma: SigmaState
    rows: pd.DataFrame


class _Nothing(nn.Module):
    """Stands in for a model: nothing to train but sigma."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.encoder, self.heads, self.device = nn.Module(), nn.Module(), device


def through_absence(job: TrainingJob, before: SigmaState) -> Absence:
    """The absent task's sigma through the job's absence, under its policy and optimiser, without a network.

    Args:
        job: one that `forks`; its ``absence_rate``, if it has one, takes the place of sigma's rate.
        before: sigma's state at the start of the absence.
    """
    away, settings = job.presence, job.settings.model_copy(update={"clip_norm": None})  # of the model's gradient
    if (rate := getattr(job, "absence_rate", None)) is not None:
        settings = settings.model_copy(update={"lr_sigma": rate})
    device = before["theta"].device
    weighting = build_weighting(settings.policy, settings.parameterization, TASK_NAMES, device)
    stepper = Stepper(cast(AuraModel, _Nothing(device)), weighting, settings)
    stepper.skip(away.start)
    set_sigma(stepper.optimizer, before)
    place, rows = TASK_NAMES.index(away.absent), []
    for step in range(away.start, away.stop):
        values = stepper.step(step, _silence(weighting, settings, away.absent, device))
        told = {"sigma": float(values.sigma[place]), "weight": float(values.weight[place]), "lr": values.lr}
        rows.append({"step": step, **told})
    return Absence(sigma_state(stepper.optimizer), pd.DataFrame(rows))


def _silence(
    weighting: Weighting, settings: TrainingSettings, absent: str, device: torch.device
) -> Iterator[Mapping[str, Tensor]]:
    """An absent step's backward passes, with the other tasks at a loss of 0: what they feel is of no interest."""
    others = {task: torch.zeros((), device=device) for task in weighting.tasks if task != absent}
    for _ in range(settings.accumulation):
        (weighting(others) / settings.accumulation).backward()
        yield others


def _with_its_own(trajectory: pd.DataFrame, job: TrainingJob, absence: Absence) -> pd.DataFrame:
    """The prefix's trajectory as the job's: its policy, and the absent task's sigma as its own absence has it."""
    told = trajectory.assign(policy=job.settings.policy)
    gone = (told["task"] == job.presence.absent) & told["step"].isin(absence.rows["step"])
    for column in ("sigma", "weight", "lr"):
        told.loc[gone, column] = absence.rows[column].to_numpy()
    return told
