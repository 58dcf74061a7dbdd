"""Wrong labels under cross-entropy and focal loss: what is memorised and when, what it costs, who pulls (F4)."""

from typing import Any

import numpy as np
import pandas as pd
from scipy.special import logit

from aura_study.claims import Measurement
from aura_study.claims.notebooks.focal_on_toxicity import LEARNED_TOXICITY
from aura_study.claims.statistics.intervals import Estimate, intervals, paired_interval, ratio_interval
from aura_study.experiments.focal_on_toxicity.adequacy import auc, margin_of
from aura_study.experiments.focal_on_toxicity.effort import bands, efforts
from aura_study.experiments.focal_on_toxicity.parameters import FocalOnToxicityParameters
from aura_study.theory import focal as theory

CONTROL = "noise 0"
"""Condition of the control: the same comments, all labels right."""
RUN = ["noise", "gamma", "seed"]
COLUMNS = ("memorised", "beyond held-out errors", "wrong labels' loss", "wrong labels' gradient", "auc")
ROOM = 0.02
"""The smallest difference of memorised shares that F4 asks about: an arm nearer than this to all has no room for it."""


def memory(looks: pd.DataFrame, p: FocalOnToxicityParameters) -> pd.DataFrame:
    """One row per run with wrong labels and look, of training comments without dropout and clean held-out ones.

    Columns: noise, gamma, seed, step, epochs; memorised (share of the flipped comments whose wrong label the model
    predicts); beyond held-out errors (how much of it is more than it errs by on held-out comments, in parts of what
    could be more: (memorised - error) / (1 - error)); wrong labels' loss (their cross-entropy in nats, under either
    loss); wrong labels' gradient (their share of the gradient on the logits); as under focal loss (the share that focal
    loss would give them in this model); auc (clean, held out); before (whether this is before memorisation).

    *Before memorisation* are the looks after the first step up to the last at which, in neither loss's run of that
    noise and seed, half or more is memorised beyond held-out errors, nor was before.
    """
    rows: list[dict[str, Any]] = []
    for key, look in looks[looks["noise"] > 0].groupby([*RUN, "step", "epochs"]):
        about: dict[str, Any] = dict(zip([*RUN, "step", "epochs"], key, strict=True))
        trained, held_out = look[~look["held_out"]], look[look["held_out"]]
        wrong = trained["flipped"].to_numpy()
        memorised, error = float((trained["margin"] > 0)[wrong].mean()), float((held_out["margin"] <= 0).mean())
        given = {gamma: efforts(trained, gamma, 0.5)["pull"] for gamma in {about["gamma"], p.gamma}}
        rows.append(
            {
                **about,
                "memorised": memorised,
                "beyond held-out errors": (memorised - error) / (1 - error) if error < 1 else np.nan,
                "wrong labels' loss": float(theory.loss(trained["margin"][wrong], 0.0).mean()),
                "wrong labels' gradient": theory.share_of(given[about["gamma"]], wrong),
                "as under focal loss": theory.share_of(given[p.gamma], wrong),
                "auc": auc(held_out),
            }
        )
    table = pd.DataFrame(rows).sort_values([*RUN, "step"], ignore_index=True)
    full = table["beyond held-out errors"] >= 0.5
    either = (full & (table["step"] > 0)).groupby([table[name] for name in ("noise", "seed", "step")]).max().astype(int)
    begun = either.groupby(["noise", "seed"]).cummax().rename("begun").reset_index()
    joined = table.merge(begun, on=["noise", "seed", "step"])
    return joined.assign(before=(joined["begun"] == 0) & (joined["step"] > 0)).drop(columns="begun")


def noise_bands(table: pd.DataFrame) -> pd.DataFrame:
    """Every measure of `memory` over seeds, mean and 95 % interval, by noise, loss and epochs."""
    tidy = table[[*RUN, "epochs", *COLUMNS]].melt([*RUN, "epochs"], var_name="measure", value_name="value").dropna()
    return bands(tidy, ["measure", "noise", "gamma", "epochs"], "value")


