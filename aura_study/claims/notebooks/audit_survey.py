"""Claims on the scan of whole repositories (theory: the guide speaks of AURA's code alone)."""

from aura_study.claims.model import Claim, Kind, decided_by
from aura_study.claims.rules import AtLeast

CLAIMS = decided_by(
    "09_audit_survey",
    Claim(
        "N3",
        "theory",
        statement="Reading alone tells where to look: of the public repositories in which `aura-study scan` lists a "
        "place of learned weighting or a balancer, nine in ten have one.",
        prediction="at least 0.9 on repositories that were labelled by reading, after the scan's code was fixed and "
        "before it ran on them",
        rule=AtLeast(bound=0.9),
        kind=Kind.LOGGED,
        figure="scan",
    ),
    Claim(
        "N3a",
        "theory",
        statement="Reading alone misses little: of the public repositories with learned weighting or a balancer, "
        "`aura-study scan` lists the file in which a reader found it in four of five.",
        prediction="at least 0.8 on the same repositories",
        rule=AtLeast(bound=0.8),
        kind=Kind.LOGGED,
        figure="scan",
    ),
)
