"""A run that is killed or interrupted: nothing is lost, nothing half-written counts, the same command goes on."""

import os
import signal
from pathlib import Path

import psutil
import pytest
import toy_study
from killed_runs import PATIENCE, STEPS, lasting, started, wait_for_second_notebook

from aura_study.paths import RunFolders
from aura_study.runs.ledger import read_claims
from aura_study.runs.records import read_record, write_json
from aura_study.runs.stamps import Attempt, attempt_path, read_stamp, stamp_path

pytestmark = pytest.mark.slow


def test_killed_in_mid_run_the_same_command_ends_with_the_same_files(tmp_path: Path) -> None:
    """SIGKILL in the second notebook: no kernel is left; the first is not run again; all files are as undisturbed."""
    out = tmp_path / "run"
    with started(out, held=True) as process:
        wait_for_second_notebook(out, process)
        children = psutil.Process(process.pid).children(recursive=True)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        _, alive = psutil.wait_procs(children, timeout=PATIENCE)
    assert alive == []
    folders = RunFolders.of(str(out))
    assert stamp_path(folders, "01_focal_loss").is_file()
    assert not stamp_path(folders, "03_phantom_gradient").exists()
    spent = read_record(attempt_path(folders, "03_phantom_gradient"), Attempt)
    assert spent.seconds > 0
    longer = spent.model_copy(update={"seconds": 5000.0})
    write_json(attempt_path(folders, "03_phantom_gradient"), longer.model_dump(mode="json"))
    resumed = toy_study.run(out, STEPS, notebooks=tmp_path / "notebooks")
    assert resumed.unchanged == ["01_focal_loss"]
    assert resumed.executed == ["03_phantom_gradient"]
    undisturbed = tmp_path / "undisturbed" / "run"
    toy_study.run(undisturbed, STEPS, notebooks=tmp_path / "notebooks")
    assert lasting(out) == lasting(undisturbed)
    stamp = read_stamp(folders, "03_phantom_gradient")
    assert stamp is not None
    assert stamp.seconds > 5000  # the time of both attempts


@pytest.mark.parametrize("ended", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted_the_run_says_what_is_kept(tmp_path: Path, ended: signal.Signals) -> None:
    """Ctrl-C, a batch system's end or the terminal's: the kernel ends too, what is finished is kept, and it says how to
    go on.
    """
    out = tmp_path / "run"
    with started(out, held=True) as process:
        wait_for_second_notebook(out, process)
        os.kill(process.pid, ended)
        _, words = process.communicate(timeout=PATIENCE)
    assert process.returncode != 0
    assert "Interrupted. 1 of 2 notebooks are finished and kept in" in words
    assert "the same command goes on from there" in words
    assert [row.claim for row in read_claims(RunFolders.of(str(out))).claims] == ["F1"]
    assert not list((out / "notebooks").glob(".*"))
