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
from aura_study.experiments.findings.advice import advice
from aura_study.experiments.findings.figures import BARE, CLIPPED, price, verdict_map
from aura_study.paths import RunFolders, notebooks_folder
from aura_study.runs.ledger import Row
from aura_study.runs.records import write_json
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


def _asked(folder: Path, costs: float) -> RunFolders:
    """A run in which notebooks 12 and 14 have asked what it costs, with emotion absent."""
    folders = RunFolders.of(str(folder))
    falls = ("0.04", "1", "5", "alone")
    spread = {"low": costs - 0.001, "high": costs + 0.001, "seeds": 5}
    doses = [
        {"way": "AdamW, clipped", "arm": arm, "since": since, "task": "the others", "measure": "log_loss"}
        | {"difference": costs, **spread}
        for arm in falls
        for since in (10, 50)
    ]
    ends = {"moment": "end", "policy": "unmasked", "task": "mean of tasks", "measure": "auc", "difference": costs}
    made = {
        "return_costs": doses,
        "return_spikes_by_dose": [
            {"way": "AdamW, clipped", "arm": arm, "dose": dose, "ratio": 400.0}
            for arm, dose in (("3", 3.0), ("unmasked", 0.5))
        ],
        "quality_differences": [{"regime": regime, **ends, **spread} for regime in ("mixed", "stretch")],
        "quality_shares": [
            {"regime": regime, "policy": "unmasked", "task": "emotion", "presence": 0.25}
            for regime in ("mixed", "stretch")
        ],
    }
    folders.tables.mkdir(parents=True)
    for name, rows in made.items():
        pd.DataFrame(rows).to_csv(folders.tables / f"{name}.csv", index=False)
    folders.evidence.mkdir()
    parts: dict[str, object] = {"claims": [], "figures": [], "tables": []}
    write_json(
        folders.evidence / f"{findings.RETURN}.json",
        {"notebook": findings.RETURN, "parameters": {"absent": "emotion"}, **parts},
    )
    return folders


def test_the_price_is_this_runs_or_the_references_marked_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that asked shows its own price; one that did not the reference's, whose the caption says it is."""
    reference = _asked(tmp_path / "reference", 0.3)
    monkeypatch.setattr(findings, "reference_run", lambda: reference)
    _asked(tmp_path / "asked", 0.02)
    for name, costs, whose in (("asked", 0.02, "this run"), ("other", 0.3, "the reference run, not of this one")):
        told = findings.price(findings.FindingsParameters(out=str(tmp_path / name)))
        assert told
        assert (told.absent, told.whose, told.doses["difference"].iloc[0]) == ("emotion", whose, costs)
        assert len(findings.drawn(told)) == len(told.doses) + len(told.policies)
        plate = price(told.doses, told.policies, told.shares, told.absent, told.whose, 0.01)
        assert plate.caption.endswith(f"Of {whose}.")
        left, right = plate.figure.axes
        drawn = {float(y) for line in left.lines for y in line.get_ydata() if len(line.get_ydata()) > 2}
        assert costs in drawn
        names = [text.get_text() for text in right.get_yticklabels()]
        assert names == ["mixed\nemotion in 25% of the steps", "stretch\nemotion away once, for long"]


def _found(way: str, task: str, difference: float, since: int, fall: float, seeds: int = 6) -> dict[str, object]:
    return {
        "way": way, "arm": f"{fall:g}", "since": since, "task": task, "measure": "log_loss",
        "difference": difference, "low": difference - 0.01, "high": difference + 0.01, "seeds": seeds,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("clipped", "bare", "seeds", "begins"),
    [
        (0.05, 0.2, 3, "Clip the gradient: it spares the other tasks. "),
        (0.05, 0.2, 2, "Clipping may spare the other tasks. "),
        (0.2, 0.2, 6, "Whether clipping spares the other tasks was not settled. "),
    ],
)
def test_the_advice_says_what_the_intervals_say(clipped: float, bare: float, seeds: int, begins: str) -> None:
    """Its numbers are the tables' and the ledger's; it advises clipping for what it surely helps, and calls
    possible what few seeds say.
    """
    kept = findings.decided(findings.FindingsParameters(out="reference"))
    shares = {"P8": (0.07, (0.05, 0.09)), "P8a": (0.02, (0.01, 0.03)), "P9": (0.0007, (0.0003, 0.001))}
    rows = {
        key: kept[key].model_copy(update={"measured": mean, "interval": around})
        for key, (mean, around) in shares.items()
    }
    spikes = [
        {"way": CLIPPED, "arm": arm, "dose": d, "ratio": r} for arm, d, r in (("3", 3, 500), ("unmasked", 0.5, 3))
    ]

    def said(own: float, told: dict[str, Row] = rows) -> list[str]:
        costs = [_found(CLIPPED, "the others", clipped, 10, 3), _found(BARE, "the others", bare, 10, 3, seeds)]
        costs.append(_found(CLIPPED, "reporting", own, 50, 5))
        return list(advice(pd.DataFrame(costs), pd.DataFrame(spikes), told, "reporting")["sentence"])

    mask, watch, clip = said(0.2)
    assert watch.endswith("A summed rate (Λ) of 3 lowered it by 0.5.")
    assert (
        f"[{rows['P9'].interval[0]:.4f}, {rows['P9'].interval[1]:.4f}; {rows['P9'].seeds} seeds] of mean area" in mask
    )
    assert watch.startswith(
        "Watch the returned task's own loss. With log sigma lowered by 5 by hand, clipped, it is +0.200 [0.190, 0.210;"
    )
    assert clip.startswith(begins + "10 steps after it was lowered by 3 (500 times reporting's gradient) their loss is")
    assert f"higher by {clipped:+.3f} [" in clip
    assert "It does not spare the pre-training" in clip
    assert f"lost {rows['P8'].measured:+.3f} [" in clip
    assert said(0.0)[1].startswith("The returned task's own loss is not surely higher.")
    assert said(0.0, {})[2].endswith("lost (not tried) clipped, (not tried) not, by the return after Λ = 3 (P8, P8a).")


def test_where_nobody_asked_there_is_no_price(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the run nor the reference: none, and no error."""
    monkeypatch.setattr(findings, "reference_run", lambda: RunFolders.of(str(tmp_path / "nothing")))
    assert findings.price(findings.FindingsParameters(out=str(tmp_path / "empty"))) is None


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
