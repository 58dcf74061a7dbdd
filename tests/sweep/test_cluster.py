"""The same sweep on dask: a real scheduler and workers as processes of their own, and what happens when they die."""

import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import psutil
import pytest
import toy_sweep

from aura_study.errors import StudyError
from aura_study.sweep.cluster import ClusterEngine
from aura_study.sweep.runner import SweepFailed

distributed = pytest.importorskip("distributed")

pytestmark = pytest.mark.filterwarnings(
    "ignore:unclosed:ResourceWarning",  # sockets to workers that this file kills
)

Start = Callable[..., subprocess.Popen[str]]
TESTS = Path(__file__).parents[1] / "tools"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts ``dask scheduler`` and ``dask worker`` processes, and ends them after the test."""
    started: list[subprocess.Popen[str]] = []

    def start_one(*words: str) -> subprocess.Popen[str]:
        environment = {**os.environ, "PYTHONPATH": str(TESTS), "OMP_NUM_THREADS": "1"}
        environment["DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES"] = "1"  # the default is 3; each costs a start
        with (tmp_path / f"dask-{len(started)}.log").open("w") as log:
            started.append(
                subprocess.Popen(
                    [sys.executable, "-m", "dask", *words],
                    stdout=log,
                    stderr=log,
                    text=True,
                    env=environment,
                    start_new_session=True,
                    cwd=tmp_path,
                )
            )
        return started[-1]

    yield start_one
    for process in reversed(started):
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def scheduler(start: Start, folder: Path) -> str:
    """Address of a fresh scheduler."""
    start("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", "scheduler.json")
    return wait_for(lambda: scheduler_address(folder))


def scheduler_address(folder: Path) -> str:
    path = folder / "scheduler.json"
    found = re.search(r'"address": "(tcp://[^"]+)"', path.read_text()) if path.is_file() else None
    return found[1] if found else ""


def wait_for(condition: Callable[[], str]) -> str:
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.05)
    pytest.fail("the scheduler did not start")


def worker(start: Start, address: str) -> None:
    words = ("--nthreads", "1", "--nworkers", "1", "--no-dashboard", "--local-directory", ".")
    start("worker", address, *words)


class KillsAWorker(ClusterEngine):
    """Kills one worker process as soon as three jobs have ended."""

    def submit(self, function, calls):
        for count, ended in enumerate(super().submit(function, calls)):
            yield ended
            if count == 2 and len(calls) > 3:
                while not self._kill_one():
                    time.sleep(0.1)

    def _kill_one(self) -> bool:
        """Whether there was one to kill: the killing job may just have taken both, or the one that has answered."""
        for worker in self._client.run(os.getpid).values():
            with suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)
                return True
        return False


@pytest.mark.slow
def test_a_killed_worker_costs_nothing_and_a_killing_job_is_reported(start: Start, tmp_path: Path) -> None:
    """Two workers, one killed in mid-run, one job that raises and one that always kills: the rest is done and equal."""
    words = ("number=0:12", "seconds=0.2", "mode=trouble")
    for node in toy_sweep.toy_grid(*words).nodes:  # the obvious twin: one after another, in this process
        if node.values["number"] not in (1, 2):
            toy_sweep.run_toy(node.job, tmp_path / "here")
    address = scheduler(start, tmp_path)
    for _ in range(2):
        worker(start, address)
    with pytest.raises(SweepFailed) as caught:
        toy_sweep.run(tmp_path / "there", *words, engine=KillsAWorker(address))
    told = str(caught.value)
    assert "2 of 12 jobs failed" in told
    assert "number=1 seconds=0.2 mode=trouble: ValueError: no luck at all" in told
    assert "number=2 seconds=0.2 mode=trouble: the process that runs it dies every time" in told
    here, there = (
        {path.name: path.read_bytes() for path in folder.glob("*.parquet")}
        for folder in (tmp_path / "here", tmp_path / "there" / "records")
    )
    assert len(there) == 10
    assert there == here
    assert not list((tmp_path / "there" / "records").glob(".*"))


@pytest.mark.slow
def test_a_scheduler_that_dies_is_one_error_and_the_work_is_kept(start: Start, tmp_path: Path) -> None:
    """What had ended is kept; the same command on other workers does the rest."""
    address = scheduler(start, tmp_path)
    worker(start, address)

    class KillsTheScheduler(ClusterEngine):
        def submit(self, function, calls):
            for ended in super().submit(function, calls):
                yield ended
                os.kill(self._client.run_on_scheduler(os.getpid), signal.SIGKILL)

    with pytest.raises(StudyError, match=r"the dask scheduler at tcp://127.0.0.1:\d+ is gone; the same command goes"):
        toy_sweep.run(tmp_path / "out", "number=0:4", "seconds=0.3", engine=KillsTheScheduler(address))
    outcome = toy_sweep.run(tmp_path / "out", "number=0:4", "seconds=0.3")
    assert 1 <= len(outcome.kept) < 4
    assert outcome.summary["square"].tolist() == [0, 1, 4, 9]


@pytest.mark.slow
def test_local_n_starts_its_own_workers(tmp_path: Path) -> None:
    """``local:2`` runs the same jobs on worker processes of this machine, and starts another for one that dies."""
    with pytest.raises(
        SweepFailed, match=r"1 of 2 jobs failed(?s:.*)number=2 mode=trouble: the process that runs it dies"
    ):
        toy_sweep.run(tmp_path / "out", "number=2:4", "mode=trouble", engine=ClusterEngine("local:2"))


STRANGER = """
import os, sys, threading
from distributed import Client, Security

