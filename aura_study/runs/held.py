"""What a run or a sweep left, by name, for those who set runs beside each other."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aura_study.claims import Row
from aura_study.paths import RunFolders
from aura_study.runs import ledger
from aura_study.runs.ledger import FigureEntry
from aura_study.runs.manifest import SWEEP_FILE, SweepRecord, read_manifest
from aura_study.runs.records import read_record


@dataclass(frozen=True)
class Held:
    """What one run has to compare.

    Attributes:
        folders: where it lies.
        settings: of the run as a whole.
        parameters: by notebook; of a sweep under its kind.
        rows: its claims.
        figures: what it drew, by name.
        tables, trajectories: files by name.
        swept: whether it is a sweep.
    """

    folders: RunFolders
    settings: Mapping[str, Any]
    parameters: Mapping[str, Mapping[str, Any]]
    rows: Mapping[str, Row] = field(default_factory=dict)
    figures: Mapping[str, FigureEntry] = field(default_factory=dict)
    tables: Mapping[str, Path] = field(default_factory=dict)
    trajectories: Mapping[str, Path] = field(default_factory=dict)
    swept: bool = False

    @classmethod
    def of(cls, folders: RunFolders) -> "Held":
        """Read a run or a sweep.

        Raises:
            StudyError: there is none, or a file is damaged.
        """
        return _sweep(folders) if (folders.results / SWEEP_FILE).is_file() else _study(folders)


def _sweep(folders: RunFolders) -> Held:
    held = read_record(folders.results / SWEEP_FILE, SweepRecord)
    return Held(
        folders,
        {"commit": (held.commit.hash or "unknown")[:10]},
        {f"{held.kind} sweep": held.axes},
        tables=_files(folders.results, "summary.csv"),
        trajectories=_files(folders.results / "records", "*.parquet"),
        swept=True,
    )


def _study(folders: RunFolders) -> Held:
    content, held = ledger.read_claims(folders), read_manifest(folders)
    evidence = ledger.read_evidence(folders)
    settings = {"profile": content.profile, "data": content.data}
    parameters: dict[str, dict[str, Any]] = {}
    if held:
        settings["commit"] = (held.commit.hash or "unknown")[:10]
        parameters = {name: entry.parameters for name, entry in held.notebooks.items()}
    for entry in evidence:  # of a notebook that was run by hand since, the manifest knows nothing
        if entry.parameters or entry.notebook not in parameters:
            parameters[entry.notebook] = entry.parameters
    return Held(
        folders,
        settings,
        parameters or {row.notebook: {} for row in content.claims},
        content.rows,
        {figure.name: figure for entry in evidence for figure in entry.figures},
        _files(folders.tables, "*.csv"),
        _files(folders.trajectories, "*.parquet"),
    )


def _files(folder: Path, pattern: str) -> dict[str, Path]:
    return {path.stem: path for path in sorted(folder.glob(pattern)) if not path.name.startswith(".")}


def shared(runs: Sequence[Held], of: Callable[[Held], Mapping[str, Any]]) -> list[str]:
    """Names that all runs have, in the first one's order."""
    first, *others = map(of, runs)
    return [name for name in first if all(name in other for other in others)]
