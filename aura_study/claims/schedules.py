"""Claims on the learning-rate schedule (section 4 of the guide)."""

from aura_study.claims.model import Claim, Foretells, Kind, Limit, decided_by
from aura_study.claims.rules import AtLeast, RatioWithin

CLAIMS = decided_by(
    "10_schedules",
    Claim(
        "S1",
        "4",
        statement="OneCycleLR starts low, rises until the middle of training, and falls at the end.",
        prediction="it starts at 1/25 of the peak and ends at 1/250,000 of it, but the peak stands at 30 % of the "
        "steps (PyTorch's default), not at 50 %",
        rule=RatioWithin(tolerance=0.1),
        kind=Kind.ARITHMETIC,
        foretells=Foretells.FAILS,
        figure="schedule_shapes",
    ),
    Claim(
        "S2",
        "4",
        statement="The falling rate at the end is the phase in which sigma is refined: the last 30 % of the steps "
        "carry at least their equal share, 30 %, of sigma's movement.",
        prediction="the share of the rates' sum that falls into the last 30 % of the steps, about 8 %",
        rule=AtLeast(bound=0.3, min_seeds=3),
        kind=Kind.TRAINED,
        foretells=Foretells.FAILS,
        figure="schedule_movement",
    ),
    Claim(
        "S3",
        "theory",
        statement="Under OneCycleLR too, an absence moves the unmasked task's log sigma by the sum of the rates over "
        "the absent steps, Lambda.",
        prediction=r"$s$ falls by $\Lambda = \sum \eta_t$ under SGD and Adam; the cycling of Adam's $b_1$ changes "
        r"step $k$ after a cold start by $(1 - \prod_{j \le k} b_{1,j}) / (1 - b_{1,k}^k)$",
        rule=RatioWithin(
            tolerance=0.02,
            limit=Limit(
                quantity="least displacement over Lambda with cycled beta1",
                at_least=0.98,
                text="in a short run the displacement under Adam differs from Lambda by some percent: its bias "
                "correction takes the current beta1 for that of all steps before",
            ),
        ),
        kind=Kind.SIMULATED,
        figure="schedule_phantom_number",
    ),
)
