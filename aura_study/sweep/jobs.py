"""A sweep's jobs on an engine: what became of each, in words."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from aura_study.runs.engine import Ended, Engine
from aura_study.runs.jobs import Job, is_finished

Run = Callable[[Any, Path], Path]
VISIBLE_SECONDS = 10.0
_ONE_JOB_AT_A_TIME = threading.Lock()


def complete(engine: Engine, run: Run, jobs: Sequence[Job], folder: Path) -> Iterator[tuple[Job, str]]:
    """Do jobs on an engine; yields each as it ends, with an error that is empty if its record is whole."""
    for ended in engine.complete(_attempt, [(run, job, folder) for job in jobs]):
        job = jobs[ended.number]
        yield job, _error(ended) or _missing(job, folder)


def _attempt(run: Run, job: Job, folder: Path) -> str:
    """Do one job in a worker; returns the error, if any, in words, for an exception's class may not exist elsewhere.

    Threads of one worker take turns: a training seeds the process's generator, and two at once would mix their numbers.
    """
    with _ONE_JOB_AT_A_TIME:
        try:
            run(job, folder)
        except Exception as error:
            return f"{type(error).__name__}: {' '.join(str(error).split())}"
    return ""


def _error(ended: Ended) -> str:
    if ended.lost:
        return "the process that runs it dies every time"
    return f"{type(ended.error).__name__}: {ended.error}" if ended.error else str(ended.value)


def _missing(job: Job, folder: Path) -> str:
    """What is wrong if the job's record, under the key of this machine's code, is not seen from here."""
    deadline = time.monotonic() + VISIBLE_SECONDS  # a shared file system may lag behind
    while not is_finished(job, folder):
        if time.monotonic() > deadline:
            return f"it ended without its record in {folder}; workers must share this folder and run the same code"
        time.sleep(0.2)
    return ""
