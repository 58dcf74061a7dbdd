"""What the spike costs the language model, beside what fine-tuning costs it anyway (claims P8c to P8g).

Every fine-tuning starts from one checkpoint, and its arms part at the return of a task (`fine_tuning`): until then they
are one model. So what the unmasked arm has lost beyond the masked one is the spike's doing and nothing else's. Here it
is told in nats, and in parts of what the masked fine-tuning costs; `harm` tells it in parts of what had been learned.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from aura_study.claims import Measurement
from aura_study.claims.statistics.intervals import Estimate, ratio_of_means, spread
from aura_study.experiments.pretraining.harm import END, LEARNED, SOON, language_worth
from aura_study.experiments.pretraining.parameters import WARM_UPS, PretrainingParameters, RegimeName


def main_arms(runs: pd.DataFrame, p: PretrainingParameters) -> pd.DataFrame:
    """The arms with one return, and among the unmasked those whose absence had the notebook's own rates."""
    own = np.isclose(runs["rates"], [p.rates(regime) for regime in runs["regime"]]) | (runs["policy"] != "unmasked")
    return runs[own & (runs["regime"] != "cycles")]


def costs(runs: pd.DataFrame, p: PretrainingParameters) -> pd.DataFrame:
    """What `main_arms` have lost of the pre-training by every moment: regime, policy, seed, moment, cost, drift.

    ``cost`` is its masked-language loss minus the checkpoint's, in nats on the same hidden tokens; ``drift`` is 1 - CKA
    of its hidden states with the checkpoint's.
    """
    names = {step: name for name, step in p.moments.items()}
    runs = main_arms(runs, p)
    chosen = runs[runs["step"].isin(names)].assign(moment=runs["step"].map(names))
    start = chosen.loc[chosen["step"] == 0, "mlm_loss"].iloc[0]  # one checkpoint, one loss
    later = chosen[chosen["step"] > 0]
    later = later.assign(cost=later["mlm_loss"] - start, drift=1 - later["cka"])
    return later[["regime", "policy", "seed", "moment", "cost", "drift"]].reset_index(drop=True)


def cost_table(table: pd.DataFrame, curve: pd.DataFrame) -> pd.DataFrame:
    """`costs` over seeds: regime, moment, policy, seeds, cost and drift (means); and of the arms that are not masked
    what they cost beyond the masked one, with its 95 % interval (Fieller's): in parts of the masked one's cost as
    ``spike``, low, high, and in parts of what had been learned as ``of what was learned``.
    """
    part = 1 / language_worth(curve)[LEARNED]
    rows = []
    for regime, moment, policy in table[["regime", "moment", "policy"]].drop_duplicates().itertuples(index=False):
        arm, masked = (by_seed(table, regime, name, moment) for name in (policy, "masked"))
        drift = by_seed(table, regime, policy, moment, "drift")
        row = {"regime": regime, "moment": moment, "policy": policy, "seeds": len(arm)}
        row |= {"cost": arm.mean(), "drift": drift.mean()}
        if policy != "masked":
            spike = ratio_of_means(arm - masked, masked)
            row |= {"spike": spike.mean, "low": spike.low, "high": spike.high}
            row["of what was learned"] = part * (arm - masked).mean()
        rows.append(row)
    return pd.DataFrame(rows)


def by_seed(table: pd.DataFrame, regime: str, policy: str, moment: str = END, what: str = "cost") -> np.ndarray:
    """``what`` of one arm at one moment, ``(seeds,)``, in the order of the seeds."""
    arm = table[(table["regime"] == regime) & (table["policy"] == policy) & (table["moment"] == moment)]
    return arm.sort_values("seed")[what].to_numpy()


def spikes_cost(table: pd.DataFrame, regime: RegimeName, policy: str = "unmasked", moment: str = END) -> np.ndarray:
    """What an arm costs beyond the masked one, ``(seeds,)``, nats."""
    return by_seed(table, regime, policy, moment) - by_seed(table, regime, "masked", moment)