def noise_table(table: pd.DataFrame, p: FocalOnToxicityParameters) -> pd.DataFrame:
    """By noise: means of both losses, and focal loss less cross-entropy, paired, with its 95 % interval.

    Over training, before memorisation and at the last look.
    """
    parts = {
        "over training": table[table["step"] > 0],
        "before memorisation": table[table["before"]],
        "at the last look": table[table["step"] == table["step"].max()],
    }
    frames = []
    for when, part in parts.items():
        for column in COLUMNS:
            cells = part.groupby(["noise", "seed", "gamma"])[column].mean().unstack()
            if cells.empty:
                continue
            means = cells.groupby("noise").mean().rename(columns={0.0: "cross-entropy", p.gamma: "focal"})
            gains = (cells[p.gamma] - cells[0.0]).rename("gain").reset_index()
            gain = intervals(gains, ["noise"], "gain", "focal - cross-entropy").set_index("noise")
            frames.append(means.join(gain).reset_index().assign(when=when, measure=column))
    joined = pd.concat(frames, ignore_index=True)
    return joined[["when", "measure", *(name for name in joined.columns if name not in ("when", "measure"))]]


def measure_memory(table: pd.DataFrame, learned: pd.DataFrame, p: FocalOnToxicityParameters) -> Measurement:
    """F4: share of wrong labels memorised, mean over the looks of training, focal less cross-entropy, paired."""
    trained = table[table["step"] > 0]
    arms = trained.groupby("gamma")["memorised"].mean()
    full = "" if arms.max() <= 1 - ROOM else "one of the losses memorises every wrong label in every run at every look"
    limits = {
        "clean held-out AUC lost against cross-entropy in the end": -_difference(_last(table), "auc", p).mean,
        "the same difference at the last look": _difference(_last(table), "memorised", p).mean,
        "memorised under cross-entropy, mean over training": float(arms[0.0]),
        LEARNED_TOXICITY.quantity: margin_of(learned, CONTROL),
    }
    unit = "share of wrong labels memorised, mean over training, focal loss - cross-entropy"
    return Measurement.of(_difference(trained, "memorised", p), unit, limits=limits, void=full)


def measure_harm(table: pd.DataFrame, learned: pd.DataFrame, p: FocalOnToxicityParameters) -> Measurement:
    """F4a: clean held-out AUC at the last look, cross-entropy less focal loss, paired."""
    best = table[table["step"] > 0].groupby(RUN)["auc"].max().reset_index()
    limits = {
        "the same difference at each run's best look": -_difference(best, "auc", p).mean,
        LEARNED_TOXICITY.quantity: margin_of(learned, CONTROL),
    }
    unit = "clean held-out AUC after the last epoch, cross-entropy - focal loss"
    return Measurement.of(-1 * _difference(_last(table), "auc", p), unit, limits=limits)


def measure_dwelling(table: pd.DataFrame, learned: pd.DataFrame, p: FocalOnToxicityParameters) -> Measurement:
    """F4b: odds of the wrong labels' share of the gradient before memorisation, focal over cross-entropy, paired.

    Geometric means over looks, noises and seeds. Predicted: what focal loss would make of cross-entropy's own models.
    """
    unit = "odds of the wrong labels' share of the gradient before memorisation, focal loss / cross-entropy"
    before = table[table["before"]]
    odds = before.assign(
        own=logit(before["wrong labels' gradient"]), focal=logit(before["as under focal loss"])
    ).groupby(["noise", "seed", "gamma"])[["own", "focal"]]
    means = odds.mean().groupby(["seed", "gamma"]).mean().apply(np.exp).unstack()
    if means.empty:
        return Measurement(
            np.nan, np.nan, np.nan, unit, limits={LEARNED_TOXICITY.quantity: margin_of(learned, CONTROL)}
        )
    plain = means["own"][0.0]
    return Measurement.of(
        ratio_interval(means["own"][p.gamma], plain),
        unit,
        predicted=ratio_interval(means["focal"][0.0], plain).mean,
        limits={
            "looks before memorisation, mean over runs": len(before) / len(before[RUN].drop_duplicates()),
            LEARNED_TOXICITY.quantity: margin_of(learned, CONTROL),
        },
        logarithmic=True,
    )


def _last(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["step"] == table["step"].max()]


def _difference(table: pd.DataFrame, column: str, p: FocalOnToxicityParameters) -> Estimate:
    """Focal loss less cross-entropy in ``column``, mean over noises and looks, paired over seeds."""
    cells = table.groupby(["seed", "noise", "gamma"])[column].mean().groupby(["seed", "gamma"]).mean().unstack()
    return paired_interval(cells[p.gamma], cells[0.0])
