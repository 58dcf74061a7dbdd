"""Times ways of doing the same work side by side: the machine is noisy, ratios within one run are steadier."""

import json
import os
import platform
import resource
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

RESULTS = Path(__file__).parent / "results.json"


def interleaved(
    ways: Mapping[str, Callable[[], object]],
    rounds: int,
    calls: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, np.ndarray]:
    """Seconds per call, ``(rounds,)`` for each way: every round times each way once, ``calls`` calls in a row.

    A slow moment of the machine then meets all ways alike; keep ``calls`` so few that a round takes milliseconds, and
    most rounds are not interrupted at all. With several calls one goes before them untimed, so that no way pays for
    the caches that the way before it has emptied. ``time.process_time`` as the clock leaves out waiting for other
    processes, where the work is one thread's.
    """
    for work in ways.values():
        work()
    times = {name: np.empty(rounds) for name in ways}
    for turn in range(rounds):
        for name, work in ways.items():
            if calls > 1:
                work()
            start = clock()
            for _ in range(calls):
                work()
            times[name][turn] = (clock() - start) / calls
    return times


def least(
    ways: Mapping[str, Callable[[], object]],
    rounds: int,
    calls: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """`interleaved`'s minimum for each way: what the work costs when nothing disturbs it."""
    return {name: float(values.min()) for name, values in interleaved(ways, rounds, calls, clock).items()}


def processor_seconds(command: Sequence[str], environment: Mapping[str, str] | None = None) -> float:
    """User and system time of a command and of all that it starts and waits for: waiting for others does not count."""
    before = children_seconds()
    subprocess.run(command, check=True, env=environment)
    return children_seconds() - before


def children_seconds() -> float:
    """User and system time so far of the processes that this one started and waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def machine() -> str:
    """Processor, cores and versions that the figures belong to."""
    names = [line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    cores = len(os.sched_getaffinity(0))
    return f"{names[0] if names else platform.processor()}, {cores} cores, torch {torch.__version__.split('+')[0]}"


def report(title: str, rows: Mapping[str, str | tuple[str, str]]) -> None:
    """Print a small table and keep it in ``results.json``, from which ``table.py`` fills the README.

    Args:
        title: what the table is of.
        rows: what was measured: the figure, or the figure and what was asked of it.
    """
    pairs = {name: (value, "") if isinstance(value, str) else value for name, value in rows.items()}
    print(f"\n{title}")
    for name, (value, asked) in pairs.items():
        print(f"  {name:<70} {value}" + (f"  (asked: {asked})" if asked else ""))
    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    kept[title] = {"machine": machine(), "rows": [[name, *pair] for name, pair in pairs.items()]}
    RESULTS.write_text(json.dumps(dict(sorted(kept.items())), indent=1, ensure_ascii=False) + "\n")


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []
