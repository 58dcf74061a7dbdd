"""Fills the marked blocks of the project's READMEs from the committed runs, so that no number in them is typed.

A block stands between ``<!-- name -->`` and ``<!-- /name -->``; ``python -m aura_study.report.readme`` fills them.
"""

import os
import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path

import pandas as pd

from aura_study.claims import CLAIMS, Verdict
from aura_study.claims.lock import Look, read
from aura_study.claims.model import DECIDED, Held
from aura_study.claims.questions import QUESTIONS
from aura_study.errors import StudyError
from aura_study.paths import REFERENCE, REPETITION, RunFolders, carried, project_root
from aura_study.report.content import ADVICE_TABLE, HEADLINE_FIGURE, PRICE_FIGURE, advice
from aura_study.runs import ledger
from aura_study.runs.ledger import FigureEntry, Row
from aura_study.runs.manifest import read_manifest
from aura_study.runs.words import NONE, duration, number

BALANCERS_TABLE = "balancer_advice"
TOLD = {
    "focal": "F2",
    "kendall": "K2",
    "phantom": "P2",
    "return": "P6",
    "cost": "P9",
    "aura": "P11",
    "schedule": "S1",
    "residue": "B1",
    "family": "N1",
}
"""The claim that stands for each question in the README."""
LASTING = "P6c"
"""The claim on what is left of the return's cost in the end."""


def headline(folders: RunFolders, root: Path) -> str:
    """What happens: the figure with its caption."""
    figure = _figure(HEADLINE_FIGURE, folders)
    return f"{_picture(figure, folders, root)}\n\n*{figure.caption}*"


def price(folders: RunFolders, root: Path) -> str:
    """What it costs, and what to do about it: the figure, and the sentences, which name its numbers."""
    sentences = [f"- {sentence}" for sentence in advice(folders)]
    if not sentences:
        raise StudyError(f"run {folders.name!r} has no table {ADVICE_TABLE!r}")
    return "\n".join([_picture(_figure(PRICE_FIGURE, folders), folders, root), "", *sentences, _where_all_learn(root)])


def _where_all_learn(root: Path) -> str:
    """What the trainings on a GPU have to add to what it costs: there no layer of the encoder is frozen."""
    folders = RunFolders.of(REPETITION)
    row, page = _row(LASTING, folders), f"{_relative(folders.results, root)}/README.md"
    low, high = row.interval
    if row.measured is None or low is None or high is None:
        raise StudyError(f"run {folders.name!r} has not measured {LASTING}")
    return (
        f"- P9's encoder has lower layers frozen. Where all learn ([on a GPU]({page})), the mean area long after the "
        f"return shifts {row.measured:+.3f} [{low:.3f}, {high:.3f}; {row.seeds} seeds] without the mask "
        f"({row.claim}, {row.verdict})."
    )


def _row(claim: str, folders: RunFolders) -> Row:
    rows = ledger.read_claims(folders).rows
    if claim not in rows:
        raise StudyError(f"run {folders.name!r} has not asked {claim}")
    return rows[claim]


def _figure(name: str, folders: RunFolders) -> FigureEntry:
    entries = [figure for notebook in ledger.read_evidence(folders) for figure in notebook.figures]
    for figure in entries:
        if figure.name == name:
            return figure
    raise StudyError(f"run {folders.name!r} has no figure {name!r}")


def _picture(figure: FigureEntry, folders: RunFolders, root: Path) -> str:
    return f"![{figure.alt}]({_relative(folders.figures, root)}/{figure.name}.png)"


def _relative(folder: Path, root: Path) -> str:
    return Path(os.path.relpath(folder, root)).as_posix()


