"""Claims on Kendall's weighting (section 2 of the guide, and its question 1)."""

from aura_study.claims.model import Claim, Foretells, Kind, Limit, decided_by
from aura_study.claims.rules import LEARNED, AtLeast, AtMost, Gains, RatioWithin, Within

CLAIMS = decided_by(
    "02_kendall_weighting",
    Claim(
        "K1",
        "2.1",
        statement="The learned uncertainty settles where it matches its task's loss.",
        prediction=r"$\sigma^2 = L$ for the guide's formula; $\mathrm{softplus}(x)^2 = 2L$ for AURA's code; "
        r"$\sigma^2 = (L + \sqrt{L^2 + 8L})/4$ for $\log(1+\sigma^2)$",
        rule=RatioWithin(tolerance=0.02),
        kind=Kind.ARITHMETIC,
        figure="kendall_fixed_points",
        cites=("kendall2018multi", "liebel2018auxiliary", "kirchdorfer2024analytical", "rybkin2021simple"),
    ),
    Claim(
        "K1a",
        "2.1",
        statement="The factor 1/(2 sigma^2) of a task's loss is the precision of its Gaussian noise.",
        prediction=r"no, half of it: the precision is $1/\sigma^2$, the curvature of $-\log N(y; \mu, \sigma^2)$ in "
        r"$\mu$, and the factor is half of that for every $\sigma$, hence factor / precision - 1 = -1/2",
        rule=Within(reach=0.02),
        kind=Kind.ARITHMETIC,
        foretells=RatioWithin(tolerance=1e-6),
        cites=("kendall2018multi",),
    ),
    Claim(
        "K2",
        "2.1",
        statement="A noisier task gets a larger sigma and a smaller weight: on Kendall's own two regressions the "
        "learned sigmas are the true noise levels, 10 and 1.",
        prediction=r"$\sigma^2$ = mean squared error = noise variance, up to a sampling error of $1/\sqrt{2N}$",
        rule=RatioWithin(
            tolerance=0.02,
            min_seeds=5,
            limit=Limit(
                quantity="share of seeds whose noisier task has the larger sigma and the smaller weight",
                at_least=1.0,
                text="on average over seeds: in some the order is the other way round",
            ),
        ),
        kind=Kind.SIMULATED,
        figure="kendall_noise",
        cites=("kendall2018multi",),
    ),
    Claim(
        "K3",
        "Q1",
        statement="Without log sigma, sigma grows without bound and the task's weight dies.",
        prediction=r"SGD on $s$: $e^{2s} = e^{2s_0} + 2\sum_t \eta_t L_t$, the weight falls like $1/t$; Adam: $s$ "
        r"grows by $x$ a step for ever, $x = \eta$ for $\eta \ll (1-b_2)/4$ and at most $(1-b_2)/4$, the weight "
        r"falls like $e^{-2xt}$",
        rule=RatioWithin(
            tolerance=0.02,
            limit=Limit(
                quantity="fall of the weight over AURA's own run",
                at_least=10.0,
                text="at AURA's own learning rates its whole run is too short: the weight does not even halve",
            ),
        ),
        kind=Kind.SIMULATED,
        figure="kendall_without_log",
        cites=("kendall2018multi", "kingma2015adam"),
    ),
    Claim(
        "K3a",
        "Q1",
        statement='Without log sigma the model "evades the task": by the end of training its mean development area '
        "under the ROC curve over the tasks has risen above chance at most half as far as with it.",
        prediction=r"no share foretold. Adam divides each task's loss out of the rise of its $s$, so that the weights "
        r"stay as alike as they start and die on a common scale; from about $1/\eta$ steps on, and for as long as $v$ "
        r"forgets little, $1/(1-b_2)$ steps, they fall like $t^{-3/2}$ and Adam's updates like $1/t$: losses simply "
        "added, at a learning rate that decays by itself",
        rule=AtMost(bound=0.5, min_seeds=3, gate=LEARNED),
        kind=Kind.TRAINED,
        foretells=Foretells.NOTHING,
        figure="without_log_scores",
        cites=("kendall2018multi",),
    ),
    Claim(
        "K3b",
        "theory",
        statement="Without log sigma the model learns less: its mean development area under the ROC curve over the "
        "tasks ends lower by a point or more.",
        prediction=r"no sign foretold: a learning rate that decays by itself, like $1/t$ in place of a constant one, "
        "can be a loss or a gain",
        rule=Gains(),
        kind=Kind.TRAINED,
        foretells=Foretells.NOTHING,
        figure="without_log_scores",
    ),
    Claim(
        "K3c",
        "theory",
        statement="Without log sigma some task is left behind: in at least one of the four the development area under "
        "the ROC curve ends lower by a point or more, intervals of the four together.",
        prediction="not foretold which: see K3a; a task whose loss is small beside the others' has the smallest part",
        rule=Gains(),
        kind=Kind.TRAINED,
        foretells=Foretells.NOTHING,
        figure="without_log_scores",
    ),
    Claim(
        "K4",
        "Q1",
        statement="Without log sigma the training signal becomes unstable: on the AURA model the norm of the encoder's "
        "gradient varies more from step to step, in its own size, by a quarter or more.",
        prediction="no, it varies as much: between two steps a weight changes by a few per cent at most, with log "
        "sigma or without, and what makes the norm jump are the batches, which both arms share",
        rule=AtLeast(bound=1.25, min_seeds=3),
        kind=Kind.TRAINED,
        foretells=RatioWithin(tolerance=0.25, min_seeds=3),
        figure="without_log_signal",
    ),
    Claim(
        "K4a",
        "Q1",
        statement="Without log sigma the training signal becomes unstable: on the AURA model the norm of the encoder's "
        "gradient leaps higher above its recent level, by a quarter or more.",
        prediction="no, it leaps as high: see K4",
        rule=AtLeast(bound=1.25, min_seeds=3),
        kind=Kind.TRAINED,
        foretells=RatioWithin(tolerance=0.25, min_seeds=3),
        figure="without_log_signal",
    ),
)
