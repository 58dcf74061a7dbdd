"""Which commit fixed a claim's wording, and whether anything of it had been measured by then: ``claims.lock``.

A claim's wording is its statement, its prediction and its rule in words. The lock holds a digest of each, so that none
of them changes unnoticed, and the commit that fixed all three, so that the history of the project and not its prose
says what was written before what. After a change:

    python -m aura_study.claims.lock KEY ... --note "why"  # locks these claims as they now stand
    python -m aura_study.claims.lock                       # once that is committed: fills in the commit
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from aura_study.claims import CLAIMS

ROOT = Path(__file__).resolve().parents[2]
"""Of the checkout: the command works in no other place."""

PARTS = ("statement", "prediction", "rule")
Digest = Annotated[str, Field(pattern="^[0-9a-f]{16}$")]
Commit = Annotated[str, Field(pattern="^[0-9a-f]{40}$")]


class Look(StrEnum):
    """When a wording was fixed, as far as the project's history can show."""

    FIRST = "first"
    """In a commit of its own, before anything of the claim was measured."""
    LATER = "later"
    """After a first look at the numbers, or in one commit with their measurement."""


class Locked(BaseModel):
    """The locked wording of one claim.

    Attributes:
        statement: digest; so are ``prediction`` and ``rule``.
        commit: that fixed the wording; none for as long as that is not committed.
        look: at the numbers, before the wording was fixed.
        note: why the wording changed, or what a reader has to know of the look.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    statement: Digest
    prediction: Digest
    rule: Digest
    commit: Commit | None
    look: Look
    note: str = ""

    def changed(self, wording: Mapping[str, str]) -> list[str]:
        """Parts of ``wording`` (see `digests`) that are not the locked ones."""
        return [part for part in PARTS if wording[part] != getattr(self, part)]


class Lock(BaseModel):
    """The file: a sentence about itself, and the claims by key."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    about: str
    claims: dict[str, Locked]


def digests(wording: Mapping[str, str]) -> dict[str, str]:
    """The first 16 hexadecimal digits of each part's SHA-256; a ledger's row, as a dict, is a wording too."""
    return {part: hashlib.sha256(wording[part].encode()).hexdigest()[:16] for part in PARTS}


def todays() -> dict[str, dict[str, str]]:
    """`digests` of every claim as it stands in code."""
    return {key: digests(claim.wording) for key, claim in CLAIMS.items()}


