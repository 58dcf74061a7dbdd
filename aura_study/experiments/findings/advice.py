"""What to do about the price, in three sentences made of tables and of the ledger's rows."""

from collections.abc import Mapping

import pandas as pd

from aura_study.claims.rules import INTEREST
from aura_study.claims.statistics.intervals import Estimate
from aura_study.experiments.findings.figures import BARE, CLIPPED, SOON
from aura_study.runs.ledger import Row

SHOWN_FALL, LATER = 3, 50
"""The fall of log sigma at which clipping is told of, and steps after the return at which the task's own loss is."""
SEEDS_TO_ADVISE = 3
"""With fewer, what the intervals say is passed on as a possibility."""


def advice(costs: pd.DataFrame, spikes: pd.DataFrame, rows: Mapping[str, Row], absent: str) -> pd.DataFrame:
    """Mask, watch, clip; column ``sentence``. What the intervals do not say is not advised, and said to be open.

    Args:
        costs, spikes: notebook 12's ``return_costs`` and ``return_spikes_by_dose``.
        rows: the claims of the same run; P9 and, of the pre-training, P8 and P8a.
        absent: the task that returns.
    """

    def found(arm: float, task: str, since: int, way: str = CLIPPED) -> Estimate | None:
        chosen = (costs[["way", "arm", "task", "measure"]] == [way, f"{arm:g}", task, "log_loss"]).all(axis=1)
        told = costs.loc[chosen & (costs["since"] == since), ["difference", "low", "high", "seeds"]]
        return Estimate(*told.iloc[0]) if len(told) else None

    spike = spikes[spikes["way"] == CLIPPED].set_index("arm")
    falls = pd.to_numeric(costs["arm"], errors="coerce")
    last = int(costs.loc[falls.notna(), "since"].max())
    soon, later, far = min(SOON, last), min(LATER, last), float(falls.max())
    score, returned = _decided(rows, "P9"), found(far, absent, later)
    bare, clipped = found(SHOWN_FALL, "the others", soon, BARE), found(SHOWN_FALL, "the others", soon)
    without, kept = _decided(rows, "P8a"), _decided(rows, "P8")
    little = score and max(abs(score.low), abs(score.high)) < INTEREST
    hurts = returned and returned.low > 0
    helps = bool(clipped and bare and bare.low > clipped.high)
    known = bool(clipped and bare and min(clipped.count, bare.count) >= SEEDS_TO_ADVISE)
    harms = bool(without and kept and kept.low > without.high)
    clip = {
        (True, True): "Clip the gradient: it spares the other tasks.",
        (True, False): "Clipping may spare the other tasks.",
    }.get((helps, known), "Whether clipping spares the other tasks was not settled.")
    ratio = spike["ratio"][f"{SHOWN_FALL:g}"]
    sentences = (
        f"Mask the absent task's whole term. At the end of training this gained {_said(score)} of mean area under "
        f"the ROC curve (P9){', too little to notice' if little else ''}.",
        ("Watch the returned task's own loss." if hurts else "The returned task's own loss is not surely higher.")
        + f" With log sigma lowered by {far:g} by hand, clipped, it is {_said(returned)} nats above the masked run's "
        f"{later} steps on; by {SHOWN_FALL:g}, {_said(found(SHOWN_FALL, absent, later))}. A summed rate (Λ) of "
        f"{SHOWN_FALL:g} lowered it by {spike['dose']['unmasked']:.2g}.",
        f"{clip} {soon} steps after it was lowered by {SHOWN_FALL:g} ({ratio:.3g} times {absent}'s gradient) their "
        f"loss is higher by {_said(clipped)} nats clipped, {_said(bare)} not. "
        + ("It does not spare the pre-training: of that" if harms else "Of the pre-training")
        + f" a small RoBERTa lost {_said(kept)} clipped, {_said(without)} not, by the return after Λ = 3 (P8, P8a).",
    )
    return pd.DataFrame({"sentence": sentences})


def _decided(rows: Mapping[str, Row], claim: str) -> Estimate | None:
    row = rows.get(claim)
    low, high = row.interval if row else (None, None)
    if row is None or row.measured is None or low is None or high is None:
        return None
    return Estimate(row.measured, low, high, row.seeds)


def _said(found: Estimate | None) -> str:
    if found is None:
        return "(not tried)"
    digits = 3 if abs(found.mean) >= 1e-3 else 4
    shown = f"{found.mean:+.{digits}f} [{found.low:.{digits}f}, {found.high:.{digits}f}"
    return f"{shown}; {found.count:.0f} seed{'s' * (found.count != 1)}]"
