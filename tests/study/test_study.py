"""The runner: what a run leaves behind, what it runs again, and how it fails."""

import errno
import io
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
import toy_study
from filelock import FileLock
from killed_runs import snapshot
from rich.console import Console

from aura_study.errors import StudyError
from aura_study.paths import RunFolders
from aura_study.runs import manifest
from aura_study.runs.ledger import read_claims
from aura_study.runs.records import UNFINISHED, write_json
from aura_study.runs.stamps import (
    Attempt,
    Stamp,
    attempt_at,
    attempt_path,
    read_stamp,
    reason_to_run,
    seconds_of_the_whole,
)
from aura_study.study import runner
from aura_study.study.notebook import NotebookFailed
from aura_study.study.processes import INLINE_BACKEND, cores, environment


@pytest.fixture(scope="module")
def notebooks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_study.write_notebooks(tmp_path_factory.mktemp("toy") / "notebooks")


@pytest.fixture(scope="module")
def finished(notebooks: Path, tmp_path_factory: pytest.TempPathFactory) -> runner.Outcome:
    """The toy study, run on a machine whose installed ``python3`` kernelspec leads nowhere, with MPLBACKEND=Agg."""
    decoy = tmp_path_factory.mktemp("jupyter")
    spec = decoy / "kernels" / "python3" / "kernel.json"
    spec.parent.mkdir(parents=True)
    spec.write_text(json.dumps({"argv": ["/bin/false"], "display_name": "decoy", "language": "python"}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_PATH", str(decoy))
        patch.setenv("MPLBACKEND", "Agg")
        patch.setenv("TOY_PYTHON", sys.executable)
        return toy_study.run(notebooks.parent / "finished", "steps=3", notebooks=notebooks)


def printed(notebook: Path) -> str:
    cells = nbformat.read(notebook, as_version=4).cells
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    return "".join(output.get("text", "") for output in outputs)


def test_a_run_leaves_ledger_manifest_notebooks_and_report(finished: runner.Outcome) -> None:
    """Every output that a run promises is there, and the ledger holds the decided claims in the ledger's order."""
    folders = finished.folders
    assert finished.executed == ["01_focal_loss", "03_phantom_gradient"]
    assert [row.claim for row in read_claims(folders).claims] == ["F1", "P1"]
    assert {row.verdict for row in read_claims(folders).claims} == {"confirmed"}
    assert (folders.report / "index.html").is_file()
    held = manifest.read_manifest(folders)
    assert held is not None
    assert held.notebooks["03_phantom_gradient"].parameters["steps"] == 3
    assert held.notebooks["01_focal_loss"].seeds == {"seeds": [0, 1]}
    assert held.versions["torch"].startswith("2.")
    assert held.unfinished == []
    for name, entry in held.notebooks.items():
        assert f"notebooks/{name}.ipynb" in entry.outputs
    assert "figures/phantom_gradient.svg" in held.notebooks["03_phantom_gradient"].outputs


def test_kernels_are_this_interpreter_and_show_figures(finished: runner.Outcome) -> None:
    """Whatever kernelspec is installed and whatever MPLBACKEND says, the kernel is this Python and draws inline."""
    assert f"python: True {INLINE_BACKEND}" in printed(finished.folders.notebooks / "03_phantom_gradient.ipynb")


def test_no_absolute_path_and_no_progress_bar_is_kept(finished: runner.Outcome) -> None:
    """Neither the manifest nor an executed notebook says where the run lies; bars leave nothing behind."""
    folders = finished.folders
    for path in (folders.manifest, folders.claims, *folders.notebooks.glob("*.ipynb")):
        text = path.read_text()
        assert str(folders.results) not in text
        assert str(Path(__file__).parents[2]) not in text
    assert "it/s]" not in printed(folders.notebooks / "03_phantom_gradient.ipynb")


@pytest.mark.slow
def test_a_path_that_the_user_gave_is_told_by_its_name_alone(notebooks: Path, tmp_path: Path) -> None:
    """Of a parameter that is an absolute path, manifest, notebooks, tables and report show the last part."""
    private = "/private/of-a-user/my-model"
    held = toy_study.run(tmp_path / "run", f"label={private}", "steps=2", notebooks=notebooks).folders
    shown = [path for path in held.results.rglob("*") if path.is_file()]
    told = [path for path in shown if b"/private/of-a-user" in path.read_bytes()]
    assert told == []
    assert ".../my-model" in held.manifest.read_text()


def test_nothing_changed_means_nothing_runs_and_no_file_moves(finished: runner.Outcome, notebooks: Path) -> None:
    """A second run executes no notebook and rewrites no file, the report and manifest included."""
    before = snapshot(finished.folders.results)
    again = toy_study.run(finished.folders.results, "steps=3", notebooks=notebooks)
    assert again.executed == []
    assert again.unchanged == finished.executed
    assert snapshot(finished.folders.results) == before


def test_what_changed_runs_again_and_says_why(finished: runner.Outcome) -> None:
    """Each ingredient of a result, and each output, is watched."""
    folders = finished.folders
    stamp = read_stamp(folders, "03_phantom_gradient")
    assert stamp is not None
    assert reason_to_run(folders, stamp, stamp.fingerprint) is None
    assert reason_to_run(folders, None, stamp.fingerprint) == "not finished yet"
    for name in ("notebook", "parameters", "code", "data", "versions"):
        assert reason_to_run(folders, stamp, {**stamp.fingerprint, name: "other"}) == f"{name} changed"
    table = folders.tables / "rows.csv"
    content = table.read_bytes()
    table.write_bytes(content + b"\n")
    assert reason_to_run(folders, stamp, stamp.fingerprint) == "tables/rows.csv was altered"
    table.unlink()
    assert reason_to_run(folders, stamp, stamp.fingerprint) == "tables/rows.csv is missing"
    table.write_bytes(content)


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "reason"), [("raise", "ValueError: no <b>luck</b>"), ("die", "the kernel died")])
def test_a_failing_notebook_is_one_clear_error(mode: str, reason: str, notebooks: Path, tmp_path: Path) -> None:
    """The error names notebook, cell and parameters; what was executed is kept, marked as failed, and not as done."""
    out = tmp_path / "out"
    with pytest.raises(NotebookFailed) as caught:
        toy_study.run(out, f"mode={mode}", notebooks=notebooks, only="03")
    text = str(caught.value)
    assert "notebook 03_phantom_gradient stopped in cell 'trouble'" in text
    assert reason in text
    assert f"mode={mode!r}" in text
    kept = out / "notebooks" / "03_phantom_gradient.failed.ipynb"
    assert str(kept) in text
    assert "python:" in printed(kept)
    assert not (out / "notebooks" / "03_phantom_gradient.ipynb").exists()
    assert read_stamp(RunFolders.of(str(out)), "03_phantom_gradient") is None
    held = manifest.read_manifest(RunFolders.of(str(out)))
    assert held is not None
    assert held.unfinished == ["03_phantom_gradient"]


