"""Trainings that are scored some steps after the return of a task, without anything else looking at them."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
import torch

from aura_study.data.tasks import TASK_NAMES
from aura_study.training.fork import ArmJob
from aura_study.training.model import AuraModel
from aura_study.training.recording import Recorder
from aura_study.training.runs import Prepared, Probe, TrainingJob
from aura_study.training.scores import development


class ScoredJob(TrainingJob):
    """A training that is scored some steps after its absence, or without one after some steps."""

    code = ("import aura_study.experiments.after_the_return.scored",)

    moments: tuple[int, ...] = ()
    """Steps since the return after which the model is scored, beside the return itself."""

    def probe(self, prepared: Prepared, model: AuraModel) -> "Scorer":
        """Scores it, and keeps what the steps since the return were done with."""
        return Scorer(self, prepared, model)


class DoseJob(ScoredJob, ArmJob):
    """One arm."""

    after_return = (*ArmJob.after_return, "moments")


class Scorer(Probe):
    """Development scores at a job's moments."""

    def __init__(self, job: ScoredJob, prepared: Prepared, model: AuraModel) -> None:
        super().__init__(job.weighting(model.device))
        self.recorder: Recorder = Recorder(TASK_NAMES, job.settings.policy, job.settings.seed, model.device)
        self.scores: list[dict[str, Any]] = []
        self._back, self._moments, self._dev = job.presence.stop, job.moments, prepared.dev

    def updated(self, step: int, model: AuraModel, optimizer: torch.optim.Optimizer) -> None:
        """Score the model if it is time to."""
        if (since := step + 1 - self._back) in (0, *self._moments):
            found = development(model, self._dev)
            self.scores += [{"since": since, "task": task, **scores} for task, scores in found.items()]

    def memory(self) -> dict[str, Any]:
        """The scores so far."""
        return {"scores": self.scores}

    def remember(self, memory: Mapping[str, Any]) -> None:
        """Go on from them."""
        self.scores = list(memory["scores"])

    def table(self, model: AuraModel) -> pd.DataFrame:
        """The steps since the return, one row per task: since, task, weight, loss, gradient_norm (encoder's)."""
        found = self.recorder.frame()
        after = found[found["step"] >= self._back]
        columns = ["task", "weight", "loss", "gradient_norm"]
        return after.assign(since=after["step"] - self._back)[["since", *columns]].astype({"task": str})

    def results(self, model: AuraModel) -> dict[str, Any]:
        """The scores."""
        return {"scores": self.scores}
