"""Builds the site of a run."""

from pathlib import Path

from aura_study import ledger
from aura_study.outputs import write_atomically
from aura_study.paths import RunFolders


def build_report(folders: RunFolders) -> Path:
    """Build ``report/index.html`` of a run and return its path."""
    rows = ledger.read_claims(folders)["claims"]
    text = "\n".join(f"{row['claim']}: {row['verdict']}" for row in rows)
    return write_atomically(folders.report / "index.html", lambda path: path.write_text(f"<pre>{text}</pre>"))
