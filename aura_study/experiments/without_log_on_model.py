"""The AURA model without log sigma: sigma, weights and development scores beside the complete formula's (K3)."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from aura_study.evaluation import macro_f1
from aura_study.experiments.kendall import KendallParameters
from aura_study.experiments.training_runs import TrainingJob, build_model, job_batches, prepare
from aura_study.experiments.without_log import WithoutLog
from aura_study.losses import LogSigma, MaskedKendallLoss
from aura_study.recording import TrajectoryRecorder, read_trajectories
from aura_study.statistics import seeds
from aura_study.training import TrainingSettings, train

ARMS = {"with log": LogSigma(), "without log": WithoutLog()}


def train_both(p: KendallParameters) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both arms of each seed on the same batches from the same start, at rates that a tiny encoder learns with.

    Returns trajectories, a row per arm, seed, step and task, and the final development macro-F1.
    """
    paths, scores = [], []
    shared = p.model_dump(include={"data", "encoder", "rows", "dev_rows"})
    for seed in seeds(p.model_seeds):
        settings = TrainingSettings(
            steps=p.model_steps,
            accumulation=1,
            lr_encoder=5e-4,
            lr_heads=5e-4,
            lr_sigma=p.lr_sigma,
            schedule="constant",
            seed=seed,
        )
        work = TrainingJob(name=f"without-log-seed{seed}", settings=settings, max_length=64, **shared)
        for arm in ARMS:
            path, score = _train(work, arm)
            paths.append(path.assign(arm=arm, seed=seed))
            scores += [{"task": task, "arm": arm, "seed": seed, "macro_f1": value} for task, value in score.items()]
    return pd.concat(paths, ignore_index=True), pd.DataFrame(scores)


def outcome(paths: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    """Sigma, weight and macro-F1 at the end, mean over seeds: one row per task and arm."""
    last = paths[paths["step"] == paths["step"].max()]
    ends = last.groupby(["task", "arm"], sort=False)[["sigma", "weight"]].mean()
    return ends.join(scores.groupby(["task", "arm"], sort=False)["macro_f1"].mean()).reset_index()


def _train(work: TrainingJob, arm: str) -> tuple[pd.DataFrame, dict[str, float]]:
    prepared, settings = prepare(work), work.settings
    model = build_model(work, prepared)
    device = next(model.parameters()).device
    weighting = MaskedKendallLoss(list(prepared.train), ARMS[arm], device=device)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "trajectory.parquet"
        with TrajectoryRecorder(path, weighting.tasks, "masked", settings.seed, device) as recorder:
            train(model, job_batches(work, prepared), settings, recorder, weighting=weighting)
        frame = read_trajectories([path]).astype({"task": str})
    return frame[["step", "task", "weight", "sigma", "loss"]], macro_f1(model, prepared.dev)
