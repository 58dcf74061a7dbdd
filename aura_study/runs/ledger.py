"""The ledger of claims: what the notebooks decided, merged, checked on reading, and printed."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from aura_study.claims import CLAIMS, Row, Verdict
from aura_study.claims.model import Held, Kind, Name
from aura_study.claims.questions import together
from aura_study.errors import StudyError
from aura_study.paths import RunFolders
from aura_study.runs.records import FileName, read_record, write_json
from aura_study.runs.words import NONE, duration, number

VERDICT_STYLES = {
    Verdict.CONFIRMED: "bold green",
    Verdict.WITHIN_LIMITS: "bold yellow",
    Verdict.REFUTED: "bold red",
    Verdict.INCONCLUSIVE: "bold magenta",
    Verdict.VOID: "bold cyan",
}


BY_HAND = "by hand"
"""Profile of a run whose notebooks were run in Jupyter or papermill."""
NO_DATA = "no"


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
    parameters: dict[str, Any] = {}
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
    """Rows of all decided claims, judged `together`, in the order of `CLAIMS`; those it does not know come last."""
    rows = {row.claim: row for entry in evidence for row in entry.claims}
    return together([rows[key] for key in [*CLAIMS, *sorted(rows.keys() - CLAIMS.keys())] if key in rows])


def write_claims(folders: RunFolders, profile: str, data: str) -> Ledger:
    """Merge the evidence into ``claims.json``; a file that already says so is left alone."""
    ledger = Ledger(run=folders.name, profile=profile, data=data, claims=merge(read_evidence(folders)))
    try:
        unchanged = folders.claims.is_file() and read_claims(folders) == ledger
    except StudyError:
        unchanged = False
    if not unchanged:
        write_json(folders.claims, ledger.model_dump(mode="json"))
    return ledger


def read_claims(folders: RunFolders) -> Ledger:
    """``claims.json`` of a run, or what its notebooks decided if they ran in Jupyter or papermill, which merge nothing.

    Raises:
        StudyError: no such run, or a damaged file; the text names file, place and value.
    """
    if folders.claims.is_file():
        return read_record(folders.claims, Ledger)
    evidence = read_evidence(folders)
    if not evidence:
        raise StudyError(f"run {folders.name!r} has no claims.json{_other_runs(folders)}")
    data = dict.fromkeys(str(entry.parameters["data"]) for entry in evidence if "data" in entry.parameters)
    return Ledger(run=folders.name, profile=BY_HAND, data=", ".join(data) or NO_DATA, claims=merge(evidence))


def interval(row: Row) -> str:
    """The interval of a row; a dash where it is not bounded."""
    low, high = row.interval
    return NONE if low is None or high is None else f"[{number(low)}, {number(high)}]"


def seeds(row: Row) -> str:
    """Number of seeds, or that the measurement is deterministic."""
    return str(row.seeds) if row.seeds else "exact"


def open_because(row: Row, seconds: float | None = None) -> str | None:
    """Why a claim is void or inconclusive, and what would decide it, in a sentence; None if it is decided.

    ``seconds`` that its notebook took say what that costs.
    """
    if row.verdict == Verdict.VOID:
        return f"Says nothing: {row.void}."
    if row.verdict != Verdict.INCONCLUSIVE:
        return None
    lost = f"By itself {row.alone}, but not among its question's trained claims." if row.verdict != row.alone else ""
    if row.price is None:
        return (
            lost
            or "Its interval lies on both sides of what the rule asks for: more cases would decide, not more seeds."
        )
    if row.price.seeds is None and row.p is None:
        return "How many seeds would decide it is not known: it has no interval of a mean."
    if row.price.seeds is None:
        return "What was seen lies on the rule's border: no number of seeds that can be had would decide it."
    work = f"{number(row.price.times)} times the work of the {row.seeds} that there are"
    if seconds and row.price.times:
        work += f", about {duration(seconds * row.price.times)}"
    if row.p is None:
        return f"The rule asks for {row.price.seeds} seeds at least: {work}."
    return f"{lost} {row.price.seeds} seeds would decide it with a power of {row.price.power:.0%}: {work}.".strip()


def tally(rows: Sequence[Row]) -> dict[Kind, dict[Verdict, int]]:
    """Number of claims by kind and verdict, where there are any, in the order of both."""
    counts = Counter((row.kind, row.verdict) for row in rows)
    kinds = {kind: {verdict: counts[kind, verdict] for verdict in Verdict} for kind in Kind}
    return {
        kind: {verdict: n for verdict, n in found.items() if n} for kind, found in kinds.items() if any(found.values())
    }


def failed_predictions(rows: Sequence[Row]) -> list[Row]:
    """Rows whose prediction failed."""
    return [row for row in rows if row.prediction_held == Held.FAILED]


def table(ledger: Ledger, seconds: Mapping[str, float] | None = None) -> Any:
    """The ledger as a rich table that can be read at 80 columns; ``seconds`` by notebook say what more would cost."""
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
        if why := open_because(row, (seconds or {}).get(row.notebook)):
            statement.append(f"\n{why}", style="dim")
        measured = Text(number(row.measured), style="bold")
        spread = f" {interval(row)}" if interval(row) != NONE else ""
        count = f"{row.seeds} seed{'s' if row.seeds > 1 else ''}" if row.seeds else "exact"
        measured.append(f"{spread}, predicted {number(row.predicted)}", style="not bold")
        measured.append(f"\n{row.unit}; {count}", style="not bold dim")
        verdict = Text(row.verdict, style=VERDICT_STYLES[row.verdict])
        verdict.append(f"\n{row.kind}", style="not bold dim")
        if row.prediction_held != Held.NONE:
            verdict.append(f"\nprediction {row.prediction_held}", style="not bold dim")
        shown.add_row(row.claim, statement, measured, verdict)
    return shown


def tally_table(ledger: Ledger) -> Any:
    """The ledger in ten lines: verdicts by what they were measured on, and which predictions failed."""
    from rich import box
    from rich.table import Table

    counts = tally(ledger.claims)
    verdicts = [verdict for verdict in Verdict if any(verdict in found for found in counts.values())]
    shown = Table(
        title=f"Run {ledger.run} ({ledger.profile}, {ledger.data} data): {len(ledger.claims)} claims",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    shown.add_column("measured on")
    for verdict in verdicts:
        shown.add_column(verdict, justify="right", style=VERDICT_STYLES[verdict])
    for kind, found in counts.items():
        shown.add_row(kind, *(str(found.get(verdict, "")) for verdict in verdicts))
    if failed := failed_predictions(ledger.claims):
        shown.caption = f"Predictions that failed: {', '.join(row.claim for row in failed)}"
        shown.caption_justify = "left"
    return shown


def _other_runs(folders: RunFolders) -> str:
    runs = sorted({path.parents[1].name for path in folders.results.parent.glob("*/evidence/*.json")})
    return f"; runs there: {', '.join(runs)}" if runs else "; start one with: aura-study run"
