"""`aura-study audit`: exit codes, JSON, and errors without a traceback."""

import json

import pytest
import typer
from typer.testing import CliRunner

from aura_study.audit.calls.make import load_target
from aura_study.audit.cli import audit_command

MODULE = """
import torch
from torch import nn

print("noise on standard output")

class Uncertain(nn.Module):
    def __init__(self, n, scale=1.0):
        super().__init__()
        self.s = nn.Parameter(torch.zeros(n))

    def forward(self, losses):
        print("more noise")
        return (torch.exp(-self.s) * losses + self.s).sum()

class Broken(nn.Module):
    def forward(self, losses):
        raise RuntimeError("it does not work")

class Stops(nn.Module):
    def forward(self, losses):
        raise SystemExit(0)

class Exits(nn.Module):
    def forward(self, losses):
        import os
        os._exit(0)

class Asks(nn.Module):
    def forward(self, losses):
        return losses.sum() * float(input())

class Loops(nn.Module):
    def forward(self, losses):
        while True:
            pass

def adapt(module, losses):
    return module(torch.stack(list(losses.values())))

def leaky_focal(logits, targets, gamma=2.0, weight=None):
    ce = nn.functional.cross_entropy(logits, targets, weight=weight, reduction="none")
    return ((1 - torch.exp(-ce)) ** gamma * ce).mean()
"""
QUICK = ("--steps", "10", "--lr", "0.05")


@pytest.fixture(scope="module")
def user_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("user") / "weighting.py"
    path.write_text(MODULE)
    return str(path)


def run(*arguments):
    app = typer.Typer()
    app.command()(audit_command)
    return CliRunner().invoke(app, arguments)


def test_safe_module_exits_0():
    """Our masked loss is safe and says so."""
    result = run("aura_study.losses:MaskedKendallLoss", *QUICK)
    assert result.exit_code == 0
    assert "SAFE" in result.stdout


def test_phantom_module_exits_1_with_readable_evidence(user_file):
    """A user's file: verdict, mark, growth and fix are printed, and what the file itself prints is not mixed in."""
    result = run(f"{user_file}:Uncertain", *QUICK)
    assert result.exit_code == 1
    for part in ("NOT SAFE", "PHANTOM", "phantom number 0.5", "Fix:"):
        assert part in result.stdout
    assert "noise" not in result.stdout


def test_json_is_one_document(user_file):
    """`--json` prints one JSON document with verdict, exit code and findings, whatever the audited code prints."""
    result = run(f"{user_file}:Uncertain", "--json", *QUICK, "--args", '{"n": 2, "scale": 2.0}')
    answer = json.loads(result.stdout)
    assert answer["verdict"] == "phantom"
    assert answer["exit_code"] == result.exit_code == 1
    assert len(answer["tasks"]) == 2
    assert {finding["absence"] for finding in answer["findings"]} == {"zero", "tiny", "nan"}


def test_one_absence(user_file):
    """`--absence` asks about one mark alone, and its verdict is the exit code's."""
    assert run("aura_study.losses:MaskedKendallLoss", "--absence", "omit", *QUICK).exit_code == 0
    assert run("aura_study.losses:MaskedKendallLoss", "--absence", "zero", *QUICK).exit_code == 1
    assert run(f"{user_file}:Uncertain", "--absence", "none", *QUICK).exit_code == 2


@pytest.mark.parametrize("call", ["stacked", "{file}:adapt"])
def test_call(user_file, call):
    """`--call` names a built-in way or the user's own adapter."""
    assert run(f"{user_file}:Uncertain", "--call", call.format(file=user_file), *QUICK).exit_code == 1


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("{file}:Broken", "it does not work"),
        ("{file}:Stops", "SystemExit"),
        ("{file}:Exits", "ended the process"),
        ("{file}:Asks", "EOFError"),
        ("{file}:Missing", "Uncertain"),
        ("nowhere.py:Name", "there is no file"),
        ("no_such_package_here:Name", "no_such_package_here"),
        ("{file}", "names no object"),
    ],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_what_cannot_be_audited_exits_2_with_the_reason(user_file, target, reason, as_json):
    """No traceback: the reason and how to adapt, in both formats."""
    result = run(target.format(file=user_file), *(["--json"] if as_json else []))
    assert result.exit_code == 2
    assert "Traceback" not in result.output
    if as_json:
        answer = json.loads(result.stdout)
        assert answer["exit_code"] == 2
        assert reason in answer["reason"]
        assert answer["adapt"]
    else:
        assert reason in result.stderr


def test_a_file_alone_is_answered_with_the_commands_of_what_it_defines(user_file):
    """Its classes before its functions, as they would be typed."""
    stderr = run(f"{user_file}").stderr
    assert f"\n    aura-study audit {user_file}:Uncertain\n" in stderr


def test_the_only_class_of_a_file_needs_no_name(tmp_path):
    """As its author would type it."""
    path = tmp_path / "mine.py"
    path.write_text("import torch\n\n\nclass Mine(torch.nn.Module):\n    pass\n", encoding="utf-8")
    assert load_target(str(path)).__name__ == "Mine"


def test_code_that_does_not_return_is_ended(user_file):
    """Exit code 2 within the limit, with what it was doing."""
    result = run(f"{user_file}:Loops", "--limit", "10")
    assert result.exit_code == 2
    assert "Its code did not return within" in result.stderr
    assert "; last: " in result.stderr


@pytest.mark.parametrize(
    "options",
    [
        ("--args", "{n: 3}"),
        ("--args", "3"),
        ("--absence", "nought"),
        ("--lr", "-1"),
        ("--lr", "nan"),
        ("--steps", "0"),
        ("--tasks", "1"),
        ("--call", "tuple"),
    ],
)
def test_bad_options_exit_2(user_file, options):
    """Options that make no sense are refused by name, without a traceback."""
    result = run(f"{user_file}:Uncertain", *options)
    assert result.exit_code == 2
    assert "Traceback" not in result.output
    assert not isinstance(result.exception, ValueError | TypeError)


def test_focal(user_file):
    """`--focal` audits a focal loss in the same style."""
    leaky = run(f"{user_file}:leaky_focal", "--focal", "--json")
    assert leaky.exit_code == 1
    assert json.loads(leaky.stdout)["verdict"] == "leaks"
    assert run("aura_study.losses:focal_loss", "--focal").exit_code == 0
