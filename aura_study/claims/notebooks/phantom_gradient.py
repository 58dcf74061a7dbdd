"""Claims on the phantom gradient (section 3 of the guide)."""

from aura_study.claims.model import Claim, Kind, Limit, decided_by
from aura_study.claims.rules import AtMost, RatioWithin

CLAIMS = decided_by(
    "03_phantom_gradient",
    Claim(
        "P1",
        "3.1",
        statement="With a loss of 0, the gradient on sigma of the absent task is 1/sigma: it is not zero.",
        prediction=r"$1/\sigma$; $1$ for $s$, $\frac12$ for $u$, $\frac12\mathrm{sigmoid}(x)$ for AURA's code, "
        r"$2\sigma/(1+\sigma^2)$ for $\log(1+\sigma^2)$",
        rule=AtMost(bound=1e-6),
        kind=Kind.ARITHMETIC,
        figure="phantom_gradient",
        cites=("kendall2018multi", "liebel2018auxiliary", "awl2020questions"),
    ),
    Claim(
        "P2",
        "3.1",
        statement="The optimiser drives sigma of the absent task towards zero.",
        prediction=r"precision grows by $e^{2\Lambda}$ on $s$ under SGD and under an Adam whose memory is empty, on "
        r"$u$ by $e^{\Lambda/2}$ under SGD and by $e^{\Lambda}$ under such an Adam; SGD on $\sigma$ reaches 0 at "
        r"$\Lambda = \sigma_0^2/2$",
        rule=RatioWithin(
            tolerance=0.02,
            limit=Limit(
                quantity="precision growth at AURA's own rates",
                at_least=10.0,
                text="at AURA's own learning rates the phantom number stays well below 1 and nothing collapses",
            ),
        ),
        kind=Kind.ARITHMETIC,
        figure="sigma_collapse",
        cites=(
            "kiefer1956consistency",
            "day1969estimating",
            "seitzer2022pitfalls",
            "stirn2023faithful",
            "wongtoi2024understanding",
            "awl2020questions",
        ),
    ),
    Claim(
        "P3",
        "3.1",
        statement="V10.1's graph isolation (requires_grad=False on the dummy zero) does not stop the phantom gradient.",
        prediction="the gradients are identical bit for bit with and without it",
        rule=AtMost(bound=0.0),
        kind=Kind.ARITHMETIC,
    ),
    Claim(
        "P4",
        "3.2",
        statement="With the mask the absent task's gradient is exactly zero, and nothing else changes.",
        prediction="the absent gradient is exactly 0.0 and every other gradient is unchanged bit for bit",
        rule=AtMost(bound=0.0),
        kind=Kind.ARITHMETIC,
        cites=(
            "aura",
            "bachmann2022multimae",
            "kreiss2021openpifpaf",
            "liu2019mtdnn",
            "aghajanyan2021muppet",
            "hu2021unit",
            "liu2022structured",
        ),
    ),
)
