"""Claims on the learning-rate schedule (section 4 of the guide)."""

from aura_study.claims.model import Claim, Foretells, Kind, Limit, decided_by
from aura_study.claims.rules import AtMost, RatioWithin

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
        statement="The falling rate at the end refines sigma: with as large a sum of sigma's rates as in AURA's run, "
        "about 0.3, OneCycleLR leaves log sigma nearer to its fixed point, by a tenth of the distance at least, than "
        "a constant rate of the same sum.",
        prediction="no nearer: under way, log sigma moves by the sum of its rates, and the two sums are equal; over "
        "the last tenth of the steps the constant rate is behind by 5 % of the sum only",
        rule=AtMost(bound=0.9, min_seeds=3),
        kind=Kind.TRAINED,
        foretells=RatioWithin(tolerance=0.1),
        figure="schedule_movement",
    ),
    Claim(
        "S2a",
        "theory",
        statement="Under OneCycleLR, with as large a sum of sigma's rates as in AURA's run, the last 30 % of the steps "
        "carry less than their equal share, 30 %, of sigma's movement.",
        prediction="the share of the rates' sum that falls into the last 30 % of the steps, about 8 %",
        rule=AtMost(bound=0.3, min_seeds=3),
        kind=Kind.TRAINED,
        foretells=RatioWithin(tolerance=0.2),
        figure="schedule_movement",
    ),
    Claim(
        "S2b",
        "4",
        statement="Given ten times AURA's sum of sigma's rates, with which sigma arrives, the falling rate at the end "
        "refines it: OneCycleLR leaves log sigma nearer to its fixed point, by a tenth of the distance at least, than "
        "a constant rate of the same sum.",
        prediction=r"nearer: a constant rate $\eta$ keeps $\log\sigma$ jittering about its fixed point with variance "
        r"$\eta c / 4$, c the loss's coefficient of variation; a falling one lets the jitter rest, and as the "
        "network's own rate falls too, the losses that it follows have settled",
        rule=AtMost(bound=0.9, min_seeds=3),
        kind=Kind.TRAINED,
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
