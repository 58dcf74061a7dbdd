"""Sweeps on this machine: the grid that is meant, each job once, and what fails is told while the rest finishes."""

import io
from pathlib import Path

import pandas as pd
import pytest
import toy_sweep
from filelock import FileLock
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from aura_study.errors import StudyError
from aura_study.paths import RunFolders
from aura_study.runs.engine import LocalEngine
from aura_study.runs.jobs import job_metadata
from aura_study.runs.manifest import commit, device
from aura_study.sweep.cluster import build_engine
from aura_study.sweep.grid import MOST_JOBS, Grid, read_grid_file
from aura_study.sweep.kinds import KINDS
from aura_study.sweep.runner import SWEEP_FILE, SweepFailed, SweepRecord, run_sweep

MIXED = ("number=0:6", "mode=trouble")


def test_a_grid_is_the_product_of_its_axes() -> None:
    """Lists and ranges multiply, the last axis runs fastest, words become the declared types."""
    grid = Grid.of("training", ["policy=unmasked,masked", "lr_sigma=0.001, 1e-2", "seed=0:5:2", "clip_norm=none"])
    assert grid.axes["lr_sigma"] == [0.001, 0.01]
    assert grid.axes["seed"] == [0, 2, 4]
    assert [node.label for node in grid.nodes][:2] == [
        "policy=unmasked lr_sigma=0.001 seed=0 clip_norm=none",
        "policy=unmasked lr_sigma=0.001 seed=2 clip_norm=none",
    ]
    assert len(grid.nodes) == 12
    settings = grid.nodes[-1].job.model_dump()["settings"]
    assert (settings["policy"], settings["lr_sigma"], settings["seed"], settings["clip_norm"]) == (
        "masked",
        0.01,
        4,
        None,
    )


def test_a_grid_file_says_the_same_as_the_command_line(tmp_path: Path) -> None:
    """A YAML file of values, lists and ranges makes the same jobs; -p wins over it."""
    path = tmp_path / "grid.yml"
    path.write_text("policy: [unmasked, masked]\nseed: '0:3'\nrate: 0.5\ntheta0: null\n")
    from_file = Grid.of("dynamics", ["rate=0.25"], read_grid_file(path))
    typed = Grid.of("dynamics", ["policy=unmasked,masked", "seed=0:3", "rate=0.25", "theta0=none"])
    assert [node.job for node in from_file.nodes] == [node.job for node in typed.nodes]


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_record_is_named_by_what_decides_it(kind: str) -> None:
    """Spelling a default out gives the same record, another value another; names never collide over a grid."""
    default = KINDS[kind].point().model_dump()["policy"]
    plain, spelt, other = (
        Grid.of(kind, words).nodes[0].job.name for words in ([], [f"policy={default}"], ["policy=frozen"])
    )
    assert plain == spelt != other
    names = [node.job.name for node in Grid.of(kind, ["seed=0:50", "policy=unmasked,masked"]).nodes]
    assert len(set(names)) == 100


def test_a_list_is_written_in_either_way() -> None:
    """With commas or in brackets as a notebook's; an integer with an exponent where it is one."""
    grids = [
        Grid.of("dynamics", [f"presence={presence}", "steps=1e2"]) for presence in ("0.05,0.2,1", "[0.05, 0.2, 1]")
    ]
    assert grids[0].axes == grids[1].axes == {"presence": [0.05, 0.2, 1.0], "steps": [100]}


