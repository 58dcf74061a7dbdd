"""Runs beside each other: only what all have, only what differs, and one clear error where there is nothing."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import toy_sweep
from toy_study import PhantomToy

from aura_study.claims import Measurement
from aura_study.errors import StudyError
from aura_study.paths import RunFolders, reference_run
from aura_study.runs import comparison as module
from aura_study.runs.comparison import Comparison
from aura_study.runs.outputs import NotebookRun
from aura_study.sweep.grid import Grid


def hand_made(out: Path, spread: float = 1e-9, **parameters: float) -> RunFolders:
    """A run whose numbers follow its parameters."""
    p = PhantomToy(out=str(out), **parameters)
    run = NotebookRun.open(p)
    run.decide("P1", Measurement(spread, 0.0, spread, "largest error", 0.0))
    frame = pd.DataFrame({"form": ["a", "b"], "growth": [1.0, p.rate], "why": ["-", "x"]})
    run.table("growth", frame)
    run.table("same", frame[["form"]])
    run.table("longer", pd.DataFrame({"step": range(p.steps), "growth": [p.rate * step for step in range(p.steps)]}))
    return run.folders


def test_only_what_all_have_and_only_what_differs(tmp_path: Path) -> None:
    """A parameter, a claim and a table's entries: each with its value in each run, and nothing that is equal."""
    folders = [
        hand_made(tmp_path / "a", steps=3, rate=0.1),
        hand_made(tmp_path / "b", steps=3, rate=0.2, spread=1.0),
        hand_made(tmp_path / "c", steps=3, rate=0.1),
    ]
    other = NotebookRun("01_focal_loss", str(tmp_path / "b"))
    other.decide("F1", Measurement(0.0, 0.0, 0.0, "error", 0.0))
    found = Comparison(folders)
    assert found.names == ["a", "b", "c"]
    assert (found.notebooks, found.alone) == (["03_phantom_gradient"], {"b": 1})
    assert [(one.name, one.where, one.values) for one in found.parameters] == [
        ("rate", ("03_phantom_gradient",), (0.1, 0.2, 0.1))
    ]
    assert found.claims == ["P1"]
    (change,) = found.changes
    assert change.of_verdict
    assert [row.interval[1] for row in change.rows] == [1e-9, 1.0, 1e-9]
    assert [(one.name, one.where, one.values) for one in found.numbers if one.name == "growth"] == [
        ("growth", ("b", "growth"), (0.1, 0.2, 0.1))
    ]
    assert found.tables == ["growth", "same"]
    (laid,) = found.overlays.shown
    assert (laid.name, [line.values[1] for line in laid.quantities["growth"]]) == ("longer", [0.1, 0.2, 0.1])
    assert found.as_json()["numbers"][0]["values"] == [0.1, 0.2, 0.1]


def test_a_notebook_run_by_hand_since_shows_the_parameters_of_its_numbers(tmp_path: Path) -> None:
    """The manifest is of the run before; the evidence is what the numbers were made with."""
    there, folders = reference_run(), [RunFolders.of(str(tmp_path / name)) for name in "ab"]
    for one in folders:
        shutil.copytree(there.evidence, one.evidence)
        for path in (there.manifest, there.claims):
            shutil.copy(path, one.results)
    path = folders[1].evidence / "03_phantom_gradient.json"
    written = json.loads(path.read_text(encoding="utf-8"))
    steps = written["parameters"]["absent_steps"]
    written["parameters"]["absent_steps"] += 1
    path.write_text(json.dumps(written), encoding="utf-8")
    found = [(one.name, one.where, one.values) for one in Comparison(folders).parameters]
    assert found == [("absent_steps", ("03_phantom_gradient",), (steps, steps + 1))]


def test_more_lines_than_colours_are_several_pictures(tmp_path: Path) -> None:
    """Five forms under two optimisers: a picture an optimiser, none of which is left out."""
    folders = []
    for name, rate in (("a", 0.1), ("b", 0.2)):
        run = NotebookRun.open(PhantomToy(out=str(tmp_path / name)))
        rows = [
            {"form": form, "optimizer": optimizer, "step": step, "sigma": (1 - rate) ** step}
            for form in "vwxyz"
            for optimizer in ("SGD", "Adam")
            for step in range(4)
        ]
        run.table("paths", pd.DataFrame(rows))
        folders.append(run.folders)
    shown = Comparison(folders).overlays.shown
    assert [one.name for one in shown] == ["paths, SGD", "paths, Adam"]
    assert [[line.group for line in one.quantities["sigma"]] for one in shown] == [[*"vwxyz"] * 2] * 2


