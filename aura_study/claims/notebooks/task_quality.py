"""Claims on what the phantom gradient costs in task quality (question 2 of the guide, and theory)."""

from aura_study.claims.model import Claim, Foretells, Gate, Kind, Limit, decided_by
from aura_study.claims.rules import INTEREST, ROOM, Alike, AtLeast, Gains, RatioWithin

CLAIMS = decided_by(
    "14_task_quality",
    Claim(
        "P9",
        "Q2",
        statement="The phantom gradient distorts the balance of the tasks and so costs quality: with the mask, the "
        "mean development area under the ROC curve over the tasks is higher by a point or more, over mixing, a stretch "
        "and alternation alike.",
        prediction="not foretold in points; of the parts, P9a moves attention from the common tasks to the rare "
        "one, P9b matters while the weight comes back, P9c is nothing",
        rule=Gains(
            limit=Limit(
                quantity="share of regimes in which it costs by itself",
                at_least=1.0,
                text="on average over the regimes, not in each of them",
            )
        ),
        kind=Kind.TRAINED,
        foretells=Foretells.NOTHING,
        figure="quality_differences",
        cites=("li2022learning", "nishi2024joint"),
    ),
    Claim(
        "P9a",
        "Q2",
        statement="Under AURA's mixing, with reporting at 101 rows, masking raises the mean area under the ROC curve "
        "over the tasks by a point or more.",
        prediction=r"the weighted losses settle at equal shares unmasked and at $p_i / \sum_j p_j$ masked: reporting "
        "holds several times its masked share, the other tasks lose about a quarter of theirs; reporting's score "
        "should gain from the missing mask and the others' lose little, so that the mean does not gain from masking",
        rule=Gains(),
        kind=Kind.TRAINED,
        foretells=Foretells.FAILS,
        figure="quality_differences",
    ),
    Claim(
        "P9b",
        "Q2",
        statement=r"After an absent stretch of $\Lambda$ of about 3 and the return, masking leaves a mean area under "
        "the ROC curve at the end of training that is higher by a point or more.",
        prediction=r"no: until the return the encoders are equal, after it reporting holds nearly all the attention "
        "for as long as its weight takes to come back (hysteresis); with training going on after that, the others "
        "catch up",
        rule=Gains(
            limit=Limit(
                quantity="gain right after the return",
                at_least=INTEREST,
                text="at the end of training; right after the return it is smaller",
            )
        ),
        kind=Kind.TRAINED,
        foretells=Foretells.FAILS,
        figure="quality_differences",
    ),
    Claim(
        "P9c",
        "Q2",
        statement="With one task per batch, masking raises the mean area under the ROC curve over the tasks by a "
        "point or more.",
        prediction=r"no: every task is absent from three steps of four, so every weight is inflated by the same "
        r"$1/p = 4$, which Adam and clipping divide out; the shares are 1/4 each with and without the mask",
        rule=Gains(),
        kind=Kind.TRAINED,
        foretells=Foretells.FAILS,
        figure="quality_differences",
    ),
    Claim(
        "P9d",
        "theory",
        statement="The phantom gradient helps the rare task: under mixing with 101 rows, reporting's area "
        "under the ROC curve is higher by a point or more without the mask.",
        prediction=r"reporting's weight is higher by $1/p$, an inverse-frequency reweighting that nobody asked for; "
        "of what it is worth in points nothing is foretold, and clipping takes part of it back",
        rule=Gains(
            room=Gate(
                quantity=ROOM,
                at_least=2 * INTEREST,
                text="the masked runs stand so near the ceiling that hardly a point is left to be gained",
            )
        ),
        kind=Kind.TRAINED,
        foretells=Foretells.NOTHING,
        figure="quality_differences",
    ),
    Claim(
        "P9e",
        "theory",
        statement="What the mask leaves of an absent task's sigma movement (momentum and decay) costs nothing: masked "
        "and frozen score alike under mixing.",
        prediction="the weights differ by a few per cent at most; the difference is that of two equally good runs",
        rule=Alike(),
        kind=Kind.TRAINED,
        figure="quality_differences",
        cites=("kokkinos2017ubernet",),
    ),
    Claim(
        "P9f",
        "theory",
        statement="Nothing need be learned: weights taken from a running mean of the present losses score like "
        "Kendall's learned ones, masked, under mixing.",
        prediction=r"the fixed point $\sigma^2 = L$ is the same; what differs is the lag behind it",
        rule=Alike(),
        kind=Kind.TRAINED,
        figure="quality_differences",
        cites=("kirchdorfer2024analytical", "rybkin2021simple"),
    ),
    Claim(
        "P9g",
        "2",
        statement='"We cannot simply add the losses": under mixing, Kendall\'s weights, masked, leave a mean area '
        "under the ROC curve that is higher by a point or more than equal weights do.",
        prediction=r"equal weights give task $i$ a share in proportion to $p_i L_i$ instead of $p_i$; the losses here "
        "differ by a factor of a few, and Adam divides out the common scale: no foretold sign",
        rule=Gains(),
        kind=Kind.TRAINED,
        foretells=Foretells.NOTHING,
        figure="quality_differences",
        cites=("kurin2022defense", "xin2022current", "royer2023scalarization"),
    ),
    Claim(
        "P9h",
        "Q2",
        statement="The phantom gradient distorts the balance of the tasks: under AURA's mixing, with reporting at 101 "
        "rows, reporting's share of the weighted loss is larger without the mask, by a quarter or more.",
        prediction=r"the weighted losses settle at equal shares unmasked, $1/4$, and at $p_i / \sum_j p_j$ masked: the "
        r"share is larger by $\sum_j p_j / (4 p)$, $p$ the presence of reporting",
        rule=AtLeast(bound=1.25, min_seeds=3),
        kind=Kind.TRAINED,
        foretells=RatioWithin(tolerance=0.1, min_seeds=3),
        figure="quality_shares",
    ),
)