def found(folders: RunFolders, root: Path) -> str:
    """One line per question: the claim that stands for it, its verdict, and what was measured; then how many there are.

    Every word but the question is the ledger's.
    """
    rows = ledger.read_claims(folders).rows
    lines = []
    for key, question in QUESTIONS.items():
        row = _row(TOLD[key], folders)
        numbers = f"{ledger.number(row.measured)}, {ledger.interval(row)}"
        notebook = f"[{row.claim}]({_relative(folders.notebooks, root)}/{row.notebook}.ipynb)"
        verdict = f"**{row.verdict}**" + (f" ({row.limit})" if row.limit else "")
        unit = row.unit.split(";")[0]  # what it says of its interval stands in the ledger
        lines.append(f"- *{question.asks}* “{row.statement}” {verdict}; {unit}: {numbers}. {notebook}")
    counts = Counter(row.verdict for row in rows.values())
    tally = ", ".join(f"{counts[verdict]} {verdict}" for verdict in Verdict if counts[verdict])
    failed = [row.claim for row in ledger.failed_predictions(list(rows.values()))]
    told = f"Predictions that failed: {', '.join(failed) or 'none'}."
    if older := {rows[claim].notebook[:2] for claim in _by_older_rules(rows)}:
        told += (
            f" Judged by rules that have changed since: notebook{'s' * (len(older) > 1)} {', '.join(sorted(older))}."
        )
    locked = read(carried("claims.lock")).claims
    first = sum(locked[claim].look == Look.FIRST for claim in rows if claim in locked)
    fixed = f"Of {len(rows)} claims ({first} by rules fixed before a first look)"
    return "\n".join([*lines, "", f"{fixed}: {tally}. {told}"])


def _by_older_rules(rows: Mapping[str, Row]) -> set[str]:
    return {claim for claim, row in rows.items() if claim in CLAIMS and row.rule != CLAIMS[claim].rule_text()}


