"""Commands of a real run that are killed, ended, or lose what they write to: nothing is lost, the next one finishes."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from killed_runs import PATIENCE, hear, lasting, obey_permissions, snapshot

from aura_study.audit.child import LINUX
from aura_study.paths import project_root
from aura_study.runs.jobs import job_metadata
from aura_study.runs.records import UNFINISHED

pytestmark = pytest.mark.slow

RUN = ("run", "01", "04", "--profile", "smoke", "--at-once", "1", "-pworkers=1", "-prows=64", "-pdev_rows=16")
RUN += ("-pbefore=6", "-pabsent_steps=12", "-pafter=6")
PHANTOM = "aura_study.losses:UnmaskedKendallLoss"
LOOP = "import torch\nclass Loop(torch.nn.Module):\n    def __init__(self, n):\n        while True: pass\n"
SWEEP = ("sweep", "dynamics", "-p", "presence=0.05,0.2,1", "-p", "seed=0:100", "--workers", "1")


@contextmanager
def begun(*words: str, **environment: str) -> "Iterator[subprocess.Popen[str]]":
    """A command as a process that minds permissions, whoever runs the tests; killed when this is left."""

    def prepare() -> None:
        hear()
        obey_permissions()

    with subprocess.Popen(
        [sys.executable, "-m", "aura_study", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=prepare,
        env={**os.environ, "PYTHONPATH": str(project_root()), **environment},
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def ended(*words: str, code: int = 0, **environment: str) -> str:
    """What a command prints that ends with ``code``."""
    with begun(*words, **environment) as process:
        output, error = process.communicate(timeout=PATIENCE)
    assert process.returncode == code, error
    return output


def wait(process: "subprocess.Popen[str]", until: Callable[[], object]) -> None:
    """Return when ``until`` holds; the process is to live until then."""
    deadline = time.monotonic() + PATIENCE
    while not until():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.001)


def end(process: "subprocess.Popen[str]", number: int) -> str:
    """Send it a signal, and see that nothing that it started outlives it; what it said on its way."""
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(number)
    _, error = process.communicate(timeout=PATIENCE)
    _, alive = psutil.wait_procs(children, timeout=PATIENCE)
    assert not alive
    return error


def hidden(folder: Path) -> list[Path]:
    """What is unfinished below ``folder``; the manual, where the checkout has built it, has hidden files of its own."""
    found = [path for path in folder.rglob(".*") if path.name != ".lock"]
    return [path for path in found if path.parent.name != "manual"]


def ours(place: Path) -> list[Path]:
    """What bears our name in a folder for temporary files; torch leaves its own there."""
    return list(place.glob("aura-*"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two notebooks, one of which trains."""
    out = tmp_path_factory.mktemp("made") / "run"
    ended(*RUN, "--out", str(out))
    return out


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    """The run, to be spoilt."""
    return shutil.copytree(made, tmp_path / "run")


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder for temporary files."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="t-") as name:
        yield Path(name)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_verify_ended_in_mid_run_leaves_the_run_alone_and_the_next_reproduces_it(
    copy: Path, place: Path, number: int
) -> None:
    """In the middle of its trainings. Told to end it cleans up; killed, the next one does; that finds every claim."""
    before, mine = snapshot(copy), place / "aura-study-verify-mine"
    mine.mkdir()
    words = ("verify", str(copy), "04", "--budget", "60", "--json")
    with begun(*words, TMPDIR=str(place)) as process:
        wait(process, lambda: list(place.glob("aura-study-verify-*/run/trajectories/*.parquet")))
        end(process, number)
    assert snapshot(copy) == before
    killed = number == signal.SIGKILL
    assert (ours(place) != [mine]) == killed
    if killed:
        found = json.loads(ended(*words, TMPDIR=str(place)))
        again = [check for check in found["checks"] if check["notebook"] == "04_aura_training"]
        assert {check["status"] for check in again} == {"reproduced"}
        assert all(check["measured"] == check["recorded"] for check in again)
        assert not found["altered"]
        assert snapshot(copy) == before
    assert ours(place) == [mine]


