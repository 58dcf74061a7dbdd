"""Verification: an honest run is reproduced; a changed ledger, or code that gives another verdict, is not."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import toy_study
from pydantic import ValidationError
from rich.console import Console

from aura_study import cli
from aura_study.errors import StudyError
from aura_study.paths import RunFolders
from aura_study.runs.ledger import Row
from aura_study.runs.parameters import Parameters
from aura_study.study import registry, verify_display
from aura_study.study import verify as verification
from aura_study.study.request import Request
from aura_study.study.verify import Status, UnknownRun, Verification, compare

Edit = Callable[[dict[str, Any]], None]


@pytest.fixture(scope="module")
def project(toy_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy notebooks and a finished run of them."""
    return shutil.copytree(toy_project, tmp_path_factory.mktemp("verify") / "project")


@pytest.fixture
def copy(project: Path, tmp_path: Path) -> Path:
    """The run, to be changed."""
    return shutil.copytree(project / "run", tmp_path / "run")


def verified(run: Path, project: Path, budget: float = 600.0, **options: Any) -> Verification:
    source = options.pop("source", project / "notebooks")
    quiet = Console(quiet=True)
    known = options.pop("known", toy_study.REGISTRY)
    return verification.verify(RunFolders.of(str(run)), known, budget, console=quiet, source=source, **options)


def edit(path: Path, change: Edit) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def statuses(found: Verification) -> dict[str, Status]:
    return {check.claim: check.status for check in found.checks}


def test_what_was_not_run_says_why_once() -> None:
    """Fifty claims without their data are one line and their keys, not fifty rows."""
    keys = [f"P{number}" for number in range(50)]
    checks = [verification.Check(key, "04_aura_training", Status.NOT_RUN, "data are missing") for key in keys]
    checks.append(verification.Check("F1", "01_focal_loss", Status.REPRODUCED, "within 1e-06", 1.0, "confirmed", 1.0))
    found = Verification("reference", checks)
    told = verify_display.summary(found)
    assert told.count("data are missing") == 1
    assert f"not run: {', '.join(keys)}" in told
    assert "51 claims: 1 reproduced, 50 not run" in told
    table = verify_display.table(found)
    assert table is not None
    assert table.row_count == 1
    assert verify_display.table(Verification("reference", checks[:50])) is None


@pytest.mark.slow
def test_an_honest_run_is_reproduced_claim_by_claim(project: Path) -> None:
    """Every claim comes out the same, and the run itself is left as it was."""
    before = {path: path.read_bytes() for path in (project / "run").rglob("*") if path.is_file()}
    found = verified(project / "run", project)
    assert found.passed
    assert statuses(found) == {"F1": Status.REPRODUCED, "P1": Status.REPRODUCED}
    assert found.executed == ["01_focal_loss", "03_phantom_gradient"]
    assert {path: path.read_bytes() for path in (project / "run").rglob("*") if path.is_file()} == before


@pytest.mark.slow
def test_a_verdict_that_was_tampered_with_fails(copy: Path, project: Path) -> None:
    """In the ledger alone, and in the ledger with its evidence and digest: running again tells both."""
    change: Edit = lambda content: content["claims"][0].update(verdict="refuted")  # noqa: E731
    edit(copy / "claims.json", change)
    found = verified(copy, project, notebooks=["01"])
    assert not found.passed
    assert statuses(found) == {"F1": Status.VERDICT_CHANGED, "P1": Status.NOT_RUN}
    assert next(check.why for check in found.checks if check.claim == "F1") == "refuted before, confirmed now"


def test_a_tampered_record_is_told_without_running_it(copy: Path, project: Path) -> None:
    """Ledger against evidence, evidence against its digest, numbers against the rule: each is checked for nothing."""
    edit(copy / "claims.json", lambda content: content["claims"][1].update(measured=2e-9))
    found = verified(copy, project, budget=0)
    assert statuses(found) == {"F1": Status.NOT_RUN, "P1": Status.RECORD_ALTERED}
    assert not found.passed
    assert "differ in measured" in found.checks[1].why
    edit(copy / "evidence" / "03_phantom_gradient.json", lambda content: content["claims"][0].update(measured=2e-9))
    assert "whose digest the manifest holds" in verified(copy, project, budget=0).checks[1].why
    for name in ("claims.json", "evidence/03_phantom_gradient.json"):
        edit(copy / name, lambda content: content["claims"][-1].update(verdict="refuted"))
    edit(
        copy / "manifest.json",
        lambda content: content["notebooks"]["03_phantom_gradient"]["outputs"].pop("evidence/03_phantom_gradient.json"),
    )
    assert "for its numbers the rule gives" in verified(copy, project, budget=0).checks[1].why


