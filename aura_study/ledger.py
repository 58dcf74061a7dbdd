"""The ledger of claims: merging what the notebooks decided, and printing it."""

import json
from pathlib import Path
from typing import Any

from aura_study.claims import CLAIMS
from aura_study.errors import StudyError
from aura_study.outputs import write_json
from aura_study.paths import RunFolders

VERDICT_STYLES = {
    "confirmed": "bold green",
    "confirmed within limits": "bold yellow",
    "refuted": "bold red",
    "inconclusive": "bold magenta",
}


def read_evidence(folders: RunFolders) -> list[dict[str, Any]]:
    """What each notebook of the run wrote, in reading order.

    Raises:
        StudyError: a file that is not evidence, named.
    """
    return [_read(path) for path in sorted(folders.evidence.glob("*.json"))]


def merge(folders: RunFolders) -> list[dict[str, Any]]:
    """Rows of all decided claims in the order of `CLAIMS`."""
    rows = {row["claim"]: row for evidence in read_evidence(folders) for row in evidence["claims"]}
    return [rows[key] for key in CLAIMS if key in rows]


def write_claims(folders: RunFolders, profile: str, data: str) -> list[dict[str, Any]]:
    """Merge the evidence into ``claims.json`` and return its rows."""
    rows = merge(folders)
    write_json(folders.claims, {"run": folders.name, "profile": profile, "data": data, "claims": rows})
    return rows


def read_claims(folders: RunFolders) -> dict[str, Any]:
    """``claims.json`` of a run.

    Raises:
        StudyError: no such run, or a file that cannot be read.
    """
    if not folders.claims.is_file():
        raise StudyError(f"run {folders.name!r} has no claims.json{_other_runs(folders)}")
    content = _read_json(folders.claims)
    if not isinstance(content.get("claims"), list):
        raise StudyError(f"{folders.claims} is not a ledger: it holds no list of claims")
    return content


def number(value: Any) -> str:
    """A measured number as people write it, with four significant digits; a dash for none."""
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, int | float) else str(value)


def interval(row: dict[str, Any]) -> str:
    """The interval of a row; a dash where it has no width to tell."""
    low, high = row["interval"]
    return "–" if low is None or high is None else f"[{number(low)}, {number(high)}]"


def table(content: dict[str, Any]) -> Any:
    """The ledger as a rich table."""
    from rich.table import Table
    from rich.text import Text

    shown = Table(
        title=f"Ledger of run {content['run']} ({content['profile']}, {content['data']} data)", show_lines=True
    )
    shown.add_column("claim", no_wrap=True)
    shown.add_column("statement", ratio=3)
    for heading in ("predicted", "measured", "interval", "seeds"):
        shown.add_column(heading, justify="right")
    shown.add_column("verdict", ratio=1)
    for row in content["claims"]:
        verdict = Text(row["verdict"], style=VERDICT_STYLES.get(row["verdict"], ""))
        if row.get("limit"):
            verdict.append(f"\n{row['limit']}", style="not bold default")
        shown.add_row(
            row["claim"],
            Text(row["statement"]),
            number(row["predicted"]),
            Text(f"{number(row['measured'])}\n{row['unit']}"),
            interval(row),
            str(row["seeds"]) if row["seeds"] else "exact",
            verdict,
        )
    return shown


def _other_runs(folders: RunFolders) -> str:
    runs = sorted(path.parent.name for path in folders.results.parent.glob("*/claims.json"))
    return f"; runs there: {', '.join(runs)}" if runs else "; start one with: aura-study run"


def _read(path: Path) -> dict[str, Any]:
    content = _read_json(path)
    for key in ("claims", "figures", "tables"):
        if not isinstance(content.get(key), list):
            raise StudyError(f"{path} is not the evidence of a notebook: it holds no list {key!r}")
    return content


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StudyError(f"cannot read {path}: {error}") from error
    if not isinstance(content, dict):
        raise StudyError(f"{path} does not hold a JSON object")
    return content