@pytest.mark.parametrize("then", ["thin", "run"])
def test_thin_killed_after_its_first_file_is_completed_or_made_whole(made: Path, copy: Path, then: str) -> None:
    """By the same command, to the files of an undisturbed thinning; by a run, to those of the run."""
    wanted, paths = made, sorted((copy / "trajectories").glob("*.parquet"))
    if then == "thin":
        wanted = shutil.copytree(made, copy.parent / "quiet" / "run")
        ended("thin", str(wanted), "--every", "3")
    long = paths[0].with_name(f"{paths[0].stem}_long.parquet")  # the second, and seconds of work
    many = 1_000_000
    pq.write_table(pa.table({"step": np.arange(many), "loss": np.random.default_rng(0).random(many)}), long)
    before = paths[0].stat().st_ino
    with begun("thin", str(copy), "--every", "3") as process:
        wait(process, lambda: paths[0].stat().st_ino != before)
        end(process, signal.SIGKILL)
    long.unlink()
    assert [path for path in paths if "key" not in job_metadata(path)] == paths[:1]
    with begun("claims", "--run", str(copy)) as process:
        assert paths[0].name in process.communicate(timeout=PATIENCE)[1]
    ended(*(("thin", str(copy), "--every", "3") if then == "thin" else (*RUN, "--out", str(copy))))
    kept, now = lasting(wanted), lasting(copy)
    assert {name for name in kept.keys() | now.keys() if kept.get(name) != now.get(name)} == set()
    assert not hidden(copy)


@pytest.mark.parametrize("moment", ["*", "*/new/index.html"])
def test_report_killed_leaves_a_site_and_the_next_is_the_same(made: Path, copy: Path, moment: str) -> None:
    """A page was lost; killed while it is built again the old site stands, and the next has every byte of the first."""
    site = copy / "report"
    (site / "run.html").unlink()
    with begun("report", "--run", str(copy)) as process:
        wait(process, lambda: list(copy.glob(f"{UNFINISHED}report-{moment}")))
        end(process, signal.SIGKILL)
    assert (site / "index.html").is_file()
    ended("report", "--run", str(copy))
    assert contents(site) == contents(made / "report")
    assert not hidden(copy)


def test_archive_killed_leaves_nothing_beyond_the_next(made: Path, tmp_path: Path) -> None:
    """While it writes the zip beside a file of the user's; the next one writes it whole."""
    mine, target = tmp_path / ".run.zip", tmp_path / "run.zip"
    mine.write_text("mine")
    words = ("archive", str(made), "--to", str(target))
    with begun(*words) as process:
        wait(process, lambda: list(tmp_path.glob(f"{UNFINISHED}run.zip-*/run.zip")))
        end(process, signal.SIGKILL)
    assert not target.exists()
    ended(*words)
    assert zipfile.ZipFile(target).testzip() is None
    assert sorted(tmp_path.iterdir()) == [mine, target]


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below ``folder``."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def writable() -> Iterator[Callable[[Path, bool], None]]:
    """Gives a folder and those below it the right to be written to, or takes it."""
    touched: set[Path] = set()

    def change(folder: Path, may: bool) -> None:
        for path in (folder, *(path for path in folder.rglob("*") if path.is_dir())):
            path.chmod(0o755 if may else 0o555)
        touched.add(folder)

    yield change
    for folder in touched:
        change(folder, True)