def test_a_claim_left_out_of_the_ledger_is_told(copy: Path, project: Path) -> None:
    """A notebook decided it, and the ledger is silent."""
    edit(copy / "claims.json", lambda content: content["claims"].pop())
    found = verified(copy, project, budget=0)
    assert statuses(found)["P1"] == Status.RECORD_ALTERED
    assert not found.passed


@pytest.mark.slow
@pytest.mark.parametrize("key", ["notebooks/01_focal_loss.ipynb", "figures/growth.svg", "tables/steps.csv"])
def test_any_output_that_was_altered_fails(copy: Path, project: Path, key: str) -> None:
    """Though its claims are reproduced, the run is not the one that was made; a claim's evidence is not alone."""
    path = copy / key
    path.parent.mkdir(exist_ok=True)
    path.write_text("altered")
    edit(copy / "manifest.json", lambda held: held["notebooks"]["01_focal_loss"]["outputs"].update({key: "0" * 64}))
    found = verified(copy, project, notebooks=["01"])
    assert statuses(found)["F1"] == Status.REPRODUCED
    assert found.altered == [f"{key}, made by 01_focal_loss, is not the file that the run recorded."]
    assert not found.passed


@pytest.mark.slow
def test_code_that_measures_something_else_fails(project: Path, tmp_path: Path) -> None:
    """The notebook now measures another number, then another verdict, then raises: three different answers."""
    source = shutil.copytree(project / "notebooks", tmp_path / "notebooks")
    path = source / "03_phantom_gradient.ipynb"
    text = path.read_text()
    answers = {
        "Measurement(0.5, 0.5, 0.5": Status.VERDICT_CHANGED,
        "Measurement(9e-9, 0.0, 9e-9": Status.VALUE_DIFFERS,
        "Measuremend(1e-9, 0.0, 1e-9": Status.FAILED,
    }
    for words, status in answers.items():
        path.write_text(text.replace("Measurement(1e-9, 0.0, 1e-9", words))
        assert path.read_text() != text
        found = verified(project / "run", project, source=source, notebooks=["03"])
        assert statuses(found) == {"F1": Status.NOT_RUN, "P1": status}
        assert not found.passed


@pytest.mark.slow
def test_the_budget_decides_what_is_run_and_the_rest_is_said(project: Path, copy: Path) -> None:
    """The shortest come first; nothing affordable means nothing verified."""
    edit(copy / "manifest.json", lambda content: content["notebooks"]["03_phantom_gradient"].update(seconds=500.0))
    found = verified(copy, project, budget=400.0)
    assert statuses(found) == {"F1": Status.REPRODUCED, "P1": Status.NOT_RUN}
    assert found.passed
    assert "it took 500 s" in found.checks[1].why
    assert not verified(copy, project, budget=0.0).passed


