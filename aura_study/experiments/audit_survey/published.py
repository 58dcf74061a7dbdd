"""Loss weightings to audit: published formulas, written anew from their sources, and published packages as they are.

Every formula takes what its source takes: a stacked vector, a list with None, or losses by name.
"""

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from aura_study.losses import (
    AuraSoftplus,
    FrozenKendallLoss,
    LogOnePlusSquare,
    LogSigma,
    LogVariance,
    MaskedKendallLoss,
    Sigma,
    UnmaskedKendallLoss,
)

TASKS = ("a", "b", "c")


@dataclass(frozen=True)
class Weighting:
    """One row of the survey: a name, its formula (LaTeX), where it comes from, and how to make it."""

    name: str
    formula: str
    source: str
    make: Callable[[], Any]


class Formula(nn.Module):
    """``term(parameter, losses)``, one parameter per task, summed; a stacked vector of losses."""

    def __init__(self, term: Callable[[Tensor, Tensor], Tensor], start: float = 0.0) -> None:
        super().__init__()
        self.term = term
        self.theta = nn.Parameter(torch.full((len(TASKS),), start))

    def forward(self, losses: Tensor) -> Tensor:
        """Total."""
        return self.term(self.theta, losses).sum()


class MaskedFormula(Formula):
    """The same, and a presence mask that is applied to the term by ``mask_term``."""

    def __init__(self, mask_term: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__(_log_variance)
        self.mask_term = mask_term

    def forward(self, losses: Tensor, mask: Tensor) -> Tensor:  # type: ignore[override]
        """Total."""
        return self.mask_term(mask, self.term(self.theta, losses)).sum()


class SkipsNone(nn.Module):
    """A list of losses; None is skipped, and log sigma is bounded by 3 tanh(l / 3)."""

    def __init__(self) -> None:
        super().__init__()
        self.log_sigmas = nn.Parameter(torch.zeros(len(TASKS)))

    def forward(self, losses: Sequence[Tensor | None]) -> Tensor:
        """Total."""
        bounded = 3 * torch.tanh(self.log_sigmas / 3)
        terms = [
            0.5 * torch.exp(-2 * s) * loss + s for s, loss in zip(bounded, losses, strict=True) if loss is not None
        ]
        return torch.stack(terms).sum()


class MasksZero(nn.Module):
    """Losses by name; a loss of exactly 0 marks an absence; weighted losses are handed back by name."""

    def __init__(self) -> None:
        super().__init__()
        self.tasks = TASKS
        self.theta = nn.Parameter(torch.zeros(len(TASKS)))

    def forward(self, losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Terms by name."""
        values = torch.stack(list(losses.values()))
        terms = (values != 0) * _log_variance(self.theta, values)
        return dict(zip(losses, terms.unbind(), strict=True))


def _log_variance(u: Tensor, losses: Tensor) -> Tensor:
    return torch.exp(-u) * losses + u


def _clamped(w: Tensor, losses: Tensor) -> Tensor:
    held = w.clamp(min=0)
    return 2 * losses * torch.exp(-held) + held


def _where(mask: Tensor, terms: Tensor) -> Tensor:
    return torch.where(mask, terms, torch.zeros_like(terms))


def _package(module: str, name: str) -> Callable[[], Any]:
    return lambda: getattr(importlib.import_module(module), name)(len(TASKS))


KENDALL = "Kendall et al., CVPR 2018"
GUIDE = r"\frac{L}{2\sigma^2}+\log\sigma"
SURVEY = (
    Weighting(
        "unmasked, sigma", GUIDE, f"{KENDALL}, eq. 7, with sigma learned", lambda: UnmaskedKendallLoss(TASKS, Sigma())
    ),
    Weighting(
        "unmasked, log sigma",
        r"\tfrac12 e^{-2s}L+s",
        f"{KENDALL}, with s = log sigma learned",
        lambda: UnmaskedKendallLoss(TASKS, LogSigma()),
    ),
    Weighting(
        "unmasked, log variance",
        r"\tfrac12 e^{-u}L+\tfrac12 u",
        "LibMTL, LibMTL/weighting/UW.py",
        lambda: UnmaskedKendallLoss(TASKS, LogVariance()),
    ),
    Weighting(
        "unmasked, AURA softplus",
        r"\frac{L}{\mathrm{softplus}(x)}+\tfrac12\mathrm{softplus}(x)",
        "AURA V10.1, GiuseppeSPk/AURA",
        lambda: UnmaskedKendallLoss(TASKS, AuraSoftplus()),
    ),
    Weighting(
        "unmasked, log(1+sigma^2)",
        r"\frac{L}{2\sigma^2}+\log(1+\sigma^2)",
        "Liebel and Koerner, 2018 (arXiv:1805.06334)",
        lambda: UnmaskedKendallLoss(TASKS, LogOnePlusSquare()),
    ),
    Weighting(
        "masked, log sigma",
        r"M(\tfrac12 e^{-2s}L+s)",
        "this project; AURA V10.2 masks likewise",
        lambda: MaskedKendallLoss(TASKS),
    ),
    Weighting(
        "frozen, log sigma",
        r"M(\tfrac12 e^{-2s}L+s)",
        "this project: no gradient at all",
        lambda: FrozenKendallLoss(TASKS),
    ),
    Weighting(
        "raw x^2",
        r"\frac{L}{x^2}+\log x",
        f"{KENDALL}, eq. 10, without a logarithmic parameter",
        lambda: Formula(lambda x, losses: losses / x**2 + torch.log(x), 1.0),
    ),
    Weighting(
        "automatic weighted loss",
        r"\frac{1}{2x^2}L+\log(1+x^2)",
        "Mikoto10032/AutomaticWeightedLoss",
        lambda: Formula(lambda x, losses: 0.5 / x**2 * losses + torch.log(1 + x**2), 1.0),
    ),
    Weighting(
        "squared regulariser",
        r"e^{-s}L+s^2",
        "GuanRunwei/Achelous, loss/multitaskloss.py",
        lambda: Formula(lambda s, losses: torch.exp(-s) * losses + s**2),
    ),
    Weighting("clamped", r"2Le^{-\max(w,0)}+\max(w,0)", "a clamp against negative terms", lambda: Formula(_clamped)),
    Weighting(
        "no regulariser",
        r"e^{-w}L",
        "question 1 of the guide",
        lambda: Formula(lambda w, losses: torch.exp(-w) * losses),
    ),
    Weighting(
        "bounded, skips None",
        r"\tfrac12 e^{-2s}L+s,\ s=3\tanh(l/3)",
        "openpifpaf, network/losses/multi_head.py",
        SkipsNone,
    ),
    Weighting(
        "masks L = 0",
        r"[L\neq0](e^{-u}L+u)",
        "MultiMAE (2022), EPFL-VILAB/MultiMAE, utils/task_balancing.py",
        MasksZero,
    ),
    Weighting(
        "mask times term",
        r"M\cdot(e^{-u}L+u)",
        "the guide, section 3.2, as written",
        lambda: MaskedFormula(lambda mask, terms: mask * terms),
    ),
    Weighting(
        "where(mask, term, 0)",
        r"\mathrm{where}(M, e^{-u}L+u, 0)",
        "a usual repair of the NaN above",
        lambda: MaskedFormula(_where),
    ),
    Weighting(
        "torchjd UW",
        r"\tfrac12 e^{-s}L+\tfrac12 s",
        "torchjd 0.18, torchjd.scalarization.UW",
        _package("torchjd.scalarization", "UW"),
    ),
    Weighting(
        "torchjd IMTL-L",
        r"e^{s}L-s",
        "torchjd 0.18, torchjd.scalarization.IMTLL (Liu et al., ICLR 2021)",
        _package("torchjd.scalarization", "IMTLL"),
    ),
    Weighting(
        "mtl-uncertainty-loss",
        r"\frac{L}{2\sigma^2}+\log\sigma",
        "mtl-uncertainty-loss 0.1.0 on PyPI",
        _package("mtl_uncertainty_loss", "UncertaintyWeightedMultiTaskLoss"),
    ),
)
