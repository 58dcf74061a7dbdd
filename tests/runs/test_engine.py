"""Calls side by side: a worker that dies costs nothing, a call that kills its worker is told, an error is raised."""

import os
import signal
from pathlib import Path

import pytest
from joblib.externals.loky.process_executor import BrokenProcessPool

from aura_study.runs.jobs import side_by_side


def square(number: int, folder: Path, always: bool) -> int:
    """The square; 1 raises an error, 2 kills its process, once or always."""
    if number == 1 and always:
        raise ValueError("no luck")
    if number == 2 and (always or not (folder / "killed").exists()):
        (folder / "killed").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number**2


@pytest.mark.slow
def test_a_worker_that_dies_once_costs_nothing(tmp_path: Path) -> None:
    """All results, in the order of the items."""
    assert side_by_side(square, range(5), tmp_path, False, workers=2) == [0, 1, 4, 9, 16]


@pytest.mark.slow
def test_a_call_that_always_kills_its_worker_is_an_error(tmp_path: Path) -> None:
    """It is raised here, in place of a result that never comes."""
    with pytest.raises(BrokenProcessPool):
        side_by_side(square, [2, 3], tmp_path, True, workers=2)


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_is_raised_here(tmp_path: Path, workers: int) -> None:
    """As the call raised it, in this process or in another."""
    with pytest.raises(ValueError, match="no luck"):
        side_by_side(square, [0, 1], tmp_path, True, workers=workers)
