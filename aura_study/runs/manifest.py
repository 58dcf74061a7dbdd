"""Provenance of a run: parameters, seeds, versions, commit, device and digests, without paths of the machine."""

import os
import platform
import re
import time
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from aura_study.errors import StudyError
from aura_study.paths import RunFolders
from aura_study.runs.checkout import Commit, commit
from aura_study.runs.records import read_record, write_json
from aura_study.runs.stamps import Stamp

DISTRIBUTION = "aura-study"
SWEEP_FILE = "sweep.json"
DECIDING = re.compile(r"extra == .balancers")
"""What the notebooks on balancers measure, though the study runs without it."""


class Identity(BaseModel):
    """What tells a run from another in the same folder."""

    profile: str
    data: str
    overrides: dict[str, Any]

    def __str__(self) -> str:
        changed = ", ".join(f"{name}={value}" for name, value in self.overrides.items())
        return f"profile {self.profile} on {self.data} data" + (f" and {changed}" if changed else "")


class Device(BaseModel):
    """What computed."""

    accelerator: str | None
    cpus: int | None
    threads: int
    machine: str
    system: str


class DataRecord(BaseModel):
    """Name of the data and digest of each file."""

    name: str
    files: dict[str, str]


class NotebookRecord(BaseModel):
    """One finished notebook: what it was made from, at which commit, what it wrote, how long it took."""

    commit: Commit | None = None
    parameters: dict[str, Any]
    seeds: dict[str, Any]
    seconds: float = Field(ge=0, allow_inf_nan=False)
    inputs: dict[str, str]
    outputs: dict[str, str]


class Manifest(BaseModel):
    """``manifest.json``."""

    model_config = ConfigDict(extra="forbid")

    run: str
    request: Identity
    finished: str
    commit: Commit
    device: Device
    versions: dict[str, str]
    data: DataRecord
    unfinished: list[str]
    notebooks: dict[str, NotebookRecord]

    @property
    def commits(self) -> dict[str, list[str]]:
        """Notebooks by the commit that they ran at, in reading order."""
        found: dict[str, list[str]] = {}
        for name, entry in self.notebooks.items():
            hash_ = (entry.commit or self.commit).hash
            found.setdefault(hash_ or "unknown", []).append(name)
        return found


class SweepRecord(BaseModel):
    """``sweep.json``: what was asked, and what it was made with."""

    model_config = ConfigDict(extra="forbid")

    kind: str
    axes: dict[str, list[Any]]
    jobs: int
    commit: Commit
    device: Device
    versions: dict[str, str]
    data: dict[str, str]


def versions() -> dict[str, str]:
    """Installed versions of Python, of this project and of everything that it requires, or that decides a notebook."""
    required = [
        re.split(r"[^\w.-]", line, maxsplit=1)[0]
        for line in metadata.requires(DISTRIBUTION) or ()
        if "extra ==" not in line or DECIDING.search(line)
    ]
    found = {"python": platform.python_version(), DISTRIBUTION: metadata.version(DISTRIBUTION)}
    for name in sorted(required, key=str.lower):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def device() -> Device:
    """The accelerator that torch sees, and the number of CPUs."""
    import torch

    accelerator = torch.cuda.get_device_name(0) if torch.cuda.is_available() else None
    return Device(
        accelerator=accelerator,
        cpus=os.cpu_count(),
        threads=torch.get_num_threads(),
        machine=platform.machine(),
        system=platform.system(),
    )


def seeds_of(parameters: dict[str, Any]) -> dict[str, Any]:
    """The parameters that set a seed or a number of seeds."""
    return {name: value for name, value in parameters.items() if "seed" in name}


def refuse_another(folders: RunFolders, identity: Identity) -> None:
    """Nothing, if the folder holds no run or one with this identity.

    Raises:
        StudyError: it holds another, or its manifest is damaged.
    """
    held = read_manifest(folders)
    if held and held.request != identity:
        raise StudyError(
            f"run {folders.name!r} was made with {held.request}, and this would be {identity}; choose another name "
            "with --out, or overwrite it with --replace"
        )


def bring_up_to_date(
    folders: RunFolders,
    identity: Identity,
    data: DataRecord,
    wanted: Iterable[str],
    stamps: Mapping[str, Stamp],
    anew: bool,
) -> None:
    """Save what is known of a run now.

    Args:
        folders, identity, data: of the run.
        wanted: names of the notebooks that were asked for.
        stamps: of those that have finished, in reading order.
        anew: whether any was executed; if not, a manifest that says the same already is left alone, for it still tells
            where the results came from.
    """
    finished = {
        name: NotebookRecord(
            commit=stamp.commit,
            parameters=stamp.parameters,
            seeds=seeds_of(stamp.parameters),
            seconds=stamp.seconds,
            inputs=stamp.fingerprint,
            outputs=stamp.outputs,
        )
        for name, stamp in stamps.items()
    }
    if not anew and _told_already(folders, identity, finished):
        return
    content = Manifest(
        run=folders.name,
        request=identity,
        finished=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        commit=commit(),
        device=device(),
        versions=versions(),
        data=data,
        unfinished=[name for name in wanted if name not in finished],
        notebooks=finished,
    )
    write_manifest(folders, content)


def _told_already(folders: RunFolders, identity: Identity, finished: dict[str, NotebookRecord]) -> bool:
    try:
        held = read_manifest(folders)
    except StudyError:
        return False
    return held is not None and held.request == identity and held.notebooks == finished


def seconds_taken(folders: RunFolders) -> dict[str, float]:
    """How long each notebook took, as far as the manifest can be read."""
    try:
        held = read_manifest(folders)
    except StudyError:
        held = None
    return {name: entry.seconds for name, entry in held.notebooks.items()} if held else {}


def seconds_elsewhere(folders: RunFolders, identity: Identity) -> dict[str, float]:
    """How long each notebook took in the runs beside this one that have its profile and data, the last one's word."""
    beside = sorted(folders.results.parent.glob("*/manifest.json"), key=lambda path: path.stat().st_mtime)
    taken: dict[str, float] = {}
    for path in beside:
        try:
            held = read_record(path, Manifest)
        except StudyError:
            continue
        if (held.request.profile, held.request.data) == (identity.profile, identity.data):
            taken |= {name: entry.seconds for name, entry in held.notebooks.items()}
    return taken


def write_manifest(folders: RunFolders, content: Manifest) -> Path:
    """Save ``manifest.json``."""
    return write_json(folders.manifest, content.model_dump(mode="json"))


def read_manifest(folders: RunFolders) -> Manifest | None:
    """``manifest.json``, or ``None`` where there is none.

    Raises:
        StudyError: it is damaged; the text names the place.
    """
    return read_record(folders.manifest, Manifest) if folders.manifest.is_file() else None
