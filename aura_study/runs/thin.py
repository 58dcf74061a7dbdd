"""Thinning: a finished run whose trajectories keep some of their steps, small enough to be passed on."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pyarrow import Table

from aura_study.errors import StudyError
from aura_study.paths import RunFolders
from aura_study.runs import manifest
from aura_study.runs.fingerprint import digest_file
from aura_study.runs.jobs import METADATA
from aura_study.runs.lock import locked
from aura_study.runs.records import read_record, write_atomically
from aura_study.runs.sealed import SEAL, SealedWriter, is_sealed
from aura_study.runs.stamps import read_stamp, write_stamp

MARK = b"aura_study.thinned"
NOTE = "README.md"
STEPS = ("step", "since")
"""Columns of a file's steps: since the training's beginning, or since a return."""


def thin(folders: RunFolders, every: int) -> int:
    """Keep every ``every``-th step of each trajectory, the last one, and those around a task's leaving or return.

    A file of a few steps with many rows each, as the comments of notebook 11, keeps every ``every``-th row of a step.
    Each file says so in its metadata, and loses the key by which a run would take it for a whole one: whoever needs all
    steps runs its notebook again. Stamps and manifest take the new digests, so that the run still verifies. Files that
    were thinned before are left alone, and their digests are taken again: a thinning that was killed is so completed.

    Returns the number of files that were thinned.

    Raises:
        StudyError: fewer than 2, no finished run, or the folder is in use.
    """
    if every < 2:
        raise StudyError(f"thinning keeps every Nth step, with N of 2 or more; got {every}")
    if not folders.manifest.is_file():
        raise StudyError(f"run {folders.name!r} has no manifest.json in {folders.results}: finish the run first")
    with locked(folders):
        held = read_record(folders.manifest, manifest.Manifest)
        paths = sorted(folders.trajectories.glob("*.parquet"))
        count = sum(_thin_file(path, every) for path in paths)
        changed = {f"trajectories/{path.name}": digest_file(path) for path in paths if _is_thinned(path)}
        for name, record in held.notebooks.items():
            record.outputs.update(_among(changed, record.outputs))
            if (stamp := read_stamp(folders, name)) is not None:
                stamp.outputs.update(_among(changed, stamp.outputs))
                write_stamp(folders, name, stamp)
        if changed:
            manifest.write_manifest(folders, held)
            text = _note([path for path in paths if _is_thinned(path)])
            write_atomically(folders.trajectories / NOTE, lambda path: path.write_text(text, encoding="utf-8"))
    return count


def _is_thinned(path: Path) -> bool:
    return MARK in (pq.read_metadata(path).metadata or {}) and is_sealed(path)


def _note(paths: Sequence[Path]) -> str:
    """What the files say of themselves, with their names where they do not all say the same."""
    files: dict[str, list[str]] = {}
    for path in paths:
        files.setdefault(pq.read_metadata(path).metadata[MARK].decode(), []).append(path.name)
    told = [words if len(files) == 1 else f"{', '.join(names)}: {words}" for words, names in files.items()]
    return "# Thinned\n\n" + "\n\n".join(told) + " To have all steps, make the run again in another folder.\n"


def _words(every: int) -> str:
    return (
        f"Of each trajectory one step in {every} is kept, the last, and those around a task's leaving or return; of a "
        f"file with few steps and many rows, one row in {every} of each step. Every number of the run was taken from "
        "the whole files."
    )


def _among(changed: Mapping[str, str], known: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in changed.items() if key in known}


def _thin_file(path: Path, every: int) -> bool:
    table = pq.read_table(path)
    described = dict(pq.read_metadata(path).metadata or {})
    steps = next((name for name in STEPS if name in table.column_names), None)
    if MARK in described or steps is None:
        return False
    described[MARK] = _words(every).encode()
    described[b"aura_study.rows"] = str(table.num_rows).encode()
    for rebuilt in (b"ARROW:schema", b"pandas", SEAL):  # a third of a small file; arrow writes its own anew
        described.pop(rebuilt, None)
    if METADATA in described:
        job = json.loads(described[METADATA])
        job.pop("key", None)
        described[METADATA] = json.dumps(job, sort_keys=True).encode()
    thinned = table.filter(_kept(table, steps, every)).replace_schema_metadata(None)
    write_atomically(path, lambda target: _write(thinned, described, target))
    return True


def _write(table: Table, described: dict[bytes, bytes], path: Path) -> None:
    writer = SealedWriter(path, table.schema, compression_level=19, write_statistics=False)
    writer.write(table)
    writer.close(described)


def _kept(table: Table, name: str, every: int) -> NDArray[np.bool_]:
    """Which rows stay."""
    steps = table[name].to_numpy()
    distinct, place = np.unique(steps, return_inverse=True)
    if len(distinct) < 2 * every:
        rank = np.empty(len(steps), int)
        for step in range(len(distinct)):
            rows = place == step
            rank[rows] = np.arange(rows.sum())
        return np.asarray(rank % every == 0)
    stays = np.arange(len(distinct)) % every == 0
    stays[-1] = True
    if "present" in table.column_names:
        present = table["present"].to_numpy(zero_copy_only=False)
        tasks = table["task"].to_numpy(zero_copy_only=False) if "task" in table.column_names else np.zeros(len(steps))
        for task in np.unique(tasks):
            here = np.zeros(len(distinct), bool)
            here[place[tasks == task]] = present[tasks == task]
            turns = np.flatnonzero(here[1:] != here[:-1])
            if len(turns) <= every:  # a stretch, not a draw at every step
                for offset in (-1, 0, 1, 2):
                    stays[np.clip(turns + offset, 0, len(distinct) - 1)] = True
    return np.asarray(stays[place])
