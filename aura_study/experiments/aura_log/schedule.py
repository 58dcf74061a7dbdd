"""Which learning-rate schedule AURA's V10.2 run had, asked of its log (claims S1a and S1b)."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from aura_study.claims import Measurement
from aura_study.claims.statistics.intervals import median_of_draws
from aura_study.data.sources import training_log
from aura_study.experiments.aura_log.counterfactual import InferredLoss, infer_loss
from aura_study.experiments.aura_log.log import DRAWS, KNOWN, free_assumptions
from aura_study.experiments.aura_log.parameters import AuraLogParameters
from aura_study.experiments.aura_log.run import V10_2, epoch_weights
from aura_study.theory.driven import Shape, loss_curve
from aura_study.theory.forms import AURA_SOFTPLUS

Array = NDArray[np.float64]

LINEAR, ONE_CYCLE = "linear warm-up", "OneCycleLR"
EARLY, MIDWAY = "OneCycleLR, peak at 10 %", "OneCycleLR, peak at 50 %"
SCHEDULES = {
    LINEAR: V10_2,
    ONE_CYCLE: replace(V10_2, one_cycle_peak=0.3),
    MIDWAY: replace(V10_2, one_cycle_peak=0.5),
    EARLY: replace(V10_2, one_cycle_peak=0.1),
}
"""That of the run's public code; PyTorch's OneCycleLR as it comes; with its peak where the guide puts it; and where the
versions of AURA's that call it put it. All with the same peak rate."""
REPORTING = KNOWN.index("reporting")
TOLD_APART = "distance of the two predictions over the closer one's miss, least over all assumptions"


def shares(weights: Array) -> Array:
    """How much of the way that a weight goes in the run falls into each epoch, ``(..., epochs)``.

    Changes of the logarithm, from the start on, over their sum. How fast a parameter moves, on which the unknown noise
    of the losses has a say, divides out; when it moves is left.
    """
    start = np.broadcast_to(AURA_SOFTPLUS.weight(np.asarray(AURA_SOFTPLUS.initial_theta)), (*weights.shape[:-1], 1))
    changes = np.diff(np.log(np.concatenate([start, weights], axis=-1)), axis=-1)
    return np.asarray(changes / changes.sum(-1, keepdims=True))


def logged_shares(log: pd.DataFrame) -> Array:
    """`shares` of the printed weights of the tasks whose loss is printed too, ``(tasks, epochs)``."""
    return np.stack([shares(log[f"weight_{task}"].to_numpy()) for task in KNOWN])


def predicted_weights(
    p: AuraLogParameters, name: str, log: pd.DataFrame, draws: int, noise: float, shape: Shape = "steps"
) -> Array:
    """What masked dynamics under the schedule of that name make of the losses, ``(draws, tasks, epochs)``."""
    run, found = SCHEDULES[name], []
    for task in KNOWN:
        curve = loss_curve(log[f"{task}_loss"].to_numpy(), run.steps_per_epoch, shape)
        found.append(epoch_weights(run, task, curve, "masked", noise=noise, draws=draws, seed=p.seed))
    return np.stack(found, axis=1)


def epoch_shares(p: AuraLogParameters) -> pd.DataFrame:
    """Shares of the way by schedule, task and epoch: ``logged``, ``mean``, ``low`` and ``high`` (95 % of the draws)."""
    log = training_log()
    logged, rows = logged_shares(log), []
    for name in SCHEDULES:
        paths = shares(predicted_weights(p, name, log, p.draws, p.noise))
        low, high = np.percentile(paths, [2.5, 97.5], axis=0)
        for at, task in enumerate(KNOWN):
            columns = {"logged": logged[at], "mean": paths[:, at].mean(0), "low": low[at], "high": high[at]}
            rows.append(pd.DataFrame({"schedule": name, "task": task, "epoch": log["epoch"], **columns}))
    return pd.concat(rows, ignore_index=True)


def place(logged: Array, zero: Array, one: Array) -> Array:
    """Where the log stands on the way from one prediction (0) to the other (1): its projection, ``(...)``.

    Over the last two axes, tasks and epochs.
    """
    way = one - zero
    return np.asarray(((logged - zero) * way).sum((-2, -1)) / (way**2).sum((-2, -1)))


