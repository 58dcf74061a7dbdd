"""Where things stand in the project tree: the one file that knows."""

import itertools
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

DATA_VARIABLE = "AURA_STUDY_DATA"
REFERENCE = "reference"
"""Name of the committed run."""
REPETITION = "reference-gpu"
"""Name of the committed run that repeats some of its notebooks on a GPU."""
INTERACTIVE = "interactive"
"""What ``out`` is in a notebook where nobody named a run: the execution gets one of its own, see `own_run`."""


def project_root() -> Path:
    """Folder that holds ``notebooks/``: the checkout this package was installed from, else one at or above the cwd."""
    for folder in (Path(__file__).resolve().parents[1], Path.cwd(), *Path.cwd().parents):
        if (folder / "notebooks").is_dir() and (folder / "aura_study").is_dir():
            return folder
    raise FileNotFoundError("no aura_study checkout found: run from inside a clone of the project")


def notebooks_folder() -> Path:
    """Folder of the source notebooks: a wheel's own, else the checkout's."""
    return carried("notebooks")


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
    from_root = home() / folder
    return (from_root if from_root.exists() else folder).resolve()


def home() -> Path:
    """Where a run lies that is named without a folder: the checkout, or the working directory where there is none."""
    try:
        return project_root()
    except FileNotFoundError:
        return Path.cwd()


@dataclass(frozen=True)
class RunFolders:
    """Folders of one run."""

    results: Path
    figures: Path

    @classmethod
    def of(cls, out: str) -> Self:
        """Folders of run ``out``: a bare name means ``results/<name>`` and ``figures/<name>`` in `home`, anything with
        a separator is the results folder itself, with ``figures/`` inside it.
        """
        if not out.strip():
            raise ValueError("the run needs a name or a folder, got an empty string")
        if "/" in out or os.sep in out:
            folder = Path(out).expanduser().resolve()
            return cls(folder, folder / "figures")
        if out in (".", ".."):
            raise ValueError(f"{out!r} is not a run name; write a path with a separator to name a folder")
        root = home()
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


def own_run(notebook: str) -> str:
    """Name of a run that nobody else has, ``03_phantom_gradient-2`` after ``-1``; its results folder is made."""
    for number in itertools.count(1):
        name = f"{notebook}-{number}"
        try:
            RunFolders.of(name).results.mkdir(parents=True)
        except FileExistsError:
            continue
        return name
    raise AssertionError("unreachable")


def carried(name: str) -> Path:
    """What a wheel carries beside the code of a checkout's root: ``claims.lock``, ``references.bib``, ``notebooks``."""
    packaged = Path(__file__).parent / "carried" / name
    return packaged if packaged.exists() else project_root() / name


def reference_run() -> RunFolders:
    """The reference run, of which a wheel carries the ledger alone, beside the code."""
    packaged = Path(__file__).parent / "reference_run"
    return RunFolders(packaged, packaged / "figures") if packaged.is_dir() else RunFolders.of(REFERENCE)


def without_folders(value: Any) -> Any:
    """``value``, with ``.../NAME`` for every absolute path in it: what a manifest may say of a user's own files."""
    if isinstance(value, dict):
        return {key: without_folders(held) for key, held in value.items()}
    if isinstance(value, list | tuple):
        return [without_folders(held) for held in value]
    return f".../{Path(value).name}" if isinstance(value, str) and Path(value).is_absolute() else value
