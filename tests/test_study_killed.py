"""A run that is killed or interrupted: nothing is lost, nothing half-written counts, the same command goes on."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
import toy_study

from aura_study.ledger import read_claims
from aura_study.paths import RunFolders
from aura_study.study.stamps import stamp_path

STEPS = "steps=200"


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    notebooks = toy_study.write_notebooks(folder / "notebooks")
    toy_study.run(folder / "run", STEPS, notebooks=notebooks)
    return folder / "run"


def start(out: Path) -> subprocess.Popen[str]:
    toy_study.write_notebooks(out.parent / "notebooks")
    return subprocess.Popen(
        [sys.executable, toy_study.__file__, str(out), STEPS],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(Path(toy_study.__file__).parents[1])},
    )


def wait_for_second_notebook(out: Path, process: subprocess.Popen[str]) -> None:
    """Return while the steps of the second notebook run."""
    partial = out / "notebooks" / ".03_phantom_gradient.partial.ipynb"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        if partial.is_file() and '"status": "running"' in partial.read_text(errors="ignore"):
            cells = json.loads(partial.read_text())["cells"]
            if any(c["id"] == "steps" and c["metadata"]["papermill"]["status"] == "running" for c in cells):
                return
        time.sleep(0.02)
    pytest.fail(f"the second notebook did not start: {process.stderr.read() if process.stderr else ''}")


def lasting(run: Path) -> dict[str, object]:
    """Every file of a run with its content, times left out."""
    contents: dict[str, object] = {}
    for path in sorted(path for path in run.rglob("*") if path.is_file() and path.name != ".lock"):
        key = path.relative_to(run).as_posix()
        if path.suffix == ".ipynb":
            cells = nbformat.read(path, as_version=4).cells
            contents[key] = [(cell["id"], cell.source, cell.get("outputs")) for cell in cells]
        elif path.suffix == ".json" and (path.name == "manifest.json" or path.parent.name == "stamps"):
            contents[key] = without_times(json.loads(path.read_text()))
        elif path.parent.name == "report" or path.parent.parent.name == "report":
            contents[key] = path.suffix  # built from the rest, and shows times
        else:
            contents[key] = path.read_bytes()
    return contents


def without_times(value: object) -> object:
    if isinstance(value, dict):
        timed = ("seconds", "finished")
        kept = {key: without_times(entry) for key, entry in value.items() if key not in timed}
        return {key: entry for key, entry in kept.items() if not str(key).endswith(".ipynb")}
    return value


def test_killed_in_mid_run_the_same_command_ends_with_the_same_files(undisturbed: Path, tmp_path: Path) -> None:
    """SIGKILL in the second notebook: the first is not run again, and all files equal those of an undisturbed run."""
    out = tmp_path / "run"
    process = start(out)
    wait_for_second_notebook(out, process)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    folders = RunFolders.of(str(out))
    assert stamp_path(folders, "01_focal_loss").is_file()
    assert not stamp_path(folders, "03_phantom_gradient").exists()
    resumed = toy_study.run(out, STEPS, notebooks=tmp_path / "notebooks")
    assert resumed.unchanged == ["01_focal_loss"]
    assert resumed.executed == ["03_phantom_gradient"]
    assert lasting(out) == lasting(undisturbed)


def test_interrupted_the_run_says_what_is_kept(tmp_path: Path) -> None:
    """Ctrl-C ends the kernel too, keeps the ledger of what is finished, and says how to go on."""
    out = tmp_path / "run"
    process = start(out)
    wait_for_second_notebook(out, process)
    os.kill(process.pid, signal.SIGINT)
    _, words = process.communicate(timeout=30)
    assert process.returncode != 0
    assert "Interrupted. 1 of 2 notebooks are finished and kept in" in words
    assert "the same command goes on from there" in words
    assert [row.claim for row in read_claims(RunFolders.of(str(out))).claims] == ["F1"]
    assert not list((out / "notebooks").glob(".*"))
