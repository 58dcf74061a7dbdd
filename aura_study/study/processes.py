"""Notebooks side by side, a process each, all of them followed by one loop and stopped together."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

from aura_study.data.scratch import scratch
from aura_study.study.notebook import Order, Progress

INLINE_BACKEND = "module://matplotlib_inline.backend_inline"
SECONDS_TO_STOP = 5.0
# -P: what lies in the working folder is not imported
COMMAND = (sys.executable, "-P", "-c", "from aura_study.study.notebook import main; main()")


@dataclass(frozen=True)
class Started:
    """A notebook begins."""


@dataclass(frozen=True)
class Ended:
    """A notebook has ended; ``error`` is empty if it is whole."""

    error: str = ""


Event = Started | Progress | Ended


def execute_side_by_side(
    orders: Sequence[Order], at_once: int, expected: Mapping[str, float]
) -> Iterator[tuple[str, Event]]:
    """Execute notebooks, ``at_once`` at a time: one alone in order, several as `in_turn` has them.

    ``expected``: seconds that each will take, by name, where they are known.

    Yields name and event as they come. Whatever ends the loop, an interrupt or an error where the events are used,
    ends the processes that run.
    """
    at_once = max(1, min(at_once, len(orders)))  # those who are alone share the cores with nobody
    by_name = {order.name: order for order in orders}
    waiting = list(by_name) if at_once == 1 else in_turn(list(by_name), expected)
    running: dict[str, subprocess.Popen[bytes]] = {}
    lines: SimpleQueue[tuple[str, bytes]] = SimpleQueue()
    last: dict[str, Event] = {}
    held = ExitStack()
    try:
        compiled = _for_machine_code(held)
        while waiting or running:
            while waiting and len(running) < at_once:
                order = by_name[waiting.pop(0)]
                running[order.name] = _start(order, environment(at_once, compiled), lines)
                yield order.name, Started()
            name, line = lines.get()
            if line:
                content = json.loads(line)
                last[name] = Ended(**content) if "error" in content else Progress(**content)
                yield name, last[name]
            else:
                code = _end(running.pop(name))
                if not isinstance(last.get(name), Ended):
                    yield name, Ended(f"notebook {name} stopped: its process ended with exit code {code}")
    finally:
        for process in running.values():
            _hang_up(process)
        for process in running.values():
            _end(process)
        held.close()


def in_turn(names: Sequence[str], expected: Mapping[str, float]) -> list[str]:
    """In what order notebooks begin, for a long one that begins last would leave the other cores idle.

    The longest first where all are ``expected`` to take some time; else first, last, second and so on, for the late
    notebooks train longest.
    """
    if all(name in expected for name in names):
        return sorted(names, key=lambda name: -expected[name])
    ahead = list(names)
    return [ahead.pop(0 if taken % 2 == 0 else -1) for taken in range(len(names))]


def _for_machine_code(held: ExitStack) -> Path | None:
    """A folder for what the first notebook that simulates compiles, and the next then find; none where none can be."""
    with suppress(OSError):
        return held.enter_context(scratch("aura-compiled-"))
    return None


def cores() -> int:
    """Cores that this process may use: a batch system, a container or taskset may leave it some of the machine's."""
    if hasattr(os, "sched_getaffinity"):  # neither macOS nor Windows has it
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def environment(at_once: int = 1, compiled: Path | None = None) -> dict[str, str]:
    """A notebook's environment: this process's, without what would hide figures, with its share of the cores."""
    held = dict(os.environ)
    if held.get("MPLBACKEND") != INLINE_BACKEND:
        held.pop("MPLBACKEND", None)  # Agg shows no figure and no error; the kernel chooses inline itself
    held.setdefault("OMP_NUM_THREADS", str(max(1, min(cores(), 8) // at_once)))
    held.setdefault("LOKY_MAX_CPU_COUNT", str(max(1, cores() // at_once)))  # joblib: workers cost an import each
    quiet = "ignore:IProgress not found"  # tqdm.auto, in libraries, asks for widgets that nobody would see
    held["PYTHONWARNINGS"] = ",".join(filter(None, [held.get("PYTHONWARNINGS"), quiet]))
    held["PYTHONHASHSEED"] = "0"
    held["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"  # keeps the debugger's warning out of the notebooks
    if compiled is not None:
        held |= {"NUMBA_CACHE_DIR": str(compiled), "AURA_STUDY_COMPILED": "1"}
    return held


def _start(
    order: Order, environment: dict[str, str], lines: "SimpleQueue[tuple[str, bytes]]"
) -> "subprocess.Popen[bytes]":
    """Start a notebook's process; its lines are put into ``lines`` under its name, an empty one when it ends."""
    process = subprocess.Popen(
        COMMAND,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        start_new_session=True,  # Ctrl-C is for the runner alone, which tells the others
    )
    stdin, stdout = process.stdin, process.stdout
    assert stdin is not None
    assert stdout is not None

    def follow() -> None:
        with stdout:
            for line in stdout:
                lines.put((order.name, line))
        lines.put((order.name, b""))

    threading.Thread(target=follow, daemon=True).start()
    with suppress(BrokenPipeError):  # it has died already, and its end will tell
        stdin.write(order.model_dump_json().encode() + b"\n")
        stdin.flush()
    return process


def _hang_up(process: "subprocess.Popen[bytes]") -> None:
    """Close the line; at its other end kernel, workers and the process itself are killed."""
    if process.stdin is not None:
        process.stdin.close()


def _end(process: "subprocess.Popen[bytes]") -> int:
    """Wait for the end, and make sure of it; returns the exit code."""
    _hang_up(process)
    try:
        return process.wait(SECONDS_TO_STOP)
    except subprocess.TimeoutExpired:
        process.kill()  # the kernel sees that its parent is gone
        return process.wait()
