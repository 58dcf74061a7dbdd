"""Notebooks side by side: really at once, equal results, and nobody is left when one raises or the run is stopped."""

import threading
import time
from pathlib import Path

import pandas as pd
import psutil
import pytest
import toy_study
from killed_runs import lasting
from rich.console import Console
from toy_jobs import ToyPoint, run_toy

from aura_study.runs.jobs import run_jobs
from aura_study.runs.ledger import read_one
from aura_study.runs.outputs import NotebookRun
from aura_study.study import pool, runner


def test_calls_run_at_once_and_no_more_than_asked() -> None:
    """Two meet at a barrier that only two can pass; a third waits for its turn."""
    barrier, running, most = threading.Barrier(2, timeout=20), [], []

    def work(name: str) -> None:
        running.append(name)
        most.append(len(running))
        if name != "third":
            barrier.wait()
        time.sleep(0.05)
        running.remove(name)

    pool.run_side_by_side(work, ["first", "second", "third"], pool.Kernels(2))
    assert max(most) == 2


def test_side_by_side_begins_at_both_ends_and_alone_in_order() -> None:
    """No name is lost or repeated, whether their number is even or odd."""
    assert pool.from_both_ends(["a", "b", "c", "d"]) == ["a", "d", "b", "c"]
    assert pool.from_both_ends(["a", "b", "c", "d", "e"]) == ["a", "e", "b", "d", "c"]
    called: list[str] = []
    pool.run_side_by_side(called.append, ["a", "b", "c"], pool.Kernels(1))
    assert called == ["a", "b", "c"]


def test_an_error_stops_the_kernels_and_cancels_what_waits() -> None:
    """The error arrives, what had not begun never does, and the kernels are told to stop."""
    called, kernels = [], pool.Kernels()

    def work(name: str) -> None:
        called.append(name)
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        pool.run_side_by_side(work, [str(number) for number in range(50)], kernels)
    assert kernels.stopped
    assert called == ["0"]


def test_side_by_side_or_one_by_one_the_files_are_the_same(tmp_path: Path) -> None:
    """Every file but for its times, and the order in which the outcome tells them."""
    notebooks = toy_study.write_notebooks(tmp_path / "notebooks")
    outcomes = []
    for name, at_once in (("alone", 1), ("together", 2)):
        asked = toy_study.request(tmp_path / name / "run", notebooks=notebooks)
        outcomes.append(runner.run_study(asked, Console(quiet=True), notebooks, at_once=at_once))
    assert outcomes[0].executed == outcomes[1].executed == ["01_focal_loss", "03_phantom_gradient"]
    assert lasting(tmp_path / "alone" / "run") == lasting(tmp_path / "together" / "run")


def test_a_stopped_run_leaves_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Interrupted while both kernels run: the call returns, and no child of this process is left."""
    notebooks = toy_study.write_notebooks(tmp_path / "notebooks")
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    execute = runner.execute

    def interrupted(source: Path, *rest: object, **named: object) -> None:
        if source.stem == "01_focal_loss":
            deadline = time.monotonic() + 30
            while time.monotonic() < deadline and not {child.pid for child in psutil.Process().children()} - before:
                time.sleep(0.05)
            raise KeyboardInterrupt
        execute(source, *rest, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(runner, "execute", interrupted)
    asked = toy_study.request(tmp_path / "run", "steps=9000", notebooks=notebooks)
    with pytest.raises(KeyboardInterrupt):
        runner.run_study(asked, Console(quiet=True), notebooks, at_once=2)
    left = [child for child in psutil.Process().children(recursive=True) if child.pid not in before]
    _, alive = psutil.wait_procs(left, timeout=10)
    assert alive == []
    assert not list((tmp_path / "run" / "notebooks").glob("*.ipynb"))


def test_evidence_names_the_trajectories_recorded_and_found(tmp_path: Path) -> None:
    """Those of this run's folder, recorded now or before, also by another process; a new notebook starts with none."""
    jobs = [ToyPoint(number=number).job(f"toy-{number}.5") for number in (1, 2)]
    run = NotebookRun("04_aura_training", str(tmp_path / "run"))
    run_jobs(run_toy, jobs[:1], run.folders.trajectories)
    run_jobs(run_toy, jobs[1:], tmp_path / "elsewhere")
    for _ in range(2):
        run = NotebookRun("04_aura_training", str(tmp_path / "run"))
        assert trajectories_of(run) == []
        run_jobs(run_toy, jobs, run.folders.trajectories)
        run.table("numbers", pd.DataFrame({"number": [1, 2]}))
        assert trajectories_of(run) == ["toy-1.5", "toy-2.5"]


def trajectories_of(run: NotebookRun) -> list[str]:
    """What the notebook's evidence lists."""
    return read_one(run.folders.evidence / f"{run.notebook}.json").trajectories
