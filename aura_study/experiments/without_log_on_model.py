"""The AURA model without log sigma: sigma, weights and development scores beside the complete formula's (K3)."""

import pandas as pd
import torch
from torch import nn

from aura_study.data.batches import Batches
from aura_study.data.tasks import TASKS
from aura_study.evaluation import macro_f1
from aura_study.experiments.kendall import KendallParameters
from aura_study.experiments.training_runs import TrainingJob, build_model, prepare
from aura_study.experiments.without_log import WithoutLog
from aura_study.losses import LogSigma, MaskedKendallLoss
from aura_study.statistics import seeds
from aura_study.training import TrainingSettings, build_optimizer, build_schedule, task_loss

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
    weigh = MaskedKendallLoss(list(prepared.train), ARMS[arm], device=device)
    optimizer = build_optimizer(model, weigh, settings)
    schedule = build_schedule(optimizer, settings)
    order = work.presence.build(prepared.corpus.sizes, work.batch_size, settings.seed, settings.accumulation)
    batches = Batches(prepared.train, order).iterate()
    rows, absent = [], torch.tensor(torch.nan, device=device)
    model.train()
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        for _ in range(settings.steps):
            batch = next(batches).to(device)
            logits = model(batch)
            losses = {
                task: task_loss(TASKS[task], values, batch.labels[task], settings.gamma, settings.label_smoothing)
                for task, values in logits.items()
            }
            rows.append((weigh.weights(), torch.stack([losses.get(task, absent) for task in weigh.tasks])))
            optimizer.zero_grad()
            weigh(losses).backward()
            if settings.clip_norm is not None:
                nn.utils.clip_grad_norm_(model.parameters(), settings.clip_norm)
            optimizer.step()
            schedule.step()
    weights, seen = (torch.stack([row[place].detach().cpu() for row in rows]).flatten().numpy() for place in (0, 1))
    index = pd.MultiIndex.from_product([range(settings.steps), weigh.tasks], names=["step", "task"])
    path = pd.DataFrame({"weight": weights, "sigma": (2 * weights) ** -0.5, "loss": seen}, index=index)
    return path.reset_index(), macro_f1(model, prepared.dev)
