"""Claims on what the mask leaves behind (theory: the guide stops at a gradient that is exactly zero)."""

from aura_study.claims.model import Claim, Kind, Limit, decided_by
from aura_study.claims.rules import AtMost, RatioWithin

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
)