def fill(disk: Path) -> Path:
    """Take all that is left of a file system."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
    return ballast


@pytest.mark.parametrize("what", ["read-only", "full"])
def test_what_ends_the_writing_in_mid_run_is_one_error_and_costs_nothing_that_was_computed(
    made: Path,
    tmp_path: Path,
    writable: Callable[[Path, bool], None],
    mount: Callable[[str], Path],
    what: str,
) -> None:
    """After the first training: a folder that is no more to be written to, a full disk; mended, the run goes on."""
    out, place = (tmp_path if what == "read-only" else mount("size=64m")) / "run", tmp_path / "t"
    place.mkdir()
    words = (*RUN, "--out", str(out))
    with begun(*words, TMPDIR=str(place)) as process:
        wait(process, lambda: list(out.glob("trajectories/[!.]*.parquet")))
        first = snapshot(out / "trajectories")
        if what == "read-only":
            writable(out, False)
        else:
            ballast = fill(out.parent)
        _, error = process.communicate(timeout=PATIENCE)
    if what == "read-only":
        writable(out, True)
    else:
        ballast.unlink()
    assert process.returncode == 1
    assert error.count("error: ") == 1
    assert {"read-only": "Permission denied", "full": "No space left on device"}[what] in error
    assert "Traceback" not in error
    ended(*words, TMPDIR=str(place))
    assert first.items() <= snapshot(out / "trajectories").items()
    assert lasting(out) == lasting(made)
    assert not hidden(out)
    assert not ours(place)


def test_verify_without_room_is_one_error_and_leaves_the_run_alone(copy: Path, mount: Callable[[str], Path]) -> None:
    """A temporary folder that takes no whole notebook."""
    before, place = snapshot(copy), mount("size=100k")
    with begun("verify", str(copy), "04", "--json", TMPDIR=str(place)) as process:
        output, error = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert "No space left on device" in output + error
    assert "Traceback" not in error
    assert snapshot(copy) == before
    assert not ours(place)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_an_audit_that_is_ended_leaves_nothing_beyond_the_next(tmp_path: Path, place: Path, number: int) -> None:
    """While the code under audit loops. One that still runs keeps its folder, and so does a stranger of that name."""
    mine, file = place / "aura-audit-mine", tmp_path / "loop.py"
    mine.mkdir()
    file.write_text(LOOP)
    loop = ("audit", f"{file}:Loop", "--limit", "3000")

    def folders() -> set[Path]:
        return {path for path in place.glob("aura-audit-*") if (path / ".held").exists()}

    with begun(*loop, TMPDIR=str(place)) as other, begun(*loop, TMPDIR=str(place)) as process:
        wait(other, lambda: len(folders()) == 2 and grandchildren(process) and grandchildren(other))
        end(process, number)
        if number != signal.SIGKILL or not LINUX:
            assert len(folders()) == 1
        ended("audit", PHANTOM, "--steps", "5", code=1, TMPDIR=str(place))
        (held,) = folders()
        assert other.poll() is None
        end(other, signal.SIGTERM)
    assert not held.exists()
    assert ours(place) == [mine]


def grandchildren(process: "subprocess.Popen[str]") -> bool:
    """Whether what runs the code under audit is there."""
    return len(psutil.Process(process.pid).children(recursive=True)) > 1


def test_an_audit_without_room_could_not_be_made(mount: Callable[[str], Path]) -> None:
    """Exit code 2 and the reason, not 1, which says that a loss is not safe."""
    place = mount("nr_inodes=2")  # the folder, and no file in it
    answer = json.loads(ended("audit", PHANTOM, "--json", code=2, TMPDIR=str(place)))
    assert "it cannot have a process and a temporary folder of its own" in answer["reason"].lower()


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGTERM, signal.SIGHUP])
def test_a_sweep_that_is_stopped_or_ended_goes_on_to_the_same_files(tmp_path: Path, number: int) -> None:
    """Stopped with its workers and continued, as if nothing had been; ended, the same command keeps what is done."""
    quiet, out = tmp_path / "quiet", tmp_path / "ended"
    ended(*SWEEP, "--out", str(quiet))
    with begun(*SWEEP, "--out", str(out)) as process:
        wait(process, lambda: list(out.glob("records/[!.]*.parquet")))
        done = snapshot(out / "records")
        if number == signal.SIGSTOP:
            family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
            for member in family:
                member.suspend()
            time.sleep(3)  # longer than any of them waits for a sign of life
            for member in family:
                member.resume()
            _, error = process.communicate(timeout=PATIENCE)
            assert process.returncode == 0, error
        else:
            end(process, number)
            assert process.returncode == 130
            assert not hidden(out)
    ended(*SWEEP, "--out", str(out))
    assert done.items() <= snapshot(out / "records").items()
    assert lasting(out) == lasting(quiet)
