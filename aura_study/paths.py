"""Where things stand in the project tree: the one file that knows."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

DATA_VARIABLE = "AURA_STUDY_DATA"
REFERENCE = "reference"
"""Name of the committed run."""


def project_root() -> Path:
    """Folder that holds ``notebooks/``: the checkout this package was installed from, else one at or above the cwd."""
    for folder in (Path(__file__).resolve().parents[1], Path.cwd(), *Path.cwd().parents):
        if (folder / "notebooks").is_dir() and (folder / "aura_study").is_dir():
            return folder
    raise FileNotFoundError("no aura_study checkout found: run from inside a clone of the project")


def notebooks_folder() -> Path:
    """Folder of the source notebooks."""
    return project_root() / "notebooks"


def user_cache() -> Path:
    """Folder of downloaded files where the user names no other: ``~/.cache/aura_study``."""
    return Path.home() / ".cache" / "aura_study"


def data_cache() -> Path:
    """Folder of downloaded data files: ``$AURA_STUDY_DATA`` (see `users_folder`), else `user_cache`."""
    named = os.environ.get(DATA_VARIABLE)
    return users_folder(named) if named else user_cache()


def users_folder(named: str) -> Path:
    """The folder that a user names.

    A relative path counts from the working directory or, where nothing is there, from the project's root: a notebook's
    kernel works in the notebooks' folder, and must find what the command line found.
    """
    try:
        folder = Path(named).expanduser()
    except RuntimeError:  # the home of a user who does not exist
        folder = Path(named)
    if folder.exists() or folder.is_absolute():
        return folder.resolve()
    try:
        from_root = project_root() / folder
    except FileNotFoundError:  # outside a checkout
        return folder.resolve()
    return (from_root if from_root.exists() else folder).resolve()


@dataclass(frozen=True)
class RunFolders:
    """Folders of one run."""

    results: Path
    figures: Path

    @classmethod
    def of(cls, out: str) -> Self:
        """Folders of run ``out``: a bare name means ``results/<name>`` and ``figures/<name>`` of the project, anything
        with a separator is the results folder itself, with ``figures/`` inside it.
        """
        if not out.strip():
            raise ValueError("the run needs a name or a folder, got an empty string")
        if "/" in out or os.sep in out:
            folder = Path(out).expanduser().resolve()
            return cls(folder, folder / "figures")
        if out in (".", ".."):
            raise ValueError(f"{out!r} is not a run name; write a path with a separator to name a folder")
        root = project_root()
        return cls(root / "results" / out, root / "figures" / out)

    @property
    def name(self) -> str:
        """Name of the run, its results folder's."""
        return self.results.name

    @property
    def trajectories(self) -> Path:
        """Parquet files, one per trained model."""
        return self.results / "trajectories"

    @property
    def tables(self) -> Path:
        """CSV tables."""
        return self.results / "tables"

    @property
    def notebooks(self) -> Path:
        """Executed notebooks."""
        return self.results / "notebooks"

    @property
    def evidence(self) -> Path:
        """One JSON file per notebook: the claims it decided and the figures it made; merged into ``claims.json``."""
        return self.results / "evidence"

    @property
    def report(self) -> Path:
        """The static site."""
        return self.results / "report"

    @property
    def claims(self) -> Path:
        """The ledger."""
        return self.results / "claims.json"

    @property
    def manifest(self) -> Path:
        """Parameters, seeds, versions, commit, device and digests."""
        return self.results / "manifest.json"


def carried(name: str) -> Path:
    """A file at the checkout's root that a wheel carries beside the code: ``claims.lock``, ``references.bib``."""
    packaged = Path(__file__).parent / "carried" / name
    return packaged if packaged.is_file() else project_root() / name


def reference_claims() -> Path:
    """Ledger of the reference run: a wheel carries it beside the code, a checkout among its results."""
    packaged = Path(__file__).parent / "reference_run" / "claims.json"
    return packaged if packaged.is_file() else RunFolders.of(REFERENCE).claims


def without_folders(value: Any) -> Any:
    """``value``, with ``.../NAME`` for every absolute path in it: what a manifest may say of a user's own files."""
    if isinstance(value, dict):
        return {key: without_folders(held) for key, held in value.items()}
    if isinstance(value, list | tuple):
        return [without_folders(held) for held in value]
    return f".../{Path(value).name}" if isinstance(value, str) and Path(value).is_absolute() else value