@pytest.mark.slow
def test_one_failing_notebook_does_not_stop_the_others(notebooks: Path, tmp_path: Path) -> None:
    """The other is run and kept, the report says what is missing; later only the failed one runs again."""
    out = tmp_path / "out"
    with pytest.raises(NotebookFailed, match=r"what the run holds without it: .*index\.html"):
        toy_study.run(out, "mode=raise", notebooks=notebooks)
    page = (out / "report" / "index.html").read_text()
    assert "Notebook 03_phantom_gradient stopped with an error" in page
    again = toy_study.run(out, "mode=fine", notebooks=notebooks)
    assert again.unchanged == ["01_focal_loss"]
    assert again.executed == ["03_phantom_gradient"]
    assert "This report is not complete" not in (out / "report" / "index.html").read_text()
    assert not list((out / "notebooks").glob("*.failed.ipynb"))


def test_two_runs_on_one_folder_the_second_refuses(notebooks: Path, tmp_path: Path) -> None:
    """While a folder is being written, a second run stops at once and touches nothing."""
    out = tmp_path / "busy"
    out.mkdir()
    with FileLock(out / ".lock"), pytest.raises(StudyError, match="another run is writing to"):
        toy_study.run(out, notebooks=notebooks)
    assert [path.name for path in out.iterdir()] == [".lock"]


