"""Which trajectory files this process has recorded, or found recorded: a notebook's evidence lists them."""

from collections.abc import Iterable
from pathlib import Path

_KEPT: list[Path] = []


def keep(paths: Iterable[Path]) -> None:
    """Add files to the list."""
    _KEPT.extend(paths)


def kept_in(folder: Path) -> list[str]:
    """Names, without suffix, of the listed files that are in ``folder``, sorted."""
    return sorted({path.stem for path in _KEPT if path.parent == folder and path.is_file()})


def forget() -> None:
    """Empty the list: another notebook begins."""
    _KEPT.clear()
