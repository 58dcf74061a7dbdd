"""The inflation of the precision, over all kinds of runs, and the measurement that decides P5."""

import pandas as pd

from aura_study.claims import Measurement
from aura_study.claims.statistics import mean_interval


def summarise(runs: pd.DataFrame) -> pd.DataFrame:
    """Mean inflation, prediction and ratio with its 95 % interval, per parameterisation, optimiser and presence."""
    rows = []
    for key, group in runs.groupby(["parameterization", "optimizer", "presence"], sort=False):
        estimate = mean_interval(group["ratio"])
        rows.append(
            {
                **dict(zip(("parameterization", "optimizer", "presence"), key, strict=True)),
                "inflation": group["inflation"].mean(),
                "plain": group["plain"].iloc[0],
                "predicted": group["predicted"].iloc[0],
                "ratio": estimate.mean,
                "low": estimate.low,
                "high": estimate.high,
                "seeds": estimate.count,
            }
        )
    return pd.DataFrame(rows)


def shares(runs: pd.DataFrame) -> pd.DataFrame:
    """Time-averaged weights under SGD, measured and predicted, mean over seeds, per parameterisation and presence."""
    means = runs[runs["optimizer"] == "SGD"].groupby(["parameterization", "presence"]).mean(numeric_only=True)
    return means.reset_index()


def measure(summary: pd.DataFrame, sweep: pd.DataFrame) -> Measurement:
    """P5: ratio of measured to predicted inflation over all small-step kinds, and the share that obeys 1/p at any rate.

    The interval runs from the lowest to the highest end of the kinds' own 95 % intervals.
    """
    return Measurement(
        measured=float(summary["ratio"].mean()),
        low=float(summary["low"].min()),
        high=float(summary["high"].max()),
        predicted=1.0,
        unit="measured / predicted inflation of the precision",
        seeds=int(summary["seeds"].min()),
        limits={
            "share of all rates and presences that follow 1/p within 5 %": float(
                ((sweep["typical"] - 1).abs() <= 0.05).mean()
            )
        },
    )
