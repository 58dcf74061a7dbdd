"""Claims on focal loss itself (section 1 of the guide)."""

from aura_study.claims.model import Claim, Foretells, Kind, Limit, decided_by
from aura_study.claims.rules import AtLeast, AtMost

CLAIMS = decided_by(
    "01_focal_loss",
    Claim(
        "F1",
        "1.1",
        statement="At gamma = 2 the loss is divided by 100 at p_t = 0.9 and multiplied by 0.81 at p_t = 0.1.",
        prediction="$(1 - p_t)^2$ is exactly 0.01 and 0.81",
        rule=AtMost(bound=1e-12),
        kind=Kind.ARITHMETIC,
        figure="focal_modulation",
        cites=("lin2017focal",),
    ),
    Claim(
        "F1a",
        "1.1",
        statement="Gamma is usually set to 2: more than half of the implementations that are listed have it as their "
        "default.",
        prediction="none",
        rule=AtLeast(bound=0.5),
        kind=Kind.LOGGED,
        foretells=Foretells.NOTHING,
        cites=("lin2017focal",),
    ),
    Claim(
        "F5",
        "theory",
        statement="AURA's code takes p_t = exp(-CE) from a cross-entropy that already carries class weights and label "
        "smoothing; this distorts the loss of an easy sample by a factor of 2 or more.",
        prediction=r"by $\left((1 - p_t^w)/(1 - p_t)\right)^\gamma$ for a class weight $w$, which tends to "
        r"$w^\gamma$ on easy samples; by $\left((1 - e^{-CE_\epsilon})/(1 - p_t)\right)^\gamma$ under smoothing, "
        r"without bound",
        rule=AtLeast(
            bound=2.0,
            limit=Limit(
                quantity="least distortion of a hard sample (p_t = 0.1)",
                at_least=2.0,
                text="on easy samples; a hard one (p_t = 0.1) keeps nearly the loss that was asked for, under "
                "smoothing and for classes that are weighted up",
            ),
        ),
        kind=Kind.ARITHMETIC,
        figure="focal_hazards",
        cites=("lin2017focal",),
    ),
)