def read(path: Path) -> Lock:
    """The lock.

    Raises:
        ValueError: it is missing or damaged; the error names the file and what is wrong.
    """
    try:
        return Lock.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ValueError(f"{path.name} cannot be read: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise ValueError(f"{path.name} is damaged{f' at {place}' if place else ''}: {first['msg']}") from None


def write(lock: Lock, path: Path) -> None:
    """The lock as JSON, a line for each field."""
    path.write_text(json.dumps(lock.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def complaints(lock: Lock, wordings: Mapping[str, Mapping[str, str]]) -> list[str]:
    """What keeps ``wordings`` from being what is locked, a sentence each."""
    found = [f"{key} is not locked" for key in wordings if key not in lock.claims]
    found += [f"{key} is locked and is no claim" for key in lock.claims if key not in wordings]
    for key, wording in wordings.items():
        changed = lock.claims[key].changed(wording) if key in lock.claims else []
        if changed:
            found.append(f"{key}: {' and '.join(changed)} changed without a note")
    return found


def relocked(
    lock: Lock, wordings: Mapping[str, Mapping[str, str]], keys: list[str], note: str, *, first: bool = False
) -> Lock:
    """The lock with ``keys`` as they now stand, in the order of ``wordings``; without those that are claims no more.

    Raises:
        ValueError: a key is unknown or has not changed, or a change comes without a note.
    """
    known = {**lock.claims, **dict.fromkeys(wordings)}
    unknown = [key for key in keys if key not in known]
    if unknown:
        raise ValueError(f"no claim {', '.join(unknown)}; there are {', '.join(wordings)}")
    claims = dict(lock.claims)
    for key in keys:
        before = claims.pop(key, None)
        if key not in wordings:
            continue
        if before and not before.changed(wordings[key]):
            raise ValueError(f"{key} has not changed")
        if before and not note.strip():
            raise ValueError(f"{key} has changed: say why in a note")
        look = Look.FIRST if first else Look.LATER
        claims[key] = Locked(**wordings[key], commit=None, look=look, note=note.strip())
    order = [*wordings, *lock.claims]
    return Lock(about=lock.about, claims=dict(sorted(claims.items(), key=lambda item: order.index(item[0]))))


_COLLECT = """
import importlib, json, pkgutil
import aura_study.claims as room
from aura_study.claims.model import Claim
found = {}
for module in pkgutil.walk_packages(room.__path__, room.__name__ + "."):
    for held in vars(importlib.import_module(module.name)).values():
        for claim in held if isinstance(held, tuple) else ():
            if isinstance(claim, Claim):
                rule = getattr(claim, "rule_text", claim.rule.text)()
                found[claim.key] = {"statement": claim.statement, "prediction": claim.prediction, "rule": rule}
print(json.dumps(found))
"""
"""Also finds claims that a commit states and does not list yet, under any of the names that files have had."""


@cache
def history(root: Path, revision: str) -> dict[str, dict[str, str]]:
    """`digests` of every claim at a commit of the project at ``root``; none where it has no claims."""
    if not _git(root, "ls-tree", revision, "aura_study/claims"):
        return {}
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder, "tree.zip")
        _git(root, "archive", "--output", str(archive), revision, "aura_study")
        told = subprocess.run(
            [sys.executable, "-c", _COLLECT],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(archive)},  # Python imports from a zip as it is
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    return {key: digests(wording) for key, wording in json.loads(told).items()}


def fixed_by(commit: str, key: str, locked: Locked, root: Path) -> bool:
    """Whether the commit has the locked wording and none of its parents has."""

    def has(revision: str) -> bool:
        wordings = history(root, revision)
        return key in wordings and not locked.changed(wordings[key])

    return has(commit) and not any(map(has, _git(root, "rev-parse", f"{commit}^@").split()))


def with_commits(lock: Lock, root: Path) -> Lock:
    """The lock with the commit of each wording that had none: the last that fixed it, once it is in history."""
    claims = dict(lock.claims)
    left = {key for key, locked in claims.items() if locked.commit is None}
    for commit in _git(root, "log", "--format=%H", "--", "aura_study/claims").split() if left else ():
        found = {key for key in left if fixed_by(commit, key, claims[key], root)}
        claims |= {key: claims[key].model_copy(update={"commit": commit}) for key in found}
        left -= found
        if not left:
            break
    return Lock(about=lock.about, claims=claims)


def _git(root: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True).stdout.strip()


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    """The command line: 0 if every claim is locked as it stands."""
    parser = argparse.ArgumentParser(prog="python -m aura_study.claims.lock", description="lock claims' wordings")
    parser.add_argument("keys", nargs="*", metavar="KEY", help="claims to lock as they now stand; none: commits only")
    parser.add_argument("--note", default="", help="why they changed")
    parser.add_argument("--first", action="store_true", help="nothing of them has been measured yet")
    asked = parser.parse_args(arguments)
    path, wordings = root / "claims.lock", todays()
    try:
        lock = relocked(read(path), wordings, asked.keys, asked.note, first=asked.first)
    except ValueError as error:
        parser.error(str(error))
    write(lock if asked.keys else with_commits(lock, root), path)
    left = complaints(lock, wordings)
    print("\n".join(left) or f"{len(wordings)} claims are locked as they stand")
    return bool(left)


if __name__ == "__main__":
    sys.exit(main())
