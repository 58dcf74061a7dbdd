"""Faults that no single kill shows: stopped clocks and processes, temporary folders, links, leftovers; and a soak."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import toy_study
from killed_runs import PATIENCE, STEPS, lasting, let_go, started, wait_for_second_notebook
from soak import soak

from aura_study.data.scratch import HELD, scratch
from aura_study.paths import RunFolders
from aura_study.study import notebook
from aura_study.study.runner import Outcome

pytestmark = pytest.mark.slow

JUMPING_CLOCK = """
import time
_real, _begun = time.time, time.monotonic()
def _jumping():
    gone = time.monotonic() - _begun
    return _real() + (86400 if 2 < gone < 3 else -86400 if 3 < gone < 4 else 0)
time.time = _jumping
"""

DIES = """
import os, sys
from pathlib import Path
from aura_study.data.scratch import scratch
with scratch("one-", Path(sys.argv[1])):
    os._exit(1)
"""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    notebooks = toy_study.write_notebooks(folder / "notebooks")
    toy_study.run(folder / "run", STEPS, notebooks=notebooks)
    return folder / "run"


def test_stopped_in_mid_run_and_continued_it_ends_with_the_same_files(undisturbed: Path, tmp_path: Path) -> None:
    """SIGSTOP to the runner and all that it started, and seconds later SIGCONT: as if nothing had been."""
    with started(tmp_path / "run", held=True) as process:
        wait_for_second_notebook(tmp_path / "run", process)
        runner = psutil.Process(process.pid)
        family = [member for member in (runner, *runner.children(recursive=True)) if member.is_running()]
        for member in family:
            member.suspend()
        time.sleep(3)  # longer than any of them waits for a sign of life
        for member in family:
            member.resume()
        let_go(tmp_path / "run")
        _, words = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, words
    assert lasting(tmp_path / "run") == lasting(undisturbed)


def test_a_clock_that_jumps_a_day_ahead_and_back_changes_nothing(undisturbed: Path, tmp_path: Path) -> None:
    """In the runner, the notebooks' processes and their kernels; nor do files that are dated a century off."""
    out, site = tmp_path / "run", tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(JUMPING_CLOCK)
    with started(out, PYTHONPATH=str(site)) as process:
        _, words = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, words
    assert lasting(out) == lasting(undisturbed)
    for path in (path for path in out.rglob("*") if path.is_file()):
        os.utime(path, (0, 0) if path.suffix == ".json" else (4e9, 4e9))
    assert toy_study.run(out, STEPS, notebooks=tmp_path / "notebooks").executed == []


@pytest.fixture(params=[8, 120])
def place(request: pytest.FixtureRequest) -> Iterator[Path]:
    """A folder for temporary files, with a short path and with one that is too long for sockets."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="t".ljust(request.param, "t")) as name:
        yield Path(name)


def test_killed_whole_the_next_command_removes_what_it_left(place: Path, tmp_path: Path) -> None:
    """SIGKILL to all processes at once, however long the path of the folder for temporary files is."""
    out = tmp_path / "run"
    with started(out, held=True, TMPDIR=str(place)) as process:
        wait_for_second_notebook(out, process)
        runner = psutil.Process(process.pid)
        family = [member for member in (runner, *runner.children(recursive=True)) if member.is_running()]
        for member in family:
            member.suspend()  # so that none sees another's end
        words = [word for member in family for word in member.cmdline()]
        sockets = next(Path(word).parent for word in words if word.endswith("kernel.json"))
        assert (sockets.parent == place) == (len(place.name) < 100)
        for member in family:
            member.kill()
        process.communicate()
    assert sockets.is_dir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(place))
        patch.setattr(tempfile, "tempdir", None)
        toy_study.run(out, STEPS, notebooks=tmp_path / "notebooks")
    assert not sockets.exists()
    assert not list(place.iterdir())
    assert not [path for path in out.rglob(".*") if path.name != ".lock"]


def test_sockets_find_room_or_the_kernel_speaks_over_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    """A path of more bytes than a socket's may have is never tried."""
    monkeypatch.setattr(tempfile, "tempdir", "/" + 98 * "é")
    assert notebook._room_for_sockets() == Path("/tmp")
    assert notebook._manager_class(Path("/tmp/aura-12345678"))().transport == "ipc"
    assert notebook._manager_class(Path("/" + 60 * "é"))().transport == "tcp"


