"""Where in a run sigma moves, and whether the end refines it (claims S2, S2a, S2b).

The AURA model is trained under OneCycleLR. Its recorded losses are then handed to fresh weighting modules under each
schedule: what sigma would have done beside the same network. So schedules differ in nothing but sigma's rates.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from aura_study.claims import Measurement
from aura_study.claims.statistics.intervals import mean_interval, ratio_interval, seeds
from aura_study.experiments.schedules.parameters import SchedulesParameters
from aura_study.experiments.schedules.rates import PHASES, SCHEDULES, rates_of, scheduler_of
from aura_study.losses import LogSigma, MaskedKendallLoss
from aura_study.theory.schedules import phantom_number
from aura_study.training.loop import TrainingSettings
from aura_study.training.runs import TrainingJob, load_runs

LAST = "last 30 %"
"""The phase that the guide calls the end, in which OneCycleLR all but stops the network too."""


def jobs(p: SchedulesParameters) -> list[TrainingJob]:
    """A masked training under OneCycleLR for every seed; sigma's rates sum up to the budget."""
    return [
        TrainingJob(
            name=f"schedule-onecycle-seed{seed}",
            max_length=64,
            settings=TrainingSettings(
                steps=p.steps,
                accumulation=1,
                lr_encoder=p.lr_model,
                lr_heads=p.lr_model,
                lr_sigma=p.budget / rates_of("onecycle", p.steps).sum(),
                schedule="onecycle",
                seed=seed,
            ),
            encoder=p.encoder,
            batch_size=p.batch_size,
            **p.on_corpus,
        )
        for seed in seeds(p.seed_count)
    ]


def movement(files: Sequence[Path], work: Sequence[TrainingJob], budgets: Sequence[float]) -> pd.DataFrame:
    """log sigma at every step of every replay: ``s`` by schedule, ``budget``, seed, step and task, with the ``loss``.

    ``loss`` is that of the step's batch, none for tasks that were absent from it. ``budget`` is the sum of sigma's
    rates. The replay under OneCycleLR at the trained budget repeats the training.
    """
    frames = []
    for path, job in zip(files, work, strict=True):
        tidy = load_runs([path])[["step", "task", "loss", "present"]]
        losses = tidy.assign(loss=tidy["loss"].where(tidy["present"])).pivot(
            index="step", columns="task", values="loss"
        )
        for budget in budgets:
            for name in SCHEDULES:
                s = _replay(losses, name, budget, job.settings.weight_decay_sigma)
                long = pd.DataFrame({"s": s.stack(), "loss": losses.stack(future_stack=True)})
                frames.append(long.reset_index().assign(schedule=name, budget=budget, seed=job.settings.seed))
    return pd.concat(frames, ignore_index=True)


def _replay(losses: pd.DataFrame, name: str, budget: float, decay: float) -> pd.DataFrame:
    """log sigma before every step, in the shape of ``losses``."""
    weigh = MaskedKendallLoss(list(losses.columns), LogSigma(), dtype=torch.float64)
    peak = budget / float(rates_of(name, len(losses)).sum())
    optimizer = torch.optim.AdamW(weigh.parameters(), lr=peak, weight_decay=decay)
    scheduler = scheduler_of(name, optimizer, len(losses))
    path = []
    for row in torch.tensor(losses.to_numpy()):
        path.append(weigh.thetas().detach().clone())
        optimizer.zero_grad()
        weigh(row, ~row.isnan()).backward()
        optimizer.step()
        scheduler.step()
    return pd.DataFrame(torch.stack(path).numpy(), index=losses.index, columns=losses.columns)


def phase_shares(table: pd.DataFrame) -> pd.DataFrame:
    """Share of sigma's path, sum of |steps of log sigma|, per phase; one row per schedule, budget, phase and seed.

    Mean over tasks; ``predicted`` is the phase's share of the rates' sum.
    """
    rows = []
    for (name, budget, seed), group in table.groupby(["schedule", "budget", "seed"]):
        s = group.pivot(index="step", columns="task", values="s").to_numpy()
        moved, rates = np.abs(np.diff(s, axis=0)), rates_of(str(name), len(s))
        for phase, (start, stop) in PHASES.items():
            first, last = round(start * len(s)), round(stop * len(s))
            rows.append(
                {
                    "schedule": name,
                    "budget": budget,
                    "seed": seed,
                    "phase": phase,
                    "share": float((moved[first:last].sum(axis=0) / moved.sum(axis=0)).mean()),
                    "predicted": phantom_number(rates[first:last]) / phantom_number(rates),
                }
            )
    return pd.DataFrame(rows)


def targets(table: pd.DataFrame) -> pd.DataFrame:
    """Where log sigma would settle at the end: half the log of a task's mean loss over the last 30 % of the steps.

    One row per seed and task: ``target``. Of the losses, which are equal in all replays of a seed. A task that was not
    in a batch there has none.
    """
    late = table[table["step"] >= round(PHASES[LAST][0] * (table["step"].max() + 1))]
    mean = late.groupby(["seed", "task"])["loss"].mean()
    return (0.5 * np.log(mean)).rename("target").dropna().reset_index()


def distances(table: pd.DataFrame) -> pd.DataFrame:
    """How far log sigma stands from `targets` over the last tenth of the steps.

    One row per schedule, budget and seed: ``distance``, root mean square over steps and tasks, and the two parts of its
    square: ``lag``, of the mean over the steps, and ``jitter``, about that mean.
    """
    late = table[table["step"] >= round(0.9 * (table["step"].max() + 1))].merge(targets(table), on=["seed", "task"])
    cells = late.assign(off=late["s"] - late["target"]).groupby(["schedule", "budget", "seed", "task"])["off"]
    parts = pd.DataFrame({"lag": cells.mean() ** 2, "jitter": cells.var(ddof=0)})
    squares = parts.groupby(["schedule", "budget", "seed"]).mean()
    return (squares.assign(distance=squares.sum(axis=1)) ** 0.5).reset_index()


def measure_refinement(table: pd.DataFrame, budget: float, predicted: float | None = None) -> Measurement:
    """S2 and S2b: distance from the fixed point at the end, OneCycleLR over a constant rate of the same sum.

    Args:
        table: `distances`.
        budget: that sum.
        predicted: ratio; 1 for a parameter that is under way in both.
    """
    rows = table[table["budget"] == budget]
    wide = rows.pivot(index="seed", columns="schedule", values="distance")
    means = rows.groupby("schedule")[["distance", "lag", "jitter"]].mean()
    return Measurement.of(
        ratio_interval(wide["onecycle"], wide["constant"]),
        "distance of log sigma from its fixed point at the end, OneCycleLR / constant rate",
        predicted=predicted,
        limits={f"{part}, {name}": float(mean) for part in means for name, mean in means[part].items()},
        logarithmic=True,
    )


def measure_last_share(table: pd.DataFrame) -> Measurement:
    """S2a: share of sigma's movement in the last 30 % under OneCycleLR, at AURA's budget."""
    chosen = (table["schedule"] == "onecycle") & (table["phase"] == LAST)
    rows = table[chosen & (table["budget"] == table["budget"].min())]
    return Measurement.of(
        mean_interval(rows["share"]),
        "share of log sigma's path in the last 30 % of the steps",
        predicted=float(rows["predicted"].iloc[0]),
    )
