"""Code that is not ours in a process of its own: it may print, ask, loop, exit, fork or abort; nothing is left of it.

Three processes: ours; a *shield*, which is what dies if the code kills its parent; and the one that runs the code, in a
session and with a temporary folder of its own and a limit on its memory. Its answer comes through a pipe, line by line,
each with a word that the code is not told: what it prints or writes elsewhere decides nothing. This keeps accidents and
mischief out; it is no prison for code that is out to harm, which runs as the user.
"""

import contextlib
import ctypes
import json
import math
import multiprocessing
import os
import secrets
import select
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import psutil

from aura_study.audit.laboratory import CannotAudit, listening
from aura_study.data.scratch import scratch

STUCK = 0.4
"""Share of the time limit after which a single call of the code under audit counts as one that does not return."""
SHOWN, TOLD = 3.0, 0.5
LONGEST = 1 << 26
SIGNALLED = 128
"""Added to the number of the signal that ended a process, as shells do."""
LINUX = sys.platform == "linux"
DIE_WITH_PARENT, ADOPT_ORPHANS = 1, 36
"""Options of Linux's prctl."""
LIMIT = (
    "Audit a function that makes and calls the weighting alone, without the program around it (put what runs under "
    "if __name__ == '__main__'); --limit SECONDS allows more time, --memory GIB more memory."
)
ROOM = "Make room there, or name another folder for temporary files in TMPDIR."


def in_a_child(
    work: Callable[[], Any], limit: float, memory: float = math.inf, tell: Callable[[str], None] = lambda text: None
) -> Any:
    """What ``work`` gives, computed in a process of its own, with nothing to read from and its prints on stderr.

    Args:
        work: gives something that JSON can hold; can be pickled.
        limit: seconds after which it is ended.
        memory: GiB that it may take.
        tell: is told what is being done, every few seconds.

    Raises:
        CannotAudit: as ``work`` raises it; or the code ended the process, or did not end in time; or there is none.
    """
    try:
        return _in_a_child(work, limit, memory, tell)
    except OSError as error:
        raise CannotAudit(f"It cannot have a process and a temporary folder of its own: {error}", ROOM) from error


def _in_a_child(work: Callable[[], Any], limit: float, memory: float, tell: Callable[[str], None]) -> Any:
    context: Any = multiprocessing.get_context("fork" if LINUX else "spawn")
    ours, theirs = context.Pipe(duplex=False)
    word = secrets.token_hex()
    with _cleaned_up() as folder:
        shield: Any = context.Process(target=_shield, args=(theirs, word, work, memory, folder))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of threads beside a fork: the child starts none of ours
            shield.start()
        theirs.close()
        try:
            return _listen(_Lines(ours.fileno(), word), shield, limit, tell)
        finally:
            shield.kill()
            shield.join()
            ours.close()


@contextlib.contextmanager
def _cleaned_up() -> Iterator[str]:
    """A temporary folder, and afterwards none of the processes that were started meanwhile, nor of theirs."""
    me = psutil.Process()
    before = {process.pid for process in me.children(recursive=True)}
    with scratch("aura-audit-") as folder:
        _prctl(ADOPT_ORPHANS, 1)
        try:
            yield str(folder)
        finally:
            for _ in range(100):
                left = [process for process in me.children(recursive=True) if process.pid not in before]
                if not left:
                    break
                for process in left:
                    with contextlib.suppress(psutil.Error):
                        process.kill()
                psutil.wait_procs(left, timeout=0.1)
            _prctl(ADOPT_ORPHANS, 0)


def _prctl(option: int, value: int) -> None:
    if LINUX:
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


class _Lines:
    """Messages from the other end of a pipe, read without waiting for any."""

    def __init__(self, descriptor: int, word: str) -> None:
        self.descriptor, self.word = descriptor, word.encode()
        self.rest, self.quiet = b"", False

    def read(self, patience: float) -> list[tuple[str, Any]]:
        """Those that came within ``patience`` seconds; lines without the word are none."""
        if not select.select([self.descriptor], [], [], patience)[0]:
            self.quiet = True
            return []
        got = os.read(self.descriptor, 1 << 16)
        self.quiet = not got
        if self.quiet:  # nobody can write any more
            time.sleep(patience)
        *lines, self.rest = (self.rest + got).split(b"\n")
        if len(self.rest) > LONGEST:
            self.rest = b""
        return [tuple(json.loads(line[len(self.word) :])) for line in lines if line.startswith(self.word)]


