"""Where in a run sigma moves (claim S2): the AURA model under three schedules, and replays of its losses."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from aura_study.claims import Measurement
from aura_study.claims.statistics.intervals import mean_interval, seeds
from aura_study.experiments.schedules.parameters import SchedulesParameters
from aura_study.experiments.schedules.rates import AURA_WARMUP, PHASES, SCHEDULES, rates_of, scheduler_of
from aura_study.losses import LogSigma, MaskedKendallLoss
from aura_study.theory.schedules import phantom_number
from aura_study.training.loop import TrainingSettings
from aura_study.training.runs import TrainingJob, load_runs


def jobs(p: SchedulesParameters) -> list[TrainingJob]:
    """Every schedule and seed, masked, all with the same sum of sigma's rates."""
    return [
        TrainingJob(
            name=f"schedule-{name}-seed{seed}",
            max_length=64,
            settings=TrainingSettings(
                steps=p.steps,
                accumulation=1,
                lr_encoder=p.lr_model,
                lr_heads=p.lr_model,
                lr_sigma=p.budget / rates_of(name, p.steps).sum(),
                schedule=name,
                warmup=AURA_WARMUP,
                seed=seed,
            ),
            encoder=p.encoder,
            batch_size=p.batch_size,
            **p.on_corpus,
        )
        for name in SCHEDULES
        for seed in seeds(p.seed_count)
    ]


def movement(files: Sequence[Path], work: Sequence[TrainingJob], large_budget: float) -> pd.DataFrame:
    """log sigma at every step: as trained, and replayed on the recorded losses at ``large_budget``.

    The replay hands the losses of the run to a fresh module under the same optimiser and schedule with a larger rate
    for sigma: what sigma would have done beside the same network. ``target`` is half the log of the loss, the fixed
    point of the step; absent tasks have none.
    """
    frames = []
    for path, job in zip(files, work, strict=True):
        runs = load_runs([path])
        tidy = runs[["step", "task", "loss", "present", "sigma"]].copy()
        tidy["loss"] = tidy["loss"].where(tidy["present"])
        trained = tidy.assign(s=np.log(tidy["sigma"]), budget=job.settings.lr_sigma * _sum(job))
        frames.append(_labelled(trained, job))
        frames.append(_labelled(_replay(tidy, job, large_budget), job))
    return pd.concat(frames, ignore_index=True).drop(columns=["present", "sigma"])


def _sum(job: TrainingJob) -> float:
    return float(rates_of(job.settings.schedule, job.settings.steps).sum())


def _labelled(frame: pd.DataFrame, job: TrainingJob) -> pd.DataFrame:
    target = 0.5 * np.log(frame["loss"])
    return frame.assign(target=target, schedule=job.settings.schedule, seed=job.settings.seed)


def _replay(tidy: pd.DataFrame, job: TrainingJob, budget: float) -> pd.DataFrame:
    losses = tidy.pivot(index="step", columns="task", values="loss")
    weigh = MaskedKendallLoss(list(losses.columns), LogSigma(), dtype=torch.float64)
    lr, decay = budget / _sum(job), job.settings.weight_decay_sigma
    optimizer = torch.optim.AdamW(weigh.parameters(), lr=lr, weight_decay=decay)
    scheduler = scheduler_of(job.settings.schedule, optimizer, job.settings.steps)
    path = []
    for row in torch.tensor(losses.to_numpy()):
        path.append(weigh.thetas().detach().clone())
        optimizer.zero_grad()
        weigh(row, ~row.isnan()).backward()
        optimizer.step()
        scheduler.step()
    index = losses.stack(future_stack=True).index
    s = pd.Series(torch.stack(path).flatten().numpy(), index=index, name="s")
    return tidy.merge(s.reset_index(), on=["step", "task"]).assign(budget=budget)


def phase_shares(table: pd.DataFrame) -> pd.DataFrame:
    """Share of sigma's path, sum of |steps of log sigma|, per phase; one row per schedule, budget, phase and seed.

    Mean over tasks; ``predicted`` is the phase's share of the rates' sum. ``distance`` is the root mean square of
    log sigma - target over the phase's last tenth of the run, where the task is present.
    """
    rows = []
    for (name, budget, seed), group in table.groupby(["schedule", "budget", "seed"]):
        s = group.pivot(index="step", columns="task", values="s").to_numpy()
        off = s - group.pivot(index="step", columns="task", values="target").to_numpy()
        moved, rates = np.abs(np.diff(s, axis=0)), rates_of(str(name), len(s))
        for phase, (start, stop) in PHASES.items():
            first, last = round(start * len(s)), round(stop * len(s))
            tail = off[max(first, last - len(s) // 10) : last]
            rows.append(
                {
                    "schedule": name,
                    "budget": budget,
                    "seed": seed,
                    "phase": phase,
                    "share": float((moved[first:last].sum(axis=0) / moved.sum(axis=0)).mean()),
                    "predicted": phantom_number(rates[first:last]) / phantom_number(rates),
                    "distance": float(np.sqrt(np.nanmean(tail**2))),
                }
            )
    return pd.DataFrame(rows)


def measure_refinement(table: pd.DataFrame) -> Measurement:
    """S2: share of sigma's movement in the last 30 % under OneCycleLR, at AURA's budget."""
    chosen = (table["schedule"] == "onecycle") & (table["phase"] == "last 30 %")
    rows = table[chosen & (table["budget"] == table["budget"].min())]
    return Measurement.of(
        mean_interval(rows["share"]),
        "share of log sigma's path in the last 30 % of the steps",
        predicted=float(rows["predicted"].iloc[0]),
    )
