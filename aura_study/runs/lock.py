"""One writer per run: a lock that the system drops when its process ends, however it ends."""

from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock, Timeout

from aura_study.errors import StudyError
from aura_study.paths import RunFolders


@contextmanager
def locked(folders: RunFolders) -> Iterator[None]:
    """Hold the run's existing folder alone.

    Raises:
        StudyError: another process holds it.
    """
    lock = FileLock(folders.results / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise StudyError(
            f"another run is writing to {folders.results}; wait for it, or choose another name with --out"
        ) from None
    try:
        yield
    finally:
        lock.release()
