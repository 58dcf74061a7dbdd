"""Scores of trained weightings, compared: paired differences with intervals, and what they have to do with shares."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from aura_study.claims import Measurement
from aura_study.claims.rules import INTEREST, MARGIN
from aura_study.claims.statistics.intervals import Estimate, mean_interval
from aura_study.experiments.task_quality.parameters import REGIMES
from aura_study.experiments.task_quality.trainings import RARE

MEAN = "mean of tasks"
SAMPLES = "emotion, samples-F1"
END, RETURN = "end", "after the return"


def long_scores(scores: pd.DataFrame) -> pd.DataFrame:
    """`task_quality.all_scores` with one score a row, and the mean over tasks among the tasks.

    Columns: regime, policy, seed, moment, task (a task, emotion's samples-F1, or the mean of the four macro-F1), score,
    majority. Moments are ``end``, ``before the return`` and ``after the return``.
    """
    keys = ["regime", "policy", "seed", "step", "last"]
    macro = scores.rename(columns={"macro_f1": "score"})[[*keys, "task", "score", "majority"]]
    samples = scores.dropna(subset=["samples_f1"]).rename(columns={"samples_f1": "score"})
    samples = samples.assign(task=SAMPLES, majority=np.nan)[[*keys, "task", "score", "majority"]]
    mean = macro.groupby(keys)[["score", "majority"]].mean().reset_index().assign(task=MEAN)
    table = pd.concat([macro, samples, mean], ignore_index=True)
    first_probe = table["step"] == table["regime"].map(table.groupby("regime")["step"].min())
    table["moment"] = np.select([table["last"], first_probe], [END, "before the return"], RETURN)
    return table[["regime", "policy", "seed", "moment", "task", "score", "majority"]]


def score_table(scores: pd.DataFrame) -> pd.DataFrame:
    """Mean score over seeds with its standard deviation, and the majority baseline, at every moment."""
    keys = ["regime", "policy", "moment", "task"]
    groups = long_scores(scores).groupby(keys, sort=False)
    table = groups["score"].agg(score="mean", deviation="std", seeds="count")
    return table.join(groups["majority"].mean()).reset_index()


def differences(scores: pd.DataFrame, control: str = "masked") -> pd.DataFrame:
    """Every weighting against ``control``: score minus the control's, paired over seeds.

    Columns: regime, moment, policy, task, difference, low, high (95 % interval), seeds.
    """
    table = long_scores(scores)
    rows = []
    for (regime, moment, task), group in table.groupby(["regime", "moment", "task"], sort=False):
        by_seed = group.pivot(index="seed", columns="policy", values="score")
        for policy in [name for name in group["policy"].unique() if name != control]:
            gain = mean_interval((by_seed[policy] - by_seed[control]).dropna())
            common = {"regime": regime, "moment": moment, "policy": policy, "task": task}
            rows.append({**common, **gain.row("difference")})
    return pd.DataFrame(rows)


def gains(scores: pd.DataFrame, better: str, worse: str, regime: str, task: str = MEAN, moment: str = END) -> pd.Series:
    """``better``'s score minus ``worse``'s, by seed, where both were trained."""
    table = long_scores(scores)
    chosen = table[(table["regime"] == regime) & (table["task"] == task) & (table["moment"] == moment)]
    by_seed = chosen.pivot(index="seed", columns="policy", values="score")
    return (by_seed[better] - by_seed[worse]).dropna()


def margin(scores: pd.DataFrame, policies: Sequence[str], regimes: Sequence[str], task: str | None = None) -> float:
    """Smallest distance to the majority baseline, over tasks and regimes, of the better of ``policies`` in each.

    The better one, since a weighting under which nothing is learned is a finding, but not if it is so under both.
    """
    table = long_scores(scores)
    kept = table["policy"].isin(policies) & table["regime"].isin(regimes) & (table["moment"] == END)
    kept &= table["task"] == task if task else ~table["task"].isin([MEAN, SAMPLES])
    chosen = table[kept].assign(margin=table["score"] - table["majority"])
    means = chosen.groupby(["regime", "task", "policy"])["margin"].mean()
    return float(means.groupby(["regime", "task"]).max().min())


def measure_one_regime(scores: pd.DataFrame, regime: str) -> Measurement:
    """P9a and P9c: what masking is worth in one regime."""
    estimate = mean_interval(gains(scores, "masked", "unmasked", regime))
    return _measurement(estimate, "masked minus unmasked", margin(scores, ("masked", "unmasked"), [regime]))


def measure_stretch(scores: pd.DataFrame) -> Measurement:
    """P9b: what masking is worth at the end of a run with an absence, and right after the return."""
    estimate = mean_interval(gains(scores, "masked", "unmasked", "stretch"))
    early = float(gains(scores, "masked", "unmasked", "stretch", moment=RETURN).mean())
    least = margin(scores, ("masked", "unmasked"), ["stretch"])
    return _measurement(estimate, "masked minus unmasked", least, {"gain right after the return": early})


def measure_quality(scores: pd.DataFrame) -> Measurement:
    """P9: what masking is worth, mean over the regimes, and in how many of them its own interval lies above a point."""
    by_regime = {regime: gains(scores, "masked", "unmasked", regime) for regime in REGIMES}
    costs = [mean_interval(values).low > INTEREST for values in by_regime.values()]
    return _measurement(
        mean_interval(pd.DataFrame(by_regime).mean(axis=1)),
        "masked minus unmasked, over the regimes",
        margin(scores, ("masked", "unmasked"), REGIMES),
        {"share of regimes in which it costs by itself": float(np.mean(costs))},
    )


def measure_rare_task(scores: pd.DataFrame) -> Measurement:
    """P9d: what the missing mask is worth to the rare task."""
    return Measurement.of(
        mean_interval(gains(scores, "unmasked", "masked", "mixed", RARE)),
        f"development macro-F1 of {RARE}, unmasked minus masked",
        limits={MARGIN: margin(scores, ("masked", "unmasked"), ["mixed"], RARE)},
    )


def measure_pair(scores: pd.DataFrame, first: str, second: str) -> Measurement:
    """P9e, P9f and P9g: ``first``'s mean score minus ``second``'s under mixing."""
    estimate = mean_interval(gains(scores, first, second, "mixed"))
    return _measurement(estimate, f"{first} minus {second}", margin(scores, (first, second), ["mixed"]))


def _measurement(
    estimate: Estimate, what: str, least_margin: float, limits: dict[str, float] | None = None
) -> Measurement:
    unit = f"mean development macro-F1 over the tasks, {what}"
    return Measurement.of(estimate, unit, limits={MARGIN: least_margin, **(limits or {})})


def share_table(shares: pd.DataFrame) -> pd.DataFrame:
    """Shares of the second half of training, mean over seeds, per regime, weighting and task."""
    keys = ["regime", "policy", "task"]
    columns = ["presence", "loss", "weight", "predicted_share", "loss_share", "gradient_share", "clipped_share"]
    return shares.groupby(keys, sort=False)[columns].mean().reset_index()


def shares_and_scores(shares: pd.DataFrame, scores: pd.DataFrame, control: str = "masked") -> pd.DataFrame:
    """By how much each task's share of the encoder's (clipped) gradient differs from ``control``'s, and its score.

    Columns: regime, policy, task, seed, doublings (base-2 logarithm of the ratio of shares), difference (macro-F1).
    """
    keys = ["regime", "policy", "task", "seed"]
    ends = long_scores(scores).query("moment == @END").rename(columns={"moment": "at"})
    both = shares.merge(ends[[*keys, "score"]], on=keys)
    reference = both[both["policy"] == control].drop(columns="policy")
    paired = both[both["policy"] != control].merge(reference, on=["regime", "task", "seed"], suffixes=("", "_control"))
    doublings = np.log2(paired["clipped_share"] / paired["clipped_share_control"])
    paired = paired.assign(doublings=doublings, difference=paired["score"] - paired["score_control"])
    return paired[[*keys, "doublings", "difference"]]


def points_per_doubling(relation: pd.DataFrame) -> pd.DataFrame:
    """Macro-F1 gained per doubling of a task's share, unmasked against masked: a line through 0, fitted per seed.

    One row: points per doubling, low, high (95 % interval over seeds), seeds.
    """
    chosen = relation[relation["policy"] == "unmasked"]
    slopes = [
        float((group["doublings"] * group["difference"]).sum() / (group["doublings"] ** 2).sum())
        for _, group in chosen.groupby("seed")
    ]
    return pd.DataFrame([mean_interval(slopes).row("macro-F1 per doubling")])


def moment_order(moments: pd.Series) -> pd.Series:
    """Places of the moments in time, to sort by."""
    return moments.map({"before the return": 0, RETURN: 1, END: 2})
