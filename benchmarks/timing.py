"""Times work against a baseline within one run: the machine is noisy, ratios are steadier."""

import time
from collections.abc import Callable

import numpy as np


def seconds(work: Callable[[], object], repeats: int = 7) -> float:
    """Median wall time of ``work`` after one warm-up call."""
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def report(title: str, rows: dict[str, str]) -> None:
    """A small table."""
    print(f"\n{title}")
    for name, value in rows.items():
        print(f"  {name:<58} {value}")
