"""Scores of trained weightings, compared: paired differences with intervals, and what they have to do with shares."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import stats

from aura_study.claims import Measurement
from aura_study.claims.rules import ADEQUACY, INTEREST, ROOM
from aura_study.claims.statistics.decisions import Margins, seeds_to_decide
from aura_study.claims.statistics.intervals import Estimate, mean_interval, paired_interval, ratio_interval
from aura_study.data.tasks import TASK_NAMES
from aura_study.experiments.task_quality.parameters import REGIMES, ROWS
from aura_study.experiments.task_quality.trainings import RARE
from aura_study.training.adequacy import least_above

MEAN = "mean of tasks"
DECIDES = "auc"
"""The measure that the claims speak of."""
END, RETURN = "end", "after the return"


def long_scores(scores: pd.DataFrame) -> pd.DataFrame:
    """`aura_study.experiments.task_quality.results.all_scores`, with the mean over tasks among the tasks.

    Columns: regime, policy, seed, moment, task (or the mean of the four), measure, score. Moments are ``end``,
    ``before the return`` and ``after the return``.
    """
    keys = ["regime", "policy", "seed", "step", "last", "measure"]
    of_all = scores[scores["measure"] != "samples_f1"]
    mean = of_all.groupby(keys, sort=False)["score"].mean().reset_index().assign(task=MEAN)
    table = pd.concat([scores, mean], ignore_index=True)
    first_probe = table["step"] == table["regime"].map(table.groupby("regime")["step"].min())
    table["moment"] = np.select([table["last"], first_probe], [END, "before the return"], RETURN)
    return table[["regime", "policy", "seed", "moment", "task", "measure", "score"]]


def score_table(scores: pd.DataFrame, adequacy: pd.DataFrame) -> pd.DataFrame:
    """Mean score over seeds with its standard deviation, at every moment, per task and measure, beside what the control
    and the bag of words score on the same rows."""
    keys = ["regime", "policy", "moment", "task", "measure"]
    groups = long_scores(scores).groupby(keys, sort=False)
    table = groups["score"].agg(score="mean", deviation="std", seeds="count").reset_index()
    beside = adequacy[["rows", "task", "measure", "tf_idf", "control"]]
    return table.assign(rows=table["regime"].map(ROWS)).merge(beside, on=["rows", "task", "measure"], how="left")


def differences(scores: pd.DataFrame, control: str = "masked") -> pd.DataFrame:
    """Every weighting against ``control``: score minus the control's, paired over seeds.

    Columns: regime, moment, policy, task, measure, difference, low, high (95 % interval), seeds.
    """
    table = long_scores(scores)
    rows = []
    for (regime, moment, task, measure), group in table.groupby(["regime", "moment", "task", "measure"], sort=False):
        by_seed = group.pivot(index="seed", columns="policy", values="score")
        for policy in [name for name in group["policy"].unique() if name != control]:
            common = {"regime": regime, "moment": moment, "policy": policy, "task": task, "measure": measure}
            pairs = by_seed[[policy, control]].dropna()
            if len(pairs):
                rows.append({**common, **paired_interval(pairs[policy], pairs[control]).row("difference")})
    return pd.DataFrame(rows)


def power(differences: pd.DataFrame) -> pd.DataFrame:
    """Of every difference at the end: how it varies from seed to seed, and how many seeds would tell it from a point.

    Columns: those of `differences`, and deviation (standard deviation of the pairs), seeds_needed (so that, with 90 %
    power, a difference as large as the one that was measured is told from one of `INTEREST` either way; NaN if that
    takes more seeds than can be thought of, or with fewer than two pairs), seeds_if_none (the same if in truth there
    were no difference).
    """
    rows = []
    for _, row in differences[differences["moment"] == END].iterrows():
        found = Estimate(row["difference"], row["low"], row["high"], int(row["seeds"]))
        none = Estimate(0.0, row["low"] - found.mean, row["high"] - found.mean, found.count)
        half = (found.high - found.low) / 2
        known = found.count > 1 and half > 0
        deviation = half * math.sqrt(found.count) / stats.t.ppf(0.975, found.count - 1) if known else math.nan
        needed = [seeds_to_decide(each, Margins(-INTEREST, INTEREST)) if known else None for each in (found, none)]
        more = {"deviation": deviation, "seeds_needed": needed[0], "seeds_if_none": needed[1]}
        rows.append({**row, **more})
    return pd.DataFrame(rows).astype({"seeds_needed": float, "seeds_if_none": float}).drop(columns="moment")


def gains(scores: pd.DataFrame, better: str, worse: str, regime: str, task: str = MEAN, moment: str = END) -> pd.Series:
    """``better``'s deciding score minus ``worse``'s, by seed, where both were trained."""
    table = long_scores(scores)
    chosen = table[(table["regime"] == regime) & (table["task"] == task) & (table["moment"] == moment)]
    by_seed = chosen[chosen["measure"] == DECIDES].pivot(index="seed", columns="policy", values="score")
    return (by_seed[better] - by_seed[worse]).dropna()


def measure_one_regime(scores: pd.DataFrame, adequacy: pd.DataFrame, regime: str) -> Measurement:
    """P9a and P9c: what masking is worth in one regime."""
    return _measurement(gains(scores, "masked", "unmasked", regime), "masked minus unmasked", adequacy, [regime])


def measure_stretch(scores: pd.DataFrame, adequacy: pd.DataFrame) -> Measurement:
    """P9b: what masking is worth at the end of a run with an absence, and right after the return."""
    values = gains(scores, "masked", "unmasked", "stretch")
    early = float(gains(scores, "masked", "unmasked", "stretch", moment=RETURN).mean())
    more = {"gain right after the return": early}
    return _measurement(values, "masked minus unmasked", adequacy, ["stretch"], more=more)


def measure_quality(scores: pd.DataFrame, adequacy: pd.DataFrame) -> Measurement:
    """P9: what masking is worth, mean over the regimes, and in how many of them its own interval reaches a point."""
    by_regime = {regime: gains(scores, "masked", "unmasked", regime) for regime in REGIMES}
    costs = [mean_interval(values).low >= INTEREST for values in by_regime.values()]
    more = {"share of regimes in which it costs by itself": float(np.mean(costs))}
    mean, what = pd.DataFrame(by_regime).mean(axis=1), "masked minus unmasked, over the regimes"
    return _measurement(mean, what, adequacy, REGIMES, more=more)


def measure_rare_task(scores: pd.DataFrame, adequacy: pd.DataFrame) -> Measurement:
    """P9d: what the missing mask is worth to the rare task, and what there was to be gained."""
    values = gains(scores, "unmasked", "masked", "mixed", RARE)
    table = long_scores(scores)
    masked = table[(table[["regime", "policy", "task", "moment"]] == ["mixed", "masked", RARE, END]).all(axis=1)]
    more = {ROOM: 1 - float(masked.loc[masked["measure"] == DECIDES, "score"].mean())}
    return _measurement(values, "unmasked minus masked", adequacy, ["mixed"], RARE, more)


def measure_pair(scores: pd.DataFrame, adequacy: pd.DataFrame, first: str, second: str) -> Measurement:
    """P9e, P9f and P9g: ``first``'s mean score minus ``second``'s under mixing."""
    return _measurement(gains(scores, first, second, "mixed"), f"{first} minus {second}", adequacy, ["mixed"])


def _measurement(
    values: pd.Series,
    what: str,
    adequacy: pd.DataFrame,
    regimes: Sequence[str],
    task: str | None = None,
    more: Mapping[str, float] | None = None,
) -> Measurement:
    """Differences by seed, with how far the worst control of the ``regimes`` lies above the bag of words in the tasks
    that they speak of: one, or all four."""
    whose = f"of {task}" if task else "mean over the tasks"
    rows = adequacy[adequacy["rows"].isin([ROWS[regime] for regime in regimes])]
    limits = {ADEQUACY: least_above(rows, [task] if task else TASK_NAMES), **(more or {})}
    return Measurement.of(
        mean_interval(values), f"development area under the ROC curve, {whose}, {what}", limits=limits
    )


def measure_balance(shares: pd.DataFrame) -> Measurement:
    """P9h: the rare task's share of the weighted loss under mixing, unmasked over masked."""
    chosen = shares[(shares["regime"] == "mixed") & (shares["task"] == RARE)]
    share, predicted = (
        chosen.pivot(index="seed", columns="policy", values=column)[["unmasked", "masked"]].dropna()
        for column in ("loss_share", "predicted_share")
    )
    unit = f"{RARE}'s share of the weighted loss, unmasked / masked"
    if not (share > 0).all(axis=None):
        return Measurement(math.nan, math.nan, math.nan, unit, void=f"in some run {RARE} was in no step of the half")
    return Measurement.of(
        ratio_interval(share["unmasked"], share["masked"]),
        unit,
        ratio_interval(predicted["unmasked"], predicted["masked"]).mean,
        logarithmic=True,
    )


