"""claims.lock: no wording changes unnoticed, and the commit it names is the one that fixed the wording."""

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from pathlib import Path

import pytest

from aura_study.claims import CLAIMS
from aura_study.claims.lock import (
    PARTS,
    Lock,
    Locked,
    Look,
    complaints,
    digests,
    fixed_by,
    history,
    main,
    read,
    relocked,
    todays,
    with_commits,
    write,
)
from aura_study.paths import carried, project_root

PATH = carried("claims.lock")


def words(statement: str = "It falls.") -> dict[str, str]:
    return digests({"statement": statement, "prediction": "by half", "rule": "at most 1"})


def lock(**claims: Locked) -> Lock:
    return Lock(about="what it is", claims=claims)


OLD = Locked(**words(), commit="0" * 40, look=Look.FIRST)


def git(*arguments: str) -> str:
    """What git says of the project; a skip, with its reason, where there is no history to ask."""
    try:
        root = project_root()
    except FileNotFoundError:
        pytest.skip("not in a checkout")
    if shutil.which("git") is None or not (root / ".git").exists():
        pytest.skip("no git, or no history in this copy of the project")
    asked = ["git", "rev-parse", "--is-shallow-repository"]
    if subprocess.run(asked, cwd=root, capture_output=True, text=True, check=True).stdout.strip() != "false":
        pytest.skip("a shallow clone has no history")
    return subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True).stdout.strip()


def test_every_claim_is_locked_as_it_stands() -> None:
    """A statement, prediction or rule that changed, or a claim that came or went, is locked anew with a note."""
    assert complaints(read(PATH), todays()) == []


def numbers(held: object) -> Iterator[object]:
    """``held``, a rule or what belongs to one, with one of its numbers moved, for each of them."""
    for field in fields(held):  # type: ignore[arg-type]
        value = getattr(held, field.name)
        if is_dataclass(value):
            yield from (replace(held, **{field.name: moved}) for moved in numbers(value))  # type: ignore[type-var]
        elif isinstance(value, int | float):
            yield replace(held, **{field.name: 2 * value + 1})  # type: ignore[type-var]


def test_no_number_of_a_rule_moves_without_its_wording() -> None:
    """Bounds, tolerances, numbers of seeds, limits, gates, and the same of what a prediction foretells: all locked."""
    moved = 0
    for claim in CLAIMS.values():
        rules = [(name, getattr(claim, name)) for name in ("rule", "foretells") if is_dataclass(getattr(claim, name))]
        for name, rule in rules:
            for other in numbers(rule):
                moved += 1
                assert replace(claim, **{name: other}).wording != claim.wording, (claim.key, other)
    assert moved > 2 * len(CLAIMS)


def test_the_lock_says_plainly_which_rules_had_a_first_look_behind_them() -> None:
    """Those of the arithmetic, of Kendall's weighting, of schedules, of the mask's residue and of AURA's log had.

    But for K4a, whose leaps nobody had looked at.
    """
    looks = {key: locked.look for key, locked in read(PATH).claims.items()}
    later = {"P1", "P2", "P3", "P4", "P5", "P6", "P10", "P11", *(key for key in looks if key[0] in "KSB")}
    later -= {"K4a", *(key for key in looks if key.startswith("B4"))}
    assert {looks[key] for key in later} == {Look.LATER}


@pytest.mark.slow
def test_the_commit_that_the_lock_names_fixed_the_wording() -> None:
    """It has the wording, and its parent has it not: history decides what may be called written before."""
    for key, locked in read(PATH).claims.items():
        if locked.commit is None:
            continue
        git("merge-base", "--is-ancestor", locked.commit, "HEAD")
        assert fixed_by(locked.commit, key, locked, project_root()), key


def test_a_wording_that_is_committed_names_its_commit() -> None:
    """Only a wording of the very last commit to touch claims, or of none yet, may be without."""
    touched = git("log", "-2", "--format=%H", "--", "aura_study/claims").split()
    before = history(project_root(), touched[-1])
    for key, locked in read(PATH).claims.items():
        if locked.commit is None:
            assert key not in before or locked.changed(before[key]), f"{key}: python -m aura_study.claims.lock"


def test_what_was_locked_before_changed_with_a_note_only() -> None:
    """Whoever writes a digest by hand, past the command, has to write down why as well."""
    now = read(PATH).claims
    for commit in git("log", "--format=%H", "--", "claims.lock").split():
        then = Lock.model_validate_json(git("show", f"{commit}:claims.lock")).claims
        for key, locked in then.items():
            wording = {part: getattr(locked, part) for part in PARTS}
            assert key not in now or not now[key].changed(wording) or now[key].note, key


def test_a_change_is_told_part_by_part() -> None:
    """Missing, superfluous and changed claims are a sentence each."""
    assert complaints(lock(P1=OLD), {"P1": words()}) == []
    assert complaints(lock(P1=OLD), {"P1": words("It rises.")}) == ["P1: statement changed without a note"]
    assert complaints(lock(P1=OLD), {"P2": words()}) == ["P2 is not locked", "P1 is locked and is no claim"]


