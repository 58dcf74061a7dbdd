"""The claims of AURA's guide and of the theory, their rules, and the ledger.

One module per group of claims; `CLAIMS` holds them all in the ledger's order: focal loss (F), Kendall's
weighting (K), the phantom gradient (P), schedules (S), beyond the mask (B), the family of balancers (N).
"""

from aura_study.claims import (
    aftermath,
    beyond,
    dynamics,
    family,
    focal,
    kendall,
    phantom,
    pretraining,
    quality,
    schedule,
)
from aura_study.claims.model import AtLeast, AtMost, Claim, Limit, Measurement, RatioWithin, Rule, Verdict

_GROUPS = (focal, kendall, phantom, aftermath, pretraining, quality, dynamics, schedule, beyond, family)
_LETTERS = "FKPSBN"


def _place(claim: Claim) -> tuple[int, int, str]:
    number = claim.key[1:].rstrip("abcdefgh")  # P7a is a part of P7 and follows it
    return _LETTERS.index(claim.key[0]), int(number), claim.key[1 + len(number) :]


CLAIMS: dict[str, Claim] = {
    claim.key: claim for claim in sorted((claim for group in _GROUPS for claim in group.CLAIMS), key=_place)
}

__all__ = [
    "CLAIMS",
    "AtLeast",
    "AtMost",
    "Claim",
    "Limit",
    "Measurement",
    "RatioWithin",
    "Rule",
    "Verdict",
]
