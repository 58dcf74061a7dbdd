"""A minute's guard: the ratios that matter most, against those that were committed; fails where one lost over a fifth.

Ratios belong to a machine: on another than the committed ones' they are printed and not judged.
``quick.py`` compares, ``quick.py --keep`` puts what it measures in their place, as ``make bench`` does.
"""

import json
import sys
import time
from collections.abc import Callable

import torch
from dynamics import CELLS, KINDS, STEPS, cells_of, plain_run
from imports import fresh_seconds
from losses import RIVAL, ways
from timing import RESULTS, least, machine, report
from training import OURS, PLAIN, subject, whole_runs

from aura_study.dynamics import simulate

TITLE = "quick: how many times as long the baseline takes, one thread, processor time"
LOST = 0.2
TURNS = 3
"""Measurements of a ratio that seems lost, before it counts as such; the best counts."""


def imports() -> dict[str, float]:
    """Fresh interpreters."""
    torch_alone, losses = (min(fresh_seconds(f"import {name}") for _ in range(3)) for name in MODULES)
    return {"`import torch` over `import aura_study.losses`": torch_alone / losses}


MODULES = ("torch", "aura_study.losses")


def losses() -> dict[str, float]:
    """Forward and backward, half of the tasks present; TorchJD's UW, of all of them."""
    found = {}
    for tasks in (4, 256):
        chosen = {name: total for name, total in ways(tasks).items() if name in (RIVAL, *OURS_OF_LOSSES)}
        steps = {name: lambda total=total: total().backward() for name, total in chosen.items()}
        seconds = least(steps, rounds=60, calls=20, clock=time.process_time)
        for name in OURS_OF_LOSSES:
            found[f"UW over {name}, {tasks} tasks"] = seconds[RIVAL] / seconds[name]
    return found


OURS_OF_LOSSES = ("MaskedKendallLoss", "UnmaskedKendallLoss")


def dynamics() -> dict[str, float]:
    """A plain compiled loop of the same arithmetic over the grid."""
    found = {}
    for name, settings in KINDS.items():
        table = cells_of(settings)
        runs: dict[str, Callable[[], object]] = {
            "grid": lambda table=table: simulate(table, STEPS, workers=1),
            "plain": lambda settings=settings: plain_run(CELLS, settings),
        }
        seconds = least(runs, rounds=6, clock=time.process_time)
        found[f"a plain loop over the grid, {name}"] = seconds["plain"] / seconds["grid"]
    return found


def training() -> dict[str, float]:
    """The straightforward loop over ours, on generated sentences, so that it is the same work everywhere."""
    runs = whole_runs(subject("embedded", steps=6), clock=time.process_time)
    seconds = {name: min(runs[name]() for _ in range(4)) for name in (PLAIN, OURS)}
    return {"the straightforward loop over ours": seconds[PLAIN] / seconds[OURS]}


PARTS = (imports, losses, dynamics, training)


def lost(found: dict[str, float], kept: dict[str, float]) -> list[str]:
    """Ratios that have lost more than `LOST` of what was kept; one that was not kept has lost nothing."""
    return [name for name, ratio in found.items() if name in kept and ratio < (1 - LOST) * kept[name]]


def measured(kept: dict[str, float]) -> dict[str, float]:
    """Every ratio, the best of `TURNS` where the first seems lost."""
    best: dict[str, float] = {}
    for part in PARTS:
        found = part()
        for _ in range(TURNS - 1):
            if lost(found, kept):
                found = {name: max(ratio, found[name]) for name, ratio in part().items()}
        best |= found
    return best


def committed() -> tuple[dict[str, float], bool]:
    """The ratios of the table in ``results.json``, and whether they are this machine's."""
    table = json.loads(RESULTS.read_text()).get(TITLE, {"rows": [], "machine": ""})
    return {name: float(value.split()[0]) for name, value, _ in table["rows"]}, table["machine"] == machine()


def main() -> None:
    torch.set_num_threads(1)
    if "--keep" in sys.argv:
        report(TITLE, {name: f"{ratio:.2f} ×" for name, ratio in measured({}).items()})
        return
    kept, same = committed()
    found = measured(kept if same else {})
    for name, ratio in found.items():
        before = f"{kept[name]:.2f}, {ratio / kept[name] - 1:+.0%}" if name in kept else "not kept"
        print(f"{name:<60} {ratio:6.2f} × (committed: {before})")
    if not same:
        print(f"measured on {machine()}, the committed on another: not judged")
    elif gone := lost(found, kept):
        sys.exit(f"lost more than {LOST:.0%}: {'; '.join(gone)}")


if __name__ == "__main__":
    main()
