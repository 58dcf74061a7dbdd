"""Claims on what the return of an absent task does to the encoder's pre-training (question 2 of the guide).

All compare fine-tunings that differ in one thing and share the rest, the start, the batches and the dropout included.
"""

from aura_study.claims.model import Claim, Foretells, Gate, Kind, decided_by
from aura_study.claims.rules import AtLeast, AtMost, RatioWithin

_WORTH_RUINING = Gate(
    quantity="nats of the pre-training below the bigram",
    at_least=0.5,
    text="the language model is hardly better than counting pairs of neighbours: there is little to ruin",
)
_RUIN = AtLeast(bound=0.5, min_seeds=3, gate=_WORTH_RUINING)
_QUARTER = AtLeast(bound=0.25, min_seeds=3, gate=_WORTH_RUINING)

CLAIMS = decided_by(
    "13_pretraining",
    Claim(
        "P8",
        "Q2",
        statement="The gradient spike of a returning task ruins RoBERTa's pre-training: under AdamW with clipping, as "
        "AURA trains, the spike alone takes half or more of what the pre-training had learned.",
        prediction=r"no, though the weight grows by about $e^{2\Lambda}$: clipped to the norm of other steps, and "
        r"divided by Adam's own $\sqrt v$, the spike turns the update for some steps and hardly lengthens it: well "
        "below half",
        rule=_RUIN,
        kind=Kind.TRAINED,
        foretells=Foretells.FAILS,
        figure="forgetting",
        cites=("devlin2019bert", "kornblith2019similarity"),
    ),
    Claim(
        "P8a",
        "Q2",
        statement="Without gradient clipping the spike ruins the pre-training under AdamW: it alone takes half or more "
        "of what that had learned.",
        prediction=r"no, but of the order of the fine-tuning's own effect: the spike makes Adam's $v$ a memory of "
        r"itself alone, so that step $k$ after it moves a coordinate by up to $(1-b_1^k)/\sqrt{1-b_2^k}$ rates (3.2 at "
        r"once, 6.5 at $k = 10$), and noisy gradients carry it $\sqrt{\ln k / (1-b_2)}$ rates, about 70 at $k = 100$, "
        r"where $N$ steps of fine-tuning carry it $\sqrt N$",
        rule=_RUIN,
        kind=Kind.TRAINED,
        foretells=Foretells.FAILS,
        figure="forgetting",
    ),
    Claim(
        "P8b",
        "Q2",
        statement="Under plain SGD without clipping the spike ruins the pre-training: it alone takes half or more of "
        "what that had learned.",
        prediction=r"yes: the first step back is longer by the whole precision ratio, about $e^{2\Lambda}$; one step "
        "does the damage, and whiplash then silences the task",
        rule=_RUIN,
        kind=Kind.TRAINED,
        figure="forgetting",
    ),
    Claim(
        "P8c",
        "Q2",
        statement="At AURA's own learning rate for sigma the same absence changes what the fine-tuning costs the "
        "pre-training by no more than 10 %, against the mask.",
        prediction=r"$\Lambda$ is so small that the weight grows by some percent at most, and clipping takes the "
        "length of that: both cost the same",
        rule=RatioWithin(tolerance=0.1, min_seeds=3, gate=_WORTH_RUINING),
        kind=Kind.TRAINED,
        figure="forgetting",
    ),
    Claim(
        "P8d",
        "4",
        statement="The learning rate starts low so as not to upset RoBERTa: a warm-up over 30 % of the steps, "
        "OneCycleLR's share, saves a quarter or more of what the same fine-tuning costs the pre-training without one, "
        "at the same peak and sum of rates.",
        prediction="no: in the limit of small rates the way depends on their sum alone, whatever their order. What the "
        "order changes is Adam's cold start, in which single gradients count up to three times as much: for gradients "
        "of pure noise the variance of some 15 steps at the peak rate, or 7 % of the distance and 13 % of its square "
        "in 310 steps, and nothing to speak of in AURA's 12,390",
        rule=_QUARTER,
        kind=Kind.TRAINED,
        foretells=Foretells.FAILS,
        figure="warm_up",
    ),
    Claim(
        "P8e",
        "Q2",
        statement=r"Under AdamW with clipping, after an absence of $\Lambda = 3$, the spike adds a quarter or more to "
        "what the fine-tuning costs the pre-training.",
        prediction=r"no (that of P8 when it was first made): the spike turns the update for some steps and hardly "
        "lengthens it; well below what the fine-tuning costs, here taken as below a quarter of it",
        rule=_QUARTER,
        kind=Kind.TRAINED,
        foretells=AtMost(bound=0.25, min_seeds=3),
        figure="forgetting",
    ),
    Claim(
        "P8f",
        "Q2",
        statement=r"Under AdamW without clipping, after an absence of $\Lambda = 3$, the spike adds a quarter or more "
        "to what the fine-tuning costs the pre-training.",
        prediction="yes (that of P8a when it was first made): worse than with clipping, of the order of the "
        "fine-tuning's own effect, here taken as at least a quarter of it",
        rule=_QUARTER,
        kind=Kind.TRAINED,
        figure="forgetting",
    ),
    Claim(
        "P8g",
        "theory",
        statement="Under clipping the spike's harm is that of training on the returning task alone: it comes to "
        "within a half of what the same steps cost if no other task has a weight.",
        prediction=r"clipping binds in every step, so only the direction of the gradient counts. At $e^{2\Lambda}$ "
        r"times its weight the returning task sets that direction alone, and its $\sigma$ needs most of the steps that "
        "are left to come back: measured / that of the task alone near 1",
        rule=RatioWithin(tolerance=0.5, min_seeds=3, gate=_WORTH_RUINING),
        kind=Kind.TRAINED,
        figure="forgetting",
    ),
)
