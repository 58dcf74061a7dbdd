"""One notebook, executed: in this interpreter, whole or marked as failed, with one clear error.

Each has a process of its own, which calls `main`: its order comes by standard input, its progress goes out by standard
output, and it ends, with kernel and workers, when whoever started it hangs up.

What papermill leaves open is settled here: which Python the kernel is, and what a dead kernel or a raising cell leaves
behind (papermill saves a dead kernel's notebook as if it had completed).
"""

import json
import logging
import os
import re
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from aura_study.data.scratch import scratch
from aura_study.errors import StudyError
from aura_study.paths import RunFolders, home, without_folders
from aura_study.runs.checkout import commit
from aura_study.runs.records import unfinished, write_atomically, write_json
from aura_study.runs.stamps import (
    Attempt,
    Stamp,
    attempt_at,
    attempt_path,
    collect_outputs,
    failed_path,
    seconds_of_the_whole,
    stamp_path,
    write_stamp,
)

PROGRESS_LINE = re.compile(r"\d+%\||\d+(?:it|step|B|s)?/s\]|\d+it \[")
LONGEST_SOCKET = 103
"""Bytes of a socket's path: macOS takes so many, Linux four more."""


class Order(BaseModel):
    """What a notebook's process has to do.

    Attributes:
        name: of the notebook, without suffix.
        source: its file; the kernel works in that folder.
        folders: of the run that it writes to.
        parameters: JSON-ready values, ``out`` among them.
        fingerprint: of what it is made from, for its stamp.
    """

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="constants")

    name: str
    source: Path
    folders: RunFolders
    parameters: dict[str, Any]
    fingerprint: dict[str, str]


@dataclass(frozen=True)
class Progress:
    """Where a notebook stands: code cell ``cell`` of ``cells``, under ``heading``, with a bar's last line."""

    cell: int
    cells: int
    heading: str = ""
    bar: str = ""


class NotebookFailed(StudyError):
    """A notebook stopped: a cell raised, or the kernel died."""


def execute(order: Order, sockets: Path, on_progress: Callable[[Progress], None]) -> None:
    """Execute a notebook and stamp it as finished.

    The result is put in place in one step. It carries no progress bars, no absolute paths and a fixed id on the cell
    that papermill adds. If the notebook stops, what was executed stays beside it as ``NAME.failed.ipynb``.

    Args:
        order: what to execute.
        sockets: an empty folder, for the kernel's sockets.
        on_progress: told of each cell, and of each movement of a bar.

    Raises:
        NotebookFailed: a cell raised, the kernel died, or the result could not be written; the text names notebook,
            cell and parameters.
    """
    clock = _Clock(order)

    def moved(progress: Progress) -> None:
        clock.keep()
        on_progress(progress)

    follow = _Follower(moved)
    try:
        target = order.folders.notebooks / f"{order.name}.ipynb"
        for stale in (stamp_path(order.folders, order.name), target):
            stale.unlink(missing_ok=True)
        _execute(order, target, sockets, follow)
        outputs = collect_outputs(order.folders, order.name)
        stamp = Stamp(
            fingerprint=order.fingerprint,
            parameters=without_folders({key: value for key, value in order.parameters.items() if key != "out"}),
            outputs=outputs,
            seconds=round(seconds_of_the_whole(clock.seconds, outputs, clock.attempt.before), 1),
            commit=commit(),
        )
        write_stamp(order.folders, order.name, stamp)
        clock.path.unlink(missing_ok=True)
    except OSError as error:
        raise NotebookFailed(_failure(order, follow, f"{type(error).__name__}: {error}")) from error


class _Clock:
    """Seconds that a notebook has taken, those of an equal attempt that was stopped or killed included."""

    def __init__(self, order: Order) -> None:
        self.path = attempt_path(order.folders, order.name)
        self.attempt: Attempt = attempt_at(order.folders, order.name, order.fingerprint)
        self._started = time.monotonic()
        self.keep()

    @property
    def seconds(self) -> float:
        return self.attempt.seconds + time.monotonic() - self._started

    def keep(self) -> None:
        """Write down the seconds so far, for the next attempt."""
        with suppress(OSError):  # an estimate is not worth a notebook
            write_json(self.path, self.attempt.model_copy(update={"seconds": self.seconds}).model_dump(mode="json"))


