"""Claims on what the return of an absent task does to the encoder's pre-training (question 2 of the guide).

P8 and its parts are about a small language model, tested on hidden words; Q1 and its parts about an encoder that was
really pre-trained, tested by what it knows of a corpus that is held out.

All compare fine-tunings that differ in one thing and share the rest, the start, the batches and the dropout included.
"""

from dataclasses import replace

from aura_study.claims.model import Claim, Foretells, Gate, Kind, decided_by
from aura_study.claims.rules import AtLeast, AtMost, RatioWithin, Within

RUINED, UNHARMED = 0.5, 0.05
"""Parts of what the pre-training had learned that the spike takes beyond the mask: from where on it is a ruin, and
within which there is no harm. Fixed before anything was measured on models that have learned."""

_WORTH_RUINING = Gate(
    quantity="nats of the pre-training below the bigram",
    at_least=0.5,
    text="the language model is hardly better than counting pairs of neighbours: there is little to ruin",
)
_RUIN = AtLeast(bound=RUINED, min_seeds=3, gate=_WORTH_RUINING)
_WORTH_PROBING = Gate(
    quantity="area under the curve of the probe that the pre-training brings",
    at_least=0.05,
    text="the probe finds hardly more in the pre-trained encoder than in one with random weights",
)
_WORTH_RETRIEVING = Gate(
    quantity="reciprocal rank of a text's other half that the pre-training brings",
    at_least=0.05,
    text="the pre-trained encoder finds the other half of a text hardly better than one with random weights",
)
_LEFT_TO_TAKE = Gate(
    quantity="part of it that the masked fine-tuning leaves",
    at_least=RUINED,
    text="the fine-tuning alone takes nearly all of it, and leaves the spike too little to take",
)
_PROBED_RUIN = AtLeast(bound=RUINED, min_seeds=5)
_QUARTER = AtLeast(bound=0.25, min_seeds=3, gate=_WORTH_RUINING)

CLAIMS = decided_by(
    "13_pretraining",
    Claim(
        "P8",
        "Q2",
        statement="The gradient spike of a returning task ruins RoBERTa's pre-training: under AdamW with clipping, as "
        r"AURA trains, after an absence of $\Lambda = 3$, the spike alone takes half or more of what the pre-training "
        "had learned.",
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
        statement=r"Without gradient clipping, after an absence of $\Lambda = 3$, the spike ruins the pre-training "
        "under AdamW: it alone takes half or more of what that had learned.",
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
        statement=r"Under plain SGD without clipping, after an absence of $\Lambda = 3$, the spike ruins the "
        "pre-training: it alone takes half or more of what that had learned.",
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
    Claim(
        "P8h",
        "Q2",
        statement="What the spike takes comes back as the fine-tuning goes on: under AdamW with clipping, 300 steps "
        r"after the return from an absence of $\Lambda = 3$, at most 5 % of what the pre-training had learned is "
        "missing beyond the mask.",
        prediction="no: fine-tuning asks for no hidden words, so nothing pulls the encoder back to them. Once "
        r"$\sigma$ has come back both arms forget at one pace and keep their distance",
        rule=AtMost(bound=UNHARMED, min_seeds=3, gate=_WORTH_RUINING),
        kind=Kind.TRAINED,
        foretells=Foretells.FAILS,
        figure="forgetting",
    ),
    Claim(
        "Q1",
        "Q2",
        statement="The spike ruins an encoder that was really pre-trained: fine-tuned as a whole under AdamW with "
        r"clipping, after an absence of $\Lambda = 3$, all-MiniLM-L6-v2 loses by the spike alone half or more of what "
        "a linear probe of a task that is not trained gains by the pre-training.",
        prediction="no, as P8 predicts of the small language model: each step is clipped to the length of any "
        "other, and a hundred of them on one task move six layers by a few percent",
        rule=replace(_PROBED_RUIN, gate=_WORTH_PROBING),
        kind=Kind.TRAINED,
        foretells=Foretells.FAILS,
        figure="harm",
    ),
    Claim(
        "Q1a",
        "Q2",
        statement="By the same spike that encoder loses half or more of what lets one half of a text find the other, "
        "on texts that it is not trained on.",
        prediction="no, though more than the probe: a cosine weighs every direction by its variance, and training on "
        "one task alone swells the directions that tell its labels apart; a probe can leave these out",
        rule=replace(_PROBED_RUIN, gate=_WORTH_RETRIEVING, room=_LEFT_TO_TAKE),
        kind=Kind.TRAINED,
        foretells=Foretells.FAILS,
        figure="harm",
    ),
    Claim(
        "Q1b",
        "Q2",
        statement=r"At AURA's own $\Lambda = 0.04$ the return leaves that encoder unharmed: the probe of the task that "
        "is not trained lies within 5 % of what the pre-training had brought it, against the mask.",
        prediction="yes: the weight comes back by some 8 % too large, and clipping takes the length of that",
        rule=Within(reach=UNHARMED, min_seeds=5, gate=_WORTH_PROBING),
        kind=Kind.TRAINED,
        figure="harm",
    ),
    Claim(
        "Q1c",
        "Q2",
        statement=r"Under plain SGD without clipping, after an absence of $\Lambda = 3$, the spike ruins that encoder: "
        "it alone takes half or more of what the probe had gained by the pre-training.",
        prediction=r"yes, as P8b predicts: the first step back is longer by about $e^{2\Lambda}$",
        rule=replace(_PROBED_RUIN, gate=_WORTH_PROBING),
        kind=Kind.TRAINED,
        figure="harm",
    ),
    Claim(
        "Q1d",
        "Q2",
        statement="That encoder heals: under AdamW with clipping, 300 steps after the return from an absence of "
        r"$\Lambda = 3$, the probe lacks at most 5 % of what the pre-training had brought it, against the mask.",
        prediction="no: as P8h, nothing that is trained asks for what the probe reads",
        rule=AtMost(bound=UNHARMED, min_seeds=5, gate=_WORTH_PROBING),
        kind=Kind.TRAINED,
        foretells=Foretells.FAILS,
        figure="harm",
    ),
)
