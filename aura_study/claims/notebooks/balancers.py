"""Claims on the family of published balancers (theory: the guide knows Kendall's loss alone)."""

from aura_study.claims.model import Claim, Foretells, Kind, Limit, decided_by
from aura_study.claims.rules import AtLeast, AtMost, Each

NEARLY_ALL = 0.9
"""What the word is taken to mean: nine in ten. Wilson's interval of 25 balancers can refute it, but not confirm it."""
MORE_THAN_A_FACTOR = "share of balancers disturbed by more than a factor"

CLAIMS = decided_by(
    "15_balancers",
    Claim(
        "N1",
        "theory",
        statement="A loss or gradient of 0 for an absent task disturbs nearly all published balancers: the update of "
        "the present tasks while it is away, or the balancer's state when it returns.",
        prediction="every balancer that divides by losses, normalises over all tasks, searches a convex hull or learns "
        "its weights; a plain sum and projections between pairs of tasks have nothing to disturb: of those in the "
        "registry most, but not nine in ten",
        rule=AtLeast(bound=NEARLY_ALL),
        foretells=Foretells.FAILS,
        kind=Kind.SIMULATED,
        figure="balancers",
        cites=("famo2023missing", "m3tl2019nan"),
    ),
    Claim(
        "N1a",
        "theory",
        statement="Each balancer is disturbed in its own way, which its formula foretells.",
        prediction="the effect on the update and on the return that the registry writes down for each balancer",
        rule=Each(),
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
        statement="On the AURA model a zero leaves nothing of the present tasks' update with the balancers that it "
        "stops or breaks by their formulas (DWA, geometric mean, FAMO, MGDA): by the end of the absence it is less "
        "than a thousandth of what it would be without the absent task, or not a number.",
        prediction="0 with the geometric mean and MGDA; with FAMO "
        "$10^{-8}\\,(1/z_a)\\sum_{i\\in S} z_i/L_i$, where $z$ are its weights, $a$ is absent and $S$ are present; "
        "with DWA not a number, from the end of its second epoch of zeros",
        rule=AtMost(bound=1e-3, min_seeds=3),
        kind=Kind.TRAINED,
        figure="balancers_on_model",
    ),
    Claim(
        "N1c",
        "theory",
        statement="A loss or gradient of 0 for an absent task disturbs most published balancers.",
        prediction="as for N1, by the registry's formulas: more than half are disturbed, and more than half by more "
        "than a factor on the update",
        rule=AtLeast(
            bound=0.5,
            limit=Limit(
                quantity=MORE_THAN_A_FACTOR,
                at_least=0.5,
                text="the update of some is only shortened, a factor on the learning rate that Adam divides out once "
                "it has lasted; by more than that fewer than half are disturbed",
            ),
        ),
        kind=Kind.SIMULATED,
        figure="balancers",
    ),
    Claim(
        "N1d",
        "theory",
        statement="What a present task that is solved, its loss and gradient a millionth of what they were, does to "
        "each balancer follows from its formula: nothing grave, or NaN, or it stops the others, or blows their update "
        "up, or leaves the task with a wrong share once its loss is back.",
        prediction="the one that the registry writes down for each balancer",
        rule=Each(),
        kind=Kind.SIMULATED,
        figure="balancers_solved",
    ),
    Claim(
        "N1e",
        "theory",
        statement="A loss that is nearly 0 breaks a balancer, one at least, that an exact 0 leaves as it is.",
        prediction="IMTL-G, whose weights go as one over the gradient's length until the pseudoinverse cuts a zero "
        "out, and FairGrad, whose equation for the solved task has a solution again, a large one",
        rule=AtLeast(bound=1.0),
        kind=Kind.SIMULATED,
        foretells=AtLeast(bound=2.0),
        figure="balancers_solved",
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
        kind=Kind.ARITHMETIC,
    ),
)
