"""The measurements that decide P6a and P7 with its parts, from the tables of `aftermath_tables`."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from aura_study.claims import CLAIMS, Measurement, Verdict
from aura_study.claims.statistics import mean_interval

PARTS = ("P7a", "P7b", "P7c", "P7d")


def measure_spikes(table: pd.DataFrame) -> Measurement:
    """P6a: gradient spike over prediction, the mean of the arms; the interval spans the arms' intervals."""
    found = [mean_interval(arm["gradient_over_predicted"]) for _, arm in table.groupby("arm")]
    predicted = float(table["predicted_ratio"].mean())
    return Measurement(
        predicted * float(np.mean([arm.mean for arm in found])),
        predicted * min(arm.low for arm in found),
        predicted * max(arm.high for arm in found),
        "encoder gradient norm at the first step back, V10.1 / V10.2, all four arms",
        predicted=predicted,
        seeds=min(arm.count for arm in found),
    )


def measure_whiplash(table: pd.DataFrame) -> Measurement:
    """P7a: height of SGD's throw over the twin, without clipping, against theory; mean over seeds of the ratio."""
    long = table[(table["absence"] == "long") & (table["arm"] == "SGD")]
    found = mean_interval(long["landed"] / long["predicted"])
    predicted = float(long["predicted"].mean())
    return Measurement(
        predicted * found.mean,
        predicted * found.low,
        predicted * found.high,
        "log sigma after the first step back, above where the mask would have it",
        predicted=predicted,
        seeds=found.count,
        limits={"steps switched off": float(long["off"].mean())},
    )


def measure_hysteresis(table: pd.DataFrame) -> Measurement:
    """P7b: steps back over steps absent under AdamW without clipping; a run that ended first counts what it saw."""
    adam = table[table["arm"] == "AdamW"].groupby("absence")
    long, short = adam.get_group("long"), adam.get_group("short")
    found = mean_interval(long["over_absence"])
    return Measurement(
        found.mean,
        found.low,
        found.high,
        "steps until the weight is back within a factor 2, at least, over the steps of the absence",
        predicted=float(long["predicted"].mean()),
        seeds=found.count,
        limits={"steps back over steps absent, short absence": float(short["over_absence"].mean())},
    )


def measure_poisoning(table: pd.DataFrame) -> Measurement:
    """P7c: what v leaves of the others' updates without clipping, from `aftermath_tables.late`."""
    free, clipped = table[~table["clipped"]], table[table["clipped"]]
    found = mean_interval(free["left_by_v"])
    return Measurement(
        found.mean,
        found.low,
        found.high,
        "the other tasks' encoder update over what it would be with a properly weighted return, through v",
        predicted=float(free["predicted"].mean()),
        seeds=found.count,
        limits={"shrinkage by v with clipping": float(1 - clipped["left_by_v"].mean())},
    )


def measure_clipping(table: pd.DataFrame, late: pd.DataFrame) -> Measurement:
    """P7d: factor that clipping takes from the others at the first step back, both optimisers, over prediction."""
    ratios = (table["measured"] / table["predicted"]).groupby(table["seed"]).mean()
    found = mean_interval(ratios)
    predicted = float(table["predicted"].mean())
    return Measurement(
        predicted * found.mean,
        predicted * found.low,
        predicted * found.high,
        "what clipping leaves of the other tasks' gradient at the first step back, V10.1 / V10.2",
        predicted=predicted,
        seeds=found.count,
        limits={"others' update that v leaves with clipping": float(late.loc[late["clipped"], "left_by_v"].mean())},
    )


def measure_whole(parts: Mapping[str, Measurement]) -> Measurement:
    """P7: share of its parts that hold; the interval counts parts that are undecided as failed, and as held."""
    verdicts = [CLAIMS[key].rule.judge(parts[key]) for key in PARTS]
    held = sum(verdict in (Verdict.CONFIRMED, Verdict.WITHIN_LIMITS) for verdict in verdicts) / len(PARTS)
    undecided = verdicts.count(Verdict.INCONCLUSIVE) / len(PARTS)
    return Measurement(
        held,
        held,
        held + undecided,
        "share of the four parts that hold",
        predicted=1.0,
        seeds=min(part.seeds for part in parts.values()),
        limits={"share of parts that hold without limits": verdicts.count(Verdict.CONFIRMED) / len(PARTS)},
    )
