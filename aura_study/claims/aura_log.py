"""Claims on AURA's own run (section 3.2 and question 2 of the guide)."""

from aura_study.claims.model import Claim, Gate, Kind, Limit, decided_by
from aura_study.claims.rules import AtMost

CLAIMS = decided_by(
    "07_aura_log",
    Claim(
        "P10",
        "3.2",
        statement="AURA's V10.2 run trained with the mask: its printed reporting weights are those of masked dynamics.",
        prediction="masked dynamics give the reporting weight of all 14 epochs within 2 %; unmasked dynamics miss it "
        "by about 10 %",
        rule=AtMost(
            bound=0.02,
            min_seeds=8,
            gate=Gate(
                quantity="unmasked miss over masked miss, least over all assumptions",
                at_least=3.0,
                text="under some assumption on the losses the two predictions lie too close to tell them apart",
            ),
            limit=Limit(
                quantity="2 % over the masked miss, least over all assumptions",
                at_least=1.0,
                text="the 2 % need a loss that varies from sample to sample, which the log does not tell: where it "
                "hardly does, masked dynamics miss by more; the row's numbers name the least noise tried that is "
                "enough under every other assumption, and the greatest miss without any",
            ),
        ),
        kind=Kind.LOGGED,
        figure="aura_reporting_weight",
        cites=("aura",),
    ),
    Claim(
        "P11",
        "Q2",
        statement="At AURA's own learning rates the phantom gradient of V10.1 collapses no task's sigma.",
        prediction=r"no precision grows by more than about $e^{2\Lambda}$, with $\Lambda$ at most the sum of all "
        r"learning rates of the run: about 0.3 for V10.2's data sizes, about 0.7 for V10.1's",
        rule=AtMost(bound=10.0, min_seeds=8),
        kind=Kind.LOGGED,
        figure="aura_counterfactual",
        cites=("aura",),
    ),
)
