"""Fills the README's marked blocks from a run, so that no number in it is typed.

A block stands between ``<!-- name -->`` and ``<!-- /name -->``. Run ``python -m aura_study.report.readme`` to fill the
blocks from the reference run, with ``--check`` to fail if they are stale.
"""

import os
import re
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import pandas as pd

from aura_study.errors import StudyError
from aura_study.experiments.findings.tables import UNDECIDED, verdicts
from aura_study.paths import RunFolders, project_root
from aura_study.runs import ledger
from aura_study.runs.manifest import read_manifest

RUN = "reference"
HEADLINE_FIGURE = "sigma_trajectories"
BALANCERS_TABLE = "balancer_advice"


def headline(folders: RunFolders, root: Path) -> str:
    """The headline figure with its caption."""
    found = [
        figure
        for notebook in ledger.read_evidence(folders)
        for figure in notebook.figures
        if figure.name == HEADLINE_FIGURE
    ]
    if not found:
        raise StudyError(f"run {folders.name!r} has no figure {HEADLINE_FIGURE!r}")
    path = Path(os.path.relpath(folders.figures / f"{HEADLINE_FIGURE}.png", root)).as_posix()
    return f"![{found[0].alt}]({path})\n\n*{found[0].caption}*"


def claims_table(folders: RunFolders, root: Path) -> str:
    """The ledger as a Markdown table."""
    lines = [
        "| claim | statement | predicted | measured | 95 % interval | seeds | verdict |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in ledger.read_claims(folders).claims:
        verdict = f"**{row.verdict}**" + (f": {row.limit}" if row.limit else "")
        measured = f"{ledger.number(row.measured)} ({row.unit})"
        cells = (
            row.claim,
            row.statement,
            ledger.number(row.predicted),
            measured,
            ledger.interval(row),
            ledger.seeds(row),
            verdict,
        )
        lines.append("| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |")
    return "\n".join(lines)


def provenance(folders: RunFolders, root: Path) -> str:
    """Where the numbers come from, in one sentence."""
    kept = ledger.read_claims(folders)
    held = read_manifest(folders)
    versions = held.versions if held else {}
    names = ", ".join(f"{name} {versions[name]}" for name in ("python", "torch", "transformers") if name in versions)
    return f"Run `{kept.run}`: profile `{kept.profile}` on `{kept.data}` data ({names})."


def balancers(folders: RunFolders, root: Path) -> str:
    """What a zero-filled absence does to which balancer, as a Markdown table."""
    path = folders.tables / f"{BALANCERS_TABLE}.csv"
    if not path.is_file():
        raise StudyError(f"run {folders.name!r} has no table {BALANCERS_TABLE!r}")
    table = pd.read_csv(path)
    lines = [" | ".join(table.columns), " | ".join("---" for _ in table.columns)]
    lines += [" | ".join(map(str, row)) for row in table.itertuples(index=False)]
    return "\n".join(f"| {line} |" for line in lines)


def in_short(folders: RunFolders, root: Path) -> str:
    """Which claims came out how, by question, as a Markdown table."""
    rows = ledger.read_claims(folders).rows
    table = verdicts(rows)
    heads = [*map(str, ledger.Verdict), *([UNDECIDED] if UNDECIDED in set(table["verdict"]) else [])]
    lines = [["", *heads], ["---"] * (len(heads) + 1)]
    for question, claims in table.groupby("question", sort=False):
        by_verdict = claims.groupby("verdict")["claim"].agg(", ".join)
        lines.append([str(question), *(by_verdict.get(head, "") for head in heads)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


BLOCKS: Mapping[str, Callable[[RunFolders, Path], str]] = {
    "headline": headline,
    "in-short": in_short,
    "ledger": claims_table,
    "provenance": provenance,
    "balancers": balancers,
}


def fill(text: str, folders: RunFolders, root: Path) -> str:
    """``text`` with every block of `BLOCKS` rewritten from the run.

    Raises:
        StudyError: a block that the text lacks, or a run that is incomplete.
    """
    for name, make in BLOCKS.items():
        pattern = re.compile(rf"(<!-- {name} -->\n)(?:.*?\n)?(<!-- /{name} -->)", re.DOTALL)
        if not pattern.search(text):
            raise StudyError(f"README.md has no block {name!r}")
        text = pattern.sub(partial(_around, make(folders, root)), text)
    return text


def _around(body: str, match: re.Match[str]) -> str:
    return f"{match[1]}{body}\n{match[2]}"


def main() -> None:
    """Fill README.md from the reference run, or check that it is filled."""
    root = project_root()
    path = root / "README.md"
    text = path.read_text(encoding="utf-8")
    filled = fill(text, RunFolders.of(RUN), root)
    if "--check" not in sys.argv:
        path.write_text(filled, encoding="utf-8")
    elif filled != text:
        sys.exit("README.md is stale: run `python -m aura_study.report.readme`")


if __name__ == "__main__":
    main()
