"""What the spike takes of a pre-training, and whether that is a ruin: by dose, by time, by number of returns.

Whatever was learned is measured on one scale: 0 is what the encoder knew before fine-tuning, 1 what one knows that has
learned nothing (of hidden words their frequencies, of probes an encoder with random weights). The *harm* of an arm is
what it has lost beyond the masked arm of the same seed.
"""

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd

from aura_study.claims import Measurement
from aura_study.claims.notebooks.pretraining import RUINED, UNHARMED
from aura_study.claims.statistics.intervals import intervals, mean_interval, spread
from aura_study.experiments.pretraining.parameters import CYCLES, PretrainingParameters, RegimeName

SOON, END, LATER = "soon after the return", "after the return", "long after the return"
"""Moments at which arms are compared: after ten steps, where the harm is judged, and where the healing is."""
LEARNED = "nats that the pre-training had learned"
UNITS = {
    "mlm_loss": "masked-language loss that the spike adds / that the pre-training had taken away",
    "probe": "area under the probe's curve that the spike takes / that the pre-training had brought",
    "retrieval": "reciprocal rank of the other half that the spike takes / that the pre-training had brought",
}
LEFT_OUT = "left out of a run of this size; the committed full run has measured it"
WATCHED = 300
"""Steps after the return of which the claims on healing speak."""
Scale = tuple[float, float]
"""A measure of an encoder before fine-tuning, and of one that has learned nothing."""


def language_scale(curve: pd.DataFrame) -> dict[str, Scale]:
    """That of hidden words, by the last row of a learning curve: those that know no context give the unigram."""
    last = curve.iloc[-1]
    return {"mlm_loss": (float(last["mlm_loss"]), float(last["unigram"]))}


def probed_scale(start: pd.DataFrame) -> dict[str, Scale]:
    """That of the probed encoder's measures, by `aura_study.experiments.pretraining.jobs.probed_start`."""
    known = start["start"] == "pre-trained"
    return {
        measure: (float(start.loc[known, measure].item()), float(start.loc[~known, measure].mean()))
        for measure in ("probe", "retrieval")
    }


def language_worth(curve: pd.DataFrame) -> dict[str, float]:
    """What the language model is worth, in nats on hidden words: `LEARNED`, and how far it lies below the bigram."""
    last = curve.iloc[-1]
    return {
        LEARNED: float(last["unigram"] - last["mlm_loss"]),
        "nats of the pre-training below the bigram": float(last["bigram"] - last["mlm_loss"]),
    }


def probed_worth(start: pd.DataFrame) -> dict[str, float]:
    """What the pre-training has brought the probed encoder."""
    scale = probed_scale(start)
    brought = {measure: known - nothing for measure, (known, nothing) in scale.items()}
    return {
        "area under the curve of the probe that the pre-training brings": brought["probe"],
        "reciprocal rank of a text's other half that the pre-training brings": brought["retrieval"],
    }


def moments(p: PretrainingParameters) -> pd.DataFrame:
    """When arms are compared: step, moment, cycles (whether it is one of the arms with several returns)."""
    turn = p.after + p.absent_steps
    returns = {f"{n + 1} returns": p.steps + turn * n for n in range(1, CYCLES)}
    rows = [(step, moment, False) for moment, step in p.moments.items()]
    rows += [(step, moment, True) for moment, step in {"1 return": p.steps, **returns}.items()]
    return pd.DataFrame(rows, columns=["step", "moment", "several"])


def lost(runs: pd.DataFrame, scale: Mapping[str, Scale]) -> pd.DataFrame:
    """What every arm has lost where it was looked at: measure, regime, policy, rates, seed, step, lost."""
    keys = ["regime", "policy", "rates", "seed", "step"]
    frames = []
    for measure, (known, nothing) in scale.items():
        seen = runs.dropna(subset=measure)
        frames.append(seen[keys].assign(measure=measure, lost=(seen[measure] - known) / (nothing - known)))
    return pd.concat(frames, ignore_index=True)


def harms(losses: pd.DataFrame) -> pd.DataFrame:
    """`lost` of the arms that are not masked, with ``masked``, what that of the same seed has lost, and ``harm``."""
    shared = ["measure", "regime", "seed", "step"]
    masked = losses[losses["policy"] == "masked"].set_index(shared)["lost"].rename("masked")
    others = losses[losses["policy"] != "masked"].join(masked, on=shared, how="inner")
    return others.assign(harm=others["lost"] - others["masked"])