def _listen(lines: _Lines, shield: Any, limit: float, tell: Callable[[str], None]) -> Any:
    begun = heard = shown = time.monotonic()
    stuck = STUCK * limit
    doing = "starting"
    while True:
        ended = not shield.is_alive()  # before reading: what it said last is read still
        for kind, content in lines.read(0.0 if ended else 0.2):
            if kind == "done":
                return content
            if kind == "failed":
                raise CannotAudit(*content)
            heard, doing = time.monotonic(), content
        now = time.monotonic()
        if now - begun > limit:
            raise CannotAudit(f"It was not done within {limit:g} s; last: {doing}", LIMIT)
        if now - heard > stuck:
            raise CannotAudit(f"Its code did not return within {stuck:g} s; last: {doing}", LIMIT)
        if ended and lines.quiet:
            raise CannotAudit(f"Its code ended the process ({_how(shield.exitcode)}); last: {doing}", LIMIT)
        if now - shown > SHOWN:
            shown = now
            tell(doing)


def _how(code: int) -> str:
    number = -code if code < 0 else code - SIGNALLED
    return f"signal {number}: abort, a crash or a kill" if number > 0 else f"exit status {code}"


def _shield(theirs: Any, word: str, work: Callable[[], Any], memory: float, folder: str) -> None:
    """Wait for the process that runs the code, and end as it ends."""
    if not LINUX:
        _run(theirs.fileno(), word, work, memory, folder)
    _prctl(DIE_WITH_PARENT, signal.SIGKILL)
    child = os.fork()
    if child:
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        os._exit(code if code >= 0 else SIGNALLED - code)
    _prctl(DIE_WITH_PARENT, signal.SIGKILL)
    _run(theirs.fileno(), word, work, memory, folder)


def _run(descriptor: int, word: str, work: Callable[[], Any], memory: float, folder: str) -> None:
    """Run the code, tell what is being done, answer and end."""
    owner, told, doing = os.getpid(), 0.0, ""

    def send(kind: str, content: Any) -> None:
        message = f"{word}{json.dumps([kind, content])}\n".encode()
        while message:
            message = message[os.write(descriptor, message) :]

    def listen(text: str) -> None:
        nonlocal told, doing
        doing = text or doing
        if os.getpid() != owner:
            send("failed", ("Its code forked, and both processes came back", LIMIT))
            os._exit(2)
        now = time.monotonic()
        if text or now - told > TOLD:  # each phase as it starts, so that the reason names the one that was running
            told = now
            send("doing", doing)

    _furnish(descriptor, memory, folder)
    try:
        with contextlib.redirect_stdout(sys.stderr), listening(listen):
            listen("importing")
            answer = ("done", work())
            listen("done")
    except CannotAudit as failure:
        answer = ("failed", (failure.reason, failure.adapt))
    except BaseException as error:
        answer = ("failed", (f"{type(error).__name__}: {' '.join(str(error).split())[:200]}", LIMIT))
    if os.getpid() == owner:
        send(*answer)
    os._exit(0)  # not waiting for threads of the code under audit


def _furnish(descriptor: int, memory: float, folder: str) -> None:
    """A session, standard streams, temporary files and a limit on the memory of its own; no other file of ours."""
    if LINUX:
        os.closerange(3, descriptor)
        os.closerange(descriptor + 1, os.sysconf("SC_OPEN_MAX"))
    with contextlib.suppress(OSError, AttributeError):
        os.setsid()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 -- for as long as the process lives
    sys.stdout.flush()
    os.dup2(2, 1)
    os.environ["TMPDIR"] = tempfile.tempdir = folder
    sys.dont_write_bytecode = True
    if LINUX and math.isfinite(memory):
        import resource

        most = psutil.Process().memory_info().data + int(memory * 2**30)
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))