def _execute(order: Order, target: Path, sockets: Path, follow: "_Follower") -> None:
    import nbformat
    import papermill
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    for name in ("papermill", "traitlets"):  # errors reach the user through exceptions
        logging.getLogger(name).setLevel(logging.CRITICAL)
    partial = unfinished(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        notebook = papermill.execute_notebook(
            order.source,
            partial,
            parameters=order.parameters,
            kernel_name="python3",
            language="python",
            progress_bar=False,
            cwd=order.source.parent,
            stderr_file=follow,
            on_cell_start=follow.cell_started,
            on_notebook_start=follow.notebook_started,
            kernel_manager_class=_manager_class(sockets),
            ipython_hist_file="",
            extra_arguments=["--log-level=CRITICAL"],  # that it was told to stop is no news to the user
        )
        _save(notebook, target, order)
        failed_path(order.folders, order.name).unlink(missing_ok=True)
    except PapermillExecutionError as error:
        kept = _keep(partial, order)
        reason = f"{error.ename}: {error.evalue}" if error.evalue else str(error.ename)
        raise NotebookFailed(_failure(order, follow, reason, kept)) from error
    except (DeadKernelError, CellTimeoutError, RuntimeError, OSError, nbformat.ValidationError) as error:
        kept = _keep(partial, order)
        reason = "the kernel died" if isinstance(error, DeadKernelError) else f"{type(error).__name__}: {error}"
        raise NotebookFailed(_failure(order, follow, reason, kept)) from error
    finally:
        partial.unlink(missing_ok=True)


def _manager_class(sockets: Path) -> type:
    import zmq
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager

    class ThisInterpreter(AsyncKernelManager):
        """Starts ``sys.executable``, whatever kernelspec named python3 is installed on the machine."""

        def _kernel_spec_manager_default(self) -> KernelSpecManager:
            return KernelSpecManager(parent=self, kernel_dirs=[])  # no folders: only ipykernel's native spec is left

        def _transport_default(self) -> str:
            # two kernels that start at once may be given one TCP port
            return "ipc" if os.name == "posix" and _fits(sockets) else "tcp"

        def _connection_file_default(self) -> str:
            return str(sockets / "kernel.json")

        def _transport_encryption_default(self) -> str:
            return "auto" if zmq.has("curve") else "disabled"  # what crosses is not in clear

    return ThisInterpreter


class _Follower:
    """Turns nbclient's hooks and the kernel's stderr into `Progress`."""

    def __init__(self, on_progress: Callable[[Progress], None]) -> None:
        self._notify = on_progress
        self._cells: list[Any] = []
        self._bar = ""
        self.index = -1

    @property
    def cell_id(self) -> str:
        """Id of the cell that runs or ran last."""
        return str(self._cells[self.index].get("id", f"#{self.index}")) if self.index >= 0 else "(none started)"

    def notebook_started(self, notebook: Any) -> None:
        self._cells = list(notebook.cells)

    def cell_started(self, cell: Any, cell_index: int) -> None:
        self.index, self._bar = cell_index, ""
        self._report()

    def write(self, text: str) -> None:
        """Receives the kernel's stderr; the last line of a progress bar becomes part of the display."""
        lines = [line.strip() for line in re.split(r"[\r\n]", text) if PROGRESS_LINE.search(line)]
        if lines and lines[-1] != self._bar:
            self._bar = lines[-1]
            self._report()

    def flush(self) -> None:
        """Nothing to flush; papermill calls it."""

    def _report(self) -> None:
        seen = self._cells[: self.index + 1]
        headings = [
            line.lstrip("# ").strip()
            for cell in seen
            if cell.cell_type == "markdown"
            for line in cell.source.splitlines()
            if line.startswith("#")
        ]
        done = sum(cell.cell_type == "code" for cell in seen)
        total = sum(cell.cell_type == "code" for cell in self._cells)
        self._notify(Progress(done, total, headings[-1] if headings else "", self._bar))


def _failure(order: Order, follow: _Follower, reason: str, kept: Path | None = None) -> str:
    values = ", ".join(f"{key}={value!r}" for key, value in order.parameters.items())
    text = f"notebook {order.name} stopped in cell {follow.cell_id!r}: {reason}\n  parameters: {values}"
    return text + (f"\n  executed part: {kept}" if kept else "")


def _keep(partial: Path, order: Order) -> Path | None:
    """Put what was executed aside, and say where."""
    import nbformat

    failed = failed_path(order.folders, order.name)
    try:
        _save(nbformat.read(partial, as_version=4), failed, order)
    except (OSError, ValueError):  # on a full disk there is nothing to keep, and the first error is the one to tell
        return None
    return failed


def _save(notebook: Any, target: Path, order: Order) -> None:
    import nbformat

    for cell in notebook.cells:
        if "injected-parameters" in cell.metadata.get("tags", []):
            cell["id"] = "injected-parameters"
        if "outputs" in cell:
            cell["outputs"] = [output for output in map(_without_bars, cell["outputs"]) if output is not None]
    notebook.metadata.papermill["input_path"] = order.source.name
    notebook.metadata.papermill["output_path"] = target.name
    clean = _redacted(notebook, _redactions(order))
    write_atomically(target, lambda path: nbformat.write(clean, path))


def _without_bars(output: Any) -> Any | None:
    """Drop the lines of progress bars from a stream; ``None`` if nothing else was in it."""
    if output.output_type != "stream":
        return output
    lines = [line for line in re.split(r"[\r\n]+", output.text) if line.strip() and not PROGRESS_LINE.search(line)]
    if output.name == "stderr" or "\r" in output.text:
        output.text = "\n".join(lines) + "\n" if lines else ""
    return output if output.text else None


def _redactions(order: Order) -> dict[str, str]:
    """Absolute paths that could appear in a notebook, longest first, and what is shown in their place."""
    given = {value: without_folders(value) for value in order.parameters.values() if isinstance(value, str)}
    paths = {value: shown for value, shown in given.items() if shown != value}
    paths |= {str(order.folders.results): order.folders.name, str(home()): ".", str(Path.home()): "~"}
    return {path: paths[path] for path in sorted(paths, key=len, reverse=True) if len(path) > 1}


def _redacted(value: Any, redact: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        for path, shown in redact.items():
            value = value.replace(path, shown)
        return value
    if isinstance(value, dict):
        return type(value)({key: _redacted(entry, redact) for key, entry in value.items()})
    if isinstance(value, list):
        return [_redacted(entry, redact) for entry in value]
    return value


def main() -> None:
    """Execute what standard input orders; a line of JSON per `Progress` goes out, and at last one with the error."""
    order = Order.model_validate_json(sys.stdin.buffer.readline())
    told = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # a kernel prints past its cells, and that is no progress

    def tell(content: dict[str, Any]) -> None:
        told.write(json.dumps(content) + "\n")

    error = ""
    try:
        with scratch("aura-", _room_for_sockets()) as sockets:
            threading.Thread(target=_end_with_whoever_started_it, args=(sockets,), daemon=True).start()
            execute(order, sockets, lambda progress: tell(asdict(progress)))
    except NotebookFailed as failure:
        error = str(failure)
    except OSError as failure:
        error = f"notebook {order.name} cannot be run: no temporary folder can be made: {failure}"
    tell({"error": error})


def _room_for_sockets() -> Path:
    """The system's folder for temporary files, or a shorter one where a socket's whole path would be too long."""
    places = (Path(tempfile.gettempdir()), Path("/tmp"))
    return next((place for place in places if place.is_dir() and _fits(place / "aura-12345678")), places[0])


def _fits(sockets: Path) -> bool:
    return len(os.fsencode(sockets / "kernel-ipc-5")) <= LONGEST_SOCKET


def _end_with_whoever_started_it(sockets: Path) -> None:
    import psutil

    os.read(sys.stdin.fileno(), 1)  # returns when the other end is closed, by purpose or by death
    for child in psutil.Process().children(recursive=True):  # the kernel has a session of its own
        child.kill()
    shutil.rmtree(sockets, ignore_errors=True)
    os._exit(1)
