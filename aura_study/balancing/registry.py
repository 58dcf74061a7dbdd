r"""The balancers under study: how each is made, where it comes from, and what a zero should do to it, by its formula.

Notation: m tasks, k of them present, S the present ones; a loss of 0 has a gradient of 0. Expected effects were
written down before the measurement; the measurement keeps its own.
"""

import importlib.metadata
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import torch

from aura_study.balancing.db_mtl import DBMTL
from aura_study.balancing.effects import Broken, Effect
from aura_study.balancing.gradnorm import GradNorm
from aura_study.balancing.torchjd_extra import torchjd


class Kind(StrEnum):
    """What a balancer is handed: losses, the Jacobian of the losses on the shared parameters, or both."""

    LOSSES = "losses"
    GRADIENTS = "gradients"
    BOTH = "losses and gradients"


@dataclass(frozen=True)
class Balancer:
    """One published balancer.

    Attributes:
        name: as its paper calls it.
        kind: what it is handed.
        make: makes a new one for a number of tasks.
        source: paper.
        package: distribution whose code is measured; its version stands in every table.
        why: what a zero does to it, in a sentence or formula (LaTeX between ``$``).
        during: effect on the present tasks' update that the formula predicts for a zero-filled task.
        after: effect that it predicts on the task's return.
        solved: how it breaks, by its formula, on a present task whose loss and gradient are a millionth of what they
            were, and then what they were again.
        nearly_zero: why, in a sentence or formula.
    """

    name: str
    kind: Kind
    make: Callable[[int], Any]
    source: str
    package: str
    why: str
    during: Effect
    after: Effect = Effect.UNTOUCHED
    solved: Broken = Broken.NOT
    nearly_zero: str = ""

    def code(self) -> str:
        """Package and version of the code that is measured."""
        return f"{self.package} {importlib.metadata.version(self.package)}"


def _scalarizer(name: str, **options: Any) -> Callable[[int], Any]:
    return lambda tasks: torchjd("scalarization", name, **options)


def _aggregator(name: str, **options: Any) -> Callable[[int], Any]:
    return lambda tasks: torchjd("aggregation", name, **options)


def _sized(name: str) -> Callable[[int], Any]:
    return lambda tasks: torchjd("scalarization", name, shape=tasks)


def _constant(tasks: int) -> Any:
    return torchjd("scalarization", "Constant", weights=torch.linspace(0.5, 1.5, tasks))


def _nash(tasks: int) -> Any:
    return torchjd("aggregation", "NashMTL", n_tasks=tasks)


