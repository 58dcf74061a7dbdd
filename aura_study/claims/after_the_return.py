"""Claims on what follows the return of an absent task (question Q2 of the guide, and theory)."""

from aura_study.claims.aura_training import JUMP
from aura_study.claims.model import Claim, Kind, Limit, decided_by
from aura_study.claims.rules import AtLeast, AtMost, RatioWithin

CLAIMS = decided_by(
    "12_after_the_return",
    Claim(
        "P6a",
        "Q2",
        statement="The jump on return follows the same law whatever the optimiser, with clipping and without: SGD and "
        "AdamW send a gradient into the encoder that is larger by the ratio of the weights.",
        prediction=r"in each of the four arms by the precision ratio that its own absence built up: $e^{2\Lambda}$ under "
        "SGD, under AdamW what its memory makes of it",
        rule=RatioWithin(tolerance=0.02, min_seeds=3, gate=JUMP),
        kind=Kind.TRAINED,
        figure="return_in_four_arms",
    ),
    Claim(
        "P7",
        "Q2",
        statement="The return has an aftermath: whiplash under SGD, hysteresis under Adam, second-moment poisoning of "
        "the encoder without clipping, the other tasks scaled down with it.",
        prediction="all four parts hold",
        rule=AtLeast(
            bound=1.0,
            min_seeds=3,
            limit=Limit(
                quantity="share of parts that hold without limits",
                at_least=1.0,
                text="within the limits of its parts",
            ),
        ),
        kind=Kind.TRAINED,
        figure="return_in_four_arms",
    ),
    Claim(
        "P7a",
        "theory",
        statement="Whiplash: once eta exp(2 Lambda) exceeds a few units, SGD's first step with the task back throws s "
        "far above its fixed point, and the task is switched off for thousands of steps.",
        prediction=r"the step lands $\eta(e^{2\Lambda}-1)-\Lambda$ above the fixed point, and the way back takes that "
        r"over $\eta$ steps; clipping the model's gradient changes nothing, sigma's own is not in that norm",
        rule=RatioWithin(
            tolerance=0.1,
            min_seeds=3,
            limit=Limit(
                quantity="steps switched off",
                at_least=1000.0,
                text="fewer than a thousand steps at this run's phantom number, or the run ended first: the time "
                "switched off is what theory says, and grows as exp(2 Lambda)",
            ),
        ),
        kind=Kind.TRAINED,
        figure="whiplash_and_hysteresis",
    ),
    Claim(
        "P7b",
        "theory",
        statement="Hysteresis: under Adam the weight needs longer to come back than the task was absent.",
        prediction=r"from $\Lambda$ of about 1.6 on, for a return within a factor 2; quicker than the absence below",
        rule=AtLeast(
            bound=1.0,
            min_seeds=3,
            limit=Limit(
                quantity="steps back over steps absent, short absence",
                at_least=1.0,
                text="not after a short absence, of a phantom number well below 1.6: the way back is the quicker one",
            ),
        ),
        kind=Kind.TRAINED,
        figure="whiplash_and_hysteresis",
        cites=("kirchdorfer2024analytical", "kingma2015adam"),
    ),
    Claim(
        "P7c",
        "theory",
        statement="Second-moment poisoning: the spike inflates Adam's v in the encoder, and the updates that the other "
        "tasks give the encoder shrink.",
        prediction=r"by $\sqrt{\sum_i \omega_i / (1 + \kappa q_i)}$, $\kappa = (1-b_2)\sum_j b_2^{n-j}(R_j^2 - 1)$ for "
        r"weight ratios $R_j$ since the return and $q_i = g_i^2/v_i$ of the task's proper gradient, if every parameter "
        r"gets its mean; less for a spike of few steps, which misses some by chance; $\kappa$ fades as $b_2^n$",
        rule=AtMost(
            bound=0.8,
            min_seeds=3,
            limit=Limit(
                quantity="shrinkage by v with clipping",
                at_least=0.2,
                text="without clipping only: with it the spike enters v no larger than any other step",
            ),
        ),
        kind=Kind.TRAINED,
        figure="poisoning",
    ),
    Claim(
        "P7d",
        "theory",
        statement="With clipping the damage moves: the whole gradient is scaled down at the return, the other tasks' "
        "part with it, and v is not poisoned.",
        prediction="by the ratio of the norms with the task's proper weight and with its inflated one, each cut off at "
        "the bound",
        rule=RatioWithin(
            tolerance=0.1,
            min_seeds=3,
            limit=Limit(
                quantity="others' update that v leaves with clipping",
                at_least=0.9,
                text="v is inflated with clipping as well",
            ),
        ),
        kind=Kind.TRAINED,
        figure="poisoning",
    ),
)
