"""Claims on how far an absence carries under Adam, which remembers the task's own gradients (theory)."""

from aura_study.claims.model import Claim, Foretells, Kind, decided_by
from aura_study.claims.rules import AtMost, RatioWithin

CLAIMS = decided_by(
    "06_phase_diagram",
    Claim(
        "P2a",
        "theory",
        statement=r"Under Adam an absent task's weight grows by exp(2 Λ_A), Λ_A = Λ + η Σ (r_k − 1): how far it goes "
        "beyond Λ is decided by the second moment that Adam holds of the task's own gradients when the task goes, and "
        "by Adam's age.",
        prediction=r"$r_k = \frac{1-b_1^k}{1-b_1^{t+k}}\sqrt{\frac{1-b_2^{t+k}}{\rho\,(1-b_2^t)\,b_2^k+1-b_2^k}}$, "
        r"$\rho$ the second moment at age $t$, corrected for it, over the squared pull: for the losses of each of the "
        r"model's four tasks, $\Lambda$ from .5 to 3 and 60 to 1,000 absent steps, in the geometric mean over absences "
        r"that begin at the steps of a training; a single one strays by its momentum, some $4\eta$ in the logarithm",
        rule=RatioWithin(tolerance=0.05, min_seeds=3),
        kind=Kind.TRAINED,
        figure="growth_on_own_losses",
        cites=("kingma2015adam",),
    ),
    Claim(
        "P2b",
        "theory",
        statement="How far log σ falls in that absence follows from three numbers that need no optimiser's state: Λ, "
        "the absence in units of 1/(1 − b2), and the coefficient of variation c of the task's loss, up to c = 1.",
        prediction=r"by $\Lambda_A$ with $\rho = c^2$ and what the parameter's own jitter adds to it, about $\eta c$; "
        r"$c$ over the last thousand steps before the absence",
        rule=RatioWithin(tolerance=0.05, min_seeds=3),
        kind=Kind.TRAINED,
        figure="growth_on_own_losses",
    ),
    Claim(
        "P2c",
        "theory",
        statement="The same three numbers give the growth of the weight over one absence within 5 %.",
        prediction=r"not everywhere: growth is an exponential, and 1 % of $\Lambda_A$ is $2\Lambda_A$ % of it, with "
        r"$\Lambda_A$ at 5 or more where $\Lambda$ is 3; and the momentum of the start alone moves its logarithm by "
        r"some $4\eta$",
        rule=AtMost(bound=0.05, min_seeds=3),
        kind=Kind.TRAINED,
        foretells=Foretells.FAILS,
        figure="growth_on_own_losses",
    ),
    Claim(
        "P2d",
        "theory",
        statement="Both of Adam's moments and its age at the start give the growth over every single absence.",
        prediction=r"$r_k = \frac{\hat m_k}{\sqrt{\hat v_k}}$ with $m_k = b_1^k m_0 + 1 - b_1^k$ and "
        r"$v_k = b_2^k v_0 + 1 - b_2^k$ on $\log\sigma$, each corrected for its age: within a thousandth, also where a "
        r"task's loss still falls, and P2a, which leaves $m_0$ out, gives too little by $2b_1/(1-b_1)$ times the fall "
        r"of $\log\sigma$ in a step",
        rule=RatioWithin(tolerance=0.001),
        kind=Kind.ARITHMETIC,
        figure="growth_on_own_losses",
        cites=("kingma2015adam",),
    ),
)
