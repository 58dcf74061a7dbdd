"""The study: each notebook in order if something changed, then ledger, manifest and report."""

import os
import re
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from aura_study.errors import StudyError
from aura_study.paths import RunFolders, notebooks_folder, project_root, without_folders
from aura_study.runs import manifest
from aura_study.runs.fingerprint import fingerprint
from aura_study.runs.inputs import data_state
from aura_study.runs.ledger import Ledger, write_claims
from aura_study.runs.lock import locked
from aura_study.runs.stamps import (
    Stamp,
    collect_outputs,
    read_stamp,
    reason_to_run,
    seconds_of_the_whole,
    stamp_path,
    write_stamp,
)
from aura_study.runs.summaries import findings_digest, is_summary
from aura_study.study.display import Display
from aura_study.study.kernel import NotebookFailed, execute, failed_path
from aura_study.study.pool import Kernels, run_side_by_side
from aura_study.study.registry import notebook_names
from aura_study.study.request import Request

LEFTOVER = re.compile(r"\..+-\w{8}\.\w+|\..+\.partial\.ipynb|\..+\.\d+\.partial")  # as our writers name them
AT_ONCE = 2 if (os.cpu_count() or 1) > 1 else 1
"""Notebooks side by side: while one imports, or computes on one core, the other uses what is left."""

PARSING = threading.Lock()
"""Held while code is parsed: two threads that call Python 3.11's ``ast.parse`` at once upset its recursion counter."""


@dataclass
class Outcome:
    """What a run did."""

    folders: RunFolders
    executed: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    failed: dict[str, NotebookFailed] = field(default_factory=dict)
    ledger: Ledger | None = None
    report: Path | None = None

    def sort(self, names: list[str]) -> None:
        """Put what finished in any order into the order of ``names``."""
        self.executed.sort(key=names.index)
        self.unchanged.sort(key=names.index)
        self.failed = {name: self.failed[name] for name in names if name in self.failed}


