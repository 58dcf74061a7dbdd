"""The same calls on a cluster: dask.distributed futures."""

import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from aura_study.errors import StudyError, require
from aura_study.runs.engine import Ended, Engine, LocalEngine, on_one_core

ADDRESS = re.compile(r"(tcp|tls|ws|wss)://[^\s/]+:\d{1,5}")
LOCAL = re.compile(r"local:([1-9]\d{0,3})")
CONNECT_SECONDS = 15.0
WORKERLESS_SECONDS = 3600.0  # a cluster's queue may take its time
ASKED_EVERY_SECONDS = 2.0


class ClusterEngine(Engine):
    """dask.distributed: the scheduler at ``tcp://host:port``, or, for ``local:N``, N worker processes of its own.

    Workers must see the output folder under the same path and have this package installed. Processes of its own talk
    over TLS, by a certificate that is made for them and kept in memory: who else is on this machine is refused.
    """

    def __init__(self, cluster: str) -> None:
        self._wanted = LOCAL.fullmatch(cluster)
        if not self._wanted and not ADDRESS.fullmatch(cluster):
            raise StudyError(f"--cluster takes tcp://HOST:PORT of a dask scheduler, or local:N, got {cluster!r}")
        require("cluster")
        self._address = cluster
        self._cluster: Any = None
        self._client: Any = None
        self._round = 0

    def __enter__(self) -> Self:
        from distributed import Client

        target: Any = self._address
        if self._wanted:
            target = self._cluster = _private_cluster(int(self._wanted[1]))
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

    def submit(self, function: Callable[..., Any], calls: Sequence[tuple[Any, ...]]) -> Iterator[Ended]:
        """See `Engine.submit`.

        Raises:
            StudyError: the scheduler is gone.
        """
        from distributed import KilledWorker, as_completed

        self._round += 1
        futures = {}
        for number, call in enumerate(calls):
            key = f"call-{number}-{os.getpid()}-{self._round}"
            futures[self._client.submit(on_one_core, function, *call, key=key, pure=False)] = number
        ended = as_completed(futures, loop=self._client.loop)
        while not ended.is_empty():
            self._wait(ended)
            future = next(ended)
            if future.cancelled():
                raise self._gone()
            number, error = futures.pop(future), future.exception()
            yield Ended(number, None if error else future.result(), error, isinstance(error, KilledWorker))

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


def _private_cluster(workers: int) -> Any:
    """A scheduler and worker processes that only the holder of their certificate, this process, can talk to.

    dask opens an HTTP port for each of them even without its dashboard: no page is served there.
    """
    import dask
    from distributed import LocalCluster, Security

    nothing: dict[str, list[str]] = {f"distributed.{who}.http.routes": [] for who in ("scheduler", "worker")}
    with dask.config.set(nothing):
        return LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            security=Security.temporary(),
            silence_logs="CRITICAL",
            scheduler_kwargs={
                "allowed_failures": 0,  # a lost job is tried once more anyway, alone
                "dashboard": False,
                "dashboard_address": "127.0.0.1:0",  # or else dask's own 8787
            },
        )


def build_engine(cluster: str | None, workers: int) -> Engine:
    """The engine that the command line names.

    Raises:
        StudyError: an address that is none, or dask is not installed.
    """
    return ClusterEngine(cluster) if cluster else LocalEngine(workers)
