"""Time and memory against tasks, audited tasks, rows, grid cells, seeds and notebooks, with the slopes of their
logarithms: 1 is linear.

Every point is measured in a fresh interpreter with one thread, in processor time, which leaves out the waiting for
others; its memory is the peak resident set above what was resident before. ``--quick`` stops one size short of the
largest.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from growth_figure import draw
from scipy import stats
from timing import children_seconds, least, report

POINTS = Path(__file__).parent / "growth_points.json"
SIZES: dict[str, tuple[int, ...]] = {
    "tasks": (4, 8, 16, 32, 64, 128, 256),
    "audited tasks": (4, 28, 64, 256),
    "rows": (1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000),
    "cells": (1_000, 10_000, 100_000, 1_000_000, 10_000_000),
    "seeds": (1, 2, 4, 8),
    "notebooks": (1, 2, 4, 8),
}
FITTED = 4
"""The largest sizes, which a slope is fitted to: at the smallest a fixed cost hides the growth."""
ASKED = {("audited tasks", 28): 15, ("audited tasks", 256): 60}
"""Seconds that these points may take."""
Point = dict[str, tuple[float, float]]
"""Seconds and bytes by what was done; NaN for what was not measured."""


class Watch:
    """Processor seconds, those of processes that it waits for too, and peak bytes of one piece of work at a time."""

    def __init__(self) -> None:
        self.points: Point = {}

    def __call__(self, name: str, work: Callable[[], Any]) -> Any:
        Path("/proc/self/clear_refs").write_text("5")  # start the peak anew
        before, start = _status("VmRSS"), _processor_seconds()
        result = work()
        self.points[name] = _processor_seconds() - start, _status("VmHWM") - before
        return result


def rows(size: int) -> Point:
    """The embedded corpus in AURA's proportions, its tokenizer, its token ids, and one epoch of micro-batches of 16."""
    from aura_study.data.batches import Batches
    from aura_study.data.embedded import TRAIN_ROWS, generate
    from aura_study.data.schedules import mixed
    from aura_study.data.tokenization import corpus_tokenizer, tokenize_splits

    watch = Watch()
    train = {task: max(1, round(size * share / sum(TRAIN_ROWS.values()))) for task, share in TRAIN_ROWS.items()}
    corpus = watch("generate", lambda: generate(0, train, dict.fromkeys(train, 1)))
    with tempfile.TemporaryDirectory() as cache:
        tokenizer = watch("train a tokenizer", lambda: corpus_tokenizer(corpus, cache=Path(cache)))
    splits = watch("tokenise", lambda: tokenize_splits(corpus.train, tokenizer))
    batches = Batches(splits, mixed(corpus.sizes, 16, seed=0))
    watch("an epoch of batches", lambda: sum(len(batch) for batch in batches.iterate(0, batches.steps_per_epoch)))
    return watch.points


def cells(size: int) -> Point:
    """A table of cells, and 20 steps of Adam under noise and presence 1/2."""
    from aura_study.dynamics import grid, simulate
    from aura_study.theory.optimizers import DEFAULT_ADAM

    axes = {"optimizer": DEFAULT_ADAM, "noise": 0.5, "presence": 0.5}
    simulate(grid(**axes), 2, workers=1)  # compile
    watch = Watch()
    table = watch("make the table", lambda: grid(**axes, rate=np.geomspace(1e-4, 1e-2, size)))
    watch("simulate 20 steps", lambda: simulate(table, 20, workers=1))
    return watch.points


def seeds(size: int) -> Point:
    """As many training jobs of 10 steps on the tiny model, recorded and scored."""
    from aura_study.training.loop import TrainingSettings
    from aura_study.training.runs import TrainingJob, run_job

    def jobs(first: int, last: int, folder: Path) -> None:
        for seed in range(first, last):
            settings = TrainingSettings(steps=10, accumulation=1, seed=seed)
            run_job(TrainingJob(name=f"seed {seed}", rows=64, dev_rows=16, max_length=32, settings=settings), folder)

    watch = Watch()
    with tempfile.TemporaryDirectory() as folder:
        jobs(100, 101, Path(folder))  # prepare the data
        watch("train, record, score", lambda: jobs(0, size, Path(folder)))
    return watch.points


