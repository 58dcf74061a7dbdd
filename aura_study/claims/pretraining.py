"""Claims on what the return of an absent task does to the encoder's pre-training (question 2 of the guide)."""

from aura_study.claims.model import Claim, Kind, Limit, decided_by
from aura_study.claims.rules import AtLeast, AtMost

_LASTING = Limit(
    quantity="effect at the end of training",
    at_least=1.0,
    text="right after the return; by the end of training the rest of the fine-tuning has overtaken it",
)

CLAIMS = decided_by(
    "13_pretraining",
    Claim(
        "P8",
        "Q2",
        statement="The gradient spike of a returning task ruins RoBERTa's pre-training: under AdamW with clipping, as "
        "AURA trains, it adds at least as much masked-language loss as a fine-tuning without any absence adds anyway.",
        prediction=r"no, though the weight grows by about $e^{2\Lambda}$: clipped to the norm of other steps, and "
        r"divided by Adam's own $\sqrt v$, the spike turns the update for some steps and hardly lengthens it; effect "
        "well below 1",
        rule=AtLeast(bound=1.0, min_seeds=3, limit=_LASTING),
        kind=Kind.TRAINED,
        figure="forgetting",
        cites=("devlin2019bert", "kornblith2019similarity"),
    ),
    Claim(
        "P8a",
        "Q2",
        statement="Without gradient clipping the spike ruins the pre-training under AdamW.",
        prediction=r"the spike makes Adam's $v$ a memory of itself alone, so that step $k$ after it moves a "
        r"coordinate by up to $(1-b_1^k)/\sqrt{1-b_2^k}$ rates (3.2 at once, 6.5 at $k = 10$), and noisy gradients "
        r"carry it $\sqrt{\ln k / (1-b_2)}$ rates, about 70 at $k = 100$, where $N$ steps of fine-tuning carry it "
        r"$\sqrt N$: worse than with clipping, of the order of the fine-tuning's own effect",
        rule=AtLeast(bound=1.0, min_seeds=3, limit=_LASTING),
        kind=Kind.TRAINED,
        figure="forgetting",
    ),
    Claim(
        "P8b",
        "Q2",
        statement="Under plain SGD without clipping the spike ruins the pre-training.",
        prediction=r"yes: the first step back is longer by the whole precision ratio, about $e^{2\Lambda}$; one step "
        "does the damage, and whiplash then silences the task",
        rule=AtLeast(bound=1.0, min_seeds=3, limit=_LASTING),
        kind=Kind.TRAINED,
        figure="forgetting",
    ),
    Claim(
        "P8c",
        "Q2",
        statement="At AURA's own learning rate for sigma the same absence costs the pre-training no more than 10 % on "
        "top of what a fine-tuning without it costs.",
        prediction=r"$\Lambda$ is so small that the weight grows by some percent at most; what is left is the absent "
        "task's missing rows; effect 0",
        rule=AtMost(bound=0.1, min_seeds=3),
        kind=Kind.TRAINED,
        figure="forgetting",
    ),
)
