"""Claims on focal loss (section 1 of the guide)."""

from aura_study.claims.model import AtMost, Claim

CLAIMS = (
    Claim(
        key="F1",
        section="1.1",
        statement="At gamma = 2 the loss is divided by 100 at p_t = 0.9 and multiplied by 0.81 at p_t = 0.1.",
        prediction="$(1 - p_t)^2$ is exactly 0.01 and 0.81",
        rule=AtMost(bound=1e-12),
        notebook="01_focal_loss",
        figure="focal_modulation",
    ),
)
