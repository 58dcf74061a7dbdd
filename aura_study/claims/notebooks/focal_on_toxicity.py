"""Claims on focal loss as AURA's toxicity task sees it (section 1 of the guide, and its question 3)."""

from aura_study.claims.model import Claim, Foretells, Gate, Kind, Limit, decided_by
from aura_study.claims.rules import AtLeast, RatioWithin

LEARNED_TOXICITY = Gate(
    quantity="held-out AUC under cross-entropy less that of TF-IDF with logistic regression on the same comments",
    at_least=-0.05,
    text="trained with cross-entropy, the model separates held-out comments worse (AUC, by more than 0.05) than TF-IDF "
    "with logistic regression on the same comments: it has not learned the task",
)
"""The control of every claim on models that have been trained: can the model learn its task from these comments?"""

_NINETY_PERCENT = AtLeast(
    bound=0.9,
    min_seeds=3,
    gate=LEARNED_TOXICITY,
    limit=Limit(
        quantity="least share at the end: gradients on logits and encoder, and the loss of held-out comments",
        at_least=0.9,
        text="counted in the loss of the training comments; counted in gradients, or on held-out comments, it is less",
    ),
)
_GAINS_SHARE = AtLeast(
    bound=0.05,
    min_seeds=3,
    gate=LEARNED_TOXICITY,
    limit=Limit(
        quantity="gain in the encoder's gradient",
        at_least=0.05,
        text="counted in the loss; of the gradient that reaches the encoder, the share is not larger by 0.05",
    ),
)
_SHARE = (
    r"a share is a function of the comments' $p_t$, $\sum_{\mathrm{hard}} (1-p_t)^2 \log p_t \,/ "
    r"\sum_{\mathrm{all}} (1-p_t)^2 \log p_t$"
)
_NO_SIGN = (
    "for one and the same model yes, by Chebyshev's sum inequality; but the two losses train two models with "
    "different $p_t$, for which no sign is foretold"
)
_HALF_EACH = (
    "no: wherever the output bias is at rest the two classes pull equally, so that each carries one half of the "
    "gradient on the logits, under either loss"
)

