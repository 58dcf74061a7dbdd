"""Notebooks side by side: really at once, equal results, and nobody is left when one dies or the run is stopped."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import toy_study
from killed_runs import lasting
from rich.console import Console

from aura_study.dynamics.kernel import run
from aura_study.dynamics.random import COMPILED
from aura_study.runs import manifest
from aura_study.runs.inputs import DataState
from aura_study.study import processes, runner
from aura_study.study.display import Display
from aura_study.study.notebook import Order, Progress
from aura_study.study.plan import plan
from aura_study.study.processes import COMMAND, Ended, Event, environment, execute_side_by_side, in_turn


def events(tmp_path: Path, at_once: int) -> list[tuple[str, str]]:
    """Both toy notebooks executed: who began and who ended, in order."""
    notebooks = toy_study.write_notebooks(tmp_path / "notebooks")
    asked = toy_study.request(tmp_path / "run", "steps=100", notebooks=notebooks)
    orders = [work.order for work in plan(asked, asked.parameters, {}, notebooks, DataState("", {}))]
    told = [(name, type(event).__name__) for name, event in execute_side_by_side(orders, at_once, {})]
    return [(name[:2], kind) for name, kind in told if kind != "Progress"]


@pytest.mark.slow
def test_no_more_notebooks_run_at_once_than_asked(tmp_path: Path) -> None:
    """Alone, the second waits for the end of the first; together, both have begun before one ends."""
    assert events(tmp_path, 1) == [("01", "Started"), ("01", "Ended"), ("03", "Started"), ("03", "Ended")]
    assert events(tmp_path, 2)[:2] == [("01", "Started"), ("03", "Started")]


def test_side_by_side_begins_at_both_ends() -> None:
    """No name is lost or repeated, whether their number is even or odd."""
    assert in_turn(["a", "b", "c", "d"], {}) == ["a", "d", "b", "c"]
    assert in_turn(["a", "b", "c", "d", "e"], {}) == ["a", "e", "b", "d", "c"]


def test_side_by_side_the_longest_begins_first() -> None:
    """Where all durations are known; one that is not leaves the order to the ends."""
    assert in_turn(["a", "b", "c"], {"a": 2.0, "b": 9.0, "c": 5.0, "d": 7.0}) == ["b", "c", "a"]
    assert in_turn(["a", "b", "c"], {"a": 2.0, "b": 9.0}) == ["a", "c", "b"]


def test_a_run_begins_with_what_took_longest_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The durations that runs beside it recorded reach the order in which its notebooks begin."""
    notebooks = toy_study.write_notebooks(tmp_path / "notebooks")
    asked = toy_study.request(tmp_path / "run", "steps=2", notebooks=notebooks)
    monkeypatch.setattr(
        manifest, "seconds_elsewhere", lambda *asked: {"01_focal_loss": 1.0, "03_phantom_gradient": 9.0}
    )
    begun = []

    def begins(order: Order, *rest: object) -> None:
        begun.append(order.name)
        raise RuntimeError

    monkeypatch.setattr(processes, "_start", begins)
    with pytest.raises(RuntimeError):
        runner.run_study(asked, Console(quiet=True), notebooks, at_once=2)
    assert begun == ["03_phantom_gradient"]


def test_a_notebook_alone_has_all_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked to run two at a time, one that nobody runs beside is started as the only one."""
    notebooks = toy_study.write_notebooks(tmp_path / "notebooks")
    asked = toy_study.request(tmp_path / "run", "steps=2", notebooks=notebooks, only="03")
    (work,) = plan(asked, asked.parameters, {}, notebooks, DataState("", {}))
    shared = []

    def asks(at_once: int, compiled: Path | None) -> None:
        shared.append(at_once)
        raise InterruptedError

    monkeypatch.setattr(processes, "environment", asks)
    with pytest.raises(InterruptedError):
        list(execute_side_by_side([work.order], 2, {}))
    assert shared == [1]


SIMULATES = """
from aura_study.dynamics import grid, simulate
from aura_study.dynamics.kernel import run
theta = simulate(grid(noise=0.5), 20)["theta"][0]
print(theta, sum(run.stats.cache_hits.values()))
"""


def test_what_one_notebook_compiles_the_next_finds(tmp_path: Path) -> None:
    """In the command's own folder, and with the same result."""
    told = [
        subprocess.run(
            [sys.executable, "-c", SIMULATES], env=environment(2, tmp_path), capture_output=True, text=True, check=True
        ).stdout.split()
        for _ in range(2)
    ]
    assert [hits for _, hits in told] == ["0", "1"]
    assert told[0][0] == told[1][0]


def test_machine_code_is_kept_for_nobody_who_does_not_ask() -> None:
    """A function in another module may have changed, and numba would not see it."""
    assert COMPILED not in os.environ
    assert type(run._cache).__name__ == "NullCache"


@pytest.mark.slow
def test_a_notebook_whose_process_dies_has_failed(tmp_path: Path) -> None:
    """Killed from outside, it is told by its name and how it ended; its kernel goes with it."""
    notebooks = toy_study.write_notebooks(tmp_path / "notebooks")
    asked = toy_study.request(tmp_path / "run", "steps=9000", notebooks=notebooks, only="03")
    (work,) = plan(asked, asked.parameters, {}, notebooks, DataState("", {}))
    before = children()
    for _, event in execute_side_by_side([work.order], 1, {}):
        if isinstance(event, Progress) and event.bar:
            started = children() - before
            next(process for process in started if COMMAND[-1] in process.cmdline()).kill()
    assert isinstance(event, Ended)
    assert event.error == "notebook 03_phantom_gradient stopped: its process ended with exit code -9"
    _, alive = psutil.wait_procs(started, timeout=600)
    assert alive == []


def children() -> set[psutil.Process]:
    """All processes below this one."""
    return set(psutil.Process().children(recursive=True))


@pytest.mark.slow
def test_side_by_side_or_one_by_one_the_files_are_the_same(tmp_path: Path) -> None:
    """Every file but for its times, and the order in which the outcome tells them."""
    notebooks = toy_study.write_notebooks(tmp_path / "notebooks")
    outcomes = []
    for name, at_once in (("alone", 1), ("together", 2)):
        asked = toy_study.request(tmp_path / name / "run", notebooks=notebooks)
        outcomes.append(runner.run_study(asked, Console(quiet=True), notebooks, at_once=at_once))
    assert outcomes[0].executed == outcomes[1].executed == ["01_focal_loss", "03_phantom_gradient"]
    assert lasting(tmp_path / "alone" / "run") == lasting(tmp_path / "together" / "run")


@pytest.mark.slow
def test_a_stopped_run_leaves_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Interrupted while both kernels and a worker of theirs run: the call returns, and no child of this is left."""
    notebooks = toy_study.write_notebooks(tmp_path / "notebooks")
    before, started = children(), set()

    def interrupted(self: Display, name: str, event: Event) -> None:
        started.update(children() - before)
        if isinstance(event, Progress) and event.bar:
            raise KeyboardInterrupt

    monkeypatch.setattr(Display, "tell", interrupted)
    asked = toy_study.request(tmp_path / "run", "steps=9000", notebooks=notebooks)
    with pytest.raises(KeyboardInterrupt):
        runner.run_study(asked, Console(quiet=True), notebooks, at_once=2)
    assert started
    _, alive = psutil.wait_procs(started, timeout=600)
    assert alive == []
    assert not list((tmp_path / "run" / "notebooks").glob("03*.ipynb"))
    assert not list((tmp_path / "run" / "notebooks").glob(".*"))