def tasks(size: int) -> Point:
    """Forward and backward of the masked and the frozen loss; bytes of every result of every operation."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    from aura_study.losses import FrozenKendallLoss, MaskedKendallLoss

    class Bytes(TorchDispatchMode):
        total = 0

        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = function(*args, **(kwargs or {}))
            for value in result if isinstance(result, tuple | list) else (result,):
                self.total += value.nbytes if isinstance(value, torch.Tensor) else 0
            return result

    torch.set_num_threads(1)
    losses = torch.rand(size, requires_grad=True)
    present = torch.rand(size, generator=torch.Generator().manual_seed(0)) > 0.5
    points: Point = {}
    for kind in (MaskedKendallLoss, FrozenKendallLoss):
        weigh = kind([f"task {place}" for place in range(size)])
        seconds = least(
            {"step": lambda weigh=weigh: weigh(losses, present).backward()},
            rounds=60,
            calls=10,
            clock=time.process_time,
        )["step"]
        with Bytes() as counted:
            weigh(losses, present).backward()
        points[kind.__name__] = seconds, counted.total
    return points


def audited_tasks(size: int) -> Point:
    """The audit of a loss that works on all tasks at once, and of one that goes through them by name."""
    import torch

    from aura_study.audit import audit
    from aura_study.losses import MaskedKendallLoss

    class ByName(torch.nn.Module):
        def __init__(self, tasks: list[str]) -> None:
            super().__init__()
            self.theta = torch.nn.ParameterDict({task: torch.nn.Parameter(torch.zeros(())) for task in tasks})

        def forward(self, losses: dict[str, torch.Tensor]) -> torch.Tensor:
            return sum(torch.exp(-self.theta[task]) * loss + self.theta[task] for task, loss in losses.items())

    torch.set_num_threads(1)
    watch = Watch()
    watch("audit of MaskedKendallLoss", lambda: audit(MaskedKendallLoss, tasks=size))
    watch("audit of a loop by name", lambda: audit(ByName, tasks=size))
    return watch.points


def notebooks(size: int) -> Point:
    """A run of as many notebooks of one table each, one after another, with its report; and once more."""
    import nbformat
    from rich.console import Console

    from aura_study.cli.runs import run_and_report
    from aura_study.runs.parameters import Parameters
    from aura_study.study import Request

    names = [f"{number:02}_growth" for number in range(size)]
    registry = {name: type(f"Growth{name[:2]}", (Parameters,), {"notebook": name}) for name in names}
    watch = Watch()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "notebooks"
        folder.mkdir()
        for name in names:
            notebook = nbformat.v4.new_notebook()
            notebook.cells = [
                nbformat.v4.new_code_cell('out = "interactive"', id="parameters", metadata={"tags": ["parameters"]}),
                nbformat.v4.new_code_cell(
                    "import pandas as pd\nfrom aura_study.runs.outputs import NotebookRun\n"
                    f'run = NotebookRun("{name}", out)\nrun.table("{name}", pd.DataFrame({{"one": [1.0]}}))',
                    id="table",
                ),
            ]
            nbformat.write(notebook, folder / f"{name}.ipynb")
        request = Request.of(registry, out=str(Path(place) / "run"), folder=folder)
        for what in ("run", "run again, nothing changed"):
            watch(what, lambda: run_and_report(request, Console(quiet=True), folder=folder, at_once=1))
    return watch.points


MEASURES = {
    "tasks": tasks,
    "audited tasks": audited_tasks,
    "rows": rows,
    "cells": cells,
    "seeds": seeds,
    "notebooks": notebooks,
}


def measured(axis: str, size: int, turns: int) -> Point:
    """A point's least seconds and bytes over as many fresh interpreters."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "RAYON_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    command = [sys.executable, __file__, "--point", axis, str(size)]
    found = [
        json.loads(subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout)
        for _ in range(turns)
    ]
    return {name: tuple(np.min([point[name] for point in found], axis=0)) for name in found[0]}


def slope(sizes: np.ndarray, values: np.ndarray) -> tuple[float, float]:
    """Slope of log(value) against log(size) over the largest sizes, and half its 95 % interval."""
    fit = stats.linregress(np.log(sizes[-FITTED:]), np.log(values[-FITTED:]))
    return float(fit.slope), float(stats.t.ppf(0.975, min(FITTED, len(sizes)) - 2) * fit.stderr)


def _processor_seconds() -> float:
    return time.process_time() + children_seconds()


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(name))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("axes", nargs="*", choices=[*MEASURES, []], help="measure these anew, keep the others' points")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--point", nargs=2, metavar=("AXIS", "SIZE"))
    chosen = parser.parse_args()
    if chosen.point:
        axis, size = chosen.point
        print(json.dumps(MEASURES[axis](int(size))))
        return
    curves: dict[str, Any] = json.loads(POINTS.read_text()) if POINTS.exists() else {}
    for axis in chosen.axes or MEASURES:
        sizes = SIZES[axis][: -1 if chosen.quick and axis != "tasks" else None]
        points = [measured(axis, size, turns=1 if size > 100_000 or axis == "audited tasks" else 2) for size in sizes]
        curves[axis] = {"sizes": sizes, "series": {name: [point[name] for point in points] for name in points[0]}}
        POINTS.write_text(json.dumps(curves) + "\n")
    table: dict[str, str | tuple[str, str]] = {}
    for axis, curve in curves.items():
        sizes = np.array(curve["sizes"], float)
        for name, values in curve["series"].items():
            columns = np.array(values, float).T
            fits = {
                what: slope(sizes, column)
                for what, column in zip(("time", "memory"), columns, strict=True)
                if column.all()
            }
            words = [f"{what} {one:.2f} ± {half:.2f}" for what, (one, half) in fits.items()]
            first, last = sizes[-min(FITTED, len(sizes))], sizes[-1]
            table[f"{name}, {first:,.0f} to {last:,.0f} {axis}"] = (", ".join(words), "≤ 1")
            for size, (seconds, _) in zip(curve["sizes"], values, strict=True):
                if limit := ASKED.get((axis, size)):
                    table[f"{name}, {size} {axis}"] = (f"{seconds:.1f} s", f"≤ {limit} s")
    report("growth: slopes of the logarithms over the largest sizes, with 95 % intervals", table)
    draw(curves, slope)


if __name__ == "__main__":
    main()