def harm_table(table: pd.DataFrame, p: PretrainingParameters) -> pd.DataFrame:
    """`harms` at the moments of comparison, over seeds.

    Columns: measure, regime, policy, rates, moment, since (steps since the first return), harm (mean) with its 95 %
    interval low to high, seeds, masked (what the masked arm has lost, mean), deviation (standard, of the harm over
    seeds), found: *ruined* or *unharmed* where the whole interval is, *harmed* where all of it lies between, else
    *open*.
    """
    named = table.assign(several=table["regime"] == "cycles").merge(moments(p), on=["step", "several"])
    named = named[named["step"] > p.stop].sort_values("step", kind="stable")
    named = named.assign(since=named["step"] - p.stop)
    keys = ["measure", "regime", "policy", "rates", "moment", "since"]
    arms = named.groupby(keys, sort=False)
    found = intervals(named, keys, "harm", "harm")
    words = [_word(low, high) for low, high in zip(found["low"], found["high"], strict=True)]
    masked, deviation = arms["masked"].mean().to_numpy(), arms["harm"].std().to_numpy()
    return found.assign(masked=masked, deviation=deviation, found=words)


def course(table: pd.DataFrame, p: PretrainingParameters) -> pd.DataFrame:
    """`harms` of the unmasked arms that are watched long, from the return on.

    Columns: measure, regime, since, mean, low, high (lowest and highest seed).
    """
    watched = table[(table["policy"] == "unmasked") & (table["regime"] != "cycles") & (table["step"] >= p.stop)]
    watched = watched[np.isclose(watched["rates"], [p.rates(regime) for regime in watched["regime"]])]
    last = watched.groupby(["measure", "regime"])["step"].transform("max")
    long = watched[last == p.stop + p.healed]
    return spread(long.assign(since=long["step"] - p.stop), ["measure", "regime", "since"], "harm")


def layers(runs: pd.DataFrame, p: PretrainingParameters) -> pd.DataFrame:
    """CKA of the probed encoder where the harm is judged: arm (in words), layer, mean, low, high (seeds)."""
    seen = runs[runs["step"] == p.steps]
    ways = np.where(seen["regime"] == "sgd", "SGD, ", "AdamW, clipped, ")
    doses = np.where(seen["policy"] == "masked", "masked", r"$\Lambda$ = " + seen["rates"].map("{:g}".format))
    named = seen.assign(arm=ways + doses)
    long = named.melt("arm", [name for name in map(str, seen) if name.startswith("cka_")], "layer", "cka")
    return spread(long.assign(layer=long["layer"].str.removeprefix("cka_").astype(int)), ["arm", "layer"], "cka")


def _word(low: float, high: float) -> str:
    if low >= RUINED:
        return "ruined"
    if low >= -UNHARMED and high <= UNHARMED:
        return "unharmed"
    return "harmed" if low > UNHARMED and high < RUINED else "open"


def measure_harm(
    table: pd.DataFrame,
    p: PretrainingParameters,
    measure: str,
    regime: RegimeName,
    worth: Mapping[str, float],
    moment: str = END,
    rates: float | None = None,
) -> Measurement:
    """P8, P8a, P8b, P8h and Q1 to Q1d: `harms` of the unmasked arm; its other moments stand beside it."""
    arm = table[(table["measure"] == measure) & (table["regime"] == regime) & (table["policy"] == "unmasked")]
    arm = arm[np.isclose(arm["rates"], p.rates(regime) if rates is None else rates)]
    if arm.empty:
        return not_asked()
    if moment == LATER and p.healed < WATCHED:
        return not_asked(f"{p.healed} steps after the return were watched, not {WATCHED}")
    at = {name: arm[arm["step"] == p.moments[name]] for name in (SOON, END, LATER)}
    others = {f"the same {name}": rows["harm"].mean() for name, rows in at.items() if name != moment and len(rows)}
    taken = float(at[moment]["masked"].mean())
    masked = {"what the masked fine-tuning takes": taken, "part of it that the masked fine-tuning leaves": 1 - taken}
    return Measurement.of(
        mean_interval(at[moment].sort_values("seed")["harm"]), UNITS[measure], limits={**worth, **others, **masked}
    )


def not_asked(why: str = LEFT_OUT) -> Measurement:
    """A measurement that was not made."""
    return Measurement(math.nan, math.nan, math.nan, "not measured", void=why)
