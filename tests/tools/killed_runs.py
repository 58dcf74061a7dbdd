"""Toy studies as processes that tests kill; every file of a run but for its times, and whether any was touched."""

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat
import psutil
import pytest
import toy_study

from aura_study.runs.records import UNFINISHED

STEPS = "steps=300"


PATIENCE = 900.0
"""Seconds after which something is said to hang; what is waited for is a state, however long a busy machine takes."""


@contextmanager
def started(out: Path, held: bool = False, **environment: str) -> "Iterator[subprocess.Popen[str]]":
    """The toy study as a process, ended when this is left; ``held``: its second notebook waits for `let_go`."""
    toy_study.write_notebooks(out.parent / "notebooks")
    path = os.pathsep.join(filter(None, [environment.pop("PYTHONPATH", ""), str(Path(toy_study.__file__).parents[2])]))
    if held:
        _gate(out).touch()
        environment["TOY_GATE"] = str(_gate(out))
    with subprocess.Popen(
        [sys.executable, toy_study.__file__, str(out), STEPS],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, **environment, "PYTHONPATH": path},
        preexec_fn=hear,
    ) as process:
        try:
            yield process
        finally:
            let_go(out)
            process.kill()


def hear() -> None:
    """Hear the signals that a suite in the background, or under nohup, was started deaf to."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def obey_permissions() -> None:
    """Let what this process becomes mind what a file's mode says, though root runs it (Linux)."""
    drop_from_bounding_set, overrides = 24, (1, 2)  # prctl.h; CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
    if sys.platform == "linux" and os.getuid() == 0:
        for capability in overrides:
            ctypes.CDLL(None).prctl(drop_from_bounding_set, capability, 0, 0, 0)


def _gate(out: Path) -> Path:
    return out.parent / "gate"


def let_go(out: Path) -> None:
    """Let a second notebook that is held go on."""
    _gate(out).unlink(missing_ok=True)


def wait_for_second_notebook(out: Path, process: "subprocess.Popen[str]") -> None:
    """Return when the runner has seen the first notebook end, and the second, which is held, is in its steps."""
    first = out / "stamps" / "01_focal_loss.json"
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        half = list((out / "notebooks").glob(f"{UNFINISHED}*-03_phantom_gradient.ipynb"))
        if first.is_file() and half and '"status": "running"' in half[0].read_text(errors="ignore"):
            cells = json.loads(half[0].read_text())["cells"]
            steps = any(c["id"] == "steps" and c["metadata"]["papermill"]["status"] == "running" for c in cells)
            if steps and len(psutil.Process(process.pid).children()) == 1:  # it has seen the first one's end
                return
        time.sleep(0.02)
    process.kill()
    pytest.fail(f"the second notebook did not start: {process.stderr.read() if process.stderr else ''}")


def lasting(run: Path) -> dict[str, object]:
    """Every file of a run with its content, times left out."""
    contents: dict[str, object] = {}
    for path in sorted(path for path in run.rglob("*") if path.is_file() and path.name != ".lock"):
        key = path.relative_to(run).as_posix()
        if key.startswith("report/manual/"):  # the checkout's, where it was built
            continue
        if path.suffix == ".ipynb":
            cells = nbformat.read(path, as_version=4).cells
            contents[key] = [(cell["id"], cell.source, cell.get("outputs")) for cell in cells]
        elif path.suffix == ".json" and (path.name in ("manifest.json", "sweep.json") or path.parent.name == "stamps"):
            contents[key] = without_times(json.loads(path.read_text()))
        elif path.parent.name == "report" or path.parent.parent.name == "report":
            contents[key] = path.suffix  # built from the rest, and shows times
        else:
            contents[key] = path.read_bytes()
    return contents


def without_times(value: object) -> object:
    if isinstance(value, dict):
        timed = ("seconds", "finished", "commit")  # somebody may commit between the two runs that are compared
        kept = {key: without_times(entry) for key, entry in value.items() if key not in timed}
        return {key: entry for key, entry in kept.items() if not str(key).endswith(".ipynb")}
    return value


def snapshot(folder: Path) -> dict[Path, tuple[int, int]]:
    """Size and time of change of each visible file below ``folder``."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in sorted(files)}
