"""What AURA's log implies and does not say: unknown losses, the total, and V10.1's run (claims P11 to P11c)."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import least_squares

from aura_study.claims import Measurement
from aura_study.claims.statistics.intervals import median_of_draws, spread
from aura_study.data.sources import training_log
from aura_study.experiments.aura_log.log import DRAWS, KNOWN, NOISES
from aura_study.experiments.aura_log.parameters import AuraLogParameters
from aura_study.experiments.aura_log.run import RUNS, V10_2, AuraRun, epoch_weights
from aura_study.theory.driven import loss_curve
from aura_study.theory.forms import AURA_SOFTPLUS, FORMS
from aura_study.theory.schedules import phantom_number

Array = NDArray[np.float64]
UNKNOWN = ("emotion", "sentiment")
"""Tasks whose loss the log does not give."""
STEEPEST = {"aura_softplus": 1.0, "log_sigma": 2.0}
"""Greatest -d log weight / d theta of AURA's code, and of the guide's formula on its stable parameter: which power of
exp(Lambda) a fall of theta by Lambda makes of a weight at most."""
CONSTANT_LOSSES = (1e-4, 0.01, 0.1, 0.5, 1.5)
"""Losses that V10.1 may have had; between the least and the greatest that V10.2 printed."""


@dataclass(frozen=True)
class InferredLoss:
    """A task's loss curve :math:`L(t) = L_1 + (L_0 - L_1) e^{-t/\\tau}` (t in epochs) that its logged weights imply."""

    task: str
    noise: float
    start: float
    end: float
    decay_epochs: float
    worst_residual: float

    def epoch_means(self, epochs: int) -> Array:
        """Mean loss of every epoch."""
        edges = np.exp(-np.arange(epochs + 1) / self.decay_epochs)
        return self.end + (self.start - self.end) * self.decay_epochs * (edges[:-1] - edges[1:])

    def curve(self, epochs: int, steps: int) -> Array:
        """Loss at every step."""
        at = (np.arange(epochs * steps) + 0.5) / steps
        return self.end + (self.start - self.end) * np.exp(-at / self.decay_epochs)


def infer_losses(p: AuraLogParameters) -> list[InferredLoss]:
    """The losses of emotion and sentiment, which the log does not give, from their 14 weights under masked dynamics.

    Least squares over the three numbers of `InferredLoss`, once for every assumed noise: the weights alone cannot tell
    a small steady loss from a larger noisy one, and the spread over the noises is the interval.
    """
    return [infer_loss(p, task, noise, V10_2) for task in UNKNOWN for noise in NOISES]


def infer_loss(p: AuraLogParameters, task: str, noise: float, run: AuraRun) -> InferredLoss:
    """The loss curve whose weights come nearest to the printed ones, had they come out of ``run``."""
    log = training_log()
    logged = log[f"weight_{task}"].to_numpy()
    epochs, steps = len(log), run.steps_per_epoch

    def curve(x: Array) -> Array:
        start, end, decay = np.exp(x)
        return InferredLoss(task, noise, start, end, decay, np.nan).curve(epochs, steps)

    def residuals(x: Array) -> Array:
        weights = epoch_weights(run, task, curve(x), "masked", noise=noise, draws=p.fit_draws, seed=p.seed)
        return weights.mean(0) / logged - 1

    fit = least_squares(
        residuals,
        np.log([0.4, 0.1, 1.0]),
        bounds=(np.log([1e-3, 1e-3, 0.05]), np.log([3.0, 3.0, 50.0])),
        diff_step=1e-2,
        x_scale=[1.0, 1.0, 1.0],
        max_nfev=25,
    )
    start, end, decay = (float(value) for value in np.exp(fit.x))
    return InferredLoss(task, noise, start, end, decay, float(np.abs(fit.fun).max()))


def inferred_table(fits: Sequence[InferredLoss]) -> pd.DataFrame:
    """One row per fit: mean loss of the run and of its first and last epoch, and the worst misfit of a weight."""
    epochs = len(training_log())
    return pd.DataFrame(
        {
            "task": fit.task,
            "noise": fit.noise,
            "mean_loss": (means := fit.epoch_means(epochs)).mean(),
            "first_epoch": means[0],
            "last_epoch": means[-1],
            "worst_misfit": fit.worst_residual,
        }
        for fit in fits
    )


