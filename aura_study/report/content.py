"""What a run left behind, gathered for the site; what is missing, stale or damaged becomes a sentence, not a crash."""

import json
import shlex
from dataclasses import dataclass, field
from typing import Any

import nbformat
import pandas as pd

from aura_study.claims import CLAIMS, Claim, Verdict
from aura_study.claims import lock as claims_lock
from aura_study.claims.model import Kind
from aura_study.errors import StudyError
from aura_study.paths import RunFolders, carried
from aura_study.report.sources import Source, sources
from aura_study.runs import consistency, ledger
from aura_study.runs.ledger import FigureEntry, Ledger, Row, TableEntry
from aura_study.runs.manifest import Manifest, read_manifest
from aura_study.runs.stamps import failed_path

HEADLINE_FIGURE, PRICE_FIGURE, ADVICE_TABLE = "sigma_trajectories", "price", "findings_advice"
"""What leads story and README: what happens, what it costs, and what to do about it."""
FAMILIES = {
    "F": "Focal loss",
    "K": "Kendall weighting",
    "P": "Phantom gradient",
    "Q": "Phantom gradient and a pre-trained encoder",
    "S": "Schedule",
    "B": "Beyond the mask",
    "N": "Balancers",
    "A": "AURA's later logs",
}


@dataclass
class NotebookContent:
    """One notebook of the run.

    ``notebook`` is the executed notebook, or what was executed of it if ``failed``, or ``None``.
    """

    name: str
    title: str
    notebook: Any | None = None
    failed: bool = False
    parameters: dict[str, Any] = field(default_factory=dict)
    claims: list[str] = field(default_factory=list)
    figures: list[FigureEntry] = field(default_factory=list)
    tables: list[TableEntry] = field(default_factory=list)
    sources: dict[str, Source] = field(default_factory=dict)


@dataclass
class RunContent:
    """Everything the site shows."""

    folders: RunFolders
    ledger: Ledger
    manifest: Manifest | None
    notebooks: list[NotebookContent]
    problems: list[str]
    locked: dict[str, claims_lock.Locked]

    @property
    def figures(self) -> dict[str, tuple[str, FigureEntry]]:
        """Figure name to its notebook and words."""
        return {figure.name: (entry.name, figure) for entry in self.notebooks for figure in entry.figures}

    @property
    def sources(self) -> dict[str, Source]:
        """Figure name to where it comes from, where its notebook says so."""
        return {name: source for entry in self.notebooks for name, source in entry.sources.items()}

    def again(self, notebook: str) -> str:
        """The command that runs a notebook again as in this run."""
        command = ["aura-study", "run", notebook]
        if self.manifest:
            request = self.manifest.request
            command += ["--profile", request.profile, "--data", request.data]
            for name, value in self._overrides(self.manifest, notebook).items():
                command += ["-p", f"{name}={value if isinstance(value, str) else json.dumps(value)}"]
        return shlex.join([*command, "--out", "again"])

    @staticmethod
    def _overrides(held: Manifest, notebook: str) -> dict[str, Any]:
        """What the user changed of this notebook: a run of it alone refuses what is another's."""
        given, entry = held.request.overrides, held.notebooks.get(notebook)
        own = given.get(notebook)
        common = {name: value for name, value in given.items() if entry and name in entry.parameters}
        return common | (own if isinstance(own, dict) else {})

    @property
    def undecided(self) -> list[Claim]:
        """Claims that this run has not decided."""
        return [claim for key, claim in CLAIMS.items() if key not in self.ledger.rows]

    @property
    def families(self) -> list[tuple[str, list[Row]]]:
        """Rows by group of claims, in the ledger's order."""
        groups: dict[str, list[Row]] = {}
        for row in self.ledger.claims:
            groups.setdefault(FAMILIES.get(row.claim[0], "Other claims"), []).append(row)
        return list(groups.items())

    def reworded(self, row: Row) -> list[str]:
        """Parts of a claim's wording in this run that are not those locked today."""
        locked = self.locked.get(row.claim)
        return locked.changed(claims_lock.digests(row.model_dump())) if locked else []

    @property
    def looks(self) -> dict[str, list[str]]:
        """Locked claims whose wording was fixed at a first look, and at a later one."""
        return {
            str(look): [key for key, locked in self.locked.items() if locked.look == look] for look in claims_lock.Look
        }

    @property
    def tally(self) -> dict[Kind, dict[Verdict, int]]:
        """Number of claims by kind and verdict."""
        return ledger.tally(self.ledger.claims)

    @property
    def failed_predictions(self) -> list[Row]:
        """Rows whose prediction failed."""
        return ledger.failed_predictions(self.ledger.claims)

    def open_because(self, row: Row) -> str | None:
        """Why a claim is open and what would decide it, with what that costs where the manifest knows; see `ledger`."""
        entry = self.manifest.notebooks.get(row.notebook) if self.manifest else None
        return ledger.open_because(row, entry.seconds if entry else None)