def test_data_that_are_not_at_hand_are_skipped_honestly(
    copy: Path, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A notebook on real data says so; one without does not."""
    monkeypatch.setenv("AURA_STUDY_DATA", str(tmp_path / "empty"))
    edit(
        copy / "manifest.json",
        lambda content: content["notebooks"]["03_phantom_gradient"]["parameters"].update(data="aura"),
    )
    found = verified(copy, project, budget=0)
    assert "of the budget are left" in found.checks[0].why
    assert "AURA's public files are not in" in found.checks[1].why


OWN = ".../own"


def encoders() -> list[tuple[str, str]]:
    """Every notebook with each of its parameters that name an encoder."""
    return [
        (notebook, name)
        for notebook, declared in sorted(registry.parameter_classes().items())
        for name in declared.model_fields
        if OWN in _named(declared, name)
    ]


def _named(declared: type[Parameters], name: str) -> tuple[str, ...]:
    try:
        return declared(**{name: OWN}).encoders
    except ValidationError:  # no text is taken there
        return ()


@pytest.mark.parametrize(("notebook", "name"), encoders())
def test_an_encoder_that_is_not_at_hand_is_skipped_honestly(
    copy: Path, project: Path, notebook: str, name: str
) -> None:
    """Its folder is not told in a record, so that it cannot be found again; whatever its parameter is called."""
    declared = registry.parameter_classes()[notebook]
    edit(
        copy / "manifest.json",
        lambda held: held["notebooks"]["03_phantom_gradient"].update(parameters={"data": "embedded", name: OWN}),
    )
    found = verified(copy, project, budget=0, known={**toy_study.REGISTRY, "03_phantom_gradient": declared})
    assert "of the budget are left" in found.checks[0].why
    assert "encoder '.../own' is not on this machine" in found.checks[1].why


def test_the_encoders_of_all_notebooks_are_looked_at() -> None:
    """Those that go by another name too."""
    names = {name for _, name in encoders()}
    assert {"encoder", "learned_encoder", "checkpoint", "probed"} <= names


def test_an_error_of_one_notebook_ends_that_one_alone(
    copy: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next has its turn, and the result says what stopped each."""

    def stops(request: Request, *arguments: Any, **options: Any) -> None:
        raise StudyError(f"{next(iter(request.parameters))} lost its files\nand more")

    monkeypatch.setattr(verification, "run_study", stops)
    found = verified(copy, project)
    assert statuses(found) == {"F1": Status.FAILED, "P1": Status.FAILED}
    assert [check.why for check in found.checks] == [f"{check.notebook} lost its files" for check in found.checks]


def row(measured: float | None, seeds: int = 0, interval: tuple[float | None, float | None] = (None, None)) -> Row:
    blank = dict.fromkeys(("section", "statement", "prediction", "unit", "rule"), "")
    return Row.model_validate(
        {**blank, "claim": "X1", "predicted": 1.0, "measured": measured, "interval": interval, "ratio": None}
        | {"seeds": seeds, "verdict": "confirmed", "alone": "confirmed", "kind": "simulated", "prediction_held": "none"}
        | {"limit": None, "limits": {}, "notebook": "n", "figure": None}
    )


@pytest.mark.parametrize(
    ("before", "now", "same"),
    [
        (row(1.0), row(1.0 + 5e-7), True),
        (row(1.0), row(1.0 + 5e-6), False),
        (row(0.0), row(5e-10), True),
        (row(0.0), row(5e-9), False),
        (row(None), row(None), True),
        (row(None), row(1.0), False),
        (row(1.0, 3, (0.5, 2.0)), row(1.9, 3), True),
        (row(1.0, 3, (0.99, 1.01)), row(1.04, 3), True),
        (row(1.0, 3, (0.99, 1.01)), row(1.06, 3), False),
        (row(1.0, 3, (0.5, 2.0)), row(1.0, 4), False),
    ],
)
def test_tolerances_are_those_that_are_stated(before: Row, now: Row, same: bool) -> None:
    """Deterministic: 1e-6 relative or 1e-9 absolute; seeded: the recorded interval or 5 %, and as many seeds."""
    assert compare(before, now)[0] is same


@pytest.mark.parametrize("name", ["claims.json", "manifest.json"])
def test_an_unknown_run_and_a_damaged_one_are_errors(copy: Path, project: Path, name: str) -> None:
    """Damage names the file; a missing file makes the run unknown."""
    (copy / name).write_text('{"run": 3}')
    with pytest.raises(StudyError, match=rf"{name} is damaged at"):
        verified(copy, project)
    (copy / name).unlink()
    with pytest.raises(UnknownRun, match=f"it has no {name}"):
        verified(copy, project)


@pytest.mark.slow
def test_exit_codes_and_json(project: Path, copy: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """0 reproduced, 1 not, 2 unknown; ``--json`` prints every check."""
    monkeypatch.setattr(registry, "notebooks_folder", lambda: project / "notebooks")
    monkeypatch.setattr(verification, "notebooks_folder", lambda: project / "notebooks")
    monkeypatch.setattr(registry, "parameter_classes", lambda: toy_study.REGISTRY)

    def command(*words: str) -> int:
        monkeypatch.setattr(sys, "argv", ["aura-study", "verify", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return int(ended.value.code or 0)

    assert command(str(copy), "01", "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["passed"] is True
    assert [check["status"] for check in printed["checks"]] == ["reproduced", "not run"]
    edit(copy / "claims.json", lambda content: content["claims"][0].update(verdict="refuted"))
    assert command(str(copy), "--budget", "0") == 1
    assert "1 record altered" in capsys.readouterr().out
    assert command("./nowhere") == 2
    assert capsys.readouterr().err.startswith("error: run 'nowhere' cannot be verified")
