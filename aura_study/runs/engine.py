"""Many calls at once, in other processes; one whose process dies with it is tried once more, alone.

A process that dies takes the calls it held with it; which of them was to blame nobody can tell, so each is tried once
more with no other beside it, and only the call that then ends its process again is held responsible.
"""

import os
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any

import torch
from joblib import cpu_count
from joblib.externals.loky import ProcessPoolExecutor
from joblib.externals.loky.process_executor import BrokenProcessPool

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")


@dataclass(frozen=True)
class Ended:
    """What became of a call.

    Attributes:
        number: its place among the calls.
        value: what it returned.
        error: what it raised.
        lost: whether its process died, which ``error`` tells then.
    """

    number: int
    value: Any = None
    error: BaseException | None = None
    lost: bool = False

    def result(self) -> Any:
        """The value.

        Raises:
            BaseException: what the call raised, or that its process died.
        """
        if self.error is not None:
            raise self.error
        return self.value


class Engine(AbstractContextManager["Engine"], ABC):
    """Does calls in other processes, inside its ``with`` block."""

    @abstractmethod
    def submit(self, function: Callable[..., Any], calls: Sequence[tuple[Any, ...]]) -> Iterator[Ended]:
        """``function(*call)`` for each call, side by side; yields each as it ends, also those that were lost."""

    @abstractmethod
    def describe(self) -> str:
        """What does the calls, in words."""

    def complete(self, function: Callable[..., Any], calls: Sequence[tuple[Any, ...]]) -> Iterator[Ended]:
        """`submit`, then each lost call once more, alone; yields every call once."""
        suspects = []
        for ended in self.submit(function, calls):
            if ended.lost:
                suspects.append(ended.number)
            else:
                yield ended
        for number in suspects:
            for ended in self.submit(function, [calls[number]]):
                yield replace(ended, number=number)


class LocalEngine(Engine):
    """This machine's cores: joblib's loky, ``workers`` processes of one thread (0: `default_workers`)."""

    def __init__(self, workers: int = 0) -> None:
        self.workers = workers or default_workers()
        self._pool: Any = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._shut_down(kill_workers=kind is not None)

    def describe(self) -> str:
        """What does the calls, in words."""
        return f"{self.workers} process{'es' if self.workers > 1 else ''} of this machine"

    def submit(self, function: Callable[..., Any], calls: Sequence[tuple[Any, ...]]) -> Iterator[Ended]:
        """See `Engine.submit`. No more calls are handed out than there are workers, so only what ran can be lost."""
        waiting = list(reversed(range(len(calls))))
        running: dict[Future[Any], int] = {}
        while waiting or running:
            while waiting and len(running) < self.workers:
                number = waiting.pop()
                running[self._started().submit(on_one_core, function, *calls[number])] = number
            done = wait(running, return_when=FIRST_COMPLETED).done
            if any(isinstance(future.exception(), BrokenProcessPool) for future in done):
                done = wait(running).done  # the pool ends with the first worker that dies
                self._shut_down(kill_workers=True)
            for future in done:
                number, error = running.pop(future), future.exception()
                value = None if error else future.result()
                yield Ended(number, value, error, isinstance(error, BrokenProcessPool))

    def _started(self) -> Any:
        if self._pool is None:
            self._pool = ProcessPoolExecutor(
                self.workers, initializer=_end_with_parent, initargs=(os.getpid(),), env=ONE_THREAD
            )
        return self._pool

    def _shut_down(self, kill_workers: bool) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, kill_workers=kill_workers)
            self._pool = None


def default_workers() -> int:
    """One per core, as joblib counts them and ``LOKY_MAX_CPU_COUNT`` limits them; one where there is a GPU."""
    return 1 if torch.cuda.is_available() else cpu_count()


def on_one_core(function: Callable[..., Any], *arguments: Any) -> Any:
    """``function(*arguments)`` on one thread: one call per core is faster, and no result depends on their number."""
    if not torch.cuda.is_available():
        torch.set_num_threads(1)
    return function(*arguments)


def _end_with_parent(parent: int) -> None:
    """In a worker: end when the process that started it has, for a killed parent tells its children nothing."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
