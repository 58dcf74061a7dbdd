"""The claim on a task that comes and goes (theory; section 3.1 of the guide)."""

from aura_study.claims.model import Claim, Kind, Limit, decided_by
from aura_study.claims.rules import RatioWithin

CLAIMS = decided_by(
    "05_presence",
    Claim(
        "P5",
        "theory",
        statement="The precision of a task that is present with probability p is inflated, not collapsed: by 1/p for "
        "the guide's formula, by 1/sqrt(p) for AURA's code.",
        prediction=r"unmasked over masked precision is $1/p$ for $\sigma$, $s$ and $u$, $1/\sqrt p$ for AURA's "
        r"softplus; under Adam $1/p'$ with $p' = p / (1 - \frac{1-b_2}{2} E[h^3]/E[h^2])$, a little more",
        rule=RatioWithin(
            tolerance=0.02,
            min_seeds=8,
            limit=Limit(
                quantity="share of all rates and presences that follow 1/p within 5 %",
                at_least=1.0,
                text="small steps, eta << p: at larger ones the weight lives in bursts and its typical value falls "
                "short; under Adam rare presences (p below 0.03) inflate by a few percent more than 1/p",
            ),
        ),
        kind=Kind.SIMULATED,
        figure="presence_inflation",
        cites=("kirchdorfer2024analytical",),
    ),
)
