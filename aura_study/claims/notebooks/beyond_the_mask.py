"""Claims on what the mask leaves behind (theory: the guide stops at a gradient that is exactly zero)."""

from aura_study.claims.model import Claim, Kind, Limit, decided_by
from aura_study.claims.rules import AtLeast, AtMost, RatioWithin

CLAIMS = decided_by(
    "08_beyond_the_mask",
    Claim(
        "B1",
        "theory",
        statement="A gradient of exactly 0 still moves sigma: momentum coasts and weight decay pulls; only the frozen "
        "policy keeps it still.",
        prediction=r"Adam's momentum coasts by $\eta\,(\hat m/\sqrt{\hat v})\,r/(1-r)$, $r = b_1/\sqrt{b_2}$; AdamW's "
        r"decay leaves $\theta_0(1-\eta\lambda)^k$; Adam's L2 decay moves $\eta$ a step whatever $\lambda$; frozen "
        r"moves exactly 0",
        rule=AtMost(bound=0.02),
        kind=Kind.SIMULATED,
        figure="residue",
        cites=("kokkinos2017ubernet", "kingma2015adam", "loshchilov2019decoupled"),
    ),
    Claim(
        "B2",
        "theory",
        statement="A mask does not keep a NaN out: multiplied onto a term or handed to torch.where, it leaves a NaN "
        "gradient on sigma; leaving the absent task out works, and so does cleaning its loss before the term.",
        prediction="NaN for multiplication, where and selection after the term; finite for selection before it and "
        "for cleaning",
        rule=AtMost(
            bound=0.0,
            limit=Limit(
                quantity="share of NaN sources for which cleaning keeps the encoder's gradient finite",
                at_least=1.0,
                text="once stacked with the others, a NaN from a division by a count of 0 reaches the encoder, however "
                "sigma is protected: only a loss that never enters the stack does no harm",
            ),
        ),
        kind=Kind.ARITHMETIC,
        figure="nan_gradients",
    ),
    Claim(
        "B3",
        "theory",
        statement="Under gradient accumulation and data parallelism, masking each shard's own term settles at "
        "sigma^2 = L; a mask made global over shards whose own loss is 0 brings the phantom gradient back.",
        prediction=r"unmasked and global presence: $\sum l_r / R$; local mask: mean of $l_r$ over shards that hold the "
        "task; global count: mean over samples; the same for micro-batches and for two processes",
        rule=RatioWithin(tolerance=0.02),
        kind=Kind.SIMULATED,
        figure="shards",
    ),
    Claim(
        "B4",
        "theory",
        statement="A negative total can be sound: with every task present it settles where the Gaussian density has "
        "its minimum, below 0 if the losses are small, with every weight at its fixed point.",
        prediction=r"$\sum_i \tfrac12 (1 + \log L_i)$, which is negative for losses below $1/e$ in the geometric mean, "
        r"and weights of $1/(2L_i)$, under SGD and Adam alike",
        rule=RatioWithin(tolerance=0.02),
        kind=Kind.SIMULATED,
        figure="negative_totals",
        cites=("kendall2018multi",),
    ),
    Claim(
        "B4a",
        "theory",
        statement="A total that the phantom gradient takes down falls by the learning rate at every step and for every "
        "absent task, without end, while the terms of the present ones stand still.",
        prediction=r"on $\log\sigma$ by $\eta$ under SGD from the first step on, and under Adam once it has forgotten "
        r"the task's own gradients, some $1/(1-b_2)$ steps later",
        rule=RatioWithin(tolerance=0.02),
        kind=Kind.SIMULATED,
        figure="negative_totals",
    ),
    Claim(
        "B4b",
        "theory",
        statement="To take the total's absolute value, or to clamp it at 0, stops every weight where the total first "
        "reaches 0, short of what the loss asks for.",
        prediction=r"for tasks of one loss $L < 1/e$ at $\log\sigma = \tfrac12 W_0(-L)$, of Lambert's function: below "
        r"0 the one turns every gradient round and the other makes it 0",
        rule=RatioWithin(tolerance=0.02),
        kind=Kind.SIMULATED,
        figure="negative_fixes",
    ),
    Claim(
        "B4c",
        "theory",
        statement="log(1 + sigma^2) in the place of log sigma keeps the total above 0 and bends the weight: the "
        "smaller the loss, the less of what it asks for.",
        prediction=r"the weight is $4L/(L + \sqrt{L^2 + 8L})$ of $1/(2L)$, about $\sqrt{2L}$: a seventh at $L = .01$",
        rule=RatioWithin(tolerance=0.02),
        kind=Kind.SIMULATED,
        figure="negative_fixes",
        cites=("liebel2018auxiliary",),
    ),
    Claim(
        "B4d",
        "theory",
        statement="Under the absolute value and under the clamp the model stops learning where its total reaches 0: "
        "two regressions with little noise, their sigmas learned at the model's own rate, end with at least twice the "
        "error that the plain total reaches.",
        prediction="several times: the total reaches 0 while most of the variance is still to be explained",
        rule=AtLeast(bound=2.0, min_seeds=5),
        kind=Kind.SIMULATED,
        figure="negative_fixes",
    ),
)
