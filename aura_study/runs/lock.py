"""One writer per run: a lock that the system drops when its process ends, however it ends."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from aura_study.errors import StudyError
from aura_study.paths import RunFolders
from aura_study.runs.records import UNFINISHED

KINDS = {
    "a run of the study": {"manifest.json", "claims.json", "stamps", "evidence"},
    "a sweep": {"sweep.json", "records"},
    "a training": {"segments", "checkpoints"},
}
"""What only a run of ours holds, or a sweep or a training."""
STUDY, SWEEP, TRAINING = KINDS
OURS = set().union(*KINDS.values())
FOLDERS = {*OURS, "notebooks", "tables", "trajectories", "figures", "report"}
"""What may stand in a run's folder before that; all of it is ours where one of `OURS` is there."""


@contextmanager
def locked(folders: RunFolders) -> Iterator[None]:
    """Hold the run's folder alone, made if need be; what killed processes left unfinished there is removed.

    Raises:
        StudyError: another process holds it, nothing can be written to it, or it holds something else than a run.
    """
    _refuse_a_strangers(folders.results)
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


def refuse_other_kind(folders: RunFolders, kind: str) -> None:
    """Nothing where the folder holds none of `KINDS` but ``kind``: they would clean and overwrite each other's files.

    Raises:
        StudyError: it holds another.
    """
    held = _names(folders.results)
    for other, names in KINDS.items():
        if other != kind and held & names:
            raise StudyError(f"{folders.results} holds {other}; choose another name with --out")


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def _refuse_a_strangers(folder: Path) -> None:
    """Nothing where the folder is missing, empty or a run's, whole or interrupted."""
    held = _names(folder)
    if not held & OURS and (others := sorted(held - FOLDERS - {".lock"})):
        listed = ", ".join(others[:3]) + (f" and {len(others) - 3} more" if len(others) > 3 else "")
        raise StudyError(f"{folder} is not a run's folder: it holds {listed}; choose an empty one with --out")


def _remove_leftovers(folders: RunFolders) -> None:
    """Only where a run writes, and only what bears the name of an unfinished file of ours."""
    for folder in (folders.results, folders.figures, *(folders.results / name for name in FOLDERS)):
        for path in folder.glob(f"{UNFINISHED}*"):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
