"""Two engines for the same jobs: joblib's process pool on this machine, dask.distributed futures on a cluster.

An engine takes jobs and yields, as each ends, what became of it. A worker that dies takes the jobs it held with it;
which of them was to blame nobody can tell, so each is tried once more with no other beside it, and only the job that
then ends its worker again is held responsible.
"""

import os
import re
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from joblib.externals.loky import ProcessPoolExecutor
from joblib.externals.loky.process_executor import BrokenProcessPool

from aura_study.errors import StudyError
from aura_study.runs.jobs import Job, is_finished, run_on_one_core

Run = Callable[[Any, Path], Path]
ADDRESS = re.compile(r"(tcp|tls|ws|wss)://[^\s/]+:\d{1,5}")
LOCAL = re.compile(r"local:([1-9]\d{0,3})")
CONNECT_SECONDS = 15.0
VISIBLE_SECONDS = 10.0
WORKERLESS_SECONDS = 3600.0  # a cluster's queue may take its time
ASKED_EVERY_SECONDS = 2.0
_ONE_JOB_AT_A_TIME = threading.Lock()


@dataclass(frozen=True)
class Ended:
    """What became of a job: ``error`` is empty if its record is whole; ``lost`` says that its worker died."""

    job: Job
    error: str = ""
    lost: bool = False


def attempt(run: Run, job: Job, folder: Path) -> str:
    """Do one job in a worker; returns the error, if any, in words, for an exception's class may not exist elsewhere.

    Threads of one worker take turns: a training seeds the process's generator, and two at once would mix their numbers.
    """
    with _ONE_JOB_AT_A_TIME:
        try:
            run_on_one_core(run, job, folder)
        except Exception as error:
            return f"{type(error).__name__}: {' '.join(str(error).split())}"
    return ""


class Engine(AbstractContextManager["Engine"], ABC):
    """Runs jobs in other processes, inside its ``with`` block."""

    @abstractmethod
    def submit(self, run: Run, jobs: Sequence[Job], folder: Path) -> Iterator[Ended]:
        """Do the jobs side by side; yields each as it ends, those whose worker died as ``lost``."""

    @abstractmethod
    def describe(self) -> str:
        """What runs the jobs, in words."""

    def complete(self, run: Run, jobs: Sequence[Job], folder: Path) -> Iterator[Ended]:
        """`submit`, then each lost job once more, alone; yields every job once."""
        suspects = []
        for ended in self.submit(run, jobs, folder):
            if ended.lost:
                suspects.append(ended.job)
            else:
                yield _checked(ended, folder)
        for job in suspects:
            for ended in self.submit(run, [job], folder):
                error = "the process that runs it dies every time" if ended.lost else ended.error
                yield _checked(Ended(job, error), folder)


class LocalEngine(Engine):
    """joblib's loky pool; ``workers`` processes (0: one per core, but one where there is a GPU)."""

    def __init__(self, workers: int = 0) -> None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self.workers = workers or (1 if torch.cuda.is_available() else cores)
        self._pool: Any = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, kill_workers=kind is not None)

    def describe(self) -> str:
        """What runs the jobs, in words."""
        return f"{self.workers} process{'es' if self.workers > 1 else ''} of this machine"

    def submit(self, run: Run, jobs: Sequence[Job], folder: Path) -> Iterator[Ended]:
        """See `Engine.submit`. No more jobs are handed out than there are workers, so only what ran can be lost."""
        waiting = list(reversed(jobs))
        running: dict[Future[str], Job] = {}
        while waiting or running:
            while waiting and len(running) < self.workers:
                job = waiting.pop()
                running[self._workers().submit(attempt, run, job, folder)] = job
            done = wait(running, return_when=FIRST_COMPLETED).done
            if any(isinstance(future.exception(), BrokenProcessPool) for future in done):
                done = wait(
                    running
                ).done  # loky's pool ends with the first worker that dies; the next job makes another
                self._pool.shutdown(kill_workers=True)
                self._pool = None
            for future in done:
                error = future.exception()
                lost = isinstance(error, BrokenProcessPool)
                yield Ended(running.pop(future), str(error) if error else future.result(), lost)

    def _workers(self) -> Any:
        if self._pool is None:
            self._pool = ProcessPoolExecutor(
                max_workers=self.workers, initializer=_end_with_parent, initargs=(os.getpid(),)
            )
        return self._pool


