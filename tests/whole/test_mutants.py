"""The mutation tester: every fault is one change that compiles, and it finds in a small tree what is there to find."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import mutate
import pytest
from mutants import mutants_of

import aura_study

SOURCE = '''"""A room of one function."""

def clipped(value: float, low: float = 0.0) -> float:
    """The larger of both."""
    if value < low:
        return low
    return value + 0
'''
TESTS = """
import sys, subprocess
from aura_study.losses.thing import clipped

def test_here():
    assert clipped(-1.0) == 0.0

def test_in_a_child():
    code = "from aura_study.losses.thing import clipped; print(clipped(2.0))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "2.0\\n"

def test_broken_anyway():
    assert clipped(0.5) == 7
"""
SURVIVORS = {"value < low -> (value <= low)", "value + 0 -> (value - 0)"}


@pytest.mark.parametrize("room", mutate.ROOMS)
def test_every_mutant_is_one_change_that_compiles(room: str) -> None:
    """In each room of the five: what it becomes parses, is another text, and no two have one name."""
    folder = Path(aura_study.__file__).parent / room
    paths = sorted(folder.rglob("*.py"))
    for path in paths[:: max(1, len(paths) // 3)]:
        source = path.read_text()
        every = mutants_of(source, path.name)
        assert len({one.name for one in every}) == len(every)
        for one in every[::10]:
            assert ast.dump(ast.parse(one.applied(source))) != ast.dump(ast.parse(source)), one.name


def test_a_small_tree_is_judged_and_not_judged_twice(tmp_path: Path) -> None:
    """Faults are seen by child processes too, what fails anyway catches none, survivors are named, and it goes on."""
    tree = tmp_path / "tree"
    for name, text in (
        ("aura_study/__init__.py", ""),
        ("aura_study/losses/__init__.py", ""),
        ("aura_study/losses/thing.py", SOURCE),
        ("tests/losses/test_thing.py", TESTS),
        (
            "pyproject.toml",
            "[tool.pytest.ini_options]\naddopts = '--import-mode=importlib'\nmarkers = ['slow', 'browser']",
        ),
    ):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text)
    words = [sys.executable, mutate.__file__, "--out", str(tmp_path), "--rooms", "losses"]
    outputs = []
    for _ in range(2):
        done = subprocess.run(words, capture_output=True, text=True, env=dict(os.environ))
        assert done.returncode == 1, done.stderr
        outputs.append(done.stdout)
        rows = [json.loads(line) for line in (tmp_path / "found.jsonl").read_text().splitlines()]
        assert {row["name"].split(" ", 1)[1] for row in rows if row["how"] == "survived"} == SURVIVORS
        assert "| losses | 4 | 2 | 0 | 2 | 50.0% |" in done.stdout
    assert len(rows) == 4
    assert all(survivor in outputs[1] for survivor in SURVIVORS)
    assert (tree / "aura_study/losses/thing.py").read_text() == SOURCE


def test_a_mutant_meets_its_own_tests_first_and_as_many_as_there_is_time_for() -> None:
    """Those that enter its function, fastest first, then those that start processes; one at least, none that fails."""
    (mutant,) = mutants_of("def f(x):\n    return x + x\n", "aura_study/losses/thing.py")
    seconds = {"slow": 3.0, "fast": 1.0, "other": 0.5, "broken": 0.1, "child": 2.0}
    entered = {"aura_study/losses/thing.py:f": ["slow", "fast", "broken"]}
    known = {"entered": entered, "seconds": seconds, "failed": ["broken"], "parents": ["child"]}
    assert mutate.tests_for(mutant, known, 100) == ["fast", "slow", "child"]
    assert mutate.tests_for(mutant, known, 4) == ["fast", "slow"]
    assert mutate.tests_for(mutant, known, 0) == ["fast"]
    known["entered"] = {}
    assert mutate.tests_for(mutant, known, 100) == ["other", "fast", "child", "slow"]