def silent():
    print("refused", "without a word", flush=True)
    os._exit(0)

threading.Timer(30, silent).start()  # dask's end of a client that was refused may wait for ever
security = Security.temporary() if "own" in sys.argv else None
try:
    print("ran as", Client(sys.argv[1], timeout=3, security=security).submit(os.getuid).result(timeout=3), flush=True)
except Exception as error:
    print("refused", type(error).__name__, flush=True)
os._exit(0)
"""


def answer(port: int) -> bytes:
    """What a port says to a TLS client without a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with socket.create_connection(("127.0.0.1", port), 3) as plain, context.wrap_socket(plain) as private:
            private.sendall(bytes(8))
            return private.recv(1)
    except OSError:  # the handshake's refusal may come with the first read
        return b""


PAGES = ("status", "info/main/workers.html", "json/identity.json")


def status(port: int, page: str) -> int | None:
    """Status of a page that a port is asked for over HTTP; None if it says nothing of the kind."""
    with closing(HTTPConnection("127.0.0.1", port, timeout=3)) as connection:
        try:
            connection.request("GET", f"/{page}")
            with closing(connection.getresponse()) as response:
                return response.status
        except (OSError, HTTPException):
            return None


@pytest.mark.slow
def test_nobody_else_on_the_machine_can_talk_to_the_workers_of_local_n(tmp_path: Path) -> None:
    """Another process, without a certificate or with one of its own, runs nothing; no port answers or serves a page."""
    with ClusterEngine("local:1") as engine:
        assert [ended.result() for ended in engine.submit(abs, [(-3,)])] == [3]
        scheduler = engine._client.scheduler.address
        for words in ([scheduler], [scheduler.replace("tls", "tcp")], [scheduler, "own"]):
            stranger = [sys.executable, "-c", STRANGER, *words]
            said = subprocess.run(stranger, capture_output=True, text=True, cwd=tmp_path, timeout=120).stdout
            assert said.startswith("refused"), words
        family = [psutil.Process(), *psutil.Process().children(recursive=True)]
        sockets = [found for one in family for found in one.net_connections("inet") if found.status == "LISTEN"]
        assert {found.laddr.ip for found in sockets} == {"127.0.0.1"}
        ports = {found.laddr.port for found in sockets}
        assert int(scheduler.rpartition(":")[2]) in ports
        assert [port for port in ports if answer(port)] == []
        assert {said for port in ports for page in PAGES if (said := status(port, page))} <= {404}


def test_no_scheduler_is_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody listens there: the address is named, and nothing has been run."""
    monkeypatch.setattr("aura_study.sweep.cluster.CONNECT_SECONDS", 0.5)
    with pytest.raises(StudyError, match=r"no dask scheduler answers at tcp://127\.0\.0\.1:9"):
        toy_sweep.run(tmp_path / "out", "number=0:3", engine=ClusterEngine("tcp://127.0.0.1:9"))
    assert not list((tmp_path / "out" / "records").iterdir())
