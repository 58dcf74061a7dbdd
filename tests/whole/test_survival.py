"""Nothing is lost: killed at random moments, on a full disk, in a folder that is read-only, under a dying kernel."""

import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import psutil
import pytest
import toy_study
import toy_sweep
from killed_runs import PATIENCE, STEPS, lasting, started, wait_for_second_notebook

from aura_study.errors import StudyError
from aura_study.paths import RunFolders
from aura_study.runs.engine import LocalEngine
from aura_study.runs.manifest import read_manifest
from aura_study.runs.records import UNFINISHED

TESTS = Path(__file__).parents[1] / "tools"
SWEEP = ("number=0:10", "seconds=0.1")


def kill_at_random(
    begin: Callable[[], AbstractContextManager[subprocess.Popen[str]]], out: Path, longest: float, seed: int
) -> None:
    """Start, wait until there is a folder and then some time more, kill."""
    with begin() as process:
        deadline = time.monotonic() + PATIENCE
        while not out.exists() and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.01)
        time.sleep(random.Random(seed).uniform(0, longest))
        os.kill(process.pid, signal.SIGKILL)
        process.communicate(timeout=PATIENCE)  # the end of stderr: no process that it started outlives it


@pytest.mark.slow
def test_a_study_killed_at_random_moments_ends_with_the_same_files(tmp_path: Path) -> None:
    """Killed twice, wherever it stands, then left alone: byte for byte the files of an undisturbed run."""
    quiet, out = tmp_path / "quiet" / "run", tmp_path / "killed" / "run"
    for folder in (quiet, out):
        toy_study.write_notebooks(folder.parent / "notebooks")
    toy_study.run(quiet, STEPS, notebooks=quiet.parent / "notebooks")
    for seed in range(2):
        kill_at_random(lambda: started(out), out, 6.0, seed)
    toy_study.run(out, STEPS, notebooks=out.parent / "notebooks")
    assert lasting(out) == lasting(quiet)


def begin_sweep(out: Path, limit: int = 0) -> subprocess.Popen[str]:
    def lower() -> None:
        if limit:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return subprocess.Popen(
        [sys.executable, toy_sweep.__file__, str(out), *SWEEP],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lower,
        env={**os.environ, "PYTHONPATH": str(TESTS)},
    )


@pytest.mark.slow
def test_a_sweep_killed_at_random_moments_ends_with_the_same_files(tmp_path: Path) -> None:
    """Records, summaries and sweep.json: nothing missing, nothing half-written, nothing left over."""
    quiet, out = tmp_path / "quiet", tmp_path / "killed"
    toy_sweep.run(quiet, *SWEEP)
    for seed in range(2):
        kill_at_random(lambda: begin_sweep(out), out, 4.0, seed)
    for path in out.rglob("*.parquet"):
        assert path.read_bytes() == (quiet / path.relative_to(out)).read_bytes()
    toy_sweep.run(out, *SWEEP)
    assert lasting(out) == lasting(quiet)


@pytest.mark.slow
def test_a_full_disk_is_one_error_that_names_the_notebook(mount: Callable[[str], Path], tmp_path: Path) -> None:
    """A disk that fills up in mid-run: one error with the notebook and its parameters; with room again, it goes on."""
    disk = mount("size=300k")
    notebooks = toy_study.write_notebooks(tmp_path / "notebooks")
    ballast = disk / "ballast"
    ballast.write_bytes(b"x" * 220_000)
    with pytest.raises(StudyError) as caught:
        toy_study.run(disk / "run", STEPS, notebooks=notebooks)
    told = str(caught.value)
    assert "No space left on device" in told
    assert "03_phantom_gradient" in told
    assert STEPS in told
    ballast.unlink()
    subprocess.run(["mount", "-o", "remount,size=20m", str(disk)], check=True)
    outcome = toy_study.run(disk / "run", STEPS, notebooks=notebooks)
    assert "03_phantom_gradient" in outcome.executed
    assert not [path for path in (disk / "run").rglob(".*") if path.name != ".lock"]


def test_a_full_disk_fails_the_sweeps_jobs_with_the_systems_words(mount: Callable[[str], Path]) -> None:
    """No half record stays, the error says why; with room again, the sweep ends whole."""
    disk = mount("size=16k")
    with pytest.raises(StudyError, match="No space left on device"):
        toy_sweep.run(disk / "sweep", "number=0:4", engine=LocalEngine(1))
    subprocess.run(["mount", "-o", "remount,size=20m", str(disk)], check=True)
    outcome = toy_sweep.run(disk / "sweep", "number=0:4", engine=LocalEngine(1))
    assert outcome.summary["square"].tolist() == [0, 1, 4, 9]
    assert not [path for path in (disk / "sweep").rglob(".*") if path.name != ".lock"]


@pytest.mark.slow
def test_a_limit_on_file_sizes_is_told(tmp_path: Path) -> None:
    """Where nothing may be mounted: files may not grow beyond 1,000 bytes; each job says so, none leaves a record."""
    with begin_sweep(tmp_path / "out", limit=1000) as process:
        _, words = process.communicate(timeout=PATIENCE)
    assert process.returncode != 0
    assert "File too large" in words
    assert not list(tmp_path.rglob("*.parquet"))
    assert not list(tmp_path.rglob(f"{UNFINISHED}*"))


def test_a_read_only_folder_is_one_error(mount: Callable[[str], Path], tmp_path: Path) -> None:
    """A study and a sweep into a file system mounted read-only are refused with its name."""
    disk = mount("ro,size=1m")
    notebooks = toy_study.write_notebooks(tmp_path / "notebooks")
    with pytest.raises(StudyError, match=rf"cannot write the run to {disk}/run: Read-only file system"):
        toy_study.run(disk / "run", notebooks=notebooks)
    with pytest.raises(StudyError, match=rf"cannot write the sweep to {disk}/run: Read-only file system"):
        toy_sweep.run(disk / "run", "number=1")


@pytest.mark.slow
def test_a_kernel_killed_from_outside_is_one_error_and_its_cells_are_kept(tmp_path: Path) -> None:
    """SIGKILL to the kernel, as the system does when memory is short: notebook, cell and parameters are named."""
    out = tmp_path / "run"
    with started(out, held=True) as process:
        wait_for_second_notebook(out, process)
        with pytest.raises(StudyError, match="another run is writing to"):  # while this one runs
            toy_study.run(out, notebooks=tmp_path / "notebooks")
        children = psutil.Process(process.pid).children(recursive=True)
        (kernel,) = (child for child in children if _is_kernel(child))
        kernel.kill()
        _, words = process.communicate(timeout=PATIENCE)
    assert process.returncode != 0
    assert "notebook 03_phantom_gradient stopped in cell 'steps': the kernel died" in words
    assert STEPS in words
    assert (out / "notebooks" / "03_phantom_gradient.failed.ipynb").is_file()
    held = read_manifest(RunFolders.of(str(out)))
    assert held is not None
    assert held.unfinished == ["03_phantom_gradient"]


def _is_kernel(process: psutil.Process) -> bool:
    try:
        return "ipykernel" in str(process.cmdline())
    except psutil.Error:  # the first notebook's, which has just ended
        return False