@pytest.mark.parametrize(
    ("kind", "words", "told"),
    [
        ("dynamic", [], "unknown kind of sweep 'dynamic'; did you mean dynamics?"),
        ("dynamics", ["polcy=masked"], "unknown parameter 'polcy' of a dynamics sweep; did you mean policy?"),
        ("dynamics", ["policy=maskd"], "policy = 'maskd': input should be 'unmasked', 'masked' or 'frozen'"),
        ("dynamics", ["rate=nan"], "rate = 'nan': input should be a finite number"),
        ("training", ["lr_sigma=inf"], "lr_sigma = 'inf': input should be a finite number"),
        ("training", ["steps=0"], "steps = '0': input should be greater than or equal to 1; allowed: integer, at lea"),
        ("training", ["seed=1,2,1"], "seed = '1' is given twice"),
        ("training", ["seed=0:3,2"], "seed = '2' is given twice"),
        ("training", ["seed=3:3"], "seed = 3:3: an empty range"),
        ("training", ["seed=0:5:0"], "seed = 0:5:0: an empty range"),
        ("training", ["seed=-1:2"], "seed = -1: input should be greater than or equal to 0"),
        ("training", ["seed=0:999999999999"], "at most 100,000 are taken"),
        ("training", ["seed=0:90000", "policy=masked,frozen"], "the grid has 180,000 jobs; at most 100,000"),
        ("training", ["seed="], "'seed' has an empty value"),
        ("training", ["policy=masked,,frozen"], "'policy' has an empty value"),
        ("training", ["seed"], "NAME=VALUE[,VALUE...], got 'seed'"),
        ("training", ["seed=1", "seed=2"], "'seed' is given twice"),
        ("training", ["frozen_encoder_epochs=1"], "give steps_per_epoch as well (at frozen_encoder_epochs=1)"),
        ("training", ["presence=stretch", "absent_stop=9000"], "the stretch ends at step 9000, after the last of 1000"),
        ("dynamics", ["burn_in=2000"], "burn_in must be below steps = 1000, got 2000 (at burn_in=2000)"),
    ],
)
def test_a_wrong_grid_is_told_with_what_is_right(kind: str, words: list[str], told: str) -> None:
    """Unknown names come with the nearest valid ones, wrong values with their type and range; nothing has run yet."""
    with pytest.raises(StudyError) as caught:
        Grid.of(kind, words)
    assert told in str(caught.value)


@given(st.lists(st.text("abcdefghijklmnopqrstuvwxyz_=,:.-0123456789[]{}", max_size=24), max_size=3))
def test_any_text_is_a_grid_or_a_study_error(words: list[str]) -> None:
    """No text gets past validation as another kind of exception."""
    try:
        grid = Grid.of("dynamics", words)
    except StudyError:
        return
    assert 1 <= len(grid.nodes) <= MOST_JOBS


@given(st.sampled_from(["policy", "rate", "seed", "theta0", "batch", "presence"]), st.text(max_size=12))
def test_any_value_of_a_known_name_is_in_range_or_refused(name: str, value: str) -> None:
    """What gets through lies in the declared range."""
    try:
        grid = Grid.of("dynamics", [f"{name}={value}"])
    except StudyError:
        return
    for node in grid.nodes:
        point = node.job.model_dump()["point"]
        assert point["batch"] >= 1
        assert 0 < point["presence"] <= 1
        assert 0 <= point["rate"] < float("inf")
        assert point["seed"] >= 0


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """A sweep in which number 1 raises and number 2 kills its worker: folder, error, progress."""
    out = tmp_path_factory.mktemp("sweep") / "mixed"
    lines = io.StringIO()
    with pytest.raises(SweepFailed) as caught:
        toy_sweep.run(out, *MIXED, console=Console(file=lines, width=200))
    return out, str(caught.value), lines.getvalue()


@pytest.mark.slow
def test_a_job_that_kills_its_worker_is_reported_while_the_others_finish(swept: tuple[Path, str, str]) -> None:
    """The error names each failed job by its parameters and why; every other job has its record."""
    out, error, _ = swept
    assert "2 of 6 jobs failed; the others are done" in error
    assert "number=1 mode=trouble: ValueError: no luck at all" in error
    assert "number=2 mode=trouble: the process that runs it dies every time" in error
    table = pd.read_csv(out / "summary.csv")
    assert table["status"].tolist() == ["done", "failed", "failed", "done", "done", "done"]
    fine = table[table["status"] == "done"]
    assert fine["square"].tolist() == [0, 9, 16, 25]
    assert sorted(fine["record"]) == sorted(path.name for path in (out / "records").iterdir())


def test_progress_is_told_job_by_job(swept: tuple[Path, str, str]) -> None:
    """Each job has its line as it ends, with its parameters and the count."""
    lines = [line for line in swept[2].splitlines() if line.startswith("[")]
    assert [line.split("]")[0] for line in lines] == [f"[{count}/6" for count in range(1, 7)]
    assert sum(": done," in line for line in lines) == 4
    assert sum(": failed (" in line for line in lines) == 2


