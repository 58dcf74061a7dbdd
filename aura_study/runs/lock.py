"""One writer per run: a lock that the system drops when its process ends, however it ends."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock, Timeout

from aura_study.errors import StudyError
from aura_study.paths import RunFolders

LEFTOVER = re.compile(r"\..+-\w{8}\.\w+|\..+\.partial\.ipynb|\..+\.\d+\.partial")
"""Names of unfinished files, as our writers give them."""


@contextmanager
def locked(folders: RunFolders) -> Iterator[None]:
    """Hold the run's folder alone, made if need be; what killed processes left unfinished there is removed.

    Raises:
        StudyError: another process holds it, or nothing can be written to it.
    """
    folders.results.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folders.results / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise StudyError(
            f"another run is writing to {folders.results}; wait for it, or choose another name with --out"
        ) from None
    try:
        if not os.access(folders.results, os.W_OK):
            raise StudyError(f"cannot write to {folders.results}")
        _remove_leftovers(folders)
        try:
            yield
        finally:
            _remove_leftovers(folders)
    finally:
        lock.release()


def _remove_leftovers(folders: RunFolders) -> None:
    for folder in (folders.results, folders.figures):
        for path in folder.rglob(".*"):
            if LEFTOVER.fullmatch(path.name) and path.is_file():
                path.unlink()
