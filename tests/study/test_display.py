"""What is told while notebooks run: where each stands, and how long it will take."""

import io
import json
import time
from pathlib import Path

import pytest
from rich.console import Console

from aura_study.paths import RunFolders
from aura_study.runs import manifest
from aura_study.runs.manifest import Identity
from aura_study.study import display
from aura_study.study.display import Display, Line
from aura_study.study.notebook import Progress
from aura_study.study.processes import Ended, Started


def test_a_long_cell_is_told_of_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Outside a terminal a line comes without an event, with the cell, the time, what is left and the bar."""
    monkeypatch.setattr(display, "EVERY", 0.05)
    told, begun = io.StringIO(), time.monotonic()
    with Display(Console(file=told, width=200), ["04_aura_training", "05_presence"], {}) as shown:
        shown.tell("04_aura_training", Started())
        shown.tell("04_aura_training", Progress(3, 13, "Training", "jobs:  20%|█  | 2/10 [00:12<01:30, 4s/run]"))
        again: list[str] = []
        while len(again) < 2 and time.monotonic() < begun + 600:
            time.sleep(0.01)
            again = [line for line in told.getvalue().splitlines() if ": jobs:  20%" in line]
        shown.tell("04_aura_training", Ended())
    assert len(again) >= 2
    assert all(line.startswith("[1/2] 04_aura_training: cell 3/13, ") and " left: jobs" in line for line in again)
    time.sleep(0.2)
    assert told.getvalue().splitlines()[-1].startswith("[1/2] 04_aura_training: done")


def test_what_is_left_comes_from_the_last_time_or_from_the_bar() -> None:
    """The longer of both; a notebook that takes longer than the last time has its bar only."""
    line = Line("a", expected=100.0, state="running", started=time.monotonic() - 40)
    assert line.remaining() == pytest.approx(60, abs=1)
    line.progress = Progress(1, 2, "", "jobs: 1/9 [00:01<01:00:05, 2s/run]")
    assert line.remaining() == 3605
    line.expected = 30.0
    assert line.remaining() == 3605
    line.progress = None
    assert line.remaining() is None
    assert Line("b", expected=5.0).remaining() == 5.0


def test_all_of_them_take_as_long_as_their_share() -> None:
    """Two at once halve the sum, but nothing ends before its longest; one without an estimate leaves it unknown."""
    quiet = Console(quiet=True)
    assert Display(quiet, ["a", "b", "c"], {"a": 10, "b": 20, "c": 30}, 2).remaining() == 30
    assert Display(quiet, ["a", "b"], {"a": 10, "b": 100}, 2).remaining() == 100
    assert Display(quiet, ["a", "b"], {"a": 10}, 2).remaining() is None


def test_a_first_run_knows_how_long_others_took(tmp_path: Path) -> None:
    """Those beside it with its profile and data; neither others nor a damaged one."""
    asked = Identity(profile="quick", data="embedded", overrides={})
    for name, profile in (("same", "quick"), ("other", "full")):
        folders = RunFolders.of(f"{tmp_path}/{name}")
        manifest.bring_up_to_date(
            folders,
            Identity(profile=profile, data="embedded", overrides={}),
            manifest.DataRecord(name="", files={}),
            [],
            {},
            True,
        )
        content = json.loads(folders.manifest.read_text())
        record = {"parameters": {}, "seeds": {}, "seconds": len(name), "inputs": {}, "outputs": {}}
        content["notebooks"] = {"01_focal_loss": record}
        folders.manifest.write_text(json.dumps(content))
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "manifest.json").write_text("{")
    assert manifest.seconds_elsewhere(RunFolders.of(f"{tmp_path}/new"), asked) == {"01_focal_loss": 4.0}
