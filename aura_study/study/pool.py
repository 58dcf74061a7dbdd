"""Notebooks side by side: one thread follows each, and all kernels stop together."""

import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from typing import Any

from jupyter_core.utils import ensure_event_loop


class Stopped(RuntimeError):
    """The run is being stopped; no kernel starts any more."""


class Kernels:
    """The kernels that run, ``at_once`` of them, so that an interrupt can stop them with everything they started."""

    def __init__(self, at_once: int = 1) -> None:
        self.at_once = at_once
        self._lock = threading.Lock()
        self._managers: list[Any] = []
        self.stopped = False

    def add(self, manager: Any) -> None:
        """Know a kernel that has started; if the run is stopping, stop it.

        Raises:
            Stopped: the run is stopping.
        """
        with self._lock:
            self._managers.append(manager)
        if self.stopped:
            _kill(manager)
            raise Stopped("the run was stopped while a kernel started")

    def stop(self) -> None:
        """Kill all kernels and their workers; those that start later are killed as well."""
        self.stopped = True
        with self._lock:
            for manager in self._managers:
                _kill(manager)


def run_side_by_side(work: Callable[[str], None], names: Sequence[str], kernels: Kernels) -> None:
    """Call ``work`` with every name, ``kernels.at_once`` at a time: one alone in order, several from both ends.

    Raises:
        BaseException: the first that a call raised, or an interrupt; the kernels are stopped and no call is left.
    """
    with ThreadPoolExecutor(kernels.at_once, thread_name_prefix="notebook") as pool:
        order = names if kernels.at_once == 1 else from_both_ends(names)
        futures = [pool.submit(_in_thread, work, name, kernels) for name in order]
        try:
            for future in as_completed(futures):
                future.result()
        except BaseException:
            kernels.stop()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def from_both_ends(names: Sequence[str]) -> list[str]:
    """First, last, second, last but one, ...: the late notebooks train longest, and a long one that starts at the end
    would leave the other cores idle."""
    ahead = list(names)
    return [ahead.pop(0 if taken % 2 == 0 else -1) for taken in range(len(names))]


def _in_thread(work: Callable[[str], None], name: str, kernels: Kernels) -> None:
    """Give the thread the event loop that Jupyter's clients will find, and close it in the end."""
    if kernels.stopped:
        return
    loop = ensure_event_loop()
    try:
        work(name)
    except BaseException:
        kernels.stop()
        raise
    finally:
        loop.close()


def _kill(manager: Any) -> None:
    provisioner = manager.provisioner
    if provisioner is None or provisioner.process is None or provisioner.process.poll() is not None:
        return
    with suppress(ProcessLookupError, PermissionError):
        if provisioner.pgid and hasattr(os, "killpg"):
            os.killpg(provisioner.pgid, signal.SIGKILL)  # joblib's workers are in the kernel's group
        else:
            provisioner.process.kill()
