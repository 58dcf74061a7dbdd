"""The one kind of error that a user of the study is meant to read."""

import difflib
import re
from collections.abc import Iterable
from importlib import metadata


class StudyError(Exception):
    """Something the user can act on; its text is complete, so nobody is shown a traceback with it."""

    def _render_traceback_(self) -> list[str]:
        """What IPython shows of it."""
        return [f"{type(self).__name__}: {self}"]


class MissingExtra(StudyError):
    """Packages that a command needs are not installed; names the extra that brings them."""


def require(extra: str) -> None:
    """See to it, before any work, that the packages of one of the project's extras are there.

    Raises:
        MissingExtra: some are not.
    """
    missing = [name for name in _packages(extra) if not _installed(name)]
    if missing:
        named = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
        raise MissingExtra(f'this needs {named}; install the extra: pip install "aura-study[{extra}]"')


def _packages(extra: str) -> list[str]:
    """Names of the packages that ``extra`` brings; none where the code is on the path and nothing was installed."""
    try:
        requirements = metadata.requires("aura-study") or []
    except metadata.PackageNotFoundError:
        return []
    wanted = re.compile(rf"([\w.-]+).*; extra == ['\"]{extra}['\"]")
    return [found[1] for line in requirements if (found := wanted.match(line))]


def _installed(package: str) -> bool:
    try:
        return bool(metadata.version(package))
    except metadata.PackageNotFoundError:
        return False


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of an error about an unknown ``name``: the nearest valid names, then all of them."""
    valid = list(known)
    near = difflib.get_close_matches(name, valid, n=3, cutoff=0.5)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    return f"{hint} (valid: {', '.join(valid) if valid else 'none'})"
