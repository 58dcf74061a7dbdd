"""Wrong labels under cross-entropy and focal loss: what is memorised, what it costs, who pulls (F4)."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from aura_study.claims import Measurement
from aura_study.claims.statistics.intervals import Estimate, intervals, paired_interval
from aura_study.experiments.focal_on_toxicity.effort import bands
from aura_study.experiments.focal_on_toxicity.parameters import NOISY, FocalOnToxicityParameters
from aura_study.experiments.focal_on_toxicity.trainings import ToxicityJob
from aura_study.runs.jobs import job_metadata
from aura_study.theory.focal import share_of

COLUMNS = ("memorised", "right labels missed", "wrong labels' gradient", "macro_f1")


def memory(jobs: Sequence[ToxicityJob], paths: Sequence[Path]) -> pd.DataFrame:
    """One row per run and look, of the training comments without dropout and the clean development comments.

    Columns: noise, gamma, seed, progress, epochs; memorised (share of the flipped comments whose wrong label the model
    predicts, NaN without noise); right labels missed (share of the other comments that it gets wrong); wrong labels'
    gradient (their share of the gradient on the logits); macro_f1 (clean; NaN where it was not scored).
    """
    rows: list[dict[str, float]] = []
    for job, path in zip(jobs, paths, strict=True):
        about, looks = job_metadata(path), pd.read_parquet(path)
        scores = {score["step"]: score["macro_f1"] for score in about["dev"]}
        epochs = job.batch_size / about["comments"]["count"]
        for step in looks["step"].unique():
            look = looks[looks["step"] == step]
            learnt, flipped = look["margin"].to_numpy() > 0, look["flipped"].to_numpy()
            rows.append(
                {
                    "noise": job.noise,
                    "gamma": job.settings.gamma,
                    "seed": job.settings.seed,
                    "progress": float(look["progress"].iloc[0]),
                    "epochs": step * epochs,
                    "memorised": float(learnt[flipped].mean()) if flipped.any() else np.nan,
                    "right labels missed": float(1 - learnt[~flipped].mean()),
                    "wrong labels' gradient": share_of(look["pull"], flipped),
                    "macro_f1": scores.get(step, np.nan),
                }
            )
    return pd.DataFrame(rows)


def means(table: pd.DataFrame) -> pd.DataFrame:
    """`memory`, mean over seeds."""
    return table.groupby(["noise", "gamma", "progress"])[["epochs", *COLUMNS]].mean().reset_index()


def noise_bands(table: pd.DataFrame) -> pd.DataFrame:
    """Every measure of `memory` over seeds, mean and 95 % interval, by noise, loss and look."""
    keys = ["noise", "gamma", "seed", "progress"]
    tidy = table[[*keys, *COLUMNS]].melt(keys, var_name="measure", value_name="value").dropna()
    return bands(tidy, ["measure", "noise", "gamma", "progress"], "value")


def paired(table: pd.DataFrame, column: str, p: FocalOnToxicityParameters) -> pd.DataFrame:
    """Focal loss less cross-entropy in ``column`` for each noise and look: mean over seeds and 95 % interval."""
    by = ["noise", "progress"]
    cells = table.dropna(subset=column).pivot(index=[*by, "seed"], columns="gamma", values=column)
    gains = (cells[p.gamma] - cells[0.0]).rename("gain").reset_index()
    return intervals(gains, by, "gain", "focal - cross-entropy")


def noise_table(table: pd.DataFrame, p: FocalOnToxicityParameters) -> pd.DataFrame:
    """At the end of training: means of both losses, and their paired difference with interval, by noise."""
    frames = []
    for column in COLUMNS:
        end = table[table["progress"] == 1].dropna(subset=column)
        means = end.groupby(["noise", "gamma"])[column].mean().unstack()
        difference = paired(end, column, p).set_index("noise").drop(columns="progress")
        named = pd.DataFrame({"cross-entropy": means[0.0], "focal": means[p.gamma]}).join(difference)
        frames.append(named.reset_index().assign(measure=column))
    joined = pd.concat(frames, ignore_index=True)
    return joined[["measure", *(name for name in joined.columns if name != "measure")]]


def measure_memory(table: pd.DataFrame, p: FocalOnToxicityParameters) -> Measurement:
    """F4: share of flipped labels memorised at the end, focal less cross-entropy, mean over noise of 20 % and more."""
    end = table[table["progress"] == 1]
    lost = -_difference(end, "macro_f1", p).mean
    during = _difference(table[table["progress"] > 0], "memorised", p).mean
    limits = {"clean macro-F1 lost against cross-entropy": lost, "the same difference, mean over training": during}
    unit = "share of wrong labels memorised at the end, focal loss - cross-entropy, noise of 20 % and more"
    return Measurement.of(_difference(end, "memorised", p), unit, limits=limits)


def measure_harm(table: pd.DataFrame, p: FocalOnToxicityParameters) -> Measurement:
    """F4a: clean development macro-F1 at the end, cross-entropy less focal loss, mean over noise of 20 % and more."""
    unit = "clean macro-F1 at the end, cross-entropy - focal loss, noise of 20 % and more"
    return Measurement.of(-1 * _difference(table[table["progress"] == 1], "macro_f1", p), unit)


def measure_dwelling(table: pd.DataFrame, p: FocalOnToxicityParameters) -> Measurement:
    """F4b: wrong labels' share of the gradient on the logits, focal less cross-entropy, mean over the looks."""
    unit = "wrong labels' gradient, mean over training, focal loss - cross-entropy, noise of 20 % and more"
    return Measurement.of(_difference(table[table["progress"] > 0], "wrong labels' gradient", p), unit)


def _difference(table: pd.DataFrame, column: str, p: FocalOnToxicityParameters) -> Estimate:
    """Focal loss less cross-entropy in ``column``, where labels are noisy, paired over seeds."""
    noisy = table[table["noise"] >= NOISY]
    cells = noisy.groupby(["seed", "gamma"])[column].mean().unstack()
    return paired_interval(cells[p.gamma], cells[0.0])
