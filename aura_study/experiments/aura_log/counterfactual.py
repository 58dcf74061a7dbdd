"""What AURA's log implies and does not say: the unknown losses, the total, and V10.1's run (claim P11)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import least_squares

from aura_study.claims import Measurement
from aura_study.claims.statistics.intervals import median_of_draws, spread
from aura_study.data.sources import training_log
from aura_study.experiments.aura_log.log import KNOWN, NOISES
from aura_study.experiments.aura_log.parameters import AuraLogParameters
from aura_study.experiments.aura_log.run import RUNS, V10_2, epoch_weights, loss_curve
from aura_study.theory.forms import AURA_SOFTPLUS, FORMS
from aura_study.theory.schedules import phantom_number

Array = NDArray[np.float64]
UNKNOWN = ("emotion", "sentiment")
"""Tasks whose loss the log does not give."""
COUNTERFACTUAL_FORMS = ("aura_softplus", "log_sigma")
"""AURA's code, and the guide's formula on its stable parameter."""


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
    return [_infer(p, task, noise) for task in UNKNOWN for noise in NOISES]


def _infer(p: AuraLogParameters, task: str, noise: float) -> InferredLoss:
    log = training_log()
    logged = log[f"weight_{task}"].to_numpy()
    epochs, steps = len(log), V10_2.steps_per_epoch

    def curve(x: Array) -> Array:
        start, end, decay = np.exp(x)
        return InferredLoss(task, noise, start, end, decay, np.nan).curve(epochs, steps)

    def residuals(x: Array) -> Array:
        weights = epoch_weights(V10_2, task, curve(x), "masked", noise=noise, draws=p.fit_draws, seed=p.seed)
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
    """Every task's weight after the run under either loss, for three data sets and two forms; one row per draw.

    The losses are those of the V10.2 run, epoch by epoch, its last one held to the end of the planned epochs; inferred
    losses are those of the parameters' noise, or of the nearest noise tried. Columns: ``data``,
    ``parameterization``, ``task``, ``draw``; final weights ``masked`` and ``unmasked``, their quotient ``growth``; the
    ``phantom_number`` of the whole run, of which a task feels at most the absent part, and ``bound``, exp(2 Lambda).
    """
    nearest = min(NOISES, key=lambda noise: abs(noise - p.noise))
    losses = losses_by_task(fits, nearest)
    rows = []
    for data, run in RUNS.items():
        total = phantom_number(run.rates(run.epochs))
        for form in COUNTERFACTUAL_FORMS:
            for task in V10_2.sizes:
                means = np.append(losses[task], [losses[task][-1]] * (run.epochs - losses[task].size))
                curve = loss_curve(means, run.steps_per_epoch)
                final = {
                    policy: epoch_weights(
                        run, task, curve, policy, noise=p.noise, draws=p.draws, seed=p.seed, form=form
                    )[:, -1]
                    for policy in ("masked", "unmasked")
                }
                rows.append(
                    pd.DataFrame(
                        {
                            "data": data,
                            "parameterization": FORMS[form].name,
                            "task": task,
                            "draw": np.arange(p.draws),
                            **final,
                            "growth": final["unmasked"] / final["masked"],
                            "phantom_number": total,
                            "bound": np.exp(2 * total),
                        }
                    )
                )
    return pd.concat(rows, ignore_index=True)


def counterfactual_summary(runs: pd.DataFrame) -> pd.DataFrame:
    """Means over the draws, with the range of the growth."""
    keys = ["data", "parameterization", "task"]
    table = runs.groupby(keys, sort=False)[["masked", "unmasked", "growth", "phantom_number", "bound"]].mean()
    growth = runs.groupby(keys, sort=False)["growth"]
    return table.assign(growth_low=growth.quantile(0.025), growth_high=growth.quantile(0.975)).reset_index()


def measure_counterfactual(runs: pd.DataFrame) -> Measurement:
    """P11: the largest growth of a precision that V10.1's loss brings over V10.2's, over tasks, data sets and forms."""
    return Measurement.of(
        median_of_draws(runs.groupby("draw")["growth"].max()),
        "largest unmasked / masked precision at the end of the run (predicted: upper bound)",
        predicted=float(runs["bound"].max()),
        limits={"largest phantom number": float(runs["phantom_number"].max())},
    )
