"""The ledger of claims: what the notebooks decided, merged, checked on reading, and printed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from aura_study.claims import CLAIMS, Row, Verdict
from aura_study.claims.model import Name
from aura_study.errors import StudyError
from aura_study.paths import RunFolders
from aura_study.runs.records import FileName, read_record, write_json
from aura_study.runs.words import NONE, number

VERDICT_STYLES = {
    Verdict.CONFIRMED: "bold green",
    Verdict.WITHIN_LIMITS: "bold yellow",
    Verdict.REFUTED: "bold red",
    Verdict.INCONCLUSIVE: "bold magenta",
}


class Ledger(BaseModel):
    """``claims.json``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    run: str
    profile: str
    data: str
    claims: list[Row]

    @property
    def rows(self) -> dict[str, Row]:
        """Rows by claim."""
        return {row.claim: row for row in self.claims}


class FigureEntry(BaseModel):
    """A figure that a notebook made."""

    name: Name
    caption: str
    alt: str


class TableEntry(BaseModel):
    """A table that a notebook made."""

    name: Name
    rows: int


class Evidence(BaseModel):
    """``evidence/<notebook>.json``."""

    notebook: Name
    claims: list[Row]
    figures: list[FigureEntry]
    tables: list[TableEntry]
    trajectories: list[FileName] = []


def read_evidence(folders: RunFolders) -> list[Evidence]:
    """What each notebook of the run wrote, in reading order.

    Raises:
        StudyError: a file that is not evidence; the text names file, place and value.
    """
    return [read_one(path) for path in sorted(folders.evidence.glob("*.json"))]


def read_one(path: Path) -> Evidence:
    """One notebook's evidence file; errors as `read_evidence`."""
    return read_record(path, Evidence)


def merge(evidence: Sequence[Evidence]) -> list[Row]:
    """Rows of all decided claims in the order of `CLAIMS`; claims this release does not know come last."""
    rows = {row.claim: row for entry in evidence for row in entry.claims}
    return [rows[key] for key in [*CLAIMS, *sorted(rows.keys() - CLAIMS.keys())] if key in rows]


def write_claims(folders: RunFolders, profile: str, data: str) -> Ledger:
    """Merge the evidence into ``claims.json``; a file that already says so is left alone."""
    ledger = Ledger(run=folders.name, profile=profile, data=data, claims=merge(read_evidence(folders)))
    try:
        unchanged = read_claims(folders) == ledger
    except StudyError:
        unchanged = False
    if not unchanged:
        write_json(folders.claims, ledger.model_dump(mode="json"))
    return ledger


def read_claims(folders: RunFolders) -> Ledger:
    """``claims.json`` of a run.

    Raises:
        StudyError: no such run, or a damaged file; the text names file, place and value.
    """
    if not folders.claims.is_file():
        raise StudyError(f"run {folders.name!r} has no claims.json{_other_runs(folders)}")
    return read_record(folders.claims, Ledger)


def interval(row: Row) -> str:
    """The interval of a row; a dash where it is not bounded."""
    low, high = row.interval
    return NONE if low is None or high is None else f"[{number(low)}, {number(high)}]"


def seeds(row: Row) -> str:
    """Number of seeds, or that the measurement is deterministic."""
    return str(row.seeds) if row.seeds else "exact"


def table(ledger: Ledger) -> Any:
    """The ledger as a rich table that can be read at 80 columns."""
    from rich.table import Table
    from rich.text import Text

    shown = Table(title=f"Ledger of run {ledger.run} ({ledger.profile}, {ledger.data} data)", show_lines=True)
    shown.add_column("claim", no_wrap=True)
    shown.add_column("statement", ratio=5)
    shown.add_column("measured", ratio=4)
    shown.add_column("verdict", width=12)
    for row in ledger.claims:
        statement = Text(row.statement)
        if row.limit:
            statement.append(f"\nLimit: {row.limit}.", style="dim")
        measured = Text(number(row.measured), style="bold")
        spread = f" {interval(row)}" if interval(row) != NONE else ""
        count = f"{row.seeds} seed{'s' if row.seeds > 1 else ''}" if row.seeds else "exact"
        measured.append(f"{spread}, predicted {number(row.predicted)}", style="not bold")
        measured.append(f"\n{row.unit}; {count}", style="not bold dim")
        shown.add_row(row.claim, statement, measured, Text(row.verdict, style=VERDICT_STYLES[row.verdict]))
    return shown


def _other_runs(folders: RunFolders) -> str:
    runs = sorted(path.parent.name for path in folders.results.parent.glob("*/claims.json"))
    return f"; runs there: {', '.join(runs)}" if runs else "; start one with: aura-study run"
