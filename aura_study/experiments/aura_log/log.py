"""AURA's own V10.2 run predicted from its log, without training (claim P10)."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from aura_study.claims import Measurement
from aura_study.claims.statistics.intervals import median_of_draws
from aura_study.data.sources import training_log
from aura_study.experiments.aura_log.parameters import AuraLogParameters
from aura_study.experiments.aura_log.run import V10_2, Order, Shape, epoch_weights, loss_curve

KNOWN = ("toxicity", "reporting")
"""Tasks whose epoch-mean loss the log gives."""
NOISES = (0.0, 0.5, 1.0, 2.0)
"""Coefficients of variation of one sample's loss that are tried; 1 is that of an exponential distribution."""
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
        for noise, shape, order in _free():
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


def _free() -> Iterator[tuple[float, Shape, Order]]:
    shapes: tuple[Shape, ...] = ("steps", "smooth")
    for noise in NOISES:
        for shape in shapes:
            yield noise, shape, "after"
    yield 1.0, "steps", "before"


def measure(p: AuraLogParameters, table: pd.DataFrame) -> Measurement:
    """P10: largest deviation of masked dynamics from the logged reporting weights, over draws of the batches.

    Args:
        p: parameters.
        table: `assumptions`, for the limit.
    """
    log = training_log()
    curve = loss_curve(log["reporting_loss"].to_numpy(), V10_2.steps_per_epoch)
    weights = epoch_weights(V10_2, "reporting", curve, "masked", noise=p.noise, draws=p.draws, seed=p.seed)
    misses = np.abs(weights / log["weight_reporting"].to_numpy() - 1).max(1)
    reporting = table[table["task"] == "reporting"]
    return Measurement.of(
        median_of_draws(misses),
        "largest relative deviation of the reporting weight over the epochs",
        limits={
            "unmasked miss over masked miss, least over all assumptions": float(reporting["quotient"].min()),
            "masked miss, greatest over all assumptions": float(reporting["masked"].max()),
            "unmasked miss, least over all assumptions": float(reporting["unmasked"].min()),
        },
    )