def test_a_temporary_folder_goes_with_its_process_and_no_other(tmp_path: Path) -> None:
    """Held, it stays; left, it goes; of a dead process, it goes with the next; strangers' and links stay."""
    strange, linked = tmp_path / "one-strange", tmp_path / "elsewhere"
    strange.mkdir()
    linked.mkdir()
    (linked / HELD).touch()
    (tmp_path / "one-link").symlink_to(linked)
    (tmp_path / "one-file").touch()
    subprocess.run([sys.executable, "-c", DIES, str(tmp_path)], check=False)
    assert len(list(tmp_path.glob("one-*"))) == 4
    with scratch("one-", tmp_path) as held, scratch("one-", tmp_path):
        assert len(list(tmp_path.glob("one-*"))) == 5
        assert held.stat().st_mode & 0o077 == 0
    assert {path.name for path in tmp_path.iterdir()} == {"one-strange", "elsewhere", "one-link", "one-file"}
    assert (linked / HELD).exists()


def test_a_full_folder_for_temporary_files_is_one_error(mount: Callable[[str], Path], tmp_path: Path) -> None:
    """It takes the command's folder and one more. The notebook is named, the system quoted; nothing half-made stays."""
    few_files = mount("nr_inodes=5")
    with started(tmp_path / "run", TMPDIR=str(few_files)) as process:
        _, words = process.communicate(timeout=PATIENCE)
    assert process.returncode != 0
    assert "No space left on device" in words
    assert re.search("notebook (01_focal_loss|03_phantom_gradient) stopped", words)  # whichever came second
    assert not list(few_files.iterdir())
    hidden = [path for path in (tmp_path / "run").rglob(".*") if "manual" not in path.parts]
    assert [path.name for path in hidden if path.name != ".lock"] == []


def test_links_in_a_runs_folder_lead_nowhere(undisturbed: Path, tmp_path: Path) -> None:
    """A file that is a link is made anew in its place; what it led to, and what else a linked folder holds, stays."""
    mine, target = tmp_path / "mine", tmp_path / "folder"
    mine.mkdir()
    shutil.copytree(undisturbed, target)
    shutil.copytree(undisturbed.parent / "notebooks", tmp_path / "notebooks")
    (tmp_path / "run").symlink_to(target)
    for name in ("tables/rows.csv", "figures/phantom_gradient.svg", "claims.json", "manifest.json"):
        (mine / Path(name).name).write_text("mine")
        (target / name).unlink()
        (target / name).symlink_to(mine / Path(name).name)
    shutil.move(target / "stamps", mine / "stamps")
    (mine / "stamps" / "mine.txt").write_text("mine")
    (target / "stamps").symlink_to(mine / "stamps")
    again = _again(tmp_path)
    assert "03_phantom_gradient" in again.executed
    assert {path.name: path.read_text() for path in mine.iterdir() if path.is_file()} == dict.fromkeys(
        ("rows.csv", "phantom_gradient.svg", "claims.json", "manifest.json"), "mine"
    )
    assert (mine / "stamps" / "mine.txt").read_text() == "mine"
    assert not [path for path in target.rglob("*") if path.is_symlink() and path.is_file()]
    assert RunFolders.of(str(tmp_path / "run")).results == target.resolve()


def _again(folder: Path) -> Outcome:
    return toy_study.run(folder / "run", STEPS, notebooks=folder / "notebooks")


def test_two_runs_at_once_on_one_folder_end_as_one(undisturbed: Path, tmp_path: Path) -> None:
    """Started together, one of them is refused with a sentence and leaves the other alone."""
    with started(tmp_path / "run", held=True) as one, started(tmp_path / "run", held=True) as other:
        while one.poll() is None and other.poll() is None:  # both wait until one is refused
            time.sleep(0.02)
        let_go(tmp_path / "run")
        words = {process.communicate(timeout=PATIENCE)[1]: process.returncode for process in (one, other)}
    assert sorted(map(bool, words.values())) == [False, True], words
    assert [text for text, code in words.items() if code and "another run is writing to" in text]
    assert lasting(tmp_path / "run") == lasting(undisturbed)


def test_random_faults_over_random_commands_end_byte_equal(undisturbed: Path, tmp_path: Path) -> None:
    """The soak, for some seconds; `python tests/tools/soak.py --minutes 60` for an hour."""
    told = soak(tmp_path, undisturbed, seconds=60, seed=int(time.time()))
    assert told