def gather(folders: RunFolders) -> RunContent:
    """Read a run.

    Raises:
        StudyError: there is no such run.
    """
    if not (folders.claims.is_file() or folders.evidence.is_dir()):
        ledger.read_claims(folders)  # says which runs there are
    problems: list[str] = []
    evidence = _evidence(folders, problems)
    held = _manifest(folders, problems)
    content = RunContent(folders, _ledger(folders, evidence, held, problems), held, [], problems, _locked(problems))
    names = {entry.notebook for entry in evidence} | {row.notebook for row in content.ledger.claims}
    names |= {path.name.split(".")[0] for path in folders.notebooks.glob("[!.]*.ipynb")}
    for name in sorted(names):
        content.notebooks.append(_notebook(folders, name, evidence, problems))
    for row in content.ledger.claims:
        next(entry for entry in content.notebooks if entry.name == row.notebook).claims.append(row.claim)
    if held:
        problems.extend(public(doubt, folders) for doubt in consistency.doubts(folders, content.ledger))
        problems.extend(f"Notebook {name} has not finished in this run." for name in held.unfinished)
        problems[:] = dict.fromkeys(problems)  # a damaged file is found once for each who reads it
    return content


def _evidence(folders: RunFolders, problems: list[str]) -> list[ledger.Evidence]:
    found = []
    for path in sorted(folders.evidence.glob("*.json")):
        try:
            found.append(ledger.read_one(path))
        except StudyError as error:
            problems.append(public(str(error), folders))
    return found


def _manifest(folders: RunFolders, problems: list[str]) -> Manifest | None:
    try:
        held = read_manifest(folders)
    except StudyError as error:
        problems.append(public(str(error), folders))
        return None
    if held is None:
        problems.append("The run has no manifest: commit, versions and digests are not known.")
    return held


def _locked(problems: list[str]) -> dict[str, claims_lock.Locked]:
    try:
        return claims_lock.read(carried("claims.lock")).claims
    except ValueError as error:
        problems.append(f"{error}: pages of claims do not say when their rules were written.")
        return {}


def _ledger(folders: RunFolders, evidence: list[ledger.Evidence], held: Manifest | None, problems: list[str]) -> Ledger:
    if not folders.claims.is_file():
        problems.append(f"Run {folders.name!r} has no claims.json: the ledger is merged from its notebooks' evidence.")
    try:
        return ledger.read_claims(folders)
    except StudyError as error:
        problems.append(f"{public(str(error), folders)}. The ledger below is merged from the notebooks' evidence.")
    profile, data = (held.request.profile, held.request.data) if held else ("unknown", "unknown")
    return Ledger(run=folders.name, profile=profile, data=data, claims=ledger.merge(evidence))


def _notebook(folders: RunFolders, name: str, evidence: list[ledger.Evidence], problems: list[str]) -> NotebookContent:
    content = NotebookContent(name, _spoken(name))
    for entry in evidence:
        if entry.notebook == name:
            content.figures, content.tables, content.parameters = entry.figures, entry.tables, entry.parameters
    whole, part = folders.notebooks / f"{name}.ipynb", failed_path(folders, name)
    content.failed = part.is_file() and not whole.is_file()
    path = part if content.failed else whole
    if content.failed:
        problems.append(f"Notebook {name} stopped with an error; its page shows what was executed.")
    if not path.is_file():
        problems.append(f"The executed notebook {name} is missing.")
        return content
    try:
        content.notebook = nbformat.read(path, as_version=4)
        content.title = _title(content.notebook) or content.title
        content.sources = sources(content.notebook)
    except (OSError, ValueError, AttributeError, KeyError, TypeError, nbformat.ValidationError) as error:
        problems.append(f"The executed notebook {name} cannot be read: {public(str(error), folders)[:200]}")
        content.notebook = None
    return content


def _title(notebook: Any) -> str | None:
    for cell in notebook.cells:
        for line in cell.source.splitlines() if cell.cell_type == "markdown" else ():
            if line.startswith("# "):
                return str(line[2:]).strip()
    return None


def advice(folders: RunFolders) -> list[str]:
    """The sentences on what to do about the price; none where nobody asked.

    Raises:
        StudyError: the table is damaged.
    """
    path = folders.tables / f"{ADVICE_TABLE}.csv"
    if not path.is_file():
        return []
    try:
        return [str(sentence) for sentence in pd.read_csv(path)["sentence"]]
    except (OSError, ValueError, KeyError) as error:
        raise StudyError(f"cannot read {path}: {error}") from error


def _spoken(name: str) -> str:
    return name.split("_", 1)[-1].replace("_", " ").capitalize()


def public(text: str, folders: RunFolders) -> str:
    """A sentence without the run's place on this machine."""
    return text.replace(str(folders.results), folders.name)
