"""Thinning: smaller trajectories that say so, in a run that still holds together."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from aura_study.errors import StudyError
from aura_study.paths import REFERENCE, RunFolders
from aura_study.runs.consistency import contradictions, doubts
from aura_study.runs.jobs import METADATA, Job, is_finished, job_metadata, keep_table
from aura_study.runs.ledger import read_claims
from aura_study.runs.manifest import read_manifest
from aura_study.runs.stamps import read_stamp, reason_to_run
from aura_study.runs.thin import MARK, NOTE, thin


@pytest.fixture
def copied(tmp_path: Path) -> RunFolders:
    """A copy of the reference run."""
    reference = RunFolders.of(REFERENCE)
    shutil.copytree(reference.results, tmp_path / "copy")
    return RunFolders.of(str(tmp_path / "copy"))


def stretch(steps: int = 200) -> pd.DataFrame:
    """Two tasks, one of which is away from step 63 to 127."""
    step = np.repeat(np.arange(steps), 2)
    task = np.tile(["toxicity", "reporting"], steps)
    away = (task == "reporting") & (step >= 63) & (step < 128)
    return pd.DataFrame({"step": step, "task": task, "present": ~away, "weight": step * 1.5})


def test_a_thinned_trajectory_keeps_its_turns_and_its_end_and_says_so(copied: RunFolders) -> None:
    """One step in ten, the last, and the steps around leaving and return; values are those of the whole file."""
    job = Job(name="stretch-seed0")
    path = keep_table(job, stretch(), copied.trajectories)
    assert is_finished(job, copied.trajectories)
    thin(copied, 10)
    kept = pq.read_table(path).to_pandas()
    steps = set(kept["step"])
    assert {0, 10, 190, 199} | {61, 62, 63, 64} | {126, 127, 128, 129} <= steps
    assert len(steps) < 40
    whole = stretch().set_index(["step", "task"])
    kept = kept.set_index(["step", "task"])
    pd.testing.assert_frame_equal(kept, whole.loc[kept.index])
    described = pq.read_metadata(path).metadata
    assert b"one step in 10" in described[MARK]
    assert described[b"aura_study.rows"] == b"400"
    assert METADATA in described
    assert "key" not in job_metadata(path)
    assert not is_finished(job, copied.trajectories)
    assert "one step in 10" in (copied.trajectories / NOTE).read_text()


def test_steps_since_a_return_are_thinned_too(copied: RunFolders) -> None:
    """A file that counts from the return keeps the first step back, one in ten, and the last."""
    frame = pd.DataFrame({"since": np.repeat(np.arange(300), 4), "task": list("abcd") * 300, "weight": 1.0})
    path = keep_table(Job(name="dose-3-seed0"), frame, copied.trajectories)
    thin(copied, 10)
    assert pq.read_table(path).to_pandas()["since"].unique().tolist() == [*range(0, 300, 10), 299]


def test_a_file_of_few_steps_keeps_some_rows_of_each(copied: RunFolders) -> None:
    """Three steps of a hundred comments each become three steps of ten."""
    frame = pd.DataFrame({"step": np.repeat([0, 20, 40], 100), "row": np.tile(np.arange(100), 3)})
    path = keep_table(Job(name="comments"), frame, copied.trajectories)
    thin(copied, 10)
    assert pq.read_table(path).to_pandas().groupby("step").size().tolist() == [10, 10, 10]


def test_the_run_still_holds_together_and_a_second_time_changes_nothing(copied: RunFolders) -> None:
    """Stamps, manifest and files agree after thinning, and what is thin already stays as it is."""
    held = read_manifest(copied)
    assert held is not None
    name = next(key for record in held.notebooks.values() for key in record.outputs if key.startswith("trajectories/"))
    keep_table(Job(name=Path(name).stem), stretch(), copied.trajectories)
    assert thin(copied, 4) > 0
    held = read_manifest(copied)
    assert held is not None
    assert list(contradictions(copied, read_claims(copied), held)) == []
    for name, record in held.notebooks.items():
        stamp = read_stamp(copied, name)
        assert stamp is not None
        assert stamp.outputs == record.outputs
        figures = {key for key in stamp.outputs if key.startswith("figures/")}
        stamp.outputs = {key: value for key, value in stamp.outputs.items() if key not in figures}
        assert reason_to_run(copied, stamp, stamp.fingerprint) is None
    assert thin(copied, 4) == 0


def test_the_note_says_how_each_file_was_thinned(copied: RunFolders) -> None:
    """A second thinning leaves thin files as they are, and so the note of them; a new file has words of its own."""
    for path in copied.trajectories.iterdir():
        path.unlink()
    keep_table(Job(name="first"), stretch(), copied.trajectories)
    thin(copied, 10)
    note = copied.trajectories / NOTE
    before = note.read_text()
    assert thin(copied, 50) == 0
    assert note.read_text() == before
    keep_table(Job(name="second"), stretch(), copied.trajectories)
    assert thin(copied, 50) == 1
    _, first, second = note.read_text().split("\n\n")
    assert first.startswith("first.parquet: Of each trajectory one step in 10 is kept")
    assert second.startswith("second.parquet: Of each trajectory one step in 50 is kept")


def test_a_thinning_that_was_killed_is_completed_by_the_next(
    copied: RunFolders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after its files and before its records: the second leaves a run that holds together."""
    held = read_manifest(copied)
    assert held is not None
    name = next(key for record in held.notebooks.values() for key in record.outputs if key.startswith("trajectories/"))
    keep_table(Job(name=Path(name).stem), stretch(), copied.trajectories)
    with monkeypatch.context() as killed:
        killed.setattr("aura_study.runs.thin.digest_file", interrupt)
        with pytest.raises(KeyboardInterrupt):
            thin(copied, 4)
    assert doubts(copied, read_claims(copied))
    thin(copied, 4)
    assert not [doubt for doubt in doubts(copied, read_claims(copied)) if name in doubt]


def interrupt(path: Path) -> str:
    """What a kill does to a process that takes a digest."""
    raise KeyboardInterrupt(path)


def test_what_cannot_be_thinned_is_one_error(tmp_path: Path, copied: RunFolders) -> None:
    """Keeping every step is no thinning, and a folder without a run has nothing to thin."""
    with pytest.raises(StudyError, match="2 or more; got 1"):
        thin(copied, 1)
    with pytest.raises(StudyError, match=r"no manifest\.json"):
        thin(RunFolders.of(str(tmp_path / "nothing")), 10)
