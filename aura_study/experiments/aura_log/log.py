"""AURA's own V10.2 run predicted from its log, without training (claim P10)."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from aura_study.claims import Measurement
from aura_study.claims.notebooks.aura_log import TOLERANCE
from aura_study.claims.statistics.intervals import median_of_draws
from aura_study.data.sources import training_log
from aura_study.experiments.aura_log.parameters import AuraLogParameters
from aura_study.experiments.aura_log.run import V10_2, Order, epoch_weights
from aura_study.theory.driven import Shape, loss_curve

KNOWN = ("toxicity", "reporting")
"""Tasks whose epoch-mean loss the log gives."""
NOISES = (0.0, 0.5, 1.0, 2.0)
"""Coefficients of variation of one sample's loss that are tried; 1 is that of an exponential distribution."""
DRAWS = "middle 95 % of draws of which batch held which task"
"""What the seeds and the interval of a measurement on the log are: it is one run, and no seed repeats it."""
COMPARED = ("masked", "unmasked", "frozen")
"""Policies whose weights are predicted; the log's own run was masked."""


def predictions(p: AuraLogParameters) -> pd.DataFrame:
    """Weights that each policy predicts from the logged losses, next to the logged ones; one row per epoch.

    Columns: ``task``, ``policy``, ``epoch``, ``logged``, ``predicted`` (mean over the draws), ``low`` and ``high``
    (95 % of the draws) and ``deviation``, predicted over logged less 1.
    """
    log = training_log()
    rows = []
    for task in KNOWN:
        curve = loss_curve(log[f"{task}_loss"].to_numpy(), V10_2.steps_per_epoch)
        logged = log[f"weight_{task}"].to_numpy()
        for policy in COMPARED:
            weights = epoch_weights(V10_2, task, curve, policy, noise=p.noise, draws=p.draws, seed=p.seed)
            low, high = np.percentile(weights, [2.5, 97.5], axis=0)
            mean = weights.mean(0)
            rows.append(
                pd.DataFrame(
                    {
                        "task": task,
                        "policy": policy,
                        "epoch": log["epoch"],
                        "logged": logged,
                        "predicted": mean,
                        "low": low,
                        "high": high,
                        "deviation": mean / logged - 1,
                    }
                )
            )
    return pd.concat(rows, ignore_index=True)


def assumptions(p: AuraLogParameters) -> pd.DataFrame:
    """Largest deviation from the logged weights over the 14 epochs, under every combination of the free assumptions.

    Columns: ``task``; ``noise`` of the loss, ``shape`` of the loss within an epoch, ``order`` of optimiser and
    scheduler; ``masked``, ``unmasked`` and ``frozen`` misses of the mean path; ``quotient``, unmasked over masked.
    """
    log = training_log()
    rows: list[dict[str, object]] = []
    for task in KNOWN:
        logged = log[f"weight_{task}"].to_numpy()
        for noise, shape, order in free_assumptions():
            curve = loss_curve(log[f"{task}_loss"].to_numpy(), V10_2.steps_per_epoch, shape)
            miss = {}
            for policy in COMPARED:
                weights = epoch_weights(
                    V10_2, task, curve, policy, noise=noise, draws=max(p.draws // 4, 2), seed=p.seed, order=order
                )
                miss[policy] = float(np.abs(weights.mean(0) / logged - 1).max())
            rows.append({"task": task, "noise": noise, "shape": shape, "order": order, **miss})
    table = pd.DataFrame(rows)
    return table.assign(quotient=table["unmasked"] / table["masked"])


def free_assumptions() -> Iterator[tuple[float, Shape, Order]]:
    """What the log leaves open: a loss's noise, its course within an epoch, the order of optimiser and scheduler."""
    shapes: tuple[Shape, ...] = ("steps", "smooth")
    for noise in NOISES:
        for shape in shapes:
            yield noise, shape, "after"
    yield 1.0, "steps", "before"


def by_noise(table: pd.DataFrame) -> pd.DataFrame:
    """Of `assumptions`: greatest miss of each policy and least quotient, by task and noise, and whether masked keeps
    the tolerance.
    """
    groups = table.groupby(["task", "noise"])
    worst = groups[list(COMPARED)].max().assign(quotient=groups["quotient"].min())
    return worst.assign(masked_within=worst["masked"] <= TOLERANCE).reset_index()


def measure(p: AuraLogParameters, table: pd.DataFrame) -> Measurement:
    """P10: largest deviation of masked dynamics from the logged reporting weights, over draws of the batches.

    Args:
        p: parameters.
        table: `assumptions`, for gate and limit.
    """
    log = training_log()
    curve = loss_curve(log["reporting_loss"].to_numpy(), V10_2.steps_per_epoch)
    weights = epoch_weights(V10_2, "reporting", curve, "masked", noise=p.noise, draws=p.draws, seed=p.seed)
    misses = np.abs(weights / log["weight_reporting"].to_numpy() - 1).max(1)
    reporting = table[table["task"] == "reporting"]
    worst = reporting.groupby("noise")["masked"].max()
    enough = [noise for noise in worst.index if (worst[noise:] <= TOLERANCE).all()]
    return Measurement.of(
        median_of_draws(misses),
        f"largest relative deviation of the reporting weight over the epochs of the one log; {DRAWS}",
        limits={
            "unmasked miss over masked miss, least over all assumptions": float(reporting["quotient"].min()),
            "unmasked miss, least over all assumptions": float(reporting["unmasked"].min()),
            "masked miss, greatest over all assumptions": float(reporting["masked"].max()),
            "2 % over the masked miss, least over all assumptions": float(TOLERANCE / reporting["masked"].max()),
            "masked miss, greatest without noise": float(worst[0.0]),
            "least noise tried that is enough": min(enough, default=float("nan")),
        },
    )
