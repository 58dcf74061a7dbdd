"""What a notebook leaves: its evidence lists what it made and kept, and opening it again begins anew."""

from pathlib import Path

import pandas as pd
from toy_jobs import ToyPoint, run_toy
from toy_study import FocalToy

from aura_study.runs.jobs import run_jobs
from aura_study.runs.ledger import read_one
from aura_study.runs.outputs import NotebookRun


def test_evidence_names_the_trajectories_recorded_and_found(tmp_path: Path) -> None:
    """Those that were kept, recorded now or before, also by another process; a new notebook starts with none."""
    jobs = [ToyPoint(number=number).job(f"toy-{number}.5") for number in (1, 2)]
    run = NotebookRun("04_aura_training", str(tmp_path / "run"))
    run_jobs(run_toy, jobs[:1], run.folders.trajectories)
    for _ in range(2):
        run = NotebookRun("04_aura_training", str(tmp_path / "run"))
        assert trajectories_of(run) == []
        files = run_jobs(run_toy, jobs, run.folders.trajectories)
        assert run.keep(files[1:]) == files[1:]
        run.keep(files)
        run.table("numbers", pd.DataFrame({"number": [1, 2]}))
        assert trajectories_of(run) == ["toy-1.5", "toy-2.5"]


def test_opening_a_run_by_itself_leaves_pandas_alone(tmp_path: Path) -> None:
    """Only a notebook asks for tables as people read them."""
    with pd.option_context("display.max_colwidth", 50, "display.float_format", None):
        NotebookRun("04_aura_training", str(tmp_path / "run"))
        assert (pd.get_option("display.max_colwidth"), pd.get_option("display.float_format")) == (50, None)
        NotebookRun.open(FocalToy(out=str(tmp_path / "run")))
        assert repr(pd.DataFrame({"text": ["x" * 60], "number": [1 / 3]})).split()[-2:] == ["x" * 60, "0.3333"]


def trajectories_of(run: NotebookRun) -> list[str]:
    """What the notebook's evidence lists."""
    return read_one(run.folders.evidence / f"{run.notebook}.json").trajectories
