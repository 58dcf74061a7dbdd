"""AURA's versions by how they treat an absent task, written anew as small classes, and audited (claims A6, A6a)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aura_study.audit import Absence, Settings, Verdict, audit
from aura_study.claims import Measurement
from aura_study.theory.flow import absent_flow
from aura_study.theory.forms import AURA_SOFTPLUS

TASKS = ("toxicity", "emotion", "sentiment", "reporting")


class LeavesOut(nn.Module):
    """The absent task's term is not added: log variance, held within 5 (V9, V12)."""

    def __init__(self) -> None:
        super().__init__()
        self.log_variances = nn.ParameterDict({task: nn.Parameter(torch.zeros(())) for task in TASKS})

    def forward(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Total of the losses that are given, by task."""
        held = {task: self.log_variances[task].clamp(-5, 5) for task in losses}
        return torch.stack([torch.exp(-held[task]) * loss + held[task] for task, loss in losses.items()]).sum()


class Softplus(nn.Module):
    """AURA's softplus form, whose two parts the versions from V10 on put together in their own ways."""

    def __init__(self) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.zeros(len(TASKS)))

    def terms(self, losses: Sequence[Tensor]) -> Tensor:
        """Each task's weighted loss and regulariser."""
        width = F.softplus(self.theta)
        return torch.stack(list(losses)) / (width + 1e-8) + 0.5 * width


class FillsZero(Softplus):
    """An absent task's loss is 0 and its regulariser stays (V10; V11's baseline)."""

    def forward(self, losses: list[Tensor]) -> Tensor:
        """Total of all losses."""
        return self.terms(losses).sum()


class TimesMask(Softplus):
    """The whole term, loss and regulariser, times 1 or 0 (V10.2)."""

    def forward(self, losses: list[Tensor], mask: Tensor) -> Tensor:
        """Total."""
        return (self.terms(losses) * mask).sum()


class SkipsMasked(Softplus):
    """Terms of tasks that the mask does not hold are skipped (V11)."""

    def forward(self, losses: list[Tensor], mask: Tensor) -> Tensor:
        """Total."""
        held = mask.bool()
        return self.terms(losses)[held].sum()


@dataclass(frozen=True)
class Version:
    """One of AURA's versions.

    Attributes:
        name: as AURA calls it.
        form: the class that stands for its loss.
        absence: how it marks a task that a batch does not hold.
        told: the verdict that the claim tells.
    """

    name: str
    form: type[nn.Module]
    absence: Absence
    told: Verdict


LINEAGE = (
    Version("V9", LeavesOut, Absence.OMIT, Verdict.SAFE),
    Version("V10", FillsZero, Absence.ZERO, Verdict.PHANTOM),
    Version("V10.2", TimesMask, Absence.MASK, Verdict.SAFE),
    Version("V11 baseline", FillsZero, Absence.ZERO, Verdict.PHANTOM),
    Version("V11", SkipsMasked, Absence.MASK, Verdict.SAFE),
    Version("V12", LeavesOut, Absence.OMIT, Verdict.SAFE),
)


def lineage(settings: Settings | None = None) -> pd.DataFrame:
    """The audit's verdict on each version: version, form (what it does), absence, verdict, told, growth."""
    rows = []
    for version in LINEAGE:
        report = audit(version.form, TASKS, absence=version.absence, settings=settings)
        finding = report[version.absence]
        form = (version.form.__doc__ or "").split(" (")[0].split(":")[0]
        row = {"version": version.name, "form": form, "absence": str(version.absence), "told": str(version.told)}
        rows.append({**row, "verdict": str(finding.verdict), "growth": finding.growth})
    return pd.DataFrame(rows)


def measure_lineage(table: pd.DataFrame) -> Measurement:
    """A6: share of the versions whose verdict is the told one."""
    same = (table["verdict"] == table["told"]).astype(float)
    return Measurement(float(same.mean()), float(same.mean()), float(same.mean()), "share of the versions as told")


def dummies(steps: int = 100, rate: float = 0.01) -> pd.DataFrame:
    """Growth of an absent task's weight under SGD with a zero that does or does not require a gradient.

    Columns: ``requires_grad``, ``growth``, ``predicted`` (gradient flow of the regulariser alone).
    """
    theta = AURA_SOFTPLUS.initial_theta
    end = absent_flow(AURA_SOFTPLUS, theta, steps * rate)
    predicted = float(AURA_SOFTPLUS.weight(end) / AURA_SOFTPLUS.weight(np.asarray(theta)))
    rows = []
    for requires in (True, False):
        loss = FillsZero().double()
        optimizer = torch.optim.SGD(loss.parameters(), lr=rate)
        before = F.softplus(loss.theta[-1]).item()
        for _ in range(steps):
            optimizer.zero_grad()
            present = [torch.ones((), dtype=torch.float64) for _ in TASKS[:-1]]
            loss([*present, torch.zeros((), dtype=torch.float64, requires_grad=requires)]).backward()
            optimizer.step()
        growth = before / F.softplus(loss.theta[-1]).item()
        rows.append({"requires_grad": requires, "growth": growth, "predicted": predicted})
    return pd.DataFrame(rows)


def measure_dummy(table: pd.DataFrame) -> Measurement:
    """A6a: how far a zero without a gradient lets the weight move, in parts of the weight."""
    row = table[~table["requires_grad"]].iloc[0]
    moved = row["growth"] - 1
    return Measurement(moved, moved, moved, "move of the absent task's weight", float(row["predicted"] - 1))