def share_table(shares: pd.DataFrame) -> pd.DataFrame:
    """Shares of the second half of training, mean over seeds, per regime, weighting and task."""
    keys = ["regime", "policy", "task"]
    columns = [
        "presence",
        "loss",
        "weight",
        "predicted_share",
        "loss_share",
        "gradient_share",
        "clipped_share",
        "update_share",
    ]
    return shares.groupby(keys, sort=False)[columns].mean().reset_index()


def shares_and_scores(shares: pd.DataFrame, scores: pd.DataFrame, control: str = "masked") -> pd.DataFrame:
    """By how much each task's share of the encoder's (clipped) gradient differs from ``control``'s, and its score.

    Columns: regime, policy, task, seed, doublings (base-2 logarithm of the ratio of shares), difference (of the score
    that decides).
    """
    keys = ["regime", "policy", "task", "seed"]
    ends = long_scores(scores).query("moment == @END and measure == @DECIDES")
    both = shares.merge(ends[[*keys, "score"]], on=keys)
    reference = both[both["policy"] == control].drop(columns="policy")
    paired = both[both["policy"] != control].merge(reference, on=["regime", "task", "seed"], suffixes=("", "_control"))
    doublings = np.log2(paired["clipped_share"] / paired["clipped_share_control"])
    paired = paired.assign(doublings=doublings, difference=paired["score"] - paired["score_control"])
    return paired[[*keys, "doublings", "difference"]]


def points_per_doubling(relation: pd.DataFrame) -> pd.DataFrame:
    """Score gained per doubling of a task's share, unmasked against masked: a line through 0, fitted per seed.

    One row: points per doubling, low, high (95 % interval over seeds), seeds.
    """
    chosen = relation[relation["policy"] == "unmasked"]
    slopes = [
        float((group["doublings"] * group["difference"]).sum() / (group["doublings"] ** 2).sum())
        for _, group in chosen.groupby("seed")
    ]
    return pd.DataFrame([mean_interval(slopes).row("score per doubling")])


def moment_order(moments: pd.Series) -> pd.Series:
    """Places of the moments in time, to sort by."""
    return moments.map({"before the return": 0, RETURN: 1, END: 2})
