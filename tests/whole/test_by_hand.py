"""Notebooks run by hand, in papermill or Jupyter: slips are refused, nothing is overwritten, all can be read."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError
from toy_study import PhantomToy

import aura_study
from aura_study import paths
from aura_study.cli import main
from aura_study.errors import StudyError
from aura_study.paths import RunFolders
from aura_study.runs.outputs import NotebookRun

SETUP = "p = PhantomToy.from_namespace(globals())"
CELL = "out = 'x'\nsteps = 3\nrate = 0.01\nmode = 'fine'\nflag = True\nlabel = None"


@pytest.mark.parametrize(
    ("cells", "slip"),
    [
        (["", CELL, "# Parameters\nstep = 5\n", SETUP], "'step' of notebook 03_phantom_gradient; did you mean steps"),
        (["", CELL, "other = float('inf')", SETUP], "'other'"),
        (["", CELL, SETUP, "frame = measure(p)", "step = 5", SETUP], "'step'"),
        (["", CELL, SETUP, "frame = measure(p)", "lines = [1]\nprint(lines)", SETUP], None),
        (["", CELL, SETUP, "lines = [1]", "frame = 3", CELL, SETUP], None),
        (["", "%load_ext x", "_mine = 3\nrate = 0.5", SETUP], None),
    ],
)
def test_a_name_set_beside_the_parameters_is_refused(cells: list[str], slip: str | None) -> None:
    """Whatever the cells right before set to a literal is a parameter or a slip; results of other cells are neither."""
    namespace = {"In": cells, "steps": "5", "step": 5, "lines": [1], "frame": 3, "pd": object()}
    if slip is None:
        assert PhantomToy.from_namespace(namespace).steps == 5
        return
    with pytest.raises(StudyError) as caught:
        PhantomToy.from_namespace(namespace)
    assert f"unknown parameter {slip}" in str(caught.value)


def test_a_wrong_value_is_one_sentence_in_a_notebook_too() -> None:
    """The sentence of the command line, with type and range; IPython shows it without a traceback."""
    with pytest.raises(StudyError) as caught:
        PhantomToy.from_namespace({"steps": 0})
    assert not isinstance(caught.value, ValidationError)
    words = "StudyError: notebook 03_phantom_gradient: steps = 0: input should be greater than or equal to 1; allowed: "
    assert caught.value._render_traceback_() == [words + "integer, at least 1, at most 10000 (default 3)"]


def test_each_execution_has_a_run_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without ``out`` the second execution leaves the first alone, and begins with its trainings; both say where."""
    monkeypatch.setattr(paths, "home", lambda: tmp_path)
    first, second = (NotebookRun.open(PhantomToy()) for _ in range(2))
    assert first.folders == RunFolders(
        tmp_path / f"results/{PhantomToy.notebook}-1", tmp_path / f"figures/{PhantomToy.notebook}-1"
    )
    first.folders.trajectories.mkdir()
    (first.folders.trajectories / "a.parquet").write_bytes(b"a")
    third = NotebookRun.open(PhantomToy())
    assert not third.folders.trajectories.exists()  # the second trained nothing
    second.folders.trajectories.mkdir()
    (second.folders.trajectories / "b.parquet").write_bytes(b"b")
    shutil.rmtree(third.folders.results)
    third = NotebookRun.open(PhantomToy())
    assert [path.name for path in third.folders.trajectories.iterdir()] == ["b.parquet"]
    third.close()
    told = capsys.readouterr().out.splitlines()
    assert told[0].endswith(str(third.folders.results))
    assert told[-1].endswith(f"aura-study claims {PhantomToy.notebook}-3")


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a notebook and, as if from a wheel, the package without its checkout."""
    folder = tmp_path_factory.mktemp("elsewhere")
    package = Path(aura_study.__file__).parent
    shutil.copytree(package, folder / "site" / "aura_study", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "work").mkdir()
    shutil.copy(package.parent / "notebooks" / "01_focal_loss.ipynb", folder / "work")
    return folder


def papermill(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "papermill", "01_focal_loss.ipynb", "out.ipynb", "-k", "python3", "--log-output"]
    environment = {"PATH": str(Path(sys.executable).parent), "PYTHONPATH": str(folder / "site"), "HOME": str(folder)}
    return subprocess.run(
        [*command, *words], cwd=folder / "work", env=environment, capture_output=True, text=True, timeout=600
    )


@pytest.mark.slow
def test_papermill_refuses_a_misspelt_parameter_at_once(elsewhere: Path) -> None:
    """The notebook itself says so, in one line, before it computes or makes a folder."""
    done = papermill(elsewhere, "-p", "point", "9")
    assert done.returncode != 0
    assert "StudyError: unknown parameter 'point' of notebook 01_focal_loss; did you mean points" in done.stderr
    assert not (elsewhere / "work" / "results").exists()


@pytest.mark.slow
def test_papermill_without_out_leaves_runs_that_can_be_read(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Outside a checkout each has a run in the working folder; claims, compare and report read them."""
    for points in ("9", "11"):
        done = papermill(elsewhere, "-p", "points", points)
        assert done.returncode == 0, done.stderr
    results = elsewhere / "work" / "results"
    assert sorted(path.name for path in results.iterdir()) == ["01_focal_loss-1", "01_focal_loss-2"]
    assert f"Results and figures: {results}/01_focal_loss-2" in done.stderr
    for words in (["claims", "--run"], ["report", "--run"], ["compare", f"{results}/01_focal_loss-1"]):
        monkeypatch.setattr(sys, "argv", ["aura-study", *words, f"{results}/01_focal_loss-2"])
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code
    told = capsys.readouterr().out
    for word in ("by hand", "points", "confirmed", "index.html"):
        assert word in told
