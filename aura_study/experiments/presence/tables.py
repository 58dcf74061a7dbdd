"""The inflation of the precision, over all kinds of runs, and the measurement that decides P5."""

import pandas as pd

from aura_study.claims import Measurement
from aura_study.claims.statistics.intervals import Estimate, mean_interval


def summarise(runs: pd.DataFrame) -> pd.DataFrame:
    """Mean inflation, prediction and ratio with its 95 % interval, per parameterisation, optimiser and presence."""
    by, rows = ["parameterization", "optimizer", "presence"], []
    for key, group in runs.groupby(by, sort=False):
        theory = {name: group[name].iloc[0] for name in ("plain", "predicted")}
        kind = {**dict(zip(by, key, strict=True)), "inflation": group["inflation"].mean()}
        rows.append({**kind, **theory, **mean_interval(group["ratio"]).row("ratio")})
    return pd.DataFrame(rows)


def shares(runs: pd.DataFrame) -> pd.DataFrame:
    """Time-averaged weights under SGD, measured and predicted, mean over seeds, per parameterisation and presence."""
    means = runs[runs["optimizer"] == "SGD"].groupby(["parameterization", "presence"]).mean(numeric_only=True)
    return means.reset_index()


def measure(summary: pd.DataFrame, sweep: pd.DataFrame) -> Measurement:
    """P5: ratio of measured to predicted inflation over all small-step kinds, and the share that obeys 1/p at any rate.

    The interval runs from the lowest to the highest end of the kinds' own 95 % intervals.
    """
    mean, low, high = summary["ratio"].mean(), summary["low"].min(), summary["high"].max()
    follow = float(((sweep["typical"] - 1).abs() <= 0.05).mean())
    return Measurement.of(
        Estimate(float(mean), float(low), float(high), int(summary["seeds"].min())),
        "measured / predicted inflation of the precision",
        predicted=1.0,
        limits={"share of all rates and presences that follow 1/p within 5 %": follow},
    )