def distance(first: Array, second: Array) -> float:
    """Sum over the epochs of what two predictions differ by, mean over the tasks: from 0, if equal, up to 2."""
    return float(np.abs(first - second).sum(-1).mean())


def told_apart(p: AuraLogParameters, log: pd.DataFrame) -> pd.DataFrame:
    """Under every assumption on the losses, each OneCycleLR against the linear warm-up, and the log against both.

    Columns: ``schedule``; ``noise`` and ``shape`` of the loss; ``linear_miss`` and ``miss``, the `distance` of the log
    from the two predictions; ``apart``, that between them, and ``quotient``, it over the smaller miss; ``place`` of the
    log between them; ``linear_deviation`` and ``deviation``, the largest of a reporting weight itself.
    """
    logged, rows = logged_shares(log), []
    draws, printed = max(p.draws // 4, 2), log["weight_reporting"].to_numpy()
    for noise, shape in dict.fromkeys((noise, shape) for noise, shape, _ in free_assumptions()):
        weights = {name: predicted_weights(p, name, log, draws, noise, shape) for name in SCHEDULES}
        paths = {name: shares(each).mean(0) for name, each in weights.items()}
        off = {name: float(np.abs(each[:, REPORTING].mean(0) / printed - 1).max()) for name, each in weights.items()}
        for name, path in paths.items():
            if name != LINEAR:
                misses = [distance(logged, paths[LINEAR]), distance(logged, path)]
                apart = distance(paths[LINEAR], path)
                rows.append(
                    {
                        "schedule": name,
                        "noise": noise,
                        "shape": shape,
                        "linear_miss": misses[0],
                        "miss": misses[1],
                        "apart": apart,
                        "quotient": apart / min(misses),
                        "place": float(place(logged, paths[LINEAR], path)),
                        "linear_deviation": off[LINEAR],
                        "deviation": off[name],
                    }
                )
    return pd.DataFrame(rows)


def measure_schedule(p: AuraLogParameters, log: pd.DataFrame, table: pd.DataFrame) -> Measurement:
    """S1a: where the log stands between the linear warm-up's prediction (0) and that of PyTorch's OneCycleLR (1).

    Args:
        p: parameters.
        log: AURA's, or one that was made up to see whether the measure finds out what made it.
        table: `told_apart` of that log, for the gate.
    """
    paths = {name: shares(predicted_weights(p, name, log, p.draws, p.noise)) for name in (LINEAR, ONE_CYCLE)}
    rows = {str(name): part for name, part in table.groupby("schedule")}
    return Measurement.of(
        median_of_draws(place(logged_shares(log), paths[LINEAR], paths[ONE_CYCLE])),
        f"place of the log between linear warm-up, 0, and OneCycleLR, 1; {DRAWS}",
        limits={TOLD_APART: float(rows[ONE_CYCLE]["quotient"].min()), **_extremes(rows)},
    )


def refit(p: AuraLogParameters, fits: Sequence[InferredLoss]) -> pd.DataFrame:
    """How well sentiment's printed weights can be fitted under the early OneCycleLR, against the linear warm-up.

    One row per assumed noise: worst misfit of a weight, ``linear`` as among ``fits`` of `infer_losses`, and ``early``.
    """
    linear = {fit.noise: fit.worst_residual for fit in fits if fit.task == "sentiment"}
    early = [infer_loss(p, "sentiment", noise, SCHEDULES[EARLY]).worst_residual for noise in linear]
    return pd.DataFrame({"noise": list(linear), "linear": list(linear.values()), "early": early})


def measure_refit(table: pd.DataFrame) -> Measurement:
    """S1b: worst misfit under the early OneCycleLR over that under the linear warm-up, over the assumed noises."""
    return Measurement.over(
        table["early"] / table["linear"],
        "worst misfit of a sentiment weight, OneCycleLR with its peak at 10 % / linear warm-up; range over the noises",
    )


def _extremes(rows: Mapping[str, pd.DataFrame]) -> dict[str, float]:
    limits = {}
    for name, part in rows.items():
        limits[f"{name}: least place over all assumptions"] = float(part["place"].min())
        limits[f"{name}: greatest place over all assumptions"] = float(part["place"].max())
        limits[f"{name}: least distance over the closer one's miss"] = float(part["quotient"].min())
        limits[f"{name}: least of the largest deviations of a reporting weight"] = float(part["deviation"].min())
    return limits
