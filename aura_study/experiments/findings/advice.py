"""What to do about the price, in three sentences made of tables and of the ledger's rows."""

from collections.abc import Mapping

import pandas as pd

from aura_study.claims.rules import INTEREST
from aura_study.claims.statistics.intervals import Estimate
from aura_study.experiments.findings.figures import BARE, CLIPPED, SOON
from aura_study.runs.ledger import Row

SHOWN_FALL, LATER = 3, 50
"""The fall of log sigma at which clipping is told of, and steps after the return at which the task's own loss is."""


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
    harms = bool(without and kept and kept.low > without.high)
    clip = {
        (True, True): "Clip the gradient for the other tasks' sake, not for the pre-training's.",
        (True, False): "Clip the gradient of the model.",
        (False, True): "Do not rely on clipping.",
        (False, False): "Whether clipping helps was not settled.",
    }
    ratio = spike["ratio"][f"{SHOWN_FALL:g}"]
    sentences = (
        f"Mask the absent task's whole term. At the end of training it had gained {_said(score)} of "
        f"mean area under the ROC curve (P9){', too little to notice' if little else ''}; without it log sigma fell by "
        f"{spike['dose']['unmasked']:.2g} at a summed rate (Λ) of {SHOWN_FALL:g}.",
        ("Watch the returned task's own loss." if hurts else "The returned task's own loss is not surely higher.")
        + f" After a fall of {far:g}, clipped, it is {_said(returned)} nats above the masked run's {later} steps on.",
        f"{clip[helps, harms]} After a fall of {SHOWN_FALL:g}, {absent} returns with {ratio:.3g} times its gradient; "
        f"{soon} steps later the others had lost {_said(clipped)} nats clipped, {_said(bare)} not. Of the pre-training "
        f"a share of {_said(kept)} went clipped, {_said(without)} not (P8, P8a).",
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