def test_rows_are_matched_by_what_names_them_or_by_their_place() -> None:
    """In another order they are the same rows; where the naming column differs their place counts, if equally many."""
    first = pd.DataFrame({"form": ["a", "b"], "growth": [1.0, 2.0]})
    turned = pd.DataFrame({"form": ["b", "a"], "growth": [2.0, 1.5]})
    assert [one.where for one in module._cells("t", module._matched([first, turned]) or [])] == [("a", "growth")]
    renamed = first.assign(form=["a", "c"])
    assert [one.where for one in module._cells("t", module._matched([first, renamed]) or [])] == [("row 2", "form")]
    assert module._matched([first, first.head(1).assign(form="z")]) is None
    assert [len(one) for one in module._matched([first, first.head(1)]) or []] == [1, 1]
    tiny = first.assign(growth=first["growth"] * (1 + 1e-12))
    assert module._cells("t", module._matched([first, tiny]) or []) == []


def test_what_cannot_be_compared_is_one_error(tmp_path: Path) -> None:
    """Too few runs, one twice, one that does not exist, and runs that share nothing."""
    run = hand_made(tmp_path / "a")
    with pytest.raises(StudyError, match=r"compare takes two runs or more, each once; got a$"):
        Comparison([run])
    with pytest.raises(StudyError, match="each once"):
        Comparison([run, run])
    with pytest.raises(StudyError, match=r"run 'nowhere' has no claims\.json"):
        Comparison([run, RunFolders.of(f"{tmp_path}/nowhere")])
    other = NotebookRun("01_focal_loss", str(tmp_path / "b")).folders
    with pytest.raises(StudyError, match="runs a, b have nothing in common: no notebook, claim or table"):
        Comparison([run, other])


@pytest.mark.slow
def test_sweeps_compare_by_their_summaries_and_records(tmp_path: Path) -> None:
    """Two sweeps of one kind: the axis that differs, the numbers of the jobs that both have."""
    folders = []
    for name, words in (("a", "number=1,2"), ("b", "number=1,2,3")):
        toy_sweep.run(tmp_path / name, words)
        folders.append(RunFolders.of(f"{tmp_path}/{name}"))
    summary = pd.read_csv(tmp_path / "a" / "summary.csv")
    summary.assign(square=[1, 5]).to_csv(tmp_path / "a" / "summary.csv", index=False)
    found = Comparison(folders)
    assert [(one.name, one.where, one.values) for one in found.parameters] == [
        ("number", ("toy sweep",), ([1, 2], [1, 2, 3]))
    ]
    assert [(one.name, one.where, one.values) for one in found.numbers] == [("summary", ("2", "square"), (5, 4))]


@pytest.mark.slow
def test_a_sweeps_training_is_laid_over_the_references_nearest(tmp_path: Path) -> None:
    """Where no name is shared, trainings are paired by their settings, and what differs is said."""
    words = ["presence=stretch", "absent_start=2", "absent_stop=4", "steps=6", "policy=masked"]
    sweep = run_training(tmp_path / "sweep", words)
    found = Comparison([sweep, reference_run()]).overlays
    assert found.compared == 1
    (one,) = found.shown
    assert "masked" in one.name
    assert "steps 6 / " in one.differs
    assert {line.run for line in one.quantities["sigma"]} == {0, 1}
    assert {line.group for line in one.quantities["sigma"]} == {"toxicity", "emotion", "sentiment", "reporting"}


def run_training(out: Path, words: list[str]) -> RunFolders:
    from rich.console import Console

    from aura_study.runs.engine import LocalEngine
    from aura_study.sweep.runner import run_sweep

    grid = Grid.of("training", [*words, "rows=40", "dev_rows=10", "batch_size=8"])
    folders = RunFolders.of(str(out))
    run_sweep(grid, folders, LocalEngine(1), Console(quiet=True))
    return folders
