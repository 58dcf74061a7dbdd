"""The audit of balancers: their update and their state, while a task is away and once it is back."""

import json

import pytest
import torch
from typer.testing import CliRunner

from aura_study.audit import CannotAudit, Verdict, audit
from aura_study.balancing import BALANCERS, DBMTL, GradNorm, PresentOnly, balancer
from aura_study.cli import app

pytest.importorskip("torchjd")
pytest.importorskip("cvxpy")

AUDITED = [
    ("MGDA", "unstable", {"zero": "unstable", "nan": "unstable", "omit": "safe"}),
    ("FAMO", "unstable", {"zero": "unstable"}),
    ("DWA", "unstable", {"zero": "unstable"}),
    ("Geometric mean", "unstable", {"zero": "unstable", "omit": "safe"}),
    ("Mean", "disturbed", {"zero": "disturbed", "omit": "safe"}),
    ("Sum", "unstable", {"zero": "safe", "nan": "unstable", "omit": "safe"}),
    ("UPGrad", "disturbed", {"zero": "disturbed"}),
    ("PCGrad", "unstable", {"zero": "safe", "nan": "unstable"}),
    ("GradVac", "phantom", {"zero": "phantom", "omit": "phantom"}),
    ("ExcessMTL", "phantom", {"zero": "phantom"}),
    ("Nash-MTL", "disturbed", {"zero": "disturbed"}),
    ("GradNorm", "phantom", {"zero": "phantom"}),
    ("DB-MTL", "phantom", {"zero": "phantom"}),
]


@pytest.mark.parametrize(("name", "verdict", "marks"), AUDITED)
def test_the_audit_knows_balancers(name, verdict, marks):
    """The verdict on a balancer is on its update and its state: zero, NaN, and an entry left out."""
    report = audit(lambda: balancer(name).make(3), tasks=3)
    assert report.verdict == verdict
    assert {mark: report[mark].verdict for mark in marks} == marks
    assert json.loads(json.dumps(report.to_dict(), allow_nan=False))["exit_code"] == 1
    assert "PresentOnly" in str(report)


@pytest.mark.parametrize("name", ["GradVac", "ExcessMTL"])
def test_the_audit_names_the_share_of_a_task_that_returns(name):
    """What combines gradients has weights too, of rows: the task comes back with less of them than it would have."""
    found = audit(lambda: balancer(name).make(3), tasks=3)["zero"]
    assert found.after == "returns too weak"
    assert f"the task's share of the weights is x {found.growth:.3g}" in found.reason
    assert 0.5 < found.growth < 0.95


@pytest.mark.parametrize("name", [entry.name for entry in BALANCERS])
def test_the_audit_finds_every_balancer_safe_behind_present_only(name):
    """PresentOnly is told of an absence by its mask, with NaN in the place, and is safe around every balancer."""
    report = audit(lambda: PresentOnly(balancer(name).make(3)), tasks=3)
    assert report.safe
    assert report["mask"].verdict == Verdict.SAFE
    assert report.exit_code == 0


def test_the_audit_takes_classes_and_marks_from_the_command_line():
    """Targets are named as any other; the exit code is the verdict."""
    run = CliRunner().invoke(app, ["audit", "torchjd.aggregation:MGDA", "--absence", "omit"])
    assert (run.exit_code, "SAFE" in run.output) == (0, True)
    run = CliRunner().invoke(app, ["audit", "aura_study.balancing:GradNorm", "--json"])
    assert run.exit_code == 1
    assert {finding["absence"] for finding in json.loads(run.stdout)["findings"]} >= {"zero", "nan"}


def test_a_balancer_that_cannot_be_audited_says_why():
    """A mark that no balancer takes, and a state that nobody describes."""

    class Secret(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.memory = torch.zeros(3)

        def forward(self, losses, jacobian):
            return losses.sum()

    with pytest.raises(CannotAudit, match="'none'"):
        audit(DBMTL, tasks=3, absence="none")
    with pytest.raises(CannotAudit, match="Secret holds memory"):
        audit(Secret, tasks=3)
    assert audit(GradNorm, tasks=4).tasks == 4
