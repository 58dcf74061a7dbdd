"""Code that is not ours in a process of its own: it may print, ask, loop, exit or abort, and nothing is left of it."""

import contextlib
import multiprocessing
import os
import signal
import sys
import time
import warnings
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, TypeVar

import torch

from aura_study.audit.laboratory import CannotAudit, listening

T = TypeVar("T")
STUCK = 30.0
"""Seconds after which a single call of the code under audit counts as one that does not return."""
SHOWN = 3.0


def in_a_child(work: Callable[[], T], limit: float, tell: Callable[[str], None] = lambda text: None) -> T:
    """What ``work`` gives, computed in a process of its own, with nothing to read from and its prints on stderr.

    Args:
        work: gives something that can be pickled.
        limit: seconds after which it is ended.
        tell: is told what is being done, every few seconds.

    Raises:
        CannotAudit: as ``work`` raises it; or the code ended the process, or did not end in time.
    """
    method = "fork" if hasattr(os, "fork") and not torch.cuda.is_available() else "spawn"
    context: Any = multiprocessing.get_context(method)
    ours, theirs = context.Pipe(duplex=False)
    process: Any = context.Process(target=_work, args=(theirs, work), daemon=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of threads beside a fork: the child starts none of ours
        process.start()
    theirs.close()
    try:
        return _listen(ours, limit, tell)
    finally:
        _end(process)
        ours.close()


def _listen(ours: Connection, limit: float, tell: Callable[[str], None]) -> Any:
    begun = heard = shown = time.monotonic()
    doing = "starting"
    while True:
        now = time.monotonic()
        if now - begun > limit:
            raise CannotAudit(f"It was not done within {limit:g} s; last: {doing}", LIMIT)
        if now - heard > min(STUCK, limit):
            raise CannotAudit(f"Its code did not return within {STUCK:g} s; last: {doing}", LIMIT)
        if not ours.poll(0.2):
            continue
        try:
            kind, content = ours.recv()
        except (EOFError, OSError):
            raise CannotAudit(
                f"Its code ended the process (os._exit, abort or a crash); last: {doing}", LIMIT
            ) from None
        if kind == "done":
            return content
        if kind == "failed":
            raise CannotAudit(*content)
        heard, doing = time.monotonic(), content
        if heard - shown > SHOWN:
            shown = heard
            tell(doing)


LIMIT = (
    "Audit a function that makes and calls the weighting alone, without the program around it (put what runs under "
    "if __name__ == '__main__'); --limit SECONDS allows more time."
)


def _work(theirs: Connection, work: Callable[[], Any]) -> None:
    with contextlib.suppress(OSError):
        os.setsid()  # what it starts ends with it
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 -- for as long as the process lives
    sys.stdout.flush()
    os.dup2(2, 1)
    code = 0
    try:
        with contextlib.redirect_stdout(sys.stderr), listening(lambda text: theirs.send(("doing", text))):
            answer = ("done", work())
    except CannotAudit as failure:
        answer = ("failed", (failure.reason, failure.adapt))
    except BaseException as error:
        answer = ("failed", (f"{type(error).__name__}: {error}", LIMIT))
    try:
        theirs.send(answer)
    except Exception as error:  # what cannot be pickled
        theirs.send(("failed", (f"{type(error).__name__}: {error}", LIMIT)))
    theirs.close()
    sys.stderr.flush()
    os._exit(code)  # not waiting for threads of the code under audit


def _end(process: Any) -> None:
    """The process and all that it started."""
    if process.pid is not None:
        with contextlib.suppress(OSError, AttributeError):
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()
    process.join()