def losses_by_task(fits: Sequence[InferredLoss], noise: float) -> dict[str, Array]:
    """Epoch-mean losses of all four tasks: logged, or inferred at the assumed ``noise``."""
    log = training_log()
    known = {task: log[f"{task}_loss"].to_numpy() for task in KNOWN}
    return known | {fit.task: fit.epoch_means(len(log)) for fit in fits if fit.noise == noise}


def total_check(fits: Sequence[InferredLoss]) -> pd.DataFrame:
    """The logged total loss, which nothing so far has used, against its parts under either loss.

    Total of an epoch = sum over tasks of p weight L + p softplus/2 (masked) or softplus/2 (unmasked), p being the
    probability that a micro-batch holds the task, with the weight in the middle of the epoch. One row per epoch and
    noise: ``epoch``, ``noise``, ``logged``, ``masked``, ``unmasked``.
    """
    log = training_log()
    frames = []
    for noise in NOISES:
        totals = {"masked": np.zeros(len(log)), "unmasked": np.zeros(len(log))}
        for task, losses in losses_by_task(fits, noise).items():
            ends = log[f"weight_{task}"].to_numpy()
            start = float(AURA_SOFTPLUS.weight(np.asarray(AURA_SOFTPLUS.initial_theta)))
            middle = (np.append(start, ends[:-1]) + ends) / 2
            presence = V10_2.presence(task)
            totals["masked"] += presence * (middle * losses + 0.5 / middle)
            totals["unmasked"] += presence * middle * losses + 0.5 / middle
        frames.append(pd.DataFrame({"epoch": log["epoch"], "noise": noise, "logged": log["total_loss"], **totals}))
    return pd.concat(frames, ignore_index=True)


def total_bands(check: pd.DataFrame) -> pd.DataFrame:
    """Of `total_check`: rebuilt over logged, `spread` over the noises: policy, epoch, mean, low, high."""
    ratios = check.melt(["epoch", "noise", "logged"], ["unmasked", "masked"], "policy", "rebuilt")
    return spread(ratios.assign(ratio=ratios["rebuilt"] / ratios["logged"]), ["policy", "epoch"], "ratio")


def counterfactual(p: AuraLogParameters, fits: Sequence[InferredLoss]) -> pd.DataFrame:
    """Every task's weight after the run under either loss, for all of `RUNS` and two forms; one row per draw.

    The losses are those of the V10.2 run, epoch by epoch, its last one held to the end of the planned epochs; inferred
    losses are those of the parameters' noise, or of the nearest noise tried. Columns: ``data``,
    ``parameterization``, ``task``, ``draw``; final weights ``masked`` and ``unmasked``, their quotient ``growth``; the
    weight ``asked`` for by the last epoch's loss, at the fixed point; the ``phantom_number`` of the whole run, of which
    a task feels at most the absent part, and ``bound``, what it makes of a weight at most.
    """
    nearest = min(NOISES, key=lambda noise: abs(noise - p.noise))
    losses = losses_by_task(fits, nearest)
    rows = []
    for data, run in RUNS.items():
        for form in STEEPEST:
            for task in V10_2.sizes:
                means = np.append(losses[task], [losses[task][-1]] * run.epochs)[: run.epochs]
                final = {policy: weights[:, -1] for policy, weights in _twins(p, run, task, means, form).items()}
                rows.append(
                    pd.DataFrame(
                        {
                            "data": data,
                            "parameterization": form,
                            "task": task,
                            "draw": np.arange(p.draws),
                            **final,
                            "growth": final["unmasked"] / final["masked"],
                            "asked": float(FORMS[form].weight(FORMS[form].settles(means[-1]))),
                            "phantom_number": phantom_number(run.rates(run.epochs)),
                            "bound": _bound(run, form),
                        }
                    )
                )
    return pd.concat(rows, ignore_index=True)


def _twins(
    p: AuraLogParameters, run: AuraRun, task: str, means: Array, form: str, noise: float | None = None
) -> dict[str, Array]:
    """Weights after every epoch, ``(draws, epochs)``, of twins, masked and unmasked, on the same batches and losses."""
    curve, noise = loss_curve(means, run.steps_per_epoch), p.noise if noise is None else noise
    return {
        policy: epoch_weights(run, task, curve, policy, noise=noise, draws=p.draws, seed=p.seed, form=form)
        for policy in ("masked", "unmasked")
    }


def _bound(run: AuraRun, form: str) -> float:
    return float(np.exp(STEEPEST[form] * phantom_number(run.rates(run.epochs))))


