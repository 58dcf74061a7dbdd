"""Temporary folders of ours: gone when they are left, and when their process was killed, gone with the next one."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: what a killed process leaves there stays
    fcntl = None  # type: ignore[assignment]

HELD = ".held"
"""File in the folder that its process keeps locked; the system drops the lock with the process, however that ends."""


@contextmanager
def scratch(prefix: str, folder: Path | None = None) -> Iterator[Path]:
    """A folder for this process alone; those beside it that dead processes left under the same ``prefix`` are removed.

    Args:
        prefix: what its name begins with; nobody else's names may.
        folder: where; the system's folder for temporary files unless given.

    Raises:
        OSError: it cannot be made.
    """
    place = Path(tempfile.gettempdir() if folder is None else folder)
    _sweep(place, prefix)
    with tempfile.TemporaryDirectory(prefix=prefix, dir=place, ignore_cleanup_errors=True) as name:
        held = _hold(Path(name))
        try:
            yield Path(name)
        finally:
            if held is not None:
                os.close(held)


def _hold(folder: Path) -> int | None:
    """Lock the folder's file before it gets its name, so that nobody meets it unlocked."""
    if fcntl is None:
        return None
    fresh = folder / f"{HELD}-fresh"
    file = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    with suppress(OSError):  # a file system without locks
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fresh.rename(folder / HELD)
    return file


def _sweep(place: Path, prefix: str) -> None:
    """Remove the folders of this user whose file nobody holds any more."""
    for folder in place.glob(f"{prefix}*") if fcntl is not None else ():
        with suppress(OSError):  # another user's, held, or just gone
            file = os.open(folder / HELD, os.O_RDWR | os.O_NOFOLLOW)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if not folder.is_symlink() and folder.stat().st_uid == os.getuid():
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(file)
