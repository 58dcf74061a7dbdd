"""What division and counting show in the four later logs (claims A1 and A4)."""

import math
from collections.abc import Mapping
from typing import Any, get_args

import numpy as np
import pandas as pd

from aura_study.claims import Measurement
from aura_study.claims.notebooks.aura_later_logs import CAPPED, FLOOR, FOUND_ROWS, NOTED_ROWS
from aura_study.data.sources import LaterVersion, later_log

BATCH, SCALE_CLAMP = 16, 5.0
OTHERS = {"toxicity": 11_935, "emotion": 43_410, "sentiment": 67_349}
"""Training rows of the other tasks, by V11's notes and the public sets that they name."""
CAPPED_OTHERS = {"toxicity": 11_935, "emotion": 20_000, "sentiment": 20_000}
"""The same as V10.2 had them."""


def logs() -> pd.DataFrame:
    """All four logs, one row per version and epoch: ``version`` and the columns of `later_log`."""
    return pd.concat([later_log(version).assign(version=version) for version in get_args(LaterVersion)])


def weights() -> pd.DataFrame:
    """Their weights in long form: version, epoch, task, weight."""
    table = logs().melt(["version", "epoch"], [f"weight_{task}" for task in (*OTHERS, "reporting")], "task", "weight")
    return table.assign(task=table["task"].str.removeprefix("weight_"))


def floor_ratios() -> pd.DataFrame:
    """V11.5's reported loss over reporting's weight, from the second epoch on: epoch, ratio, and it over ln 1e-8."""
    log = later_log("V11.5").query("epoch > 1")  # the encoder is frozen in the first, and nothing is scaled
    ratio = log["train_loss"] / log["weight_reporting"]
    return pd.DataFrame({"epoch": log["epoch"], "ratio": ratio, "over_floor": ratio / FLOOR})


def measure_floor(table: pd.DataFrame) -> Measurement:
    """A1, from `floor_ratios`: the median, between the smallest and the largest over the epochs."""
    return Measurement.over(table["ratio"], "reported loss over the weight of reporting", predicted=FLOOR)


def presence(rows: float, others: Mapping[str, int] = OTHERS) -> float:
    """Share of batches that hold at least one of ``rows`` rows, shuffled among those of the other tasks."""
    return 1 - (1 - rows / (rows + sum(others.values()))) ** BATCH


def rows_for(share: Any, others: Mapping[str, int] = OTHERS) -> Any:
    """Rows that are in that share (a number or a column) of the batches: `presence` turned around."""
    part = 1 - (1 - share) ** (1 / BATCH)
    return sum(others.values()) * part / (1 - part)


def presence_bounds() -> pd.DataFrame:
    """What V11.6's mean weights of reporting say of its presence, from the second epoch on.

    With scales of at most 5, and a weight of 1 where the task is absent, the mean is at most 1 + 4 q. Columns:
    ``epoch``, ``weight``, ``presence`` (the least q), ``rows`` (for that q), ``rows_if_capped`` (with fewer rows of
    emotion and sentiment, as in V10.2).
    """
    log = later_log("V11.6").query("epoch > 1")
    share = (log["weight_reporting"] - 1) / (SCALE_CLAMP - 1)
    columns = {"epoch": log["epoch"], "weight": log["weight_reporting"], "presence": share}
    return pd.DataFrame(columns | {"rows": rows_for(share), "rows_if_capped": rows_for(share, CAPPED_OTHERS)})


def measure_presence(table: pd.DataFrame) -> Measurement:
    """A4, from `presence_bounds`: rows that the largest bound asks for, and 95 % for the draw of that epoch's batches.

    The share of an epoch's batches that hold reporting scatters about q by less than a binomial's standard deviation.
    """
    share = float(table["presence"].max())
    batches = (sum(OTHERS.values()) + rows_for(share)) / BATCH
    reach = 1.96 * math.sqrt(share * (1 - share) / batches)
    low, middle, high = (float(rows_for(share + step)) for step in (-reach, 0, reach))
    capped = float(rows_for(share - reach, CAPPED_OTHERS))
    return Measurement(middle, low, high, "least rows of reporting", float(FOUND_ROWS), limits={CAPPED: capped})


def presences() -> pd.DataFrame:
    """Share of batches that hold reporting, for the rows of the notes and those of the repository's own table."""
    rows = np.array([NOTED_ROWS, FOUND_ROWS])
    return pd.DataFrame({"rows": rows, "presence": [presence(count) for count in rows]})
