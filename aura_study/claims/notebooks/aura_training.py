"""The claim on the return of an absent task to the AURA model (question 2 of the guide)."""

from aura_study.claims.model import Claim, Gate, Kind, decided_by
from aura_study.claims.rules import RatioWithin

JUMP = Gate(quantity="smallest jump", at_least=2.0, text="the absence was too short for anything to jump")

CLAIMS = decided_by(
    "04_aura_training",
    Claim(
        "P6",
        "Q2",
        statement="When the absent task returns, its weight and its gradient into the encoder jump.",
        prediction="by the precision ratio that its absence built up",
        rule=RatioWithin(tolerance=0.02, min_seeds=3, gate=JUMP),
        kind=Kind.ARITHMETIC,
        figure="return_spike",
    ),
)