def test_another_run_is_not_overwritten(finished: runner.Outcome, notebooks: Path) -> None:
    """A folder that holds a run with other settings is refused unless its replacement is asked for."""
    before = snapshot(finished.folders.results)
    other = toy_study.request(finished.folders.results, "steps=4", notebooks=notebooks)
    with pytest.raises(StudyError, match=r"was made with profile smoke on embedded data and steps=3"):
        runner.run_study(other, folder=notebooks)
    assert snapshot(finished.folders.results) == before


def test_a_folder_that_cannot_be_written_is_one_error(notebooks: Path, tmp_path: Path) -> None:
    """A file where the results folder should be gives an error that names it, not a traceback from below."""
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(StudyError, match=r"cannot write the run to .*taken"):
        toy_study.run(tmp_path / "taken" / "run", notebooks=notebooks)


@pytest.mark.slow
def test_a_full_disk_is_one_error(notebooks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Running out of space while the run is recorded ends it with the system's own words."""

    def full(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(runner, "write_claims", full)
    with pytest.raises(StudyError, match="No space left on device"):
        toy_study.run(tmp_path / "out", notebooks=notebooks)


def damaged(*arguments: object, **options: object) -> None:
    raise StudyError("evidence is damaged")


def breaks(request: object, source: object, data: object, at_once: int, console: object, outcome: Any) -> None:
    outcome.ended["03_phantom_gradient"] = "notebook 03_phantom_gradient stopped"


def interrupt(*arguments: object) -> None:
    raise KeyboardInterrupt


def test_damaged_evidence_of_another_notebook_is_told_before_any_work(notebooks: Path, tmp_path: Path) -> None:
    """It would be merged into the ledger at the end; the notebook that is asked for has not run for nothing."""
    out = tmp_path / "out"
    (out / "evidence").mkdir(parents=True)
    (out / "evidence" / "01_focal_loss.json").write_text("{")
    with pytest.raises(StudyError, match=r"cannot read .*01_focal_loss\.json"):
        toy_study.run(out, notebooks=notebooks, only="03")
    assert sorted(path.name for path in out.iterdir()) == [".lock", "evidence"]


def test_what_cannot_be_recorded_hides_no_notebooks_error(
    notebooks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are told, the notebook's first."""
    monkeypatch.setattr(runner, "_run", breaks)
    monkeypatch.setattr(runner, "write_claims", damaged)
    with pytest.raises(StudyError, match=r"^notebook 03_phantom_gradient stopped\nevidence is damaged$"):
        toy_study.run(tmp_path / "out", notebooks=notebooks)


def test_what_cannot_be_recorded_hides_no_interrupt(
    notebooks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C ends a run as an interrupt, and says what is kept."""
    monkeypatch.setattr(runner, "_run", interrupt)
    monkeypatch.setattr(runner, "write_claims", damaged)
    told = io.StringIO()
    with pytest.raises(KeyboardInterrupt):
        toy_study.run(tmp_path / "out", notebooks=notebooks, console=Console(file=told))
    assert "Interrupted. 0 of 2 notebooks are finished" in told.getvalue()


def test_a_report_that_cannot_be_built_hides_no_notebooks_error(
    notebooks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The notebook's error comes first, and what is wrong with the report after it."""
    monkeypatch.setattr(runner, "_run", breaks)
    monkeypatch.setattr("aura_study.cli.runs.rebuild_report", damaged)
    with pytest.raises(NotebookFailed, match=r"stopped\n  and the report cannot be written: evidence is damaged"):
        toy_study.run(tmp_path / "out", notebooks=notebooks)


def test_a_folder_of_a_sweep_or_a_training_is_no_place_for_a_run(notebooks: Path, tmp_path: Path) -> None:
    """Refused as a sweep refuses a run's, with --replace too; nothing is written."""
    for name, words in (("sweep.json", "a sweep"), ("checkpoints", "a training")):
        out = tmp_path / words
        (out / name).mkdir(parents=True)
        with pytest.raises(StudyError, match=f"holds {words}; choose another name with --out"):
            toy_study.run(out, notebooks=notebooks)
        assert [path.name for path in out.iterdir()] == [name]


def test_leftovers_of_a_killed_process_are_swept(finished: runner.Outcome, notebooks: Path) -> None:
    """Half-written files, named as our writers name them, go; the user's own stay, hidden or not, wherever they lie."""
    results = finished.folders.results
    half = [results / f"{UNFINISHED}7-claims.json", results / "notebooks" / f"{UNFINISHED}7-03_phantom_gradient.ipynb"]
    (results / ".git").mkdir()
    names = ("notes.txt", ".backup-20260101.tar", ".my.1.partial", ".db-password.env", ".git/.hook-passw0rd.sh")
    mine = [results / name for name in (*names, f".git/{UNFINISHED}of-another")]
    for path in (*half, *mine):
        path.write_text("half")
    toy_study.run(results, "steps=3", notebooks=notebooks)
    assert not any(path.exists() for path in half)
    assert all(path.exists() for path in mine)
    shutil.rmtree(results / ".git")
    for path in mine[:4]:
        path.unlink()


def test_a_folder_of_the_users_is_no_place_for_a_run(notebooks: Path, tmp_path: Path) -> None:
    """Refused with what it holds, and left as it was; an empty folder is taken."""
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(StudyError, match=r"is not a run's folder: it holds thesis\.tex; choose an empty one"):
        toy_study.run(tmp_path, "steps=3", notebooks=notebooks)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_new_files_follow_the_umask(tmp_path: Path) -> None:
    """A user who lets nobody read new files has a run that nobody reads."""
    held = os.umask(0o077)
    try:
        path = write_json(tmp_path / "claims.json", {})
    finally:
        os.umask(held)
    assert path.stat().st_mode & 0o777 == 0o600


def test_time_of_kept_jobs_counts() -> None:
    """A notebook that kept a job took as long as when the job ran; one that made everything anew took what it took."""
    held = {"trajectories/a.parquet": "1", "tables/t.csv": "1"}
    before = Stamp(fingerprint={}, parameters={}, outputs=held, seconds=90)
    assert seconds_of_the_whole(3, {"trajectories/a.parquet": "1", "trajectories/b.parquet": "1"}, before) == 90
    assert seconds_of_the_whole(95, {"trajectories/a.parquet": "1"}, before) == 95
    assert seconds_of_the_whole(3, {"trajectories/a.parquet": "2", "tables/t.csv": "1"}, before) == 3
    assert seconds_of_the_whole(3, {"trajectories/a.parquet": "1"}, None) == 3


def test_time_of_stopped_attempts_counts(tmp_path: Path) -> None:
    """The next attempt begins with the seconds of an equal one, and with none of another; the last stamp is kept."""
    folders = RunFolders.of(str(tmp_path / "run"))
    name, equal = "03_phantom_gradient", {"code": "1"}
    assert attempt_at(folders, name, equal) == Attempt(fingerprint=equal)
    before = Stamp(fingerprint={"code": "0"}, parameters={}, outputs={}, seconds=90)
    stopped = Attempt(fingerprint=equal, seconds=40, before=before)
    write_json(attempt_path(folders, name), stopped.model_dump(mode="json"))
    assert attempt_at(folders, name, equal) == stopped
    assert attempt_at(folders, name, {"code": "2"}) == Attempt(fingerprint={"code": "2"}, before=before)
    attempt_path(folders, name).write_text("{")
    assert attempt_at(folders, name, equal) == Attempt(fingerprint=equal)


def test_the_kernel_keeps_a_chosen_thread_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """OMP_NUM_THREADS is left alone where the user has set it, else set to the number of its cores at most."""
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert environment()["OMP_NUM_THREADS"] == "3"
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert 1 <= int(environment()["OMP_NUM_THREADS"]) <= cores()


def test_notebooks_side_by_side_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight cores for two notebooks: four threads and four of joblib's workers each; never none.

    What counts are the cores that are left to this process, not those of the machine.
    """
    for name in ("OMP_NUM_THREADS", "LOKY_MAX_CPU_COUNT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    for number, at_once, share in ((8, 1, "8"), (8, 2, "4"), (2, 2, "1"), (1, 2, "1")):
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid, number=number: set(range(number)), raising=False)
        held = environment(at_once)
        assert (held["OMP_NUM_THREADS"], held["LOKY_MAX_CPU_COUNT"]) == (share, share)
