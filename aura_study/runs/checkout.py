"""The commit of the checkout that runs."""

import subprocess
from pathlib import Path

from pydantic import BaseModel

from aura_study.paths import project_root


class Commit(BaseModel):
    """Commit of the checkout; ``dirty`` if tracked files outside ``results`` and ``figures`` differ from it."""

    hash: str | None
    dirty: bool | None


def commit() -> Commit:
    """Where the checkout stands; unknown where there is no git or no checkout."""
    try:
        root = project_root()
        hash_ = _git(root, "rev-parse", "HEAD")
        status = _git(root, "status", "--porcelain", "--untracked-files=no", "--", ".", ":!results", ":!figures")
    except (OSError, subprocess.SubprocessError):
        return Commit(hash=None, dirty=None)
    return Commit(hash=hash_, dirty=bool(status))


def tracked(root: Path) -> list[str]:
    """Names of the files that git tracks and that are there.

    Raises:
        FileNotFoundError: no git, or no checkout of it.
    """
    try:
        names = _git(root, "ls-files", "-z").split("\0")
    except subprocess.SubprocessError as error:
        raise FileNotFoundError(f"git cannot list {root}") from error
    return [name for name in names if name and (root / name).is_file()]


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True, timeout=30)
    return done.stdout.strip()
