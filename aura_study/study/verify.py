"""A run, verified: what is affordable is run again in a fresh folder and compared claim by claim; the rest is checked.

Tolerances, stated here and printed with the result:

* a deterministic claim (no seeds): measured and predicted within `EXACT` relative, or `ROUNDING` absolute, for errors
  that are rounding themselves;
* a seeded claim: the new value lies in the recorded 95 % interval, or within `SEEDED` relative of the recorded value;
* the verdict of its own rule is the same, always.

A claim that was not run again is still checked against itself: its row must be the one that its notebook left as
evidence, and its verdict the one that its rule gives for the recorded numbers.
"""

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from rich.console import Console

from aura_study.data.registry import DATASETS, DEFAULT_DATASET
from aura_study.data.scratch import scratch
from aura_study.errors import StudyError
from aura_study.paths import RunFolders, notebooks_folder
from aura_study.runs import manifest
from aura_study.runs.consistency import altered_outputs, contradictions
from aura_study.runs.inputs import data_state
from aura_study.runs.ledger import Evidence, Ledger, Row, read_claims
from aura_study.runs.parameters import Data, Parameters
from aura_study.runs.records import read_record
from aura_study.study.registry import Registry, choose_notebooks
from aura_study.study.request import Request
from aura_study.study.runner import run_study

EXACT = 1e-6
ROUNDING = 1e-9
SEEDED = 0.05


class UnknownRun(StudyError):
    """There is no such run to verify."""


class Status(StrEnum):
    """What became of one claim."""

    REPRODUCED = "reproduced"
    VALUE_DIFFERS = "value differs"
    VERDICT_CHANGED = "verdict changed"
    FAILED = "failed"
    RECORD_ALTERED = "record altered"
    NOT_RUN = "not run"


PASSING = (Status.REPRODUCED, Status.NOT_RUN)


@dataclass(frozen=True)
class Check:
    """One claim: recorded, measured again, and what that says."""

    claim: str
    notebook: str
    status: Status
    why: str
    recorded: float | None = None
    recorded_verdict: str = ""
    measured: float | None = None
    verdict: str = ""