class ClusterEngine(Engine):
    """dask.distributed: the scheduler at ``tcp://host:port``, or, for ``local:N``, N worker processes of its own.

    Workers must see the output folder under the same path and have this package installed.
    """

    def __init__(self, cluster: str) -> None:
        self._wanted = LOCAL.fullmatch(cluster)
        if not self._wanted and not ADDRESS.fullmatch(cluster):
            raise StudyError(f"--cluster takes tcp://HOST:PORT of a dask scheduler, or local:N, got {cluster!r}")
        try:
            import distributed  # noqa: F401
        except ImportError as error:
            raise StudyError("--cluster needs dask.distributed: pip install 'aura-study[cluster]'") from error
        self._address = cluster
        self._cluster: Any = None
        self._client: Any = None
        self._round = 0

    def __enter__(self) -> Self:
        from distributed import Client, LocalCluster

        target: Any = self._address
        if self._wanted:
            target = self._cluster = LocalCluster(
                n_workers=int(self._wanted[1]),
                threads_per_worker=1,
                processes=True,
                dashboard_address=None,
                silence_logs="CRITICAL",
                scheduler_kwargs={"allowed_failures": 0},  # a lost job is tried once more anyway, alone
            )
        try:
            self._client = Client(target, timeout=CONNECT_SECONDS, set_as_default=False)
        except (OSError, ValueError) as error:
            raise StudyError(f"no dask scheduler answers at {self._address}: {error}") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError, TimeoutError):
            self._client.close()  # its futures are forgotten, so the scheduler drops what still waits
            if self._cluster is not None:
                self._cluster.close()

    def describe(self) -> str:
        """What runs the jobs, in words."""
        workers = self._workers()
        return f"dask at {self._client.scheduler.address}, {workers} worker{'' if workers == 1 else 's'} so far"

    def submit(self, run: Run, jobs: Sequence[Job], folder: Path) -> Iterator[Ended]:
        """See `Engine.submit`.

        Raises:
            StudyError: the scheduler is gone.
        """
        from distributed import KilledWorker, as_completed

        self._round += 1
        futures = {
            self._client.submit(
                attempt, run, job, folder, key=f"{job.name}-{os.getpid()}-{self._round}", pure=False
            ): job
            for job in jobs
        }
        ended = as_completed(futures, loop=self._client.loop)
        while not ended.is_empty():
            self._wait(ended)
            future = next(ended)
            if future.cancelled():
                raise self._gone()
            error = future.exception()
            job = futures.pop(future)
            if error is None:
                yield Ended(job, future.result())
            else:
                yield Ended(job, f"{type(error).__name__}: {error}", lost=isinstance(error, KilledWorker))

    def _wait(self, ended: Any) -> None:
        """Return when a future has ended; a cluster that has had no worker for long is given up."""
        seen = asked = time.monotonic()
        while not ended.has_ready():
            time.sleep(0.02)
            now = time.monotonic()
            if now - asked > ASKED_EVERY_SECONDS:
                asked = now
                seen = now if self._workers() else seen
            if now - seen > WORKERLESS_SECONDS:
                raise StudyError(f"no worker at {self._address}; start some, and the same command goes on from here")

    def _workers(self) -> int:
        try:
            return len(self._client.scheduler_info(n_workers=-1)["workers"])
        except (OSError, TimeoutError) as error:
            raise self._gone() from error

    def _gone(self) -> StudyError:
        return StudyError(f"the dask scheduler at {self._address} is gone; the same command goes on from here")


def build_engine(cluster: str | None, workers: int) -> Engine:
    """The engine that the command line names.

    Raises:
        StudyError: an address that is none, or dask is not installed.
    """
    return ClusterEngine(cluster) if cluster else LocalEngine(workers)


def _end_with_parent(parent: int) -> None:
    """In a worker: end when the sweep's process has, for a killed parent tells its children nothing."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _checked(ended: Ended, folder: Path) -> Ended:
    """A job counts as done only when its record, under the key of this machine's code, is seen from here."""
    if ended.error:
        return ended
    deadline = time.monotonic() + VISIBLE_SECONDS  # a shared file system may lag behind
    while not is_finished(ended.job, folder):
        if time.monotonic() > deadline:
            reason = f"it ended without its record in {folder}; workers must share this folder and run the same code"
            return Ended(ended.job, reason)
        time.sleep(0.2)
    return ended