CLAIMS = decided_by(
    "11_focal_on_toxicity",
    Claim(
        "F2",
        "1.1",
        statement="With focal loss at gamma = 2, AURA spends 90 % of its effort on the hardest 5 % of the comments: of "
        "the loss at the end of training, when that of held-out comments has stopped falling.",
        prediction=f"none: {_SHARE}; about 5 % at the start, where every $p_t$ is near 1/2, and 90 % if the hard ones' "
        "mean loss is 171 times that of the others, but no theory says where training leaves the $p_t$",
        rule=_NINETY_PERCENT,
        kind=Kind.TRAINED,
        foretells=Foretells.NOTHING,
        figure="focal_effort",
        cites=("lin2017focal",),
    ),
    Claim(
        "F2a",
        "1",
        statement="Where 95 % of the comments are not toxic, as the guide supposes, focal loss spends 90 % of its "
        "effort on the hardest 5 %: of the loss at the end of training.",
        prediction=f"none: {_SHARE}; the hardest 5 % are then largely the toxic comments themselves",
        rule=_NINETY_PERCENT,
        kind=Kind.TRAINED,
        foretells=Foretells.NOTHING,
        figure="focal_effort",
    ),
    Claim(
        "F2b",
        "1.1",
        statement="It is focal loss that does this: where 5 % of the comments are toxic, the hardest 5 % carry a "
        "larger share of the loss at the end of training (by 0.05 or more) than trained with cross-entropy.",
        prediction=_NO_SIGN,
        rule=_GAINS_SHARE,
        kind=Kind.TRAINED,
        foretells=Foretells.NOTHING,
        figure="focal_effort",
    ),
    Claim(
        "F2c",
        "1",
        statement="Focal loss answers class imbalance: where 5 % of the comments are toxic, these carry a larger share "
        "of the gradient over the second half of training (by 0.05 or more) than trained with cross-entropy.",
        prediction=_HALF_EACH,
        rule=AtLeast(bound=0.05, min_seeds=3, gate=LEARNED_TOXICITY),
        kind=Kind.TRAINED,
        foretells=Foretells.FAILS,
        figure="focal_effort",
    ),
    Claim(
        "F2d",
        "1.1",
        statement="On comments as AURA has them, focal loss gives the hardest 5 % a larger share of the loss at the "
        "end of training (by 0.05 or more) than cross-entropy.",
        prediction=_NO_SIGN,
        rule=_GAINS_SHARE,
        kind=Kind.TRAINED,
        foretells=Foretells.NOTHING,
        figure="focal_effort",
    ),
    Claim(
        "F2e",
        "1",
        statement="On comments as AURA has them, focal loss gives the toxic ones a larger share of the gradient over "
        "the second half of training (by 0.05 or more) than cross-entropy.",
        prediction=_HALF_EACH,
        rule=AtLeast(bound=0.05, min_seeds=3, gate=LEARNED_TOXICITY),
        kind=Kind.TRAINED,
        foretells=Foretells.FAILS,
        figure="focal_effort",
    ),
    Claim(
        "F2f",
        "1",
        statement="Of AURA's toxicity data, 95 % are not toxic.",
        prediction="none but the guide's own number, 0.95",
        rule=RatioWithin(tolerance=0.01),
        kind=Kind.LOGGED,
        foretells=Foretells.NOTHING,
    ),
    Claim(
        "F3",
        "1.1",
        statement="Alpha balances the importance of the toxic and the other class.",
        prediction=r"for a given model the odds of the toxic class's share are multiplied by exactly "
        r"$\alpha/(1-\alpha)$",
        rule=RatioWithin(
            tolerance=0.02,
            min_seeds=3,
            limit=Limit(
                quantity="share of the change that is left after training with alpha",
                at_least=0.5,
                text="for a given model, as at the start of training; over the second half of a training with alpha, "
                "less than half of the change is left",
            ),
        ),
        kind=Kind.ARITHMETIC,
        figure="focal_alpha_gamma",
        cites=("lin2017focal",),
    ),
    Claim(
        "F3a",
        "1.1",
        statement="Gamma, and not alpha, moves the effort from the easy to the hard comments: the hardest 5 % gain "
        "more from it (by 0.05 or more).",
        prediction="for a given model the hardest 5 % carry more of the loss the larger gamma is, whatever the $p_t$; "
        "alpha changes it only as far as one class is harder than the other",
        rule=AtLeast(
            bound=0.05,
            min_seeds=3,
            gate=LEARNED_TOXICITY,
            limit=Limit(
                quantity="gain from gamma in models trained with it",
                at_least=0.05,
                text="for a given model; between models each trained with its own gamma, the hardest 5 % gain less "
                "than 0.05",
            ),
        ),
        kind=Kind.TRAINED,
        figure="focal_alpha_gamma",
    ),
    Claim(
        "F3b",
        "1.1",
        statement="What alpha does to the balance of the classes outlasts training: of the change of the log odds of "
        "the toxic class's share of the gradient, half or more is left over the second half of a training with alpha.",
        prediction="no: wherever the output bias is at rest each class carries one half of the gradient on the logits, "
        r"alpha included, so that nothing is left of the change",
        rule=AtLeast(bound=0.5, min_seeds=3, gate=LEARNED_TOXICITY),
        kind=Kind.TRAINED,
        foretells=Foretells.FAILS,
        figure="focal_alpha_gamma",
    ),
    Claim(
        "F4",
        "Q3",
        statement="Where many labels are wrong, focal loss overfits them: over training it has memorised a larger "
        "share of them (by 0.02 or more) than cross-entropy.",
        prediction=r"none: for a given model focal loss weighs a fitted comment's gradient down ($p_t = 0.9$: 35 times)"
        r" and that of a label resisted up ($p_t = 0.1$: 1.2 times), but past $p_t = 1/2$ it pushes less than "
        "cross-entropy, and what is memorised does not follow from that",
        rule=AtLeast(
            bound=0.02,
            min_seeds=3,
            gate=LEARNED_TOXICITY,
            limit=Limit(
                quantity="clean held-out AUC lost against cross-entropy in the end",
                at_least=0.01,
                text="in what it memorises; clean held-out comments are not separated worse by 0.01 of AUC",
            ),
        ),
        kind=Kind.TRAINED,
        foretells=Foretells.NOTHING,
        figure="focal_noise",
    ),
    Claim(
        "F4a",
        "Q3",
        statement="Where many labels are wrong, focal loss is harmful: in the end it separates clean held-out comments "
        "worse (AUC lower by 0.01 or more) than cross-entropy.",
        prediction="none",
        rule=AtLeast(bound=0.01, min_seeds=3, gate=LEARNED_TOXICITY),
        kind=Kind.TRAINED,
        foretells=Foretells.NOTHING,
        figure="focal_noise",
    ),
    Claim(
        "F4b",
        "Q3",
        statement="Focal loss dwells on the wrong labels: before they are memorised, the odds of their share of the "
        "gradient are larger by a tenth or more than under cross-entropy.",
        prediction="they are as much larger as focal loss would make them in the models that cross-entropy has "
        "trained, where wrong labels have the smaller $p_t$",
        rule=AtLeast(bound=1.1, min_seeds=3, gate=LEARNED_TOXICITY),
        kind=Kind.TRAINED,
        foretells=RatioWithin(tolerance=0.1),
        figure="focal_noise",
    ),
)