BALANCERS: tuple[Balancer, ...] = (
    Balancer(
        "Sum",
        Kind.LOSSES,
        _scalarizer("Sum"),
        "-",
        "torchjd",
        "$\\sum_i L_i$: every weight is 1 whatever the others do.",
        Effect.UNTOUCHED,
    ),
    Balancer(
        "Constant",
        Kind.LOSSES,
        _constant,
        "-",
        "torchjd",
        "$\\sum_i c_i L_i$: every weight is fixed.",
        Effect.UNTOUCHED,
    ),
    Balancer(
        "Mean",
        Kind.LOSSES,
        _scalarizer("Mean"),
        "-",
        "torchjd",
        "Weights are $1/m$ where the present tasks alone would get $1/k$: the update shrinks to $k/m$.",
        Effect.SHRUNK,
    ),
    Balancer(
        "Random",
        Kind.LOSSES,
        _scalarizer("Random"),
        "Lin et al., TMLR 2022",
        "torchjd",
        "The absent task draws its share of a softmax that sums to 1: the rest shrinks to $k/m$ on average.",
        Effect.SHRUNK,
    ),
    Balancer(
        "UW",
        Kind.LOSSES,
        _sized("UW"),
        "Kendall et al., CVPR 2018",
        "torchjd",
        "The regulariser $u/2$ stays: its gradient of 1/2 drives $u$ down, the weight $e^{-u}/2$ up by "
        "$e^{\\Lambda}$ under Adam.",
        Effect.UNTOUCHED,
        Effect.STRONG,
        solved=Broken.LEFT_BEHIND,
        nearly_zero="The loss asks for a larger weight, and $u$ falls as long as $e^{-u} L < 1$: at Adam's rate, as "
        "if it were away.",
    ),
    Balancer(
        "IMTL-L",
        Kind.LOSSES,
        _sized("IMTLL"),
        "Liu et al., ICLR 2021",
        "torchjd",
        "$e^s L - s$: at $L = 0$ only $-s$ is left, so the weight $e^s$ grows by $e^{\\Lambda}$, as Kendall's does.",
        Effect.UNTOUCHED,
        Effect.STRONG,
        solved=Broken.LEFT_BEHIND,
        nearly_zero="$e^s L < 1$ lets $s$ rise at Adam's rate, as if it were away.",
    ),
    Balancer(
        "DWA",
        Kind.LOSSES,
        _scalarizer("DWA"),
        "Liu et al., CVPR 2019",
        "torchjd",
        "The ratio of the last two epochs' losses is $0/0$ after two epochs of zeros, $L/0$ after the return; one NaN "
        "in a softmax is NaN for all.",
        Effect.NAN,
        Effect.NAN,
        solved=Broken.LEFT_BEHIND,
        nearly_zero="A loss that stays has the ratio 1; at the end of the epoch of its return the ratio is $10^6$, "
        "and a softmax gives it all of the weight.",
    ),
    Balancer(
        "Geometric mean",
        Kind.LOSSES,
        _scalarizer("GeometricMean"),
        "Chennupati et al., CVPRW 2019",
        "torchjd",
        "$\\prod_i L_i^{1/m}$ has a factor 0, and every weight $\\frac1{mL_i}\\prod_j L_j^{1/m}$ with it.",
        Effect.STOPPED,
    ),
    Balancer(
        "FAMO",
        Kind.LOSSES,
        _sized("FAMO"),
        "Liu et al., NeurIPS 2023",
        "torchjd",
        "$\\log(L + 10^{-8})$ has slope $10^8$ at 0, and the normaliser $c = (\\sum_i z_i/L_i)^{-1}$ divides everyone "
        "by it; a loss that never falls also gains weight against those that do.",
        Effect.STOPPED,
        Effect.STRONG,
        solved=Broken.STOPS,
        nearly_zero="Weights $c\\,z_i/L_i$ with $c = (\\sum_j z_j/L_j)^{-1}$: the smallest loss takes the share 1, "
        "the others about its loss over theirs.",
    ),
    Balancer(
        "STCH",
        Kind.LOSSES,
        _scalarizer("STCH", mu=0.5),
        "Lin et al., ICML 2024",
        "torchjd",
        "Weights $\\frac1m\\,\\mathrm{softmax}(L/(m\\mu))$ divide by m twice: nearly $(k/m)^2$ where losses are small "
        "against $m\\mu$; beyond, a softer softmax turns the update as well.",
        Effect.CHANGED,
    ),
    Balancer(
        "GradNorm",
        Kind.BOTH,
        GradNorm,
        "Chen et al., ICML 2018",
        "aura-study",
        "Its gradient norm and rate of 0 enter both means, so the present tasks' targets change by "
        "$(m/k)^{\\alpha-1}$; it feels no pull itself, and rescaling to a sum of $m$ moves its weight against theirs, "
        "up while large norms are brought down, down once all strive for targets out of reach.",
        Effect.CHANGED,
        Effect.WEAK,
    ),
    Balancer(
        "DB-MTL",
        Kind.BOTH,
        DBMTL,
        "Lin et al., 2023",
        "aura-study",
        "The running gradient fades as $\\beta^t$, but is scaled to full norm: the absent task keeps pushing where it "
        "last pushed, and comes back without its past.",
        Effect.CHANGED,
        Effect.CHANGED,
    ),
    Balancer(
        "MGDA",
        Kind.GRADIENTS,
        _aggregator("MGDA"),
        "Désidéri, 2012; Sener and Koltun, NeurIPS 2018",
        "torchjd",
        "The shortest vector in a convex hull that holds 0 is 0. The code's search gets there exactly, unless a small "
        "gradient in slight conflict makes it stop early.",
        Effect.STOPPED,
        solved=Broken.STOPS,
        nearly_zero="The shortest vector in a convex hull is no longer than its shortest corner.",
    ),
    Balancer(
        "UPGrad",
        Kind.GRADIENTS,
        _aggregator("UPGrad"),
        "Quinton and Rey, 2024",
        "torchjd",
        "$\\frac1m\\sum_{i\\in S}\\pi(g_i)$: a row of 0 bounds no cone, but counts in the mean; the update shrinks to "
        "$k/m$.",
        Effect.SHRUNK,
    ),
    Balancer(
        "DualProj",
        Kind.GRADIENTS,
        _aggregator("DualProj"),
        "Lopez-Paz and Ranzato, NeurIPS 2017",
        "torchjd",
        "$\\pi(\\frac1m\\sum_{i\\in S} g_i)$, and projecting on a cone keeps factors: $k/m$.",
        Effect.SHRUNK,
    ),
    Balancer(
        "CAGrad",
        Kind.GRADIENTS,
        _aggregator("CAGrad", c=0.5),
        "Liu et al., NeurIPS 2021",
        "torchjd",
        "No direction improves a task whose gradient is 0, so the worst task gains 0 and $g_w = 0$ solves the dual; "
        "this code then returns 0. Not so if some $g_w$ points away from the mean: $\\cos(g_w, g_0) < -c$.",
        Effect.STOPPED,
        solved=Broken.STOPS,
        nearly_zero="$g_w$ is the tiny gradient; its length is below the code's safeguard of $10^{-4}$, where it "
        "returns 0. The formula would go on: $g_0 + c\\lVert g_0\\rVert\\,g_w/\\lVert g_w\\rVert$.",
    ),
    Balancer(
        "PCGrad",
        Kind.GRADIENTS,
        _aggregator("PCGrad"),
        "Yu et al., NeurIPS 2020",
        "torchjd",
        "Projects only where $g_i\\cdot g_j < 0$, which a row of 0 never is; the rows are summed.",
        Effect.UNTOUCHED,
    ),
    Balancer(
        "GradVac",
        Kind.GRADIENTS,
        _aggregator("GradVac"),
        "Wang et al., ICLR 2021",
        "torchjd",
        "What is added to the present rows is a multiple of 0, but the cosine with it counts as 0: the running targets "
        "$\\hat\\phi$ fade as $(1-\\beta)^t$ and are forgotten at the return.",
        Effect.UNTOUCHED,
        Effect.CHANGED,
    ),
    Balancer(
        "IMTL-G",
        Kind.GRADIENTS,
        _aggregator("IMTLG"),
        "Liu et al., ICLR 2021",
        "torchjd",
        "$G^{+}d$ over its sum: a row of 0 gives the pseudoinverse a row of 0, and the task a weight of 0.",
        Effect.UNTOUCHED,
        solved=Broken.STOPS,
        nearly_zero="Equal projections on all directions with weights that sum to 1: the weights go as $1/\\lVert "
        "g_i\\rVert$, and nearly all of it to the tiny gradient.",
    ),
    Balancer(
        "Nash-MTL",
        Kind.GRADIENTS,
        _nash,
        "Navon et al., ICML 2022",
        "torchjd",
        "$(G\\alpha)_a = 1/\\alpha_a$ reads $0 = 1/\\alpha_a$: no solution; the code keeps its last weights and stops "
        "balancing.",
        Effect.CHANGED,
    ),
    Balancer(
        "Aligned-MTL",
        Kind.GRADIENTS,
        _aggregator("AlignedMTL"),
        "Senushkin et al., CVPR 2023",
        "torchjd",
        "The zero eigenvalue is cut, the rest keep their own; the mean over m rows shrinks the update to $k/m$.",
        Effect.SHRUNK,
        solved=Broken.STOPS,
        nearly_zero="All singular values are brought to the smallest one, which is now the tiny gradient's and is "
        "not cut.",
    ),
    Balancer(
        "GradDrop",
        Kind.GRADIENTS,
        _aggregator("GradDrop"),
        "Chen et al., NeurIPS 2020",
        "torchjd",
        "Sign purity $\\frac12(1 + \\sum g/\\sum|g|)$ and the sum of kept entries: 0 adds 0 to each.",
        Effect.UNTOUCHED,
    ),
    Balancer(
        "FairGrad",
        Kind.GRADIENTS,
        _aggregator("FairGrad", alpha=2.0),
        "Ban and Ji, ICML 2024",
        "torchjd",
        "$G w = w^{-1/\\alpha}$ reads $0 = w_a^{-1/\\alpha}$: $w_a$ runs off towards infinity; the other equations do "
        "not hold $w_a$ and are solved as before.",
        Effect.UNTOUCHED,
        solved=Broken.BLOWS_UP,
        nearly_zero="$w_a\\lVert g_a\\rVert^2 \\approx w_a^{-1/\\alpha}$: with $\\alpha = 2$ its part of the update "
        "grows as $\\lVert g_a\\rVert^{-1/3}$.",
    ),
    Balancer(
        "ExcessMTL",
        Kind.GRADIENTS,
        _aggregator("ExcessMTL", robust_step_size=0.1),
        "He et al., ICML 2024",
        "torchjd",
        "$w_i \\propto w_i e^{\\eta E_i}$ with excess risk $E_a = 0$: the absent share sits idle at first, then decays "
        "exponentially, and is gone at the return.",
        Effect.SHRUNK,
        Effect.WEAK,
        solved=Broken.LEFT_BEHIND,
        nearly_zero="Excess risk $E_a \\approx 0$: the share decays as for a zero.",
    ),
    Balancer(
        "ConFIG",
        Kind.GRADIENTS,
        _aggregator("ConFIG"),
        "Liu et al., ICLR 2025",
        "torchjd",
        "Unit rows, 0/0 replaced by 0: a row of 0 gives the pseudoinverse a column of 0 and adds no length.",
        Effect.UNTOUCHED,
    ),
)


def balancer(name: str) -> Balancer:
    """The balancer of that name.

    Raises:
        ValueError: unknown; lists the names.
    """
    for known in BALANCERS:
        if known.name == name:
            return known
    raise ValueError(f"unknown balancer {name!r}; known: {[known.name for known in BALANCERS]}")
