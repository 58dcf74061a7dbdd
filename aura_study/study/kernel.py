"""One notebook through papermill: in this interpreter, whole or marked as failed, with one clear error.

What papermill leaves open is settled here: which Python the kernel is, what its environment holds, and what a dead
kernel or a raising cell leaves behind (papermill saves a dead kernel's notebook as if it had completed).
"""

import logging
import os
import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aura_study.errors import StudyError
from aura_study.runs.outputs import write_atomically
from aura_study.study.pool import Kernels

INLINE_BACKEND = "module://matplotlib_inline.backend_inline"
PROGRESS_LINE = re.compile(r"\d+%\||\d+(?:it|step|B|s)?/s\]|\d+it \[")


@dataclass(frozen=True)
class Progress:
    """Where a notebook stands: code cell ``cell`` of ``cells``, under ``heading``, with a bar's last line."""

    cell: int
    cells: int
    heading: str = ""
    bar: str = ""


class NotebookFailed(StudyError):
    """A notebook stopped: a cell raised, or the kernel died."""


def execute(
    source: Path,
    target: Path,
    parameters: Mapping[str, Any],
    cwd: Path,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    redact: Mapping[str, str] | None = None,
    kernels: Kernels | None = None,
) -> None:
    """Execute ``source`` with ``parameters`` and put the result at ``target`` in one step.

    The result carries no progress bars, no absolute paths (``redact`` maps them to what is shown) and a fixed id on
    the cell that papermill adds. If the notebook stops, what was executed stays beside ``target`` as
    ``NAME.failed.ipynb``. Several may run in threads of one process; ``kernels`` knows each one's kernel.

    Raises:
        NotebookFailed: a cell raised, the kernel died, or the result could not be written; the text names notebook,
            cell and parameters.
    """
    import nbformat
    import papermill
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    partial = target.with_name(f".{target.stem}.partial.ipynb")
    failed = failed_path(target.parent, target.stem)
    target.parent.mkdir(parents=True, exist_ok=True)
    follow = _Follower(on_progress)
    kept = False
    try:
        _quiet_papermill()
        with tempfile.TemporaryDirectory(prefix="aura-") as sockets:
            notebook = papermill.execute_notebook(
                source,
                partial,
                parameters=dict(parameters),
                kernel_name="python3",
                language="python",
                progress_bar=False,
                resources={"metadata": {"path": str(cwd)}},  # papermill's cwd would be that of all threads
                stderr_file=follow,
                on_cell_start=follow.cell_started,
                on_notebook_start=follow.notebook_started,
                kernel_manager_class=_manager_class(kernels or Kernels(), Path(sockets)),
                ipython_hist_file="",
            )
        _save(notebook, target, source, redact)
        failed.unlink(missing_ok=True)
    except PapermillExecutionError as error:
        kept = _keep(partial, failed, source, redact)
        reason = f"{error.ename}: {error.evalue}" if error.evalue else str(error.ename)
        raise NotebookFailed(_failure(source.stem, follow, reason, parameters, failed if kept else None)) from error
    except (DeadKernelError, CellTimeoutError, RuntimeError, OSError, nbformat.ValidationError) as error:
        kept = _keep(partial, failed, source, redact)
        reason = "the kernel died" if isinstance(error, DeadKernelError) else f"{type(error).__name__}: {error}"
        raise NotebookFailed(_failure(source.stem, follow, reason, parameters, failed if kept else None)) from error
    finally:
        partial.unlink(missing_ok=True)


def failed_path(folder: Path, name: str) -> Path:
    """Where what was executed of notebook ``name`` is kept if it stops."""
    return folder / f"{name}.failed.ipynb"


def kernel_environment(at_once: int = 1) -> dict[str, str]:
    """The kernel's environment: this process's, without what would hide figures, with its share of the cores."""
    environment = dict(os.environ)
    if environment.get("MPLBACKEND") != INLINE_BACKEND:
        environment.pop("MPLBACKEND", None)  # Agg shows no figure and no error; the kernel chooses inline itself
    cores = os.cpu_count() or 1
    environment.setdefault("OMP_NUM_THREADS", str(max(1, min(cores, 8) // at_once)))
    environment.setdefault("LOKY_MAX_CPU_COUNT", str(max(1, cores // at_once)))  # joblib: workers cost an import each
    quiet = "ignore:IProgress not found"  # tqdm.auto, in libraries, asks for widgets that nobody would see
    environment["PYTHONWARNINGS"] = ",".join(filter(None, [environment.get("PYTHONWARNINGS"), quiet]))
    environment["PYTHONHASHSEED"] = "0"
    environment["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"  # keeps the debugger's warning out of the notebooks
    return environment


def _manager_class(kernels: Kernels, sockets: Path) -> type:
    import zmq
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager

    class ThisInterpreter(AsyncKernelManager):
        """Starts ``sys.executable``, whatever kernelspec named python3 is installed on the machine."""

        def _kernel_spec_manager_default(self) -> KernelSpecManager:
            return KernelSpecManager(parent=self, kernel_dirs=[])  # no folders: only ipykernel's native spec is left

        def _transport_default(self) -> str:
            return "ipc" if os.name == "posix" else "tcp"  # two kernels that start at once may be given one TCP port

        def _connection_file_default(self) -> str:
            return str(sockets / "kernel.json")

        def _transport_encryption_default(self) -> str:
            return "auto" if zmq.has("curve") else "disabled"  # what crosses is not in clear

        async def start_kernel(self, **options: Any) -> None:  # type: ignore[override]
            await super().start_kernel(**{"env": kernel_environment(kernels.at_once), **options})
            kernels.add(self)

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


def _failure(name: str, follow: _Follower, reason: str, parameters: Mapping[str, Any], kept: Path | None) -> str:
    values = ", ".join(f"{key}={value!r}" for key, value in parameters.items())
    text = f"notebook {name} stopped in cell {follow.cell_id!r}: {reason}\n  parameters: {values}"
    return text + (f"\n  executed part: {kept}" if kept else "")


def _keep(partial: Path, failed: Path, source: Path, redact: Mapping[str, str] | None) -> bool:
    import nbformat

    try:
        _save(nbformat.read(partial, as_version=4), failed, source, redact)
    except (OSError, ValueError):  # on a full disk there is nothing to keep, and the first error is the one to tell
        return False
    return True


def _save(notebook: Any, target: Path, source: Path, redact: Mapping[str, str] | None) -> None:
    import nbformat

    for cell in notebook.cells:
        if "injected-parameters" in cell.metadata.get("tags", []):
            cell["id"] = "injected-parameters"
        if "outputs" in cell:
            cell["outputs"] = [output for output in map(_without_bars, cell["outputs"]) if output is not None]
    notebook.metadata.papermill["input_path"] = source.name
    notebook.metadata.papermill["output_path"] = target.name
    clean = _redacted(notebook, redact or {})
    write_atomically(target, lambda path: nbformat.write(clean, path))


def _without_bars(output: Any) -> Any | None:
    """Drop the lines of progress bars from a stream; ``None`` if nothing else was in it."""
    if output.output_type != "stream":
        return output
    lines = [line for line in re.split(r"[\r\n]+", output.text) if line.strip() and not PROGRESS_LINE.search(line)]
    if output.name == "stderr" or "\r" in output.text:
        output.text = "\n".join(lines) + "\n" if lines else ""
    return output if output.text else None


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


def _quiet_papermill() -> None:
    """Silence papermill's own log in this process; errors reach the user through exceptions."""
    for name in ("papermill", "traitlets"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
