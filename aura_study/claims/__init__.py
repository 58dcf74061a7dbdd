"""The claims of AURA's guide and of the theory, their rules, and the ledger.

`notebooks` has one module a notebook, of its name; `CLAIMS` holds them all in the ledger's order: focal loss (F),
Kendall's weighting (K), the phantom gradient (P) and what it does to a pre-trained encoder (Q), schedules (S), beyond
the mask (B), balancers (N), AURA's later logs (A).
"""

from aura_study.claims.model import Claim, Limit, Measurement, Row, Rule, Verdict
from aura_study.claims.notebooks import (
    after_the_return,
    audit_survey,
    aura_later_logs,
    aura_log,
    aura_training,
    balancers,
    beyond_the_mask,
    focal_loss,
    focal_on_toxicity,
    kendall_weighting,
    phantom_gradient,
    phase_diagram,
    presence,
    pretraining,
    schedules,
    task_quality,
)
from aura_study.claims.rules import AtLeast, AtMost, RatioWithin

_NOTEBOOKS = (
    *(focal_loss, kendall_weighting, phantom_gradient, aura_training, presence, phase_diagram, aura_log),
    *(beyond_the_mask, schedules, focal_on_toxicity, after_the_return, pretraining, task_quality, balancers),
    audit_survey,
    aura_later_logs,
)
_LETTERS = "FKPQSBNA"


def _place(claim: Claim) -> tuple[int, int, str]:
    number = claim.key[1:].rstrip("abcdefgh")  # P7a is a part of P7 and follows it
    return _LETTERS.index(claim.key[0]), int(number), claim.key[1 + len(number) :]


CLAIMS: dict[str, Claim] = {
    claim.key: claim for claim in sorted((claim for notebook in _NOTEBOOKS for claim in notebook.CLAIMS), key=_place)
}

__all__ = [
    "CLAIMS",
    "AtLeast",
    "AtMost",
    "Claim",
    "Limit",
    "Measurement",
    "RatioWithin",
    "Row",
    "Rule",
    "Verdict",
]