def test_what_is_finished_is_not_run_again(swept: tuple[Path, str, str]) -> None:
    """A larger grid runs what is new and leaves old records alone; a damaged record is made again."""
    out = swept[0]
    grid = toy_sweep.toy_grid("number=3:6", "mode=trouble")
    paths = [out / "records" / f"{node.job.name}.parquet" for node in grid.nodes]
    whole = [path.read_bytes() for path in paths]
    paths[0].write_bytes(whole[0][:-9])
    paths[1].write_bytes(b"PAR1 no table PAR1")
    before = paths[2].stat().st_mtime_ns
    outcome = toy_sweep.run(out, "number=3:7", "mode=trouble", engine=LocalEngine(1))
    assert outcome.executed == ["number=3 mode=trouble", "number=4 mode=trouble", "number=6 mode=trouble"]
    assert outcome.kept == ["number=5 mode=trouble"]
    assert [path.read_bytes() for path in paths] == whole
    assert paths[2].stat().st_mtime_ns == before
    assert outcome.summary["square"].tolist() == [9, 16, 25, 36]
    pd.testing.assert_frame_equal(pd.read_parquet(out / "summary.parquet"), outcome.summary)


def test_two_sweeps_on_one_folder_the_second_refuses(tmp_path: Path) -> None:
    """While a folder is being written a second sweep stops at once and touches nothing."""
    with FileLock(tmp_path / ".lock"), pytest.raises(StudyError, match="another run is writing to"):
        toy_sweep.run(tmp_path, "number=1")
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_a_sweep_does_not_mix_with_anything_else(tmp_path: Path) -> None:
    """A folder with a study, a training, a sweep of another kind, or a file in its place is refused, untouched."""
    run = tmp_path / "run"
    run.mkdir()
    (run / "claims.json").write_text("{}")
    with pytest.raises(StudyError, match="holds a run of the study"):
        toy_sweep.run(run, "number=1")
    (tmp_path / "trained" / "checkpoints").mkdir(parents=True)
    with pytest.raises(StudyError, match="holds a training"):
        toy_sweep.run(tmp_path / "trained", "number=1")
    (tmp_path / "toys").mkdir()
    held = {"kind": "toy", "axes": {}, "jobs": 1, "commit": commit(), "device": device(), "versions": {}, "data": {}}
    (tmp_path / "toys" / SWEEP_FILE).write_text(SweepRecord.model_validate(held).model_dump_json())
    with pytest.raises(StudyError, match="holds a toy sweep"):
        run_sweep(Grid.of("dynamics", ["steps=5"]), RunFolders.of(f"{tmp_path}/toys"), LocalEngine(1))
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(StudyError, match=r"cannot write the sweep to .*taken/sweep"):
        toy_sweep.run(tmp_path / "taken" / "sweep", "number=1")


@pytest.mark.parametrize("address", ["", "local:0", "local:-1", "local:2x", "tcp://", "tcp://host", "http://host:1"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    """The two forms are named before anything starts."""
    if not address:
        assert isinstance(build_engine(address, 1), LocalEngine)
        return
    with pytest.raises(StudyError, match=r"--cluster takes tcp://HOST:PORT of a dask scheduler, or local:N, got"):
        build_engine(address, 1)


@pytest.mark.slow
def test_dynamics_and_training_leave_the_numbers_they_promise(tmp_path: Path) -> None:
    """A masked cell of loss L ends at weight 1 / (2 L); a training record holds sigmas, weights and scores."""
    dynamics = run_sweep(
        Grid.of("dynamics", ["loss=0.5,2", "policy=masked", "steps=3000", "rate=0.02"]),
        RunFolders.of(f"{tmp_path}/dynamics"),
        LocalEngine(1),
        Console(quiet=True),
    )
    assert dynamics.summary["weight"].tolist() == pytest.approx([1.0, 0.25], rel=1e-6)
    words = ["policy=unmasked,masked", "steps=3", "accumulation=1", "rows=32", "dev_rows=16", "max_length=32"]
    training = run_sweep(
        Grid.of("training", words), RunFolders.of(f"{tmp_path}/training"), LocalEngine(1), Console(quiet=True)
    )
    assert training.summary["status"].tolist() == ["done", "done"]
    for task in ("toxicity", "emotion", "sentiment", "reporting"):
        assert training.summary[f"sigma_{task}"].between(0.99, 1.01).all()
        assert training.summary[f"macro_f1_{task}"].between(0, 1).all()
    held = job_metadata(training.records / training.summary["record"][0])
    assert held["job"]["settings"]["policy"] == "unmasked"
