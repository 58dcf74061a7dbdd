"""A task that is present and solved: what the audit says of it, beside what it says of one that is absent."""

import json

import pytest
import torch
from torch import Tensor, nn

from aura_study.audit import audit
from aura_study.audit.balancers import audit_balancer
from aura_study.audit.evidence import LongAbsence, Solved
from aura_study.audit.solved import Fate, judge_solved
from aura_study.balancing import Broken, PresentOnly, balancer
from aura_study.losses import AuraSoftplus, FrozenKendallLoss, MaskedKendallLoss, UnmaskedKendallLoss

TASKS = ["depth", "normals"]


@pytest.mark.parametrize(
    ("measured", "fate"),
    [
        ({}, Fate.STILL),
        ({"fall": 0.5}, Fate.FALLS),
        ({"fall": 1.5}, Fate.LEVELS),
        ({"fall": 1.2, "stay": 1.3}, Fate.GROWS),
        ({"stay": 1.3, "long": LongAbsence(4.0, 4.01, None)}, Fate.LEVELS),
        ({"stay": 1.3, "long": LongAbsence(1.49, 1.5, None)}, Fate.LEVELS),
        ({"stay": 1.3, "long": LongAbsence(0.5, 0.5, None)}, Fate.GROWS),
        ({"stay": 1.3, "long": LongAbsence(4.0, 8.0, None)}, Fate.GROWS),
        ({"stay": 1.3, "long": LongAbsence(4.0, 8.0, 100.0)}, Fate.DIES),
        ({"stay": 1.3, "dead": True}, Fate.DIES),
        ({"stay": 1.3, "dead": True, "broke": "at 0"}, Fate.BREAKS),
    ],
)
def test_the_first_rule_that_applies_decides(measured, fate):
    """Of the table in the module, on numbers."""
    found = judge_solved(Solved(**{"task": "depth", "fall": 1.0, "stay": 1.0, "broke": "", "dead": False, **measured}))
    assert found.fate == fate
    assert judge_solved(None) is None


class Clamped(nn.Module):
    """Kendall's form with a clamp on log sigma, whose gradient is 0 below it."""

    def __init__(self) -> None:
        super().__init__()
        self.s = nn.Parameter(torch.zeros(2))

    def forward(self, losses: list[Tensor]) -> Tensor:
        s = self.s.clamp(min=-2.3)
        return (0.5 * torch.exp(-2 * s) * torch.stack(losses) + s).sum()


class Logarithms(nn.Module):
    """Sum of log losses, without a floor."""

    def forward(self, losses: list[Tensor]) -> Tensor:
        return torch.stack(losses).log().sum()


class Plain(nn.Module):
    """Sum of the losses."""

    def forward(self, losses: list[Tensor]) -> Tensor:
        return torch.stack(losses).sum()


class Drawn(nn.Module):
    """Weights that are drawn anew each time."""

    def forward(self, losses: list[Tensor]) -> Tensor:
        return (torch.rand(2).softmax(0) * torch.stack(losses)).sum()


class Smoothed(nn.Module):
    """Divided by a running mean, which bounds the weight on the return."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.ones(2))

    def forward(self, losses: list[Tensor]) -> Tensor:
        values = torch.stack(losses)
        self.mean = 0.9 * self.mean + 0.1 * values.detach()
        return (values / (self.mean + 1e-4)).sum()


class LeavesZeroOut(nn.Module):
    """IMTL-L's scales, without the term of a loss of 0."""

    def __init__(self) -> None:
        super().__init__()
        self.s = nn.Parameter(torch.zeros(2))

    def forward(self, losses: list[Tensor]) -> Tensor:
        return sum(s.exp() * loss - s for s, loss in zip(self.s, losses, strict=True) if loss != 0)


@pytest.mark.parametrize(
    ("make", "fate", "told"),
    [
        (Drawn, Fate.STILL, "exactly where it was"),
        (Smoothed, Fate.LEVELS, "levels off at x"),
        (LeavesZeroOut, Fate.LEVELS, "x 1 at 0, so that it levels off at x 2."),
    ],
)
def test_draws_memories_and_terms_left_out_are_no_growth_without_end(make, fate, told):
    """Each is compared with what it is at the same draws; a weight that stays put has a bound."""
    solved = audit(make, tasks=TASKS, absence="zero").solved
    assert solved.fate == fate
    assert told in solved.reason


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "fate", "safe"),
    [
        (lambda: MaskedKendallLoss(TASKS), Fate.GROWS, True),
        (lambda: FrozenKendallLoss(TASKS), Fate.GROWS, True),
        (lambda: UnmaskedKendallLoss(TASKS), Fate.GROWS, False),
        (lambda: MaskedKendallLoss(TASKS, loss_floor=0.01), Fate.LEVELS, True),
        (lambda: UnmaskedKendallLoss(TASKS, loss_floor=0.01), Fate.LEVELS, False),
        (Clamped, Fate.DIES, False),
        (Logarithms, Fate.BREAKS, True),
        (Plain, Fate.STILL, True),
    ],
)
def test_solved_by_presence_and_phantom_by_absence_are_two_questions(make, fate, safe):
    """A mask answers one of them, a floor the other; the verdict and the exit code are of the absence alone."""
    report = audit(make, tasks=TASKS)
    assert (report.solved.fate, report.safe) == (fate, safe)
    assert f"  solved   {fate.upper()}" in str(report)
    told = json.loads(json.dumps(report.to_dict(), allow_nan=False))["solved"]
    assert told["fate"] == fate
    assert told["reason"] == report.solved.reason


@pytest.mark.slow
def test_the_growth_is_that_of_the_theory():
    """At a loss of 0 SGD moves log sigma by its rate a step: e^2 at a phantom number of 1; the floor bounds it.

    The level: the warm loss and the floor together over the floor, for the task at the larger loss of 2.
    """
    free = audit(lambda: MaskedKendallLoss(TASKS, dtype=torch.float64), tasks=TASKS).solved.evidence
    assert free.stay == pytest.approx(torch.tensor(2.0).exp().item(), rel=1e-3)
    assert free.fall < free.stay  # while it falls its own loss still holds sigma up
    bound = audit(lambda: MaskedKendallLoss(TASKS, loss_floor=0.01), tasks=TASKS).solved.evidence
    assert bound.long.end == pytest.approx((2.0 + 0.01) / 0.01, rel=0.02)


def test_a_bounded_form_is_no_bound_on_the_weight():
    """AURA's softplus holds its term above 0, and the weight of a solved task grows with it."""
    report = audit(lambda: MaskedKendallLoss(TASKS, AuraSoftplus()), tasks=TASKS)
    assert report.solved.fate == Fate.GROWS


@pytest.mark.parametrize(
    ("name", "how"),
    [("Sum", Broken.NOT), ("DWA", Broken.LEFT_BEHIND), ("MGDA", Broken.STOPS), ("FAMO", Broken.STOPS)],
)
def test_a_balancer_is_asked_too(name, how):
    """The registry's prediction, in words and in JSON; PresentOnly cannot know that a present task is solved."""
    pytest.importorskip("torchjd")
    entry = balancer(name)
    for make in (lambda: entry.make(3), lambda: PresentOnly(entry.make(3))):
        report = audit_balancer(make, entry.kind, 3)
        assert report.solved[0] == entry.solved == how
        assert report.to_dict()["solved"]["breaks"] == how
        assert f"solved {how.upper()}" in str(report)
