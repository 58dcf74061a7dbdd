"""Installed from a wheel into an environment of its own: the command line, what each room needs, types for users."""

import subprocess
import sys
from pathlib import Path

import pytest

from aura_study.errors import MissingExtra, require
from aura_study.paths import project_root

STUDY = (
    *("transformers", "tokenizers", "papermill", "nbconvert", "nbformat", "pandas", "pyarrow", "sklearn", "numba"),
    *("sympy", "scipy", "matplotlib", "jinja2", "rich", "tqdm", "joblib", "filelock", "pooch"),
)
OTHERS = ("torchjd", "accelerate", "distributed")
COMMAND_LINE = ("pydantic", "yaml", "typer", "psutil")
BLOCK = """
from importlib.machinery import PathFinder
found = PathFinder.find_spec
PathFinder.find_spec = lambda name, *rest: None if name.partition(".")[0] in {blocked} else found(name, *rest)
"""


def run(command: list[str], folder: Path) -> "subprocess.CompletedProcess[str]":
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "COLUMNS": "100"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment that holds the project's wheel, sees this one's libraries, and stands beside no checkout."""
    folder = tmp_path_factory.mktemp("installed")
    build = f"import hatchling.build; print(hatchling.build.build_wheel({str(folder)!r}))"
    built = subprocess.run(
        [sys.executable, "-c", build], cwd=project_root(), capture_output=True, text=True, check=True
    )
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    python = folder / "venv" / "bin" / "python"
    install = ["install", "--quiet", "--no-deps", "--no-index", str(folder / built.stdout.split()[-1])]
    subprocess.run([sys.executable, "-m", "pip", "--python", python, *install], check=True)
    (site,) = (folder / "venv" / "lib").glob("python*/site-packages")
    (libraries,) = (path for path in map(Path, sys.path) if (path / "torch").is_dir())
    (site / "shared.pth").write_text(f"{libraries}\n")
    (folder / "empty").mkdir()
    return folder


@pytest.mark.slow
def test_the_command_line_works_from_an_empty_folder(installed: Path) -> None:
    """Run, params, claims, report and compare: the notebooks come with the wheel, results go where the user stands."""
    here, program = installed / "empty", str(installed / "venv" / "bin" / "aura-study")
    for words in (
        ["params", "1"],
        ["run", "1", "--profile", "smoke", "--out", "first"],
        ["run", "1", "--profile", "smoke", "-p", "points=9", "--out", "second"],
        ["claims", "--run", "first"],
        ["report", "--run", "first"],
        ["compare", "first", "second", "--html", "compared"],
    ):
        done = run([program, *words], here)
        assert done.returncode == 0, (words, done.stderr)
        assert "checkout" not in done.stderr
    assert (here / "results" / "first" / "report" / "index.html").is_file()
    assert "01_focal_loss" in (here / "results" / "second" / "manifest.json").read_text()


@pytest.mark.parametrize(
    ("rooms", "blocked"),
    [
        ("aura_study.losses", (*STUDY, *OTHERS, *COMMAND_LINE, "numpy")),
        ("aura_study.balancing", (*STUDY, *OTHERS, *COMMAND_LINE)),
        ("aura_study.audit", (*STUDY, *OTHERS, *COMMAND_LINE)),
        ("aura_study.cli, aura_study.audit.cli, aura_study.audit.scan", (*STUDY, *OTHERS)),
    ],
)
def test_a_room_needs_what_its_extra_brings(rooms: str, blocked: tuple[str, ...]) -> None:
    """Imported where everything else is missing."""
    code = BLOCK.format(blocked=blocked) + f"import {rooms}"
    done = subprocess.run([sys.executable, "-c", code], cwd=project_root(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_extra_audit_is_enough_for_an_audit() -> None:
    """The command finds the phantom gradient where nothing of the study is there."""
    ours = [name for name in STUDY if name not in ("sympy", "jinja2", "filelock")]  # torch needs these three
    words = ["aura-study", "audit", "aura_study.losses:UnmaskedKendallLoss", "--tasks", "a,b"]
    code = f"import sys; from aura_study.__main__ import main; sys.argv = {words}; main()"
    code = BLOCK.format(blocked=(*ours, *OTHERS)) + code
    done = subprocess.run([sys.executable, "-c", code], cwd=project_root(), capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert "PHANTOM" in done.stdout


def test_a_missing_extra_is_one_line_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is declared and not installed is named, once; an extra that is there says nothing."""
    declared = ["torch>=2", "torch>=2; extra == 'here'", *(f"none-{n}>=1; extra == 'away'" for n in "abcd")]
    monkeypatch.setattr("aura_study.errors.metadata.requires", lambda name: declared)
    require("here")
    with pytest.raises(MissingExtra) as caught:
        require("away")
    expected = 'this needs none-a, none-b, none-c and 1 more; install the extra: pip install "aura-study[away]"'
    assert str(caught.value) == expected


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "extra"), [(["run", "1"], "study"), (["train", "-p", "steps=5"], "parallel"), (["audit", "x:Y"], "audit")]
)
def test_a_command_asks_for_its_extra_before_any_work(installed: Path, words: list[str], extra: str) -> None:
    """An environment that has none of the extra's packages: one line, no traceback, nothing written."""
    here = installed / "bare"
    here.mkdir(exist_ok=True)
    python = str(installed / "venv" / "bin" / "python")
    absent = f"""
import sys
from importlib import metadata
from aura_study import errors
there = errors._packages("audit") if {extra!r} != "audit" else []
errors._installed = lambda package: package in there
sys.argv = ["aura-study", *{words!r}]
from aura_study.__main__ import main
main()
"""
    done = run([python, "-c", absent], here)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: this needs ")
    assert line.endswith(f'pip install "aura-study[{extra}]"')
    assert not list(here.iterdir())


SCRIPT = """
import torch
from aura_study.losses import MaskedKendallLoss
weigh = MaskedKendallLoss(["depth", "normals"])
total: torch.Tensor = weigh({"depth": torch.tensor(0.5)})
sigma: torch.Tensor = weigh.sigma()
"""


@pytest.mark.slow
def test_a_users_script_passes_mypy_strict(installed: Path) -> None:
    """Types reach the user: the right script passes, one with a wrong type does not."""
    here = installed / "typed"
    here.mkdir()
    (here / "right.py").write_text(SCRIPT)
    (here / "wrong.py").write_text(SCRIPT + "wrong: int = weigh.sigma()\n")
    check = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--python-executable",
        str(installed / "venv" / "bin" / "python"),
    ]
    done = run([*check, "right.py", "wrong.py"], here)
    assert done.stdout.count("error:") == 1, done.stdout
    assert 'wrong.py:7: error: Incompatible types in assignment (expression has type "Tensor"' in done.stdout
