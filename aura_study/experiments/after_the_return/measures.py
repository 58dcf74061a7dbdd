"""The measurements that decide P6a and P7 with its parts, from the tables of `tables` and `alone`."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from aura_study.claims import CLAIMS, Measurement, Verdict
from aura_study.claims.model import DECIDED
from aura_study.claims.statistics.intervals import Estimate, mean_interval, ratio_interval, raw_range
from aura_study.experiments.after_the_return.tables import median_steps

PARTS = ("P7f", "P7b", "P7c", "P7d")


def measure_spikes(table: pd.DataFrame) -> Measurement:
    """P6a: by how much the gradient spike misses its prediction in the arm of each seed in which it misses most."""
    missed = _factor(table["gradient_over_predicted"]).groupby(table["seed"]).max()
    return Measurement.of(
        _geometric(missed),
        "encoder gradient norm at the first step back, V10.1 / V10.2, over its prediction or under it, in the arm that "
        "misses most",
        predicted=1.0,
        limits=_range(table["gradient_ratio"], "jump"),
        logarithmic=True,
    )


def measure_switched_off(table: pd.DataFrame) -> Measurement:
    """P7a: how long SGD's throw leaves the task with a tenth of its weight or less, without clipping."""
    thrown = _thrown(table, "SGD")
    return Measurement.of(
        median_steps(thrown, "off"),
        "steps with less than a tenth of the weight that the mask would have left; median, of runs that may have ended "
        "before",
        predicted=float(thrown["predicted"].median()),
        limits={"eta exp(2 Lambda)": float(thrown["strength"].mean())},
    )


def measure_throw(table: pd.DataFrame) -> Measurement:
    """P7f: steps until the weight is back after a throw that switches the task off, with clipping, over prediction."""
    clipped = _thrown(table, "SGD, clipped")
    thrown = clipped[clipped["predicted"] > 0]
    unseen = int(thrown["back"].isna().sum())
    if unseen or thrown.empty:
        void = f"{unseen} of {len(thrown)} runs with a throw ended before the weight was back"
        return Measurement(
            np.nan, np.nan, np.nan, "steps back over prediction", 1.0, len(thrown), _strength(clipped), void
        )
    return Measurement.of(
        ratio_interval(thrown["back"], thrown["predicted_back"]),
        "steps until the weight is within a factor 2 of the mask's again, over prediction",
        predicted=1.0,
        limits=_strength(clipped) | _range(thrown["back"], "way back"),
        logarithmic=True,
    )


def _thrown(table: pd.DataFrame, arm: str) -> pd.DataFrame:
    return table[(table["absence"] == "long") & (table["arm"] == arm)]


def _strength(table: pd.DataFrame) -> dict[str, float]:
    return {"eta exp(2 Lambda)": float(table["strength"].mean())}


def measure_hysteresis(table: pd.DataFrame) -> Measurement:
    """P7b: steps back over steps absent under AdamW without clipping, median of runs that may have ended before."""
    adam = table[table["arm"] == "AdamW"].groupby("absence")
    long, short = adam.get_group("long"), adam.get_group("short")
    absent, soon = float(long["absent_steps"].mean()), float(short["absent_steps"].mean())
    return Measurement.of(
        (1 / absent) * median_steps(long, "back"),
        "steps until the weight is back within a factor 2, over the steps of the absence; median, of runs that may "
        "have ended before",
        predicted=median_steps(long, "predicted").mean / absent,
        limits={"steps back over steps absent, short absence": median_steps(short, "back").mean / soon},
    )


def measure_poisoning(table: pd.DataFrame) -> Measurement:
    """P7c: what v leaves of the others' updates in the encoder's layers without clipping, from `tables.late`."""
    free, clipped = table[~table["clipped"]], table[table["clipped"]]
    return Measurement.of(
        _geometric(free["left_in_layers"]),
        "the other tasks' update of the encoder's layers over what it would be with a properly weighted return, "
        "through v",
        predicted=_geometric(free["predicted_in_layers"]).mean,
        limits=_range(free["left_in_layers"], "part left")
        | {
            "shrinkage by v with clipping": 1 - _geometric(clipped["left_in_layers"]).mean,
            "part left in the whole encoder": _geometric(free["left_by_v"]).mean,
        },
        logarithmic=True,
    )


