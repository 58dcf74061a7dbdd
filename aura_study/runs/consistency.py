"""Whether a run's record agrees with itself: ledger, evidence, digests of all that it wrote, and rules."""

from collections.abc import Iterator

from aura_study.claims import CLAIMS
from aura_study.claims.questions import together
from aura_study.errors import StudyError
from aura_study.paths import RunFolders
from aura_study.runs.fingerprint import digest_file
from aura_study.runs.ledger import Ledger, Row, read_one
from aura_study.runs.manifest import Manifest, read_manifest
from aura_study.runs.stamps import locate


def altered_outputs(folders: RunFolders, held: Manifest) -> list[str]:
    """What differs from what the run recorded when it finished, each in a sentence."""
    notes = []
    for name, entry in held.notebooks.items():
        for key, recorded in entry.outputs.items():
            path = locate(folders, key)
            if not path.is_file():
                notes.append(f"{key}, made by {name}, is missing.")
            elif digest_file(path) != recorded:
                notes.append(f"{key}, made by {name}, is not the file that the run recorded.")
    return notes


def doubts(folders: RunFolders, ledger: Ledger) -> list[str]:
    """Every way in which a run's record is not what the run left, each in a sentence; none without a manifest."""
    notes: list[str] = []
    try:
        if held := read_manifest(folders):
            notes += altered_outputs(folders, held)
            notes += [f"Claim {claim}: {why}." for claim, why in contradictions(folders, ledger, held)]
    except StudyError as error:  # a damaged file, which hides the rest
        notes.append(str(error))
    return notes


def contradictions(folders: RunFolders, ledger: Ledger, held: Manifest) -> Iterator[tuple[str, str]]:
    """Claims whose record contradicts itself, and where: evidence, its digest in the manifest, or the rule.

    Raises:
        StudyError: an evidence file is damaged.
    """
    evidence: dict[str, Row] = {}
    for name, entry in held.notebooks.items():
        key = f"evidence/{name}.json"
        path = folders.results / key
        if not path.is_file():
            continue
        rows = {row.claim: row for row in read_one(path).claims}
        evidence.update(rows)
        if entry.outputs.get(key, digest_file(path)) != digest_file(path):
            yield from ((claim, f"{key} is not the file whose digest the manifest holds") for claim in rows)
    evidence = {row.claim: row for row in together(list(evidence.values()))}
    for claim in evidence.keys() - ledger.rows.keys():
        yield claim, "the ledger leaves it out, and a notebook decided it"
    for row in ledger.claims:
        if row.claim not in evidence:
            yield row.claim, "no notebook of the run left evidence of it"
        elif evidence[row.claim] != row:
            names = [name for name in Row.model_fields if getattr(row, name) != getattr(evidence[row.claim], name)]
            yield row.claim, f"claims.json and its notebook's evidence differ in {', '.join(names)}"
        elif (ruled := _ruled(row)) not in (None, row.by_itself):
            yield row.claim, f"the record says {row.by_itself}; for its numbers the rule gives {ruled}"


def _ruled(row: Row) -> str | None:
    """The verdict of today's rule for the recorded numbers; ``None`` where the rule is another one by now."""
    claim = CLAIMS.get(row.claim)
    if claim is None or claim.rule_text() != row.rule:
        return None
    try:
        return str(claim.rule.judge(row.measurement))
    except (ValueError, KeyError) as error:  # numbers that no notebook can have measured
        return f"no verdict ({error})"
