"""AURA's logs and simulated ones, read as a stranger's by ``aura-study diagnose`` (claims P10a, P11d and P11e)."""

from collections.abc import Sequence
from importlib import resources

import numpy as np
import pandas as pd

from aura_study.claims import Measurement
from aura_study.claims.statistics.intervals import share_interval
from aura_study.data.sources import training_log
from aura_study.diagnosis import Diagnosis, Known, Verdict, diagnose, diagnose_file, understand
from aura_study.dynamics import grid, micro_batches
from aura_study.experiments.aura_log.log import NOISES
from aura_study.experiments.aura_log.parameters import AuraLogParameters
from aura_study.experiments.aura_log.run import RUNS, V10_2, AuraRun, epoch_weights
from aura_study.theory.driven import loss_curve

POLICIES = ("masked", "unmasked")
TOLD = {"masked": Verdict.MASKED, "unmasked": Verdict.PHANTOM}
DECAYS = {"emotion": (0.42, 0.31), "sentiment": (0.19, 0.01)}
"""First and last loss of the tasks whose loss AURA's log does not print, about as its weights imply them."""
SPREAD = 0.5
"""Standard deviation of the logarithm of the factor by which a simulated task's losses differ from AURA's."""


def real_logs() -> dict[str, Diagnosis]:
    """V10.2's log, told rows, batch and steps, and V11.5's, told nothing."""
    folder = resources.files("aura_study.data")
    with resources.as_file(folder / "v10_2_training_log.csv") as path:
        masked = diagnose_file(path, steps_per_epoch=V10_2.steps_per_epoch, known=told(V10_2))
    with resources.as_file(folder / "aura_v11.5_history.json") as path:
        return {"V10.2": masked, "V11.5": diagnose_file(path)}


def told(run: AuraRun) -> Known:
    """What AURA's notes say of a run, beside its log: how often each task is there, and four batches a step."""
    presence = {task: run.presence(task) for task in run.sizes}
    return Known(presence=presence, accumulation=run.accumulation, weight_decay=run.weight_decay)


def real_table(found: dict[str, Diagnosis]) -> pd.DataFrame:
    """One row a log: log, verdict, expected, margin, reason."""
    expected = {"V10.2": Verdict.MASKED, "V11.5": Verdict.SOLVED}
    return pd.DataFrame(
        {
            "log": version,
            "verdict": str(one.verdict),
            "expected": str(expected[version]),
            "margin": one.margin,
            "reason": one.reason,
        }
        for version, one in found.items()
    )


def simulated_log(run: AuraRun, policy: str, noise: float, factors: Sequence[float], seed: int) -> pd.DataFrame:
    """A log as V10.2's notebook would have printed it: epoch means of two losses, four weights, and the rate."""
    printed = training_log()
    epochs, steps = run.epochs, run.steps_per_epoch
    table = pd.DataFrame({"epoch": np.arange(1, epochs + 1)})
    for place, (task, factor) in enumerate(zip(run.sizes, factors, strict=True)):
        if task in DECAYS:
            first, last = DECAYS[task]
            means = last + (first - last) * np.exp(-np.arange(epochs))
        else:
            means = printed[f"{task}_loss"].to_numpy()
            means = np.append(means, [means[-1]] * epochs)[:epochs]
        curve = loss_curve(factor * means, steps, "smooth")
        own = 4 * seed + place
        table[f"weight_{task}"] = epoch_weights(run, task, curve, policy, noise=noise, draws=1, seed=own)[0].round(3)
        if task not in DECAYS:
            table[f"{task}_loss"] = _printed_means(run, task, curve, noise, own).round(4)
    return table.assign(lr=run.rates(epochs).reshape(epochs, -1)[:, -1])


def _printed_means(run: AuraRun, task: str, curve: np.ndarray, noise: float, seed: int) -> np.ndarray:
    """Epoch means of the very losses that `epoch_weights` draws, over the batches that hold the task."""
    share = run.sizes[task] / run.samples
    cells = grid(presence=share, noise=noise, batch=run.batch, accumulation=run.accumulation)
    present, losses = micro_batches(cells, curve.size, loss_profile=curve, seed=seed)
    by_epoch = (run.epochs, -1)
    counts = np.maximum(present[0].reshape(by_epoch).sum(1), 1)
    return np.asarray((losses[0] * present[0]).reshape(by_epoch).sum(1) / counts)


def readings(p: AuraLogParameters) -> pd.DataFrame:
    """Simulated logs, masked and unmasked by turns, each read with its learning rates and without.

    One row per log and reading: ``log``, ``policy``, ``data``, ``noise``; ``rates``, whether they were told;
    ``verdict``, ``right``, ``open``, ``margin``.
    """
    draw = np.random.default_rng([p.seed, 11])
    rows = []
    for number in range(p.logs):
        policy = POLICIES[number % 2]
        data, run = list(RUNS.items())[draw.integers(len(RUNS))]
        noise = NOISES[draw.integers(len(NOISES))]
        log = simulated_log(
            run, policy, noise, np.exp(SPREAD * draw.normal(size=4)).tolist(), int(draw.integers(2**31))
        )
        for rates in (True, False):
            table = log if rates else log.drop(columns="lr")
            found = diagnose(understand(table, steps_per_epoch=run.steps_per_epoch), told(run))
            rows.append(
                {
                    "log": number,
                    "policy": policy,
                    "data": data,
                    "noise": noise,
                    "rates": rates,
                    "verdict": str(found.verdict),
                    "right": found.verdict == TOLD[policy],
                    "open": found.verdict == Verdict.OPEN,
                    "margin": found.margin,
                }
            )
    return pd.DataFrame(rows)


def measure_real(table: pd.DataFrame) -> Measurement:
    """P10a: the share of AURA's logs read as expected."""
    right = int((table["verdict"] == table["expected"]).sum())
    return Measurement.of(share_interval(right, len(table)), "share of AURA's two logs read as they were made")


def measure_told(table: pd.DataFrame) -> Measurement:
    """P11d: wrong or open, with the rates."""
    rows = table[table["rates"]]
    return Measurement.of(share_interval(int((~rows["right"]).sum()), len(rows)), "share of logs wrong or left open")


def measure_untold(table: pd.DataFrame) -> Measurement:
    """P11e: wrong, without the rates."""
    rows = table[~table["rates"]]
    wrong = int((~rows["right"] & ~rows["open"]).sum())
    limits = {"share left open": float(rows["open"].mean())}
    return Measurement.of(share_interval(wrong, len(rows)), "share of logs read wrongly", limits=limits)
