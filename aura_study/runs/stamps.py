"""Stamps: what a finished notebook was made from and what it wrote, so that only what changed runs again."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from aura_study.errors import StudyError
from aura_study.paths import RunFolders
from aura_study.runs.checkout import Commit
from aura_study.runs.fingerprint import digest_file
from aura_study.runs.ledger import Evidence
from aura_study.runs.records import read_record, write_json

FIGURES = "figures/"


class Stamp(BaseModel):
    """A finished notebook.

    Attributes:
        fingerprint: digest per ingredient, see `aura_study.runs.fingerprint`.
        parameters: values it ran with.
        outputs: digest per file it wrote; keys are relative to the results folder, those of figures start with
            ``figures/`` wherever the figures lie.
        seconds: how long it took, its jobs included, for the next run's estimate.
        commit: that it ran at.
    """

    fingerprint: dict[str, str]
    parameters: dict[str, Any]
    outputs: dict[str, str]
    seconds: float = Field(ge=0, allow_inf_nan=False)
    commit: Commit | None = None


class Attempt(BaseModel):
    """A notebook that has begun and not finished, for the time of the whole.

    Attributes:
        fingerprint: as in `Stamp`.
        seconds: spent on it, equal attempts that were stopped included.
        before: the stamp that it put aside.
    """

    fingerprint: dict[str, str]
    seconds: float = Field(default=0, ge=0, allow_inf_nan=False)
    before: Stamp | None = None


def stamp_path(folders: RunFolders, notebook: str) -> Path:
    """Where the stamp of ``notebook`` lies."""
    return folders.results / "stamps" / f"{notebook}.json"


def attempt_path(folders: RunFolders, notebook: str) -> Path:
    """Where the `Attempt` at ``notebook`` lies until it has finished."""
    return folders.results / "stamps" / f"{notebook}.attempt.json"


def failed_path(folders: RunFolders, notebook: str) -> Path:
    """Where what was executed of ``notebook`` is kept if it stops."""
    return folders.notebooks / f"{notebook}.failed.ipynb"


def read_stamp(folders: RunFolders, notebook: str) -> Stamp | None:
    """The stamp, or ``None`` if the notebook has not finished or the file is damaged."""
    try:
        return read_record(stamp_path(folders, notebook), Stamp)
    except StudyError:
        return None


def read_stamps(folders: RunFolders, notebooks: Iterable[str]) -> dict[str, Stamp]:
    """Those of ``notebooks`` that have finished, with their stamps."""
    stamps = {name: read_stamp(folders, name) for name in notebooks}
    return {name: stamp for name, stamp in stamps.items() if stamp}


def write_stamp(folders: RunFolders, notebook: str, stamp: Stamp) -> None:
    """Save the stamp; from now on the notebook counts as finished."""
    write_json(stamp_path(folders, notebook), stamp.model_dump(mode="json"))


def reason_to_run(folders: RunFolders, stamp: Stamp | None, fingerprint: Mapping[str, str]) -> str | None:
    """Why the notebook has to run, or ``None`` if its stamp still holds."""
    if stamp is None:
        return "not finished yet"
    changed = [name for name, value in fingerprint.items() if stamp.fingerprint.get(name) != value]
    if changed:
        return f"{' and '.join(changed)} changed"
    for key, value in stamp.outputs.items():
        path = locate(folders, key)
        if not path.is_file():
            return f"{key} is missing"
        if digest_file(path) != value:
            return f"{key} was altered"
    return None


def locate(folders: RunFolders, key: str) -> Path:
    """The file behind a key of ``Stamp.outputs``."""
    return folders.figures / key.removeprefix(FIGURES) if key.startswith(FIGURES) else folders.results / key


def collect_outputs(folders: RunFolders, notebook: str) -> dict[str, str]:
    """Digests of what ``notebook`` wrote: executed notebook, evidence, tables, figures and trajectories."""
    evidence = folders.evidence / f"{notebook}.json"
    paths = {f"notebooks/{notebook}.ipynb": folders.notebooks / f"{notebook}.ipynb"}
    if evidence.is_file():
        content = read_record(evidence, Evidence)
        paths[f"evidence/{notebook}.json"] = evidence
        paths.update({f"tables/{entry.name}.csv": folders.tables / f"{entry.name}.csv" for entry in content.tables})
        for entry in content.figures:
            for kind in ("png", "svg"):
                name = f"{entry.name}.{kind}"
                paths[FIGURES + name] = folders.figures / name
        paths.update(
            {f"trajectories/{name}.parquet": folders.trajectories / f"{name}.parquet" for name in content.trajectories}
        )
    return {key: digest_file(path) for key, path in paths.items()}


def attempt_at(folders: RunFolders, notebook: str, fingerprint: dict[str, str]) -> Attempt:
    """The attempt that begins now: it goes on where an equal one stopped, for that one's jobs are kept."""
    try:
        left = read_record(attempt_path(folders, notebook), Attempt)
    except StudyError:
        left = Attempt(fingerprint={})
    spent = left.seconds if left.fingerprint == fingerprint else 0.0
    return Attempt(fingerprint=fingerprint, seconds=spent, before=read_stamp(folders, notebook) or left.before)


def seconds_of_the_whole(seconds: float, outputs: Mapping[str, str], before: Stamp | None) -> float:
    """How long a notebook takes from nothing, if its attempts took ``seconds``.

    A trajectory that is still what it was stands for a job that was kept; the time of the run that made it counts then.
    """
    made = {key: value for key, value in outputs.items() if key.startswith("trajectories/")}
    if before is not None and made.items() & before.outputs.items():
        return max(seconds, before.seconds)
    return seconds