def measure_by_part(table: pd.DataFrame) -> Measurement:
    """P7g: factor by which the closed form misses the shrinkage in the embeddings or the layer that it misses most."""
    apart = table[table["part"] != "layers"]
    missed = _factor(apart["left"] / apart["predicted"])
    worst = missed.groupby(apart["part"]).max()
    return Measurement.of(
        _geometric(missed.groupby(apart["seed"]).max()),
        "part that v leaves over its prediction or under it, in the embeddings or the layer that misses most",
        predicted=1.0,
        limits={str(part): float(factor) for part, factor in worst.items()},
        logarithmic=True,
    )


def measure_clipping(table: pd.DataFrame) -> Measurement:
    """P7d: factor that clipping takes from the others at the first step back, both optimisers, over prediction."""
    logs = table.assign(log=np.log(table["measured"] / table["predicted"])).groupby("seed")["log"].mean()
    return Measurement.of(
        _geometric(np.exp(logs)),
        "what clipping leaves of the other tasks' gradient at the first step back, V10.1 / V10.2, over its prediction",
        predicted=1.0,
        limits=_range(table["measured"], "part left"),
        logarithmic=True,
    )


def measure_clean_memory(table: pd.DataFrame) -> Measurement:
    """P7h: what v leaves of the others' updates in the encoder's layers with clipping, from `tables.late`."""
    left = table.loc[table["clipped"], "left_in_layers"]
    return Measurement.of(
        _geometric(left),
        "the other tasks' update of the encoder's layers over what it would be with a properly weighted return, "
        "through v, with clipping",
        limits=_range(left, "part left"),
        logarithmic=True,
    )


def measure_order(table: pd.DataFrame) -> Measurement:
    """P7e: share of cells in which the optimiser is sooner that theory says, from `alone.order`; repeats are seeds."""
    right = table["sooner"] == table["sooner_predicted"]
    zones = {"below the whiplash": table["strength"] < 1, "above it": table["strength"] >= 1}
    return Measurement.of(
        mean_interval(right.groupby(table["repeat"]).mean()),
        "share of rates, phantom numbers and noises in which that optimiser is back sooner that theory says",
        limits={f"share {name}": float(right[zone].mean()) for name, zone in zones.items()}
        | {f"Adam sooner {name}": float((table["sooner"][zone] == "Adam").mean()) for name, zone in zones.items()},
    )


def _factor(ratios: pd.Series) -> pd.Series:
    """Ratios above 1 as they are, those below upside down."""
    return ratios.where(ratios >= 1, 1 / ratios)


def _geometric(ratios: pd.Series) -> Estimate:
    """Geometric mean, and the t interval of the logarithms."""
    return ratio_interval(ratios, np.ones(len(ratios)))


def _range(values: pd.Series, name: str) -> dict[str, float]:
    """Smallest and largest of what was measured, as it was measured."""
    return {f"{end} {name}": value for end, value in raw_range(values).items()}


def measure_whole(parts: Mapping[str, Measurement]) -> Measurement:
    """P7: share of its parts that hold, from that with undecided and void parts as failed to that with them as held.

    A count of verdicts: it has no seeds.
    """
    verdicts = [CLAIMS[key].rule.judge(parts[key]) for key in PARTS]
    held = sum(verdict in (Verdict.CONFIRMED, Verdict.WITHIN_LIMITS) for verdict in verdicts) / len(PARTS)
    open_ = sum(verdict not in DECIDED for verdict in verdicts) / len(PARTS)
    return Measurement(
        held,
        held,
        held + open_,
        "share of the four parts that hold",
        predicted=1.0,
        limits={"share of parts that hold without limits": verdicts.count(Verdict.CONFIRMED) / len(PARTS)},
    )
