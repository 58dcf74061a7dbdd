"""Claims on the family of published balancers (theory: the guide knows Kendall's loss alone)."""

from aura_study.claims.model import Claim, Kind, Limit, decided_by
from aura_study.claims.rules import AtLeast, AtMost

CLAIMS = decided_by(
    "15_balancers",
    Claim(
        "N1",
        "theory",
        statement="A loss or gradient of 0 for an absent task disturbs nearly all published balancers: the update of "
        "the present tasks while it is away, or the balancer's state when it returns.",
        prediction="every balancer that divides by losses, normalises over all tasks, searches a convex hull or learns "
        "its weights; a plain sum and projections between pairs of tasks have nothing to disturb",
        rule=AtLeast(
            bound=0.5,
            min_seeds=3,
            limit=Limit(
                quantity="share of balancers disturbed in any problem",
                at_least=0.9,
                text="most, not nearly all: weights that do not depend on the other tasks, and projections that a row "
                "of zeros takes no part in, are untouched",
            ),
        ),
        kind=Kind.SIMULATED,
        figure="balancers",
        cites=("famo2023missing", "m3tl2019nan"),
    ),
    Claim(
        "N1a",
        "theory",
        statement="Each balancer is disturbed in its own way, which its formula foretells.",
        prediction="the effect on the update and on the return that the registry writes down for each balancer",
        rule=AtLeast(
            bound=0.9,
            min_seeds=3,
            limit=Limit(
                quantity="share foretold in the worst problem",
                at_least=1.0,
                text="not in every problem: see the rows where the measured effect is not the foretold one",
            ),
        ),
        kind=Kind.SIMULATED,
        figure="balancers",
        cites=(
            "kendall2018multi",
            "lin2022reasonable",
            "liu2021impartial",
            "liu2019end",
            "chennupati2019multinet",
            "liu2023famo",
            "lin2024smooth",
            "chen2018gradnorm",
            "lin2023dual",
            "desideri2012multiple",
            "sener2018multi",
            "quinton2024jacobian",
            "lopezpaz2017gradient",
            "liu2021conflict",
            "yu2020gradient",
            "wang2021gradient",
            "navon2022multi",
            "senushkin2023independent",
            "chen2020just",
            "ban2024fair",
            "he2024robust",
            "liu2025config",
        ),
    ),
    Claim(
        "N1b",
        "theory",
        statement="On the AURA model a zero costs the present tasks their training: with the balancers that it stops "
        "or breaks (DWA, geometric mean, FAMO, MGDA) most of what they would learn while a task is away is lost.",
        prediction="all of it, but for what Adam's momentum still does after the last gradient, about $1/(1-\\beta_1)$ "
        "steps, and what DWA learns before its second epoch of zeros ends",
        rule=AtLeast(
            bound=0.5,
            min_seeds=3,
            limit=Limit(
                quantity="share lost with the least disturbed of the four",
                at_least=0.5,
                text="not with every one of the four",
            ),
        ),
        kind=Kind.TRAINED,
        figure="balancers_on_model",
    ),
    Claim(
        "N2",
        "theory",
        statement="One cure fits all: given the present tasks only, with the absent tasks' state kept still, every "
        "balancer does what it does on the present tasks alone.",
        prediction="equal to a balancer that never knew the absent tasks, to float64 rounding",
        rule=AtMost(bound=1e-12),
        kind=Kind.ARITHMETIC,
        figure="cure",
    ),
    Claim(
        "N2a",
        "theory",
        statement="Under the cure an absence leaves the absent tasks' state exactly where it was.",
        prediction="every entry of the absent tasks' state is unchanged bit for bit",
        rule=AtMost(bound=0.0),
        kind=Kind.ARITHMETIC,
    ),
    Claim(
        "N2b",
        "theory",
        statement="On the AURA model too, the cured balancer trains the encoder as if the absent task had never been "
        "there.",
        prediction="the encoder ends where that of a balancer of the present tasks alone ends, to float32 rounding",
        rule=AtMost(bound=1e-4),
        kind=Kind.TRAINED,
    ),
)
