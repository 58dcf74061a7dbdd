"""Claims on Kendall's weighting (section 2 of the guide)."""

from aura_study.claims.model import Claim, RatioWithin

CLAIMS = (
    Claim(
        key="K1",
        section="2.1",
        statement="The learned uncertainty settles where it matches its task's loss.",
        prediction=r"$\sigma^2 = L$ for the guide's formula; $\mathrm{softplus}(x)^2 = 2L$ for AURA's code; "
        r"$\sigma^2 = (L + \sqrt{L^2 + 8L})/4$ for $\log(1+\sigma^2)$",
        rule=RatioWithin(tolerance=0.02),
        notebook="02_kendall_weighting",
        figure="kendall_fixed_points",
    ),
)
