"""The AURA model without log sigma: sigma, weights and development scores beside the complete formula's (K3, K3a)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import torch

from aura_study.claims import Measurement
from aura_study.claims.rules import MARGIN
from aura_study.claims.statistics.intervals import Estimate, paired_interval, seeds
from aura_study.data.tasks import TASK_NAMES
from aura_study.experiments.kendall_weighting.parameters import KendallWeightingParameters
from aura_study.experiments.kendall_weighting.without_log import WithoutLog
from aura_study.losses import LogSigma, MaskedKendallLoss, Parameterization
from aura_study.runs.jobs import job_metadata
from aura_study.training.loop import TrainingSettings
from aura_study.training.model import AuraModel
from aura_study.training.runs import Prepared, TrainingJob, load_runs, train_jobs
from aura_study.training.scores import macro_f1, majority_macro_f1
from aura_study.training.weighting import Weighting

ARMS: Mapping[str, Parameterization] = {"with log": LogSigma(), "without log": WithoutLog()}


class WithoutLogJob(TrainingJob):
    """One training of the model with the complete formula or without its regulariser."""

    code = ("import aura_study.experiments.kendall_weighting.without_log_on_model",)

    arm: Literal["with log", "without log"]

    def weighting(self, device: torch.device) -> Weighting:
        """Masked, with the arm's form."""
        return MaskedKendallLoss(TASK_NAMES, ARMS[self.arm], device=device)

    def results(self, prepared: Prepared, model: AuraModel) -> dict[str, Any]:
        """The final scores and the majority baseline's."""
        return {
            "macro_f1": macro_f1(model, prepared.dev),
            "majority": majority_macro_f1(prepared.train, prepared.dev),
        }


def model_jobs(p: KendallWeightingParameters) -> list[WithoutLogJob]:
    """Both arms of each seed on the same batches from the same start, at rates that a tiny encoder learns with."""
    jobs = []
    for seed in seeds(p.model_seeds):
        settings = TrainingSettings(
            steps=p.model_steps,
            accumulation=1,
            lr_encoder=p.lr_model,
            lr_heads=p.lr_model,
            lr_sigma=p.lr_sigma,
            schedule="constant",
            seed=seed,
        )
        for arm in ARMS:
            name = f"{arm.replace(' ', '-')}-sigma-seed{seed}"
            shape = {"max_length": 64, "batch_size": 32}
            jobs.append(WithoutLogJob(name=name, arm=arm, settings=settings, encoder=p.encoder, **shape, **p.on_corpus))
    return jobs


def train_both(p: KendallWeightingParameters, folder: Path) -> list[Path]:
    """Files of `model_jobs`, finished ones kept."""
    return train_jobs(model_jobs(p), folder, p.workers, "without log sigma")


def load(files: Sequence[Path]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Trajectories, a row per arm, seed, step and task, and the final development macro-F1 with the majority
    baseline's: a row per task, arm and seed."""
    arms = {path.stem: job_metadata(path)["job"]["arm"] for path in files}
    runs = load_runs(files)
    runs = runs.assign(arm=runs["run"].map(arms))
    return runs[["arm", "seed", "step", "task", "sigma", "weight", "loss"]], _scores(files)


def _scores(files: Sequence[Path]) -> pd.DataFrame:
    rows = []
    for path in files:
        stored = job_metadata(path)
        for task, score in stored["macro_f1"].items():
            common = {"task": task, "arm": stored["job"]["arm"], "seed": stored["job"]["settings"]["seed"]}
            rows.append({**common, "macro_f1": score, "majority": stored["majority"][task]})
    return pd.DataFrame(rows)


def outcome(paths: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    """Sigma, weight and macro-F1 at the end, mean over seeds, and the majority baseline: one row per task and arm."""
    last = paths[paths["step"] == paths["step"].max()]
    ends = last.groupby(["task", "arm"], sort=False)[["sigma", "weight"]].mean()
    means = scores.groupby(["task", "arm"], sort=False)[["macro_f1", "majority"]].mean()
    return ends.join(means).reset_index()


def score_changes(scores: pd.DataFrame) -> pd.DataFrame:
    """What the formula's log sigma is worth in macro-F1, paired over seeds: with it minus without it.

    Columns: task (and "mean of tasks"), with_log and without_log (means over seeds), majority, difference, low, high
    (95 % interval), seeds.
    """
    rows = []
    mean = scores.groupby(["arm", "seed"])[["macro_f1", "majority"]].mean().reset_index().assign(task="mean of tasks")
    for task, group in pd.concat([scores, mean]).groupby("task", sort=False):
        by_seed = group.pivot(index="seed", columns="arm", values="macro_f1")
        gain = paired_interval(by_seed["with log"], by_seed["without log"])
        rows.append(
            {
                "task": task,
                "with_log": by_seed["with log"].mean(),
                "without_log": by_seed["without log"].mean(),
                "majority": group["majority"].mean(),
                **gain.row("difference"),
            }
        )
    return pd.DataFrame(rows)


def measure_evasion(changes: pd.DataFrame) -> Measurement:
    """K3a: macro-F1 lost without log sigma, mean over tasks and seeds."""
    mean, tasks = changes[changes["task"] == "mean of tasks"].iloc[0], changes[changes["task"] != "mean of tasks"]
    return Measurement.of(
        Estimate(mean["difference"], mean["low"], mean["high"], mean["seeds"]),
        "mean development macro-F1 over the tasks, with log sigma minus without",
        limits={MARGIN: float((tasks["with_log"] - tasks["majority"]).min())},
    )