def counterfactual_summary(runs: pd.DataFrame) -> pd.DataFrame:
    """Means over the draws, with the range of the growth."""
    keys = ["data", "parameterization", "task"]
    columns = ["masked", "unmasked", "asked", "growth", "phantom_number", "bound"]
    growth = runs.groupby(keys, sort=False)["growth"]
    table = runs.groupby(keys, sort=False)[columns].mean()
    return table.assign(growth_low=growth.quantile(0.025), growth_high=growth.quantile(0.975)).reset_index()


def measure_counterfactual(runs: pd.DataFrame, form: str) -> Measurement:
    """P11 and P11a: the largest growth of a weight that V10.1's loss brings over V10.2's, over tasks and data sets."""
    rows = runs[runs["parameterization"] == form]
    return Measurement.of(
        median_of_draws(rows.groupby("draw")["growth"].max()),
        f"largest unmasked / masked weight at the end of the run (predicted: upper bound); {DRAWS}",
        predicted=float(rows["bound"].max()),
        limits={f"largest with {data}": float(part["growth"].max()) for data, part in rows.groupby("data", sort=False)},
    )


def whatever_the_losses(p: AuraLogParameters) -> pd.DataFrame:
    """The largest unmasked over masked weight of reporting in the course of V10.1's run, for losses it may have had.

    The losses of V10.1 are not known: one that stays constant at each of `CONSTANT_LOSSES`, and the one that V10.2
    printed, each without noise and with the parameters'. Reporting is the task that is absent most. One row per run of
    V10.1, form, loss, noise and draw: ``growth``, the largest after any epoch; its ``bound``; and ``wide_bound``, which
    grants that the masked twin may move too, see `_wide`.
    """
    few = p.model_copy(update={"draws": max(p.draws // 8, 8)})
    printed = training_log()["reporting_loss"].to_numpy()
    rows = []
    for (data, run), form in product(RUNS.items(), STEEPEST):
        if run is V10_2:
            continue
        courses = {f"{loss:g}": np.full(run.epochs, loss) for loss in CONSTANT_LOSSES}
        courses["as printed"] = np.append(printed, [printed[-1]] * run.epochs)[: run.epochs]
        for (course, means), noise in product(courses.items(), sorted({0.0, p.noise})):
            twins = _twins(few, run, "reporting", means, form, noise)
            cell = {
                "data": data,
                "parameterization": form,
                "loss": course,
                "noise": noise,
                "draw": np.arange(few.draws),
            }
            growth = (twins["unmasked"] / twins["masked"]).max(1)
            rows.append(
                pd.DataFrame({**cell, "growth": growth, "bound": _bound(run, form), "wide_bound": _wide(run, form)})
            )
    return pd.concat(rows, ignore_index=True)


def _wide(run: AuraRun, form: str) -> float:
    r"""exp(steepest (1 + sqrt p) Lambda): the unmasked twin falls by Lambda, the masked one rises by sqrt(p) Lambda.

    Adam's step is the gradient over the root of its mean square. For a task that is present in a share p of the steps
    that is g / (sqrt(p) g) where it is present and masked, sqrt(p) a step in the mean; its unmasked twin, whose absent
    steps have a gradient too, feels the same g against a larger mean square.
    """
    absent = (1 - run.sizes["reporting"] / run.samples) ** (run.batch * run.accumulation)
    return float(_bound(run, form) ** (1 + np.sqrt(1 - absent)))


def losses_summary(table: pd.DataFrame) -> pd.DataFrame:
    """Of `whatever_the_losses`: mean growth over the draws, and its bounds."""
    keys = ["data", "parameterization", "loss", "noise"]
    return table.groupby(keys, sort=False)[["growth", "bound", "wide_bound"]].mean().reset_index()


def measure_absurdity(table: pd.DataFrame, form: str) -> Measurement:
    """P11b and P11c: the largest weight of a task over that of its masked twin, over V10.1's runs, times and losses.

    Args:
        table: `whatever_the_losses`.
        form: AURA's code, or the guide's formula.
    """
    rows = table[table["parameterization"] == form]
    printed = rows[rows["loss"] == "as printed"]
    return Measurement.of(
        median_of_draws(rows.groupby("draw")["growth"].max()),
        f"largest unmasked / masked weight in the course of the run (predicted: upper bound); {DRAWS}",
        predicted=float(rows["bound"].max()),
        limits={
            "bound that grants the masked twin its own way": float(rows["wide_bound"].max()),
            **{
                f"largest with {data}, losses as V10.2 printed": float(part["growth"].max())
                for data, part in printed.groupby("data", sort=False)
            },
        },
    )
