"""The findings: every claim has its place, verdicts are the ledger's, and the notebook keeps up with the others."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
import toy_study
from made_run import make_run
from rich.console import Console

from aura_study.claims import CLAIMS
from aura_study.claims.guide import GUIDE
from aura_study.claims.questions import QUESTIONS
from aura_study.experiments.findings import tables as findings
from aura_study.experiments.findings.figures import verdict_map
from aura_study.paths import notebooks_folder
from aura_study.study.request import Request
from aura_study.study.runner import Outcome, run_study

SUMMARY = findings.FindingsParameters.notebook


def test_every_claim_answers_exactly_one_question() -> None:
    """No claim of the ledger is left out of the findings, and none is told twice."""
    placed = [key for question in QUESTIONS.values() for key in question.claims]
    assert sorted(placed) == sorted(CLAIMS)


def test_the_findings_say_what_the_ledger_says(tmp_path: Path) -> None:
    """Verdicts, limits and numbers of every claim are those of the run; the tally counts each once."""
    make_run(tmp_path / "made")
    p = findings.FindingsParameters(out=str(tmp_path / "made"))
    rows = findings.decided(p)
    assert set(rows) == set(CLAIMS)
    table = findings.verdicts(rows)
    assert {key: rows[key].verdict for key in CLAIMS} == dict(zip(table["claim"], table["verdict"], strict=True))
    told = pd.concat([findings.answers(rows, question) for question in QUESTIONS])
    for claim, finding in zip(told["claim"], told["finding"], strict=True):
        assert finding.startswith(rows[claim].verdict)
        assert (rows[claim].limit or "") in finding
    sums = findings.tally(table).set_index("question").loc["all"]
    assert sums.sum() == len(CLAIMS)
    assert sums["confirmed"] == sum(row.verdict == "confirmed" for row in rows.values())
    assert len(findings.guide(rows)) == len(GUIDE)


def test_a_run_that_has_decided_nothing_says_so(tmp_path: Path) -> None:
    """Every claim is there as not decided, and the map can still be drawn."""
    p = findings.FindingsParameters(out=str(tmp_path / "empty"))
    rows = findings.decided(p)
    table = findings.verdicts(rows)
    assert set(table["verdict"]) == {findings.UNDECIDED}
    assert f"{len(CLAIMS)} {findings.UNDECIDED}" in verdict_map(table).alt
    assert findings.practice(p).empty


def test_an_unknown_question_is_named() -> None:
    """The error tells the questions there are."""
    with pytest.raises(ValueError, match=r"unknown question 'price'; questions are .*'cost'"):
        findings.answers({}, "price")


@pytest.mark.slow
def test_the_summary_runs_last_and_again_when_a_finding_changed(tmp_path: Path) -> None:
    """Though it is read first, it runs after the others; a new finding of one of them makes it run again."""
    notebooks = toy_study.write_notebooks(tmp_path / "notebooks")
    shutil.copy(notebooks_folder() / f"{SUMMARY}.ipynb", notebooks)

    def run(label: str) -> Outcome:
        registry = {**toy_study.REGISTRY, SUMMARY: findings.FindingsParameters}
        asked = Request.of(registry, (), "smoke", "embedded", str(tmp_path / "run"), {"label": label}, folder=notebooks)
        assert list(asked.parameters)[-1] == SUMMARY
        return run_study(asked, Console(quiet=True), notebooks, replace=True)

    first = run("one")
    assert list(first.ended)[-1] == SUMMARY
    table = pd.read_csv(first.folders.tables / "findings_verdicts.csv").set_index("claim")["verdict"]
    assert table[["F1", "P1"]].tolist() == ["confirmed", "confirmed"]
    assert set(table.drop(["F1", "P1"])) == {findings.UNDECIDED}
    assert run("one").executed == []
    assert list(run("two").ended) == ["03_phantom_gradient", SUMMARY]
