"""What a notebook writes: tables, figures and decided claims."""

import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self

import pandas as pd

from aura_study.claims import CLAIMS, Measurement
from aura_study.claims.model import Kind
from aura_study.errors import StudyError
from aura_study.figures import Plate
from aura_study.paths import INTERACTIVE, RunFolders, own_run, without_folders
from aura_study.runs.ledger import open_because
from aura_study.runs.parameters import Parameters
from aura_study.runs.records import write_atomically, write_json

SHOWN = (
    *("claim", "kind", "verdict", "predicted", "prediction_held", "measured", "interval", "ratio", "unit", "seeds"),
    *("limit", "rule"),
)
"""What a notebook shows of a row, as far as there is something to show."""


class NotebookRun:
    """The part of a run that one notebook writes.

    Args:
        notebook: its name, without suffix.
        out: run name or folder, see `RunFolders.of`.
        parameters: what it was made with, for whoever compares runs.

    ``evidence/<notebook>.json`` lists the claims it decided, the figures (with captions) and the tables it made, in
    order, and the trajectories that it kept; it is rewritten whole after every addition. Opening the run clears an
    earlier execution's list.
    """

    def __init__(self, notebook: str, out: str, parameters: Mapping[str, Any] | None = None) -> None:
        self.notebook = notebook
        self.folders = RunFolders.of(out)
        kinds = ("claims", "figures", "tables", "trajectories")
        self._evidence: dict[str, Any] = {"notebook": notebook, "parameters": without_folders(dict(parameters or {}))}
        self._evidence |= {kind: [] for kind in kinds}
        self._write()

    @classmethod
    def open(cls, p: Parameters) -> Self:
        """Open the run in a notebook, whose tables are now shown as people read them: four digits, no text cut.

        Where nobody named a run it is one of this execution's own. It begins with the trainings of the one before, so
        that those which nothing has changed are not done again.

        Raises:
            StudyError: nothing can be written there.
        """
        pd.set_option("display.max_colwidth", None, "display.float_format", "{:.4g}".format)
        try:
            out = _own_run(p.notebook) if p.out == INTERACTIVE else p.out
            return cls(p.notebook, out, p.model_dump(mode="json", exclude={"out"}))
        except OSError as error:
            raise StudyError(f"cannot write the results ({error}); name a run or a folder with out") from error

    def close(self) -> None:
        """Say where everything is: a notebook's last line."""
        named = self.folders == RunFolders.of(self.folders.name)
        run = self.folders.name if named else self.folders.results
        print(f"Results and figures: {self.folders.results}\nRead them with: aura-study claims {run}")

    def table(self, name: str, frame: pd.DataFrame) -> pd.DataFrame:
        """Save ``frame`` as ``tables/<name>.csv``, of a user's paths their last parts, and hand it back for display."""
        told = frame.map(without_folders)
        write_atomically(self.folders.tables / f"{name}.csv", lambda path: told.to_csv(path, index=False))
        self._add("tables", {"name": name, "rows": len(frame)})
        return frame

    def figure(self, name: str, plate: Plate) -> Plate:
        """Save ``plate`` as ``<name>.png`` and ``<name>.svg`` and hand it back for display."""
        for kind in ("png", "svg"):
            write_atomically(self.folders.figures / f"{name}.{kind}", partial(_write_picture, plate, kind))
        self._add("figures", {"name": name, "caption": plate.caption, "alt": plate.alt})
        return plate

    def keep(self, files: Sequence[Path]) -> Sequence[Path]:
        """List trajectories that the notebook recorded, or found recorded, and hand them back."""
        self._evidence["trajectories"] = sorted({*self._evidence["trajectories"], *(path.stem for path in files)})
        self._write()
        return files

    def decide(self, claim: str, measurement: Measurement) -> pd.DataFrame:
        """Judge ``claim`` by its rule and enter it in the ledger; returns the row, for display.

        Raises:
            ValueError: a claim that is unknown or belongs to another notebook.
        """
        if claim not in CLAIMS:
            raise ValueError(f"unknown claim {claim!r}; known: {list(CLAIMS)}")
        if CLAIMS[claim].notebook != self.notebook:
            raise ValueError(f"claim {claim} belongs to notebook {CLAIMS[claim].notebook}, not {self.notebook}")
        decided = CLAIMS[claim].decide(measurement)
        row = decided.model_dump(mode="json")
        self._add("claims", row)
        shown = [name for name in SHOWN if row[name] is not None]
        told = pd.DataFrame({"": [row[name] for name in shown]}, index=shown)
        if decided.kind == Kind.TRAINED:  # the ledger judges those of a question together
            told = told.rename(index={"verdict": "verdict by itself"})
        if why := open_because(decided):
            told.loc["open"] = why
        return told

    def _add(self, kind: str, entry: dict[str, Any]) -> None:
        key = "claim" if kind == "claims" else "name"
        kept = [other for other in self._evidence[kind] if other[key] != entry[key]]
        self._evidence[kind] = [*kept, entry]
        self._write()

    def _write(self) -> None:
        write_json(self.folders.evidence / f"{self.notebook}.json", self._evidence)


def _own_run(notebook: str) -> str:
    """A new run's name, see `own_run`, its folder holding copies of the trajectories of the one before."""
    name = own_run(notebook)
    before = RunFolders.of(f"{notebook}-{int(name.rsplit('-', 1)[1]) - 1}").trajectories
    if before.is_dir():
        shutil.copytree(before, RunFolders.of(name).trajectories)
    return name


def _write_picture(plate: Plate, kind: str, path: Path) -> None:
    path.write_bytes(plate.encode(kind))