def claims_table(folders: RunFolders, root: Path) -> str:
    """The ledger as a Markdown table, and before it how many of each kind had which verdict."""
    kept = ledger.read_claims(folders)
    kinds = [
        f"{kind}: {', '.join(f'{count} {verdict}' for verdict, count in verdicts.items())}"
        for kind, verdicts in ledger.tally(kept.claims).items()
    ]
    lines = [
        f"By kind: {'; '.join(kinds)}.",
        "",
        "| claim | kind | statement | predicted | held | measured | 95 % interval | seeds | verdict |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in kept.claims:
        told = row.limit or ledger.open_because(row)
        verdict = f"**{row.verdict}**" + (f": {told}" if told else "")
        measured = f"{number(row.measured)} ({row.unit})"
        cells = (
            row.claim,
            row.kind,
            row.statement,
            number(row.predicted),
            row.prediction_held if row.prediction_held != Held.NONE else NONE,
            measured,
            ledger.interval(row),
            ledger.seeds(row),
            verdict,
        )
        lines.append("| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |")
    return "\n".join(lines)


def provenance(folders: RunFolders, root: Path) -> str:
    """Where the numbers come from: profile, data, versions, what it took, and the commit, or the commits."""
    kept = ledger.read_claims(folders)
    held = read_manifest(folders)
    versions = held.versions if held else {}
    names = ", ".join(f"{name} {versions[name]}" for name in ("python", "torch", "transformers") if name in versions)
    on = f", on one {held.device.accelerator}" if held and held.device.accelerator else ""
    told = [f"Run `{kept.run}`: profile `{kept.profile}` on `{kept.data}` data ({names}){on}."]
    if held:
        took = duration(sum(entry.seconds for entry in held.notebooks.values()))
        told.append(f"Its notebooks took {took}, added up.")
    if held and held.unfinished:
        told.append(f"Not finished: {', '.join(held.unfinished)}.")
    if held and len(held.commits) == 1:
        told.append(f"They ran at commit `{next(iter(held.commits))[:10]}`.")
    if held and len(held.commits) > 1:
        ages = "; ".join(f"`{hash_[:10]}` {', '.join(notebooks)}" for hash_, notebooks in held.commits.items())
        told.append(f"Its notebooks ran at different commits, and rows are worded as they were then: {ages}.")
    return " ".join(told)


def repeated(folders: RunFolders, root: Path) -> str:
    """The ledger beside the reference run's: how many verdicts came out alike, and both rows of every claim."""
    there, here = ledger.read_claims(RunFolders.of(REFERENCE)).rows, ledger.read_claims(folders).rows
    pairs = {claim: (there[claim], row) for claim, row in here.items() if claim in there}
    decided = {claim for claim, (first, _) in pairs.items() if first.verdict in DECIDED}
    alike = {claim for claim in decided if pairs[claim][1].verdict == pairs[claim][0].verdict}
    opposed = {claim for claim in decided - alike if pairs[claim][1].verdict in DECIDED}
    settled = {claim for claim in pairs.keys() - decided if pairs[claim][1].verdict in DECIDED}
    older = _by_older_rules(here)
    told = f" Judged here by rules that have changed since: {_listed(older)}." if older else ""
    still = pairs.keys() - decided - settled
    lines = [
        f"Of {len(pairs)} claims the reference run decides {len(decided)}; {len(alike)} of these have the same verdict "
        f"here. Contradicted: {_listed(opposed)}. Open here: {_listed(decided - alike - opposed)}. Of those that it "
        f"leaves open, decided here: {_listed(settled)}; still open: {_listed(still)}.{told}",
        "",
        "| claim | what was measured | reference | seeds | verdict | here | seeds | verdict |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for claim, rows in pairs.items():
        cells = [claim, rows[1].unit]
        for row in rows:
            cells += [f"{number(row.measured)}, {ledger.interval(row)}", ledger.seeds(row), f"**{row.verdict}**"]
        lines.append("| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |")
    return "\n".join(lines)


def _listed(claims: Collection[str]) -> str:
    return ", ".join(key for key in CLAIMS if key in claims) or "none"


def balancers(folders: RunFolders, root: Path) -> str:
    """What a zero-filled absence does to which balancer, as a Markdown table."""
    path = folders.tables / f"{BALANCERS_TABLE}.csv"
    if not path.is_file():
        raise StudyError(f"run {folders.name!r} has no table {BALANCERS_TABLE!r}")
    table = pd.read_csv(path, keep_default_na=False)
    lines = [" | ".join(table.columns), " | ".join("---" for _ in table.columns)]
    lines += [" | ".join(map(str, row)) for row in table.itertuples(index=False)]
    return "\n".join(f"| {line} |" for line in lines)


Block = Callable[[RunFolders, Path], str]
PAGES: Mapping[str, Mapping[str, Block]] = {
    "README.md": {"headline": headline, "price": price, "found": found},
    "results/reference/README.md": {"provenance": provenance, "ledger": claims_table},
    "results/reference-gpu/README.md": {"provenance": provenance, "repeated": repeated},
    "aura_study/balancing/README.md": {"balancers": balancers},
}
"""The blocks of each page, pages by their path in the project."""


def run_of(page: str) -> RunFolders:
    """The run that a page is filled from: the one beside whose results it lies, else the reference."""
    return RunFolders.of(REPETITION if Path(page).parent.name == REPETITION else REFERENCE)


def fill(page: str, text: str, folders: RunFolders, root: Path) -> str:
    """``text`` of ``page`` with every block rewritten from the run.

    Raises:
        StudyError: a block that the text lacks, or a run that is incomplete.
    """
    for name, make in PAGES[page].items():
        pattern = re.compile(rf"(<!-- {name} -->\n)(?:.*?\n)?(<!-- /{name} -->)", re.DOTALL)
        if not pattern.search(text):
            raise StudyError(f"{page} has no block {name!r}")
        text = pattern.sub(partial(_around, make(folders, root)), text)
    return text


def _around(body: str, match: re.Match[str]) -> str:
    return f"{match[1]}{body}\n{match[2]}"


def main() -> None:
    """Fill the pages from their runs."""
    root = project_root()
    for page in PAGES:
        text = (root / page).read_text(encoding="utf-8")
        (root / page).write_text(fill(page, text, run_of(page), root), encoding="utf-8")


if __name__ == "__main__":
    main()