@dataclass
class Verification:
    """Everything that `verify` found."""

    run: str
    checks: list[Check]
    notes: list[str] = field(default_factory=list)
    executed: list[str] = field(default_factory=list)
    altered: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether something was run again, and nothing contradicts the record, which is what the run wrote."""
        again = any(check.status == Status.REPRODUCED for check in self.checks)
        return again and not self.altered and all(check.status in PASSING for check in self.checks)

    def as_json(self) -> dict[str, Any]:
        """JSON-ready."""
        tolerances = {"deterministic_relative": EXACT, "deterministic_absolute": ROUNDING, "seeded_relative": SEEDED}
        return {"passed": self.passed, "tolerances": tolerances, **asdict(self)}


def verify(
    folders: RunFolders,
    registry: Registry,
    budget: float,
    notebooks: Sequence[str] = (),
    console: Console | None = None,
    source: Path | None = None,
) -> Verification:
    """Run again what fits into ``budget`` and compare.

    Args:
        folders: of the run.
        registry: parameter classes of the notebooks.
        budget: seconds, by the durations that the run recorded; the shortest notebooks come first.
        notebooks: only these, by name or number; all if empty.
        console: where progress goes; standard error unless given.
        source: folder of the notebooks, the project's unless given.

    Raises:
        UnknownRun: no such run, or it has no manifest.
        StudyError: the ledger or the manifest is damaged, or a notebook is not known.
    """
    if not folders.claims.is_file() or not folders.manifest.is_file():
        read = "claims.json" if folders.manifest.is_file() else "manifest.json"
        raise UnknownRun(f"run {folders.name!r} cannot be verified: it has no {read} in {folders.results}")
    ledger, held = read_claims(folders), read_record(folders.manifest, manifest.Manifest)
    chosen = choose_notebooks(notebooks, source) if notebooks else _deciding(held, ledger)
    if unfinished := [name for name in chosen if name not in held.notebooks]:
        raise StudyError(f"run {folders.name!r} has not finished {', '.join(unfinished)}")
    plan = _Plan(held, registry, source or notebooks_folder())
    wanted = plan.affordable([name for name in held.notebooks if name in chosen], budget)
    for name in held.notebooks.keys() - set(chosen):
        plan.skipped[name] = "not among the notebooks asked for"
    found = _run_again(plan, wanted, budget, console or Console(stderr=True))
    altered: dict[str, str] = {}
    for claim, why in contradictions(folders, ledger, held):
        altered.setdefault(claim, why)  # the first is the nearest to the cause
    checks = [_check(row, found, plan.skipped, altered.get(row.claim)) for row in ledger.claims]
    checks += [
        Check(claim, "", Status.RECORD_ALTERED, why) for claim, why in altered.items() if claim not in ledger.rows
    ]
    return Verification(held.run, checks, _notes(held), sorted(found.rows), altered_outputs(folders, held))


def _deciding(held: manifest.Manifest, ledger: Ledger) -> list[str]:
    """The notebooks that have a claim to run again for."""
    deciding = {row.notebook for row in ledger.claims}
    return [name for name in held.notebooks if name in deciding]


@dataclass
class _Found:
    """Rows by notebook and claim, and why a notebook stopped."""

    rows: dict[str, dict[str, Row]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


@dataclass
class _Plan:
    """What can be run again, and why the rest is not."""

    held: manifest.Manifest
    registry: Registry
    source: Path
    skipped: dict[str, str] = field(default_factory=dict)

    def affordable(self, names: Sequence[str], budget: float) -> list[str]:
        """The shortest notebooks that fit into ``budget`` together."""
        missing = {reads: _missing(*reads) for reads in {self.reads(name) for name in names}}
        left = budget
        taken = []
        for name in sorted(names, key=self.seconds):
            if name not in self.registry or not (self.source / f"{name}.ipynb").is_file():
                self.skipped[name] = "the notebook is not there any more"
            elif lacking := missing[self.reads(name)]:
                self.skipped[name] = lacking
            elif self.seconds(name) > left:
                self.skipped[name] = f"it took {self.seconds(name):g} s, and {left:.0f} s of the budget are left"
            else:
                left -= self.seconds(name)
                taken.append(name)
        return taken

    def parameters(self, name: str, out: str) -> Parameters:
        """The recorded parameters, as today's class takes them.

        Raises:
            ValidationError: it does not take them any more.
        """
        return self.registry[name](**{**self.held.notebooks[name].parameters, "out": out})

    def seconds(self, name: str) -> float:
        """How long the notebook took when the run was made."""
        return self.held.notebooks[name].seconds

    def data(self, name: str) -> Any:
        """Name of the data that the notebook read, if it reads any."""
        return self.held.notebooks[name].parameters.get("data")

    def reads(self, name: str) -> tuple[Any, tuple[str, ...]]:
        """Names of the data and of the encoders that the notebook read, as far as its parameters still say so."""
        try:
            encoders = self.parameters(name, self.held.run).encoders if name in self.registry else ()
        except ValidationError:  # told when it is its turn
            encoders = ()
        return self.data(name), encoders


def _run_again(plan: _Plan, names: Sequence[str], budget: float, console: Console) -> _Found:
    """Run the notebooks one after another; what was recorded as short may be long, so the clock has the last word."""
    found = _Found()
    started = time.monotonic()
    with scratch("aura-study-verify-") as temporary:
        folders = RunFolders.of(f"{temporary}/run")
        for name in names:
            spent = time.monotonic() - started
            if found.rows and spent + plan.seconds(name) > budget:
                plan.skipped[name] = f"the others took {spent:.0f} s of the budget"
                continue
            data: Data = plan.data(name) or DEFAULT_DATASET
            try:
                parameters = {name: plan.parameters(name, str(folders.results))}
                # the parameters say all, so profile and overrides need not
                run_study(Request("quick", data, parameters, {}, folders), console, plan.source, replace=True)
                evidence = read_record(folders.evidence / f"{name}.json", Evidence)
            except ValidationError as error:
                problem = error.errors()[0]
                place = ".".join(map(str, problem["loc"]))
                found.failed[name] = f"its recorded parameters are refused: {place}: {problem['msg']}"
            except StudyError as error:  # of this notebook alone: what the others gave is kept
                found.failed[name] = str(error).splitlines()[0]
            else:
                found.rows[name] = {row.claim: row for row in evidence.claims}
    return found


def _missing(data: Data | None, encoders: Iterable[str]) -> str:
    """Why what a notebook read is not here, or an empty text."""
    if data is not None and data not in DATASETS:
        return f"data {data!r} are not known any more"
    try:
        data_state(data or DEFAULT_DATASET, encoders)
    except StudyError as error:
        return str(error)
    return ""


def _check(row: Row, found: _Found, skipped: Mapping[str, str], altered: str | None) -> Check:
    known: dict[str, Any] = {
        "claim": row.claim,
        "notebook": row.notebook,
        "recorded": row.measured,
        "recorded_verdict": str(row.by_itself),
    }
    again = found.rows.get(row.notebook, {}).get(row.claim)
    if again is not None:
        known |= {"measured": again.measured, "verdict": str(again.by_itself)}
        if again.by_itself != row.by_itself:
            return Check(status=Status.VERDICT_CHANGED, why=f"{row.by_itself} before, {again.by_itself} now", **known)
    if altered:
        return Check(status=Status.RECORD_ALTERED, why=altered, **known)
    if again is not None:
        same, why = compare(row, again)
        return Check(status=Status.REPRODUCED if same else Status.VALUE_DIFFERS, why=why, **known)
    if row.notebook in found.failed:
        return Check(status=Status.FAILED, why=found.failed[row.notebook], **known)
    if row.notebook in found.rows:
        return Check(status=Status.FAILED, why="the notebook ran and did not decide it", **known)
    return Check(status=Status.NOT_RUN, why=skipped.get(row.notebook, "the run has no such notebook"), **known)


def compare(recorded: Row, again: Row) -> tuple[bool, str]:
    """Whether ``again`` reproduces the numbers of ``recorded``, and by which tolerance, in words."""
    if recorded.seeds != again.seeds:
        return False, f"{recorded.seeds} seeds before, {again.seeds} now"
    before, now = recorded.measured, again.measured
    if before is None or now is None:
        return before is now, "no finite value, as before" if before is now else "finite only once"
    if not recorded.seeds:
        close = _close(before, now) and _close(recorded.predicted, again.predicted)
        return close, f"{'within' if close else 'not within'} {EXACT:g} relative or {ROUNDING:g} absolute"
    low, high = recorded.interval
    if low is not None and high is not None and low <= now <= high:
        return True, "inside the recorded interval"
    close = abs(now - before) <= SEEDED * abs(before)
    return close, f"{'within' if close else 'outside the recorded interval and not within'} {SEEDED:.0%}"


def _close(first: float | None, second: float | None) -> bool:
    if first is None or second is None:
        return first is second
    return math.isclose(first, second, rel_tol=EXACT, abs_tol=ROUNDING)


def _notes(held: manifest.Manifest) -> list[str]:
    """What is not as it was when the run was made."""
    notes = []
    here = manifest.commit()
    made = [name[:10] for name in held.commits if name != here.hash]
    if made and here.hash:
        notes.append(f"the run was made at commit {', '.join(made)}, this is {here.hash[:10]}")
    now = manifest.versions()
    other = [
        f"{name} {then} then, {now.get(name)} now" for name, then in held.versions.items() if now.get(name) != then
    ]
    if other:
        notes.append("other versions: " + "; ".join(other))
    return notes
