"""The study: what has to run is planned, run, and recorded in ledger and manifest."""

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from aura_study.errors import StudyError
from aura_study.paths import RunFolders, notebooks_folder
from aura_study.runs import manifest
from aura_study.runs.inputs import DataState, data_state
from aura_study.runs.ledger import read_one, write_claims
from aura_study.runs.lock import STUDY, locked, refuse_other_kind
from aura_study.runs.stamps import read_stamps
from aura_study.study.display import Display
from aura_study.study.notebook import NotebookFailed
from aura_study.study.plan import plan
from aura_study.study.processes import Ended, cores, execute_side_by_side
from aura_study.study.registry import notebook_names
from aura_study.study.request import Request

AT_ONCE = 2 if cores() > 1 else 1
"""Notebooks side by side: while one imports, or computes on one core, the other uses what is left."""


@dataclass
class Outcome:
    """What a run did.

    Attributes:
        folders: where.
        unchanged: notebooks that had nothing to do.
        ended: those that were executed, as they ended, with the error or an empty text.
    """

    folders: RunFolders
    unchanged: list[str] = field(default_factory=list)
    ended: dict[str, str] = field(default_factory=dict)

    @property
    def executed(self) -> list[str]:
        """Notebooks that were executed and are whole, in reading order."""
        return sorted(name for name, error in self.ended.items() if not error)

    @property
    def errors(self) -> list[str]:
        """What stopped the others, in their reading order."""
        return [error for _, error in sorted(self.ended.items()) if error]


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
        StudyError: the folder is in use, cannot be written or holds something else; data are missing; the evidence of a
            notebook that was not asked for is damaged.
        NotebookFailed: notebooks failed; the others have run, and ledger and manifest are written.
        KeyboardInterrupt: with what is kept printed first.
    """
    console = console or Console(stderr=True)
    source = folder or notebooks_folder()
    encoders = {name for parameters in request.parameters.values() for name in parameters.encoders}
    data = data_state(request.data, encoders)
    outcome = Outcome(request.folders)
    try:
        refuse_other_kind(request.folders, STUDY)
        with locked(request.folders):
            if not replace:
                manifest.refuse_another(request.folders, request.identity)
            _refuse_damaged_evidence(request)
            try:
                _run(request, source, data, at_once or AT_ONCE, console, outcome)
            except BaseException:
                with suppress(OSError, StudyError):  # what ended the run is what to tell
                    _record(request, source, data.files, bool(outcome.ended))
                raise
            _record(request, source, data.files, bool(outcome.ended))
    except OSError as error:
        reason = f"cannot write the run to {request.folders.results}: {error.strerror or error}"
        raise StudyError("\n".join([*outcome.errors, reason])) from error
    except StudyError as error:
        if not outcome.errors:
            raise
        raise StudyError("\n".join([*outcome.errors, str(error)])) from error
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
    if outcome.errors:
        raise NotebookFailed("\n".join(outcome.errors))
    return outcome


def _refuse_damaged_evidence(request: Request) -> None:
    """What the ledger will be merged from is read before hours of work; a notebook asked for writes its own anew."""
    for path in sorted(request.folders.evidence.glob("*.json")):
        if path.stem not in request.parameters:
            read_one(path)


def _run(request: Request, source: Path, data: DataState, at_once: int, console: Console, outcome: Outcome) -> None:
    """Plan and run the notebooks, and then, for they read what these found, the summaries."""
    names = list(request.parameters)
    stamps = read_stamps(request.folders, names)
    elsewhere = manifest.seconds_elsewhere(request.folders, request.identity)
    expected = elsewhere | {name: stamp.seconds for name, stamp in stamps.items()}
    with Display(console, names, expected, at_once) as display:
        for wave in request.waves:
            works = plan(request, wave, stamps, source, data)
            display.plan({work.order.name: work.why for work in works})
            outcome.unchanged += [work.order.name for work in works if not work.why]
            for name, event in execute_side_by_side([work.order for work in works if work.why], at_once, expected):
                display.tell(name, event)
                if isinstance(event, Ended):
                    outcome.ended[name] = event.error


def _record(request: Request, source: Path, files: dict[str, str], anew: bool) -> None:
    """Merge what the notebooks left into ledger and manifest."""
    write_claims(request.folders, request.profile, request.data)
    stamps = read_stamps(request.folders, notebook_names(source))
    data = manifest.DataRecord(name=request.data, files=files)
    manifest.bring_up_to_date(request.folders, request.identity, data, request.parameters, stamps, anew)
