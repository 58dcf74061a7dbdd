"""The ways to install agree: constraints, environment.yml, Makefile and CI speak of the same pinned project."""

import os
import re
import subprocess
from importlib import metadata
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]


def pins() -> dict[str, str]:
    lines = [line.split("#")[0].strip() for line in (ROOT / "constraints.txt").read_text().splitlines()]
    pairs = [line.split("==") for line in lines if line]
    assert all(len(pair) == 2 for pair in pairs), "every constraint is an exact version"
    return {canonicalize_name(name): version for name, version in pairs}


def requirements() -> list[Requirement]:
    """What the project declares, extras included."""
    return [Requirement(line) for line in metadata.requires("aura-study") or ()]


def environment() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((ROOT / "environment.yml").read_text())
    return content


def test_the_conda_environment_installs_this_project_with_these_pins() -> None:
    """environment.yml adds nothing of its own: Python, pip, and what `make study` installs, under constraints.txt.

    Its Python is the one that the constraints were tested with: Binder takes no bound for a version.
    """
    *conda, pip = environment()["dependencies"]
    (tested,) = re.findall(r"Python (3\.\d+)", (ROOT / "constraints.txt").read_text())
    assert conda == [f"python={tested}", "pip"]
    assert Version(tested) in SpecifierSet(metadata.metadata("aura-study")["Requires-Python"])
    assert pip == {"pip": ["--constraint constraints.txt", "--editable .[study,balancers]"]}
    assert (ROOT / "constraints.txt").is_file()
    assert (ROOT / "pyproject.toml").is_file()


def test_every_declared_dependency_is_pinned_to_a_version_it_allows() -> None:
    """constraints.txt covers each requirement and lies within its bounds; torch carries no local suffix."""
    pinned = pins()
    for requirement in requirements():
        name = canonicalize_name(requirement.name)
        assert name in pinned, f"{name} is not pinned in constraints.txt"
        assert Version(pinned[name]) in requirement.specifier, (
            f"{name}=={pinned[name]} is outside {requirement.specifier}"
        )
    assert re.fullmatch(r"[\d.]+", pinned["torch"])


def test_every_pin_has_its_hashes_beside_it() -> None:
    """constraints.hashed.txt holds every pin of constraints.txt at that version, and no package without a SHA-256."""
    lines = (ROOT / ".ci" / "constraints.hashed.txt").read_text().splitlines()
    hashed: dict[str, str] = {}
    for line, after in pairwise([line for line in lines if not line.startswith("#")]):
        if found := re.fullmatch(r"([\w.-]+)==(\S+)(?: ; .+)? \\", line):
            hashed[canonicalize_name(found[1])] = found[2]
            assert re.fullmatch(r" +--hash=sha256:[0-9a-f]{64}(?: \\)?", after), found[1]
        else:
            assert line.startswith("    --hash=sha256:"), line
    assert pins().items() <= hashed.items()


def test_what_is_installed_is_what_is_pinned() -> None:
    """In an environment made by make, each pinned package that is installed has the pinned version."""
    if not (ROOT / ".venv" / ".test").is_file():
        pytest.skip("this environment was not made by make")
    for name, version in pins().items():
        try:
            installed = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
        assert Version(installed).public == version, name


def test_make_installs_under_the_constraints_and_ci_runs_the_documented_test_command() -> None:
    """Each pip install of the Makefile is constrained; CI runs ``make test``, then what that leaves out."""
    makefile = (ROOT / "Makefile").read_text()
    installs = [line for line in makefile.splitlines() if "$(PIP) install" in line]
    assert installs
    assert all("--constraint constraints.txt --editable" in line for line in installs)
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    commands = [line.strip() for line in script.read_text().splitlines()]
    for command in ("make lint", "make types", "make test test-all"):
        assert any(re.match(rf"{command}\b", line) for line in commands), command
    assert subprocess.run(["bash", "-n", str(script)]).returncode == 0
