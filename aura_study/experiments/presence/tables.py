"""The inflation of the precision, over all kinds of runs, and the measurement that decides P5."""

import numpy as np
import pandas as pd

from aura_study.claims import Measurement
from aura_study.claims.statistics.intervals import Estimate, ratio_interval, raw_range


def summarise(runs: pd.DataFrame) -> pd.DataFrame:
    """Inflation, prediction, and their ratio with its interval, per parameterisation, optimiser and presence.

    Geometric means over independent runs; the interval is that of the ratio's logarithm.
    """
    by, rows = ["parameterization", "optimizer", "presence"], []
    for key, group in runs.groupby(by, sort=False):
        theory = {name: group[name].iloc[0] for name in ("plain", "predicted")}
        kind = {**dict(zip(by, key, strict=True)), "inflation": float(np.exp(np.log(group["inflation"]).mean()))}
        rows.append({**kind, **theory, **ratio_interval(group["inflation"], group["predicted"]).row("ratio")})
    return pd.DataFrame(rows)


def shares(runs: pd.DataFrame) -> pd.DataFrame:
    """Time-averaged weights under SGD, measured and predicted, mean over seeds, per parameterisation and presence."""
    means = runs[runs["optimizer"] == "SGD"].groupby(["parameterization", "presence"]).mean(numeric_only=True)
    return means.reset_index()


def measure(summary: pd.DataFrame, sweep: pd.DataFrame) -> Measurement:
    """P5: measured / predicted inflation of the kind whose interval reaches farthest from 1: all others lie closer.

    With the inflations of all kinds as they are, and the share of all rates and presences that obeys 1/p.
    """
    reach = np.maximum(summary["high"], 1 / summary["low"])
    farthest = summary.iloc[int(reach.argmax())]
    ratio, low, high = (float(farthest[name]) for name in ("ratio", "low", "high"))
    follow = float(((sweep["typical"] - 1).abs() <= 0.05).mean())
    return Measurement.of(
        Estimate(ratio, low, high, int(summary["seeds"].min())),
        f"measured / predicted inflation of the precision, of {len(summary)} forms, optimisers and presences the one "
        "that reaches farthest from 1",
        predicted=1.0,
        limits={"share of all rates and presences that follow 1/p within 5 %": follow}
        | {f"{end} inflation": value for end, value in raw_range(summary["inflation"]).items()},
        logarithmic=True,
    )
