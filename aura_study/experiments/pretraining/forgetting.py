"""What the return of an absent task does to the encoder's pre-training (claim P8).

Every fine-tuning starts from one checkpoint. The control has all tasks in every batch; the other arms lose one task
for a stretch and see the control's batches otherwise. Until the task returns, the arms with an absence have the same
encoder bit for bit, whatever their policy; what follows is the spike's doing. An arm's *effect* is the masked-language
loss that it adds to the control's, over what the control's fine-tuning added to the checkpoint's.
"""

from dataclasses import replace

import numpy as np
import pandas as pd

from aura_study.claims import Measurement
from aura_study.claims.statistics.intervals import mean_interval, spread
from aura_study.experiments.pretraining.parameters import PretrainingParameters, RegimeName


def effects(runs: pd.DataFrame, p: PretrainingParameters) -> pd.DataFrame:
    """Every arm at every moment against its control, and against the mask, of the same seed.

    Columns: regime, policy, seed, moment, mlm_loss, cka, distance; ``forgotten``, the controls' loss minus the
    checkpoint's, mean over seeds (a seed that forgot little must not decide by its small divisor); ``effect``, the
    arm's loss minus the control's over ``forgotten``; ``drift``, the same of 1 - CKA; ``spike``, the arm's loss minus
    the masked arm's over ``forgotten``: control and arms differ in the absent task's rows too, masked and unmasked in
    the return alone. NaN where no masked arm was trained.
    """
    names = {step: name for name, step in p.moments.items()}
    chosen = runs[runs["step"].isin(names)].assign(moment=runs["step"].map(names))
    start = float(chosen.loc[chosen["step"] == 0, "mlm_loss"].mean())
    keys, found = ["regime", "seed", "moment"], ["mlm_loss", "cka"]
    table = chosen.loc[(chosen["policy"] != "control") & (chosen["step"] > 0), [*keys, "policy", *found, "distance"]]
    for other in ("control", "masked"):
        rows = chosen.loc[chosen["policy"] == other, [*keys, *found]]
        table = table.merge(rows, "left", keys, suffixes=("", f"_{other}"))
    controls = table.groupby(["regime", "moment", "policy"])[["mlm_loss_control", "cka_control"]].transform("mean")
    forgotten = controls["mlm_loss_control"] - start
    table = table.assign(
        forgotten=forgotten,
        effect=(table["mlm_loss"] - table["mlm_loss_control"]) / forgotten,
        drift=(table["cka_control"] - table["cka"]) / (1 - controls["cka_control"]),
        spike=(table["mlm_loss"] - table["mlm_loss_masked"]) / forgotten,
    )
    return table.drop(columns=[f"{name}_{other}" for name in found for other in ("control", "masked")])


def effect_table(table: pd.DataFrame) -> pd.DataFrame:
    """`effects` over seeds, by regime, policy and moment: mean effect and spike, each with its 95 % interval, drift."""
    rows = []
    for (regime, policy, moment), group in table.groupby(["regime", "policy", "moment"], sort=False):
        row = {"regime": regime, "policy": policy, "moment": moment, "seeds": len(group)}
        row |= {name: group[name].mean() for name in ("forgotten", "drift")}
        for name in ("effect", "spike"):
            if group[name].notna().all():
                estimate = mean_interval(group[name])
                row |= {name: estimate.mean, f"{name} low": estimate.low, f"{name} high": estimate.high}
        rows.append(row)
    return pd.DataFrame(rows)


def bands(runs: pd.DataFrame) -> pd.DataFrame:
    """Loss and CKA where the encoder was tested, over seeds: measure, regime, policy, step, mean, low, high."""
    tested = runs.dropna(subset="mlm_loss").melt(["regime", "policy", "step"], ["mlm_loss", "cka"], "measure", "value")
    return spread(tested, ["measure", "regime", "policy", "step"], "value")


def measure(table: pd.DataFrame, regime: RegimeName, policy: str = "unmasked") -> Measurement:
    """P8 and its parts: an arm's effect, at whichever is worse: soon after the return, or the end of training.

    The interval is infinite, and the claim undecided, if the controls have forgotten nothing.
    """
    arm = table[(table["regime"] == regime) & (table["policy"] == policy)]
    forgets = bool((arm["forgotten"] > 0).all())  # a share of nothing tells nothing
    found = {moment: arm[arm["moment"] == moment] for moment in ("after the return", "at the end")}
    worse = max(found.values(), key=lambda rows: float(rows["effect"].mean()))
    effect = mean_interval(worse["effect"])
    spike = worse["spike"].dropna()
    against_mask = {"the same against the mask, on the same batches": float(spike.mean())} if len(spike) else {}
    return Measurement.of(
        effect if forgets else replace(effect, low=-np.inf, high=np.inf),
        "masked-language loss that the spike adds / that fine-tuning adds anyway",
        limits={
            "effect at the end of training": float(found["at the end"]["effect"].mean()),
            "drift (1 - CKA) added / that of the control": float(worse["drift"].mean()),
            **against_mask,
        },
    )
