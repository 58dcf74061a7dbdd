"""The measurements that decide P6a and P7 with its parts, from the tables of `aftermath_tables`."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from aura_study.claims import CLAIMS, Measurement, Verdict
from aura_study.claims.statistics.intervals import Estimate, mean_interval

PARTS = ("P7a", "P7b", "P7c", "P7d")


def measure_spikes(table: pd.DataFrame) -> Measurement:
    """P6a: gradient spike over prediction, the mean of the arms; the interval spans the arms' intervals."""
    found = [mean_interval(arm["gradient_over_predicted"]) for _, arm in table.groupby("arm")]
    predicted = float(table["predicted_ratio"].mean())
    mean, count = float(np.mean([arm.mean for arm in found])), min(arm.count for arm in found)
    spanned = Estimate(mean, min(arm.low for arm in found), max(arm.high for arm in found), count)
    unit = "encoder gradient norm at the first step back, V10.1 / V10.2, all four arms"
    return Measurement.of(predicted * spanned, unit, predicted=predicted)


def measure_whiplash(table: pd.DataFrame) -> Measurement:
    """P7a: height of SGD's throw over the twin, without clipping, against theory; mean over seeds of the ratio."""
    long = table[(table["absence"] == "long") & (table["arm"] == "SGD")]
    predicted = float(long["predicted"].mean())
    return Measurement.of(
        predicted * mean_interval(long["landed"] / long["predicted"]),
        "log sigma after the first step back, above where the mask would have it",
        predicted=predicted,
        limits={"steps switched off": float(long["off"].mean())},
    )


def measure_hysteresis(table: pd.DataFrame) -> Measurement:
    """P7b: steps back over steps absent under AdamW without clipping; a run that ended first counts what it saw."""
    adam = table[table["arm"] == "AdamW"].groupby("absence")
    long, short = adam.get_group("long"), adam.get_group("short")
    return Measurement.of(
        mean_interval(long["over_absence"]),
        "steps until the weight is back within a factor 2, at least, over the steps of the absence",
        predicted=float(long["predicted"].mean()),
        limits={"steps back over steps absent, short absence": float(short["over_absence"].mean())},
    )


def measure_poisoning(table: pd.DataFrame) -> Measurement:
    """P7c: what v leaves of the others' updates without clipping, from `aftermath_tables.late`."""
    free, clipped = table[~table["clipped"]], table[table["clipped"]]
    return Measurement.of(
        mean_interval(free["left_by_v"]),
        "the other tasks' encoder update over what it would be with a properly weighted return, through v",
        predicted=float(free["predicted"].mean()),
        limits={"shrinkage by v with clipping": float(1 - clipped["left_by_v"].mean())},
    )


def measure_clipping(table: pd.DataFrame, late: pd.DataFrame) -> Measurement:
    """P7d: factor that clipping takes from the others at the first step back, both optimisers, over prediction."""
    ratios = (table["measured"] / table["predicted"]).groupby(table["seed"]).mean()
    predicted = float(table["predicted"].mean())
    return Measurement.of(
        predicted * mean_interval(ratios),
        "what clipping leaves of the other tasks' gradient at the first step back, V10.1 / V10.2",
        predicted=predicted,
        limits={"others' update that v leaves with clipping": float(late.loc[late["clipped"], "left_by_v"].mean())},
    )


def measure_whole(parts: Mapping[str, Measurement]) -> Measurement:
    """P7: share of its parts that hold; the interval counts parts that are undecided as failed, and as held."""
    verdicts = [CLAIMS[key].rule.judge(parts[key]) for key in PARTS]
    held = sum(verdict in (Verdict.CONFIRMED, Verdict.WITHIN_LIMITS) for verdict in verdicts) / len(PARTS)
    undecided = verdicts.count(Verdict.INCONCLUSIVE) / len(PARTS)
    return Measurement.of(
        Estimate(held, held, held + undecided, min(part.seeds for part in parts.values())),
        "share of the four parts that hold",
        predicted=1.0,
        limits={"share of parts that hold without limits": verdicts.count(Verdict.CONFIRMED) / len(PARTS)},
    )
