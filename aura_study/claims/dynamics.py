"""Claims on a task that comes and goes, and on AURA's own run (theory; sections 3.1 and Q2 of the guide)."""

from aura_study.claims.model import AtMost, Claim, Limit, RatioWithin

CLAIMS = (
    Claim(
        key="P5",
        section="theory",
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
        notebook="05_presence",
        figure="presence_inflation",
    ),
    Claim(
        key="P10",
        section="3.2",
        statement="AURA's V10.2 run trained with the mask: its printed reporting weights are those of masked dynamics.",
        prediction="masked dynamics give the reporting weight of all 14 epochs within 2 %; unmasked dynamics miss it "
        "by about 10 %",
        rule=AtMost(
            bound=0.02,
            min_seeds=8,
            limit=Limit(
                quantity="unmasked miss over masked miss, least over all assumptions",
                at_least=3.0,
                text="under some assumption on the losses the two predictions lie too close to tell them apart",
            ),
        ),
        notebook="07_aura_log",
        figure="aura_reporting_weight",
    ),
    Claim(
        key="P11",
        section="Q2",
        statement="At AURA's own learning rates the phantom gradient of V10.1 collapses no task's sigma.",
        prediction=r"no precision grows by more than about $e^{2\Lambda}$, with $\Lambda$ at most the sum of all "
        r"learning rates of the run: about 0.3 for V10.2's data sizes, about 0.7 for V10.1's",
        rule=AtMost(bound=10.0, min_seeds=8),
        notebook="07_aura_log",
        figure="aura_counterfactual",
    ),
)