def run_study(
    request: Request,
    console: Console | None = None,
    folder: Path | None = None,
    replace: bool = False,
    at_once: int = 0,
) -> Outcome:
    """Bring the run up to date with ``request``.

    Args:
        request: what to run, already validated.
        console: where progress goes; standard error unless given.
        folder: of the source notebooks, the project's unless given.
        replace: overwrite a run that was made with another profile, data or overrides.
        at_once: notebooks side by side; 0 means `AT_ONCE`. Results do not depend on it.

    Raises:
        StudyError: the folder is in use, cannot be written or holds another run; data are missing; notebooks failed
            (the others are run first, and the report is built).
        KeyboardInterrupt: with what is kept printed first.
    """
    console = console or Console(stderr=True)
    source = folder or notebooks_folder()
    outcome = Outcome(request.folders)
    data = data_state(request.data)
    try:
        request.folders.results.mkdir(parents=True, exist_ok=True)
        with locked(request.folders):
            _claim_folder(request, replace)
            remove_leftovers(request.folders)
            try:
                _run_notebooks(request, source, data.digest, outcome, console, at_once or AT_ONCE)
            finally:
                outcome.ledger = write_claims(request.folders, request.profile, request.data)
                _write_manifest(request, source, data.files, bool(outcome.executed or outcome.failed))
            outcome.report = _build_report(request.folders)
    except OSError as error:
        reason = f"cannot write the run to {request.folders.results}: {error.strerror or error}"
        raise StudyError("\n".join([*map(str, outcome.failed.values()), reason])) from error
    except KeyboardInterrupt:
        done = len(outcome.executed) + len(outcome.unchanged)
        console.print(
            f"\nInterrupted. {done} of {len(request.parameters)} notebooks are finished and kept in "
            f"{request.folders.results}; the same command goes on from there.",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
        raise
    if outcome.failed:
        told = [str(error) for error in outcome.failed.values()]
        raise NotebookFailed("\n".join([*told, f"  what the run holds without it: {outcome.report}"]))
    return outcome


def _run_notebooks(request: Request, source: Path, data: str, outcome: Outcome, console: Console, at_once: int) -> None:
    stamps = {name: read_stamp(request.folders, name) for name in request.parameters}
    expected = {name: stamp.seconds for name, stamp in stamps.items() if stamp}
    versions, kernels = manifest.versions(), Kernels(min(at_once, len(stamps)))
    with Display(console, list(request.parameters), expected) as display:

        def bring_up_to_date(name: str) -> None:
            with PARSING:
                current = fingerprint(source / f"{name}.ipynb", request.parameters[name], data, versions)
            if is_summary(request.parameters[name]):
                current["findings"] = findings_digest(_outputs_beside(request, source, name))
            why = reason_to_run(request.folders, stamps[name], current)
            if why is None:
                display.finish(name, "unchanged")
                outcome.unchanged.append(name)
                return
            display.start(name, why)
            try:
                write_stamp(request.folders, name, _execute(request, source, name, current, display, kernels))
            except NotebookFailed as error:
                if kernels.stopped:
                    failed_path(request.folders.notebooks, name).unlink(missing_ok=True)
                    display.finish(name, "failed", "stopped")
                    return
                display.finish(name, "failed", "the others go on")
                outcome.failed[name] = error
            except BaseException:
                display.finish(name, "failed", "stopped")
                raise
            else:
                display.finish(name, "done")
                outcome.executed.append(name)

        try:
            for summaries in (False, True):
                names = [name for name, values in request.parameters.items() if is_summary(values) == summaries]
                run_side_by_side(bring_up_to_date, names, kernels)
        finally:
            outcome.sort(list(request.parameters))


def _outputs_beside(request: Request, source: Path, summary: str) -> dict[str, dict[str, str]]:
    """Digests of what the other notebooks of the run wrote."""
    stamps = {name: read_stamp(request.folders, name) for name in notebook_names(source) if name != summary}
    return {name: stamp.outputs for name, stamp in stamps.items() if stamp}


def _execute(
    request: Request, source: Path, name: str, current: dict[str, str], display: Display, kernels: Kernels
) -> Stamp:
    folders = request.folders
    target = folders.notebooks / f"{name}.ipynb"
    before = read_stamp(folders, name)
    for stale in (stamp_path(folders, name), target):
        stale.unlink(missing_ok=True)
    values = request.parameters[name].model_dump(mode="json")
    started = time.monotonic()
    execute(
        source / f"{name}.ipynb",
        target,
        values,
        cwd=source,
        on_progress=lambda progress: display.progress(name, progress),
        redact=_redactions(folders, values),
        kernels=kernels,
    )
    seconds = time.monotonic() - started
    outputs = collect_outputs(folders, name)
    shown = without_folders({key: value for key, value in values.items() if key != "out"})
    return Stamp(
        fingerprint=current,
        parameters=shown,
        outputs=outputs,
        seconds=round(seconds_of_the_whole(seconds, outputs, before), 1),
    )


def _redactions(folders: RunFolders, values: dict[str, Any]) -> dict[str, str]:
    """Absolute paths that could appear in a notebook, longest first, and what is shown in their place."""
    given = {value: without_folders(value) for value in values.values() if isinstance(value, str)}
    paths = {value: shown for value, shown in given.items() if shown != value}
    paths |= {str(folders.results): folders.name, str(project_root()): ".", str(Path.home()): "~"}
    return {path: paths[path] for path in sorted(paths, key=len, reverse=True) if len(path) > 1}


def _claim_folder(request: Request, replace: bool) -> None:
    """Refuse a folder that holds a run with another profile, data or overrides."""
    held = None if replace else manifest.read_manifest(request.folders)
    if held and held.request != request.identity:
        raise StudyError(
            f"run {request.folders.name!r} was made with {_words(held.request)}, and this would be "
            f"{_words(request.identity)}; choose another name with --out, or overwrite it with --replace"
        )
    if not os.access(request.folders.results, os.W_OK):
        raise StudyError(f"cannot write to {request.folders.results}")


def remove_leftovers(folders: RunFolders) -> None:
    """Remove the unfinished files of a process that was killed; nobody else writes while the lock is held."""
    for folder in (folders.results, folders.figures):
        for path in folder.rglob(".*"):
            if LEFTOVER.fullmatch(path.name) and path.is_file():
                path.unlink()


def _words(identity: manifest.Identity) -> str:
    changed = ", ".join(f"{name}={value}" for name, value in identity.overrides.items())
    return f"profile {identity.profile} on {identity.data} data" + (f" and {changed}" if changed else "")


def _write_manifest(request: Request, source: Path, data: dict[str, str], executed: bool) -> None:
    finished = {}
    for path in sorted(source.glob("*.ipynb")):
        stamp = read_stamp(request.folders, path.stem)
        if stamp:
            finished[path.stem] = manifest.NotebookRecord(
                parameters=stamp.parameters,
                seeds=manifest.seeds_of(stamp.parameters),
                seconds=stamp.seconds,
                inputs=stamp.fingerprint,
                outputs=stamp.outputs,
            )
    if not executed and _already_told(request, finished):
        return  # nothing ran: the manifest still tells where the results came from
    content = manifest.Manifest(
        run=request.folders.name,
        request=request.identity,
        finished=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        commit=manifest.commit(),
        device=manifest.device(),
        versions=manifest.versions(),
        data=manifest.DataRecord(name=request.data, files=data),
        unfinished=[name for name in request.parameters if name not in finished],
        notebooks=finished,
    )
    manifest.write_manifest(request.folders, content)


def _already_told(request: Request, finished: dict[str, manifest.NotebookRecord]) -> bool:
    try:
        held = manifest.read_manifest(request.folders)
    except StudyError:
        return False
    return held is not None and held.request == request.identity and held.notebooks == finished


def _build_report(folders: RunFolders) -> Path:
    from aura_study.report import build_report

    return build_report(folders)