def test_a_changed_claim_is_locked_with_a_note_and_then_at_a_later_look() -> None:
    """The new digests have no commit yet; other claims stay as they are; what has not changed is not touched."""
    wordings = {"P1": words("It rises."), "P2": words()}
    before = lock(P1=OLD, P2=OLD, P3=OLD)
    after = relocked(before, wordings, ["P1"], "the sign was wrong")
    assert after.claims["P1"] == Locked(**wordings["P1"], commit=None, look=Look.LATER, note="the sign was wrong")
    assert (after.claims["P2"], after.claims["P3"]) == (OLD, OLD)
    with pytest.raises(ValueError, match="P1 has changed: say why"):
        relocked(before, wordings, ["P1"], " ")
    with pytest.raises(ValueError, match="P2 has not changed"):
        relocked(before, wordings, ["P2"], "no reason")
    with pytest.raises(ValueError, match="no claim P9; there are P1, P2"):
        relocked(before, wordings, ["P9"], "")


def test_a_new_claim_needs_no_note_and_one_that_is_gone_leaves() -> None:
    """In the order of the claims."""
    after = relocked(lock(P1=OLD, P3=OLD), {"P0": words(), "P1": words()}, ["P3", "P0"], "", first=True)
    assert list(after.claims) == ["P0", "P1"]
    assert after.claims["P0"].look == Look.FIRST


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ("{", "claims.lock is damaged: Invalid JSON"),
        ('{"about": "a", "claims": {"P1": {}}}', r"claims.lock is damaged at claims\.P1\.statement: Field required"),
        ('{"about": "a", "claims": {}, "more": 1}', "claims.lock is damaged at more: Extra inputs"),
        (None, "claims.lock cannot be read: No such file"),
    ],
)
def test_a_damaged_lock_is_one_clear_error(tmp_path: Path, damage: str | None, told: str) -> None:
    """It names the file, the place and what is wrong; the command says the same and changes nothing."""
    path = tmp_path / "claims.lock"
    if damage is not None:
        path.write_text(damage)
    with pytest.raises(ValueError, match=told):
        read(path)
    with pytest.raises(SystemExit):
        main(["P1", "--note", "why"], tmp_path)
    assert (path.read_text() if path.exists() else None) == damage


def test_the_command_locks_what_it_is_told_and_lists_what_is_off(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It reads and writes the file at the project's root, and fails as long as something is not locked."""
    wordings = todays()
    held = {key: Locked(**wording, commit="0" * 40, look=Look.FIRST) for key, wording in wordings.items()}
    first, second, *_ = held
    changed = dict.fromkeys(PARTS, "0" * 16)
    write(
        lock(**held | {key: held[key].model_copy(update=changed) for key in (first, second)}), tmp_path / "claims.lock"
    )
    assert main([first, "--note", "why"], tmp_path) == 1
    assert capsys.readouterr().out.startswith(f"{second}: statement and prediction and rule changed without a note")
    assert main([second, "--note", "why"], tmp_path) == 0
    written = read(tmp_path / "claims.lock").claims
    assert written[first] == Locked(**wordings[first], commit=None, look=Look.LATER, note="why")
    assert list(written) == list(wordings)


@pytest.mark.parametrize("place", ["one.py", "notebooks/one.py"])
def test_commits_are_filled_in_from_history(place: str, tmp_path: Path) -> None:
    """The oldest commit from which on the wording stands, wherever below the room; none for what is not committed."""
    folder = tmp_path / "aura_study" / "claims"
    (folder / "notebooks").mkdir(parents=True)
    (folder / "notebooks" / "__init__.py").write_text("")
    for name in ("__init__.py", "claims/__init__.py"):
        (tmp_path / "aura_study" / name).write_text("")
    (folder / "model.py").write_text(
        "class Claim:\n    def __init__(self, key, statement):\n        self.key, self.statement = key, statement\n"
        "        self.prediction, self.rule = 'by half', self\n    def text(self):\n        return 'at most 1'\n"
    )

    def run(*arguments: str) -> str:
        named = ("-c", "user.name=a", "-c", "user.email=a@b")
        done = subprocess.run(["git", *named, *arguments], cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    git("rev-parse", "HEAD")
    run("init", "-q")
    commits = []
    for statement in ("It rises.", "It falls.", "It falls. "):
        source = f"from aura_study.claims.model import Claim\nCLAIMS = (Claim('P1', {statement.strip()!r}),)\n"
        (folder / place).write_text(source + "#" * len(commits))
        run("add", "-A")
        run("commit", "-q", "-m", statement)
        commits.append(run("rev-parse", "HEAD"))
    open_ = {"commit": None}
    held = lock(P1=OLD.model_copy(update=open_), P2=Locked(**words("Elsewhere."), commit=None, look=Look.FIRST))
    found = with_commits(held, tmp_path).claims
    assert (found["P1"].commit, found["P2"].commit) == (commits[1], None)