def bands(runs: pd.DataFrame, p: PretrainingParameters) -> pd.DataFrame:
    """Loss and CKA of tested `main_arms` over seeds: measure, regime, policy, step, mean, low, high."""
    tested = (
        main_arms(runs, p)
        .dropna(subset="mlm_loss")
        .melt(["regime", "policy", "step"], ["mlm_loss", "cka"], "measure", "value")
    )
    return spread(tested, ["measure", "regime", "policy", "step"], "value")


def measure_added(table: pd.DataFrame, curve: pd.DataFrame, regime: RegimeName) -> Measurement:
    """P8e, P8f: what the spike takes, in parts of what the masked fine-tuning takes."""
    masked = by_seed(table, regime, "masked")
    unit = "masked-language loss that the spike adds / that the masked fine-tuning adds"
    return _in_parts(ratio_of_means(spikes_cost(table, regime), masked), masked, unit, language_worth(curve))


def measure_own_rate(table: pd.DataFrame, curve: pd.DataFrame) -> Measurement:
    """P8c: what the unmasked fine-tuning takes at AURA's own rate, in parts of what the masked one takes."""
    unmasked, masked = (by_seed(table, "own_rate", policy) for policy in ("unmasked", "masked"))
    unit = "masked-language loss that the unmasked fine-tuning adds / that the masked one adds"
    return _in_parts(ratio_of_means(unmasked, masked), masked, unit, language_worth(curve), predicted=1.0)


def measure_alone(table: pd.DataFrame, curve: pd.DataFrame) -> Measurement:
    """P8g: what the spike takes, in parts of what the same steps on the returning task alone take."""
    alone = spikes_cost(table, "clipped", "alone")
    soon = [spikes_cost(table, "clipped", policy, SOON).mean() for policy in ("unmasked", "alone")]
    unit = "masked-language loss that the spike adds / that the returning task alone adds, both beyond the mask"
    limits = {**language_worth(curve), "the same ten steps after the return": float(soon[0] / soon[1])}
    return _in_parts(ratio_of_means(spikes_cost(table, "clipped"), alone), alone, unit, limits, predicted=1.0)


def warm_ups(runs: pd.DataFrame, p: PretrainingParameters) -> pd.DataFrame:
    """`costs` at the end of the fine-tunings of every warm-up; ``regime`` is its share of the steps."""
    return costs(runs[runs["step"].isin((0, p.steps))], p)


def warm_up_table(table: pd.DataFrame) -> pd.DataFrame:
    """Over seeds, by warm_up: cost and drift (means), and what is saved of the cost without one, with its interval."""
    rows = []
    for share in WARM_UPS:
        cost, drift = (by_seed(table, f"{share:g}", "masked", what=what) for what in ("cost", "drift"))
        row = {"warm_up": share, "seeds": len(cost), "cost": cost.mean(), "drift": drift.mean()}
        if share:
            saved = _saved(table, share)
            row |= {"saved": saved.mean, "low": saved.low, "high": saved.high}
        rows.append(row)
    return pd.DataFrame(rows)


def measure_warm_up(table: pd.DataFrame, curve: pd.DataFrame) -> Measurement:
    """P8d: what OneCycleLR's warm-up saves of what fine-tuning without one costs."""
    *_, aura, one_cycle = WARM_UPS
    unit = "masked-language loss that the warm-up saves / that fine-tuning adds without one"
    worth = {**language_worth(curve), f"saved by AURA's own {100 * aura:g} %": _saved(table, aura).mean}
    return _in_parts(_saved(table, one_cycle), by_seed(table, "0", "masked"), unit, worth)


def _saved(table: pd.DataFrame, share: float) -> Estimate:
    without, within = by_seed(table, "0", "masked"), by_seed(table, f"{share:g}", "masked")
    return ratio_of_means(without - within, without)


def _in_parts(
    share: Estimate, whole: np.ndarray, unit: str, limits: Mapping[str, float], predicted: float | None = None
) -> Measurement:
    """A share of ``whole``, ``(seeds,)``; void where that is no loss."""
    void = "" if whole.mean() > 0 else "what it would be a part of is no loss at all"
    return Measurement.of(
        share, unit, predicted, {**limits, "nats that it is a part of": float(whole.mean())}, void=void
    )
