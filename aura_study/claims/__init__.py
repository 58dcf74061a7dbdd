"""The claims of AURA's guide and of the theory, their rules, and the ledger.

One module per group of claims; `CLAIMS` holds them all in the ledger's order.
"""

from aura_study.claims import beyond, dynamics, focal, kendall, phantom, schedule
from aura_study.claims.model import AtLeast, AtMost, Claim, Limit, Measurement, RatioWithin, Rule, Verdict

CLAIMS: dict[str, Claim] = {
    claim.key: claim for group in (focal, kendall, phantom, dynamics, schedule, beyond) for claim in group.CLAIMS
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
