"""Cell-steps per second of the grid against torch.optim.Adam on one cell and a plain kernel of the same arithmetic.

``--map`` measures notebook 06's phase map alone, at a million cells.
"""

import argparse
import math
import os
import time
import tracemalloc
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import torch
from numba import njit
from timing import least, report

from aura_study.dynamics import grid, simulate
from aura_study.dynamics.random import normal, uniform
from aura_study.experiments.phase_diagram.maps import BAND, WARM_UP
from aura_study.experiments.phase_diagram.parameters import PhaseDiagramParameters
from aura_study.losses import UnmaskedKendallLoss
from aura_study.theory.forms import FORMS
from aura_study.theory.optimizers import DEFAULT_ADAM

CELLS, STEPS, TORCH_STEPS = 4096, 2000, 100
MAP_CELLS = 1_000_000
KINDS: dict[str, dict[str, Any]] = {
    "Adam": {},
    "Adam, noise": {"noise": 0.5},
    "Adam, noise, presence 1/2": {"noise": 0.5, "presence": 0.5},
}
FORM_KINDS = {f"Adam, {form}": {"parameterization": form} for form in FORMS if form != "log_sigma"}


def torch_loop(noise: float = 0.0, presence: float = 1.0) -> None:
    """One cell, step by step, as one would write it without the grid."""
    weigh = UnmaskedKendallLoss(["task"], dtype=torch.float64)
    optimizer = torch.optim.Adam(weigh.parameters(), lr=1e-3)
    random = np.random.default_rng(0)
    variance = math.log1p(noise**2)
    for _ in range(TORCH_STEPS):
        loss = 0.5
        if noise:
            loss *= math.exp(random.normal(-0.5 * variance, math.sqrt(variance)))
        optimizer.zero_grad()
        weigh({"task": torch.tensor(loss)} if presence == 1 or random.random() < presence else {}).backward()
        optimizer.step()


compiled = njit(nogil=True, error_model="numpy")
GRADIENTS = {  # w'(theta) L + r'(theta)
    "log_sigma": compiled(lambda x, loss: 1.0 - math.exp(-2.0 * x) * loss),
    "sigma": compiled(lambda x, loss: 1.0 / x - loss / (x * x * x)),
    "log_variance": compiled(lambda x, loss: 0.5 - 0.5 * math.exp(-x) * loss),
    "aura_softplus": compiled(
        lambda x, loss: (0.5 - loss / math.log1p(math.exp(x)) ** 2) / (1.0 + math.exp(-x))  # its 1e-8 left out
    ),
    "log_one_plus_square": compiled(lambda x, loss: 2.0 * x / (1.0 + x * x) - loss / (x * x * x)),
}


@cache
def plain(form: str) -> Any:
    """The arithmetic and nothing else: no policies, schedules, absences or outcomes.

    The cells are independent and their state, (5, cells), fits the first cache, so that arithmetic alone bounds it.
    """
    slope = GRADIENTS[form]

    @compiled
    def loop(state: Any, rates: Any, steps: int, level: float, noise: float, presence: float) -> None:
        theta, m, v, left1, left2 = state
        beta1, beta2, epsilon = 0.9, 0.999, 1e-8
        variance = math.log1p(noise * noise)
        deviation = math.sqrt(variance)
        for t in range(steps):
            for i in range(theta.size):
                key, first = np.uint64(i), np.uint64(2 * t)
                loss = level
                if presence < 1.0 and uniform(key, first) > presence:
                    loss = 0.0
                elif noise > 0.0:
                    loss = level * math.exp(deviation * normal(key, first + np.uint64(1)) - 0.5 * variance)
                gradient = slope(theta[i], loss)
                left1[i] *= beta1
                left2[i] *= beta2
                m[i] += (1.0 - beta1) * (gradient - m[i])
                v[i] = beta2 * v[i] + (1.0 - beta2) * gradient * gradient
                root = math.sqrt(1.0 - left2[i])
                theta[i] -= rates[i] * root / (1.0 - left1[i]) * m[i] / (math.sqrt(v[i]) + epsilon * root)

    return loop


def plain_run(cells: int, settings: dict[str, Any]) -> None:
    """`plain` over as many cell-steps as the grid's runs have, 512 cells at a time."""
    form = settings.get("parameterization", "log_sigma")
    rates = np.geomspace(1e-4, 1e-2, 512)
    for _ in range(cells // 512):
        state = np.zeros((5, 512))
        state[0], state[3:] = FORMS[form].initial_theta, 1.0
        plain(form)(state, rates, STEPS, 0.5, settings.get("noise", 0.0), settings.get("presence", 1.0))


def cells_of(settings: dict[str, Any], cells: int = CELLS) -> pd.DataFrame:
    return grid(optimizer=DEFAULT_ADAM, loss=0.5, rate=np.geomspace(1e-4, 1e-2, cells), **settings)


def peak_bytes(steps: int) -> int:
    cells = cells_of({"presence": 0.5}, 1000)
    tracemalloc.start()
    simulate(cells, steps)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak - 2 * 8 * steps  # schedule and profile, one number a step each


def phase_map() -> None:
    """Presence against the length of an absence under Adam, as often as fills the cells, over notebook 06's steps.

    One thread, in processor time: the cells are shared out over the cores, which on an idle machine take it in parts.
    """
    p = PhaseDiagramParameters(points=1000)
    of_each = -(-MAP_CELLS // (len(p.presences) * len(p.absent_steps)))
    axes = {"presence": p.presences, "absent_steps": p.absent_steps, "loss": [p.loss] * of_each}
    cells = grid(**axes, optimizer=DEFAULT_ADAM, rate=p.rate, noise=p.noise, absent_start=WARM_UP).head(MAP_CELLS)
    simulate(cells.head(8), 20, band=BAND, workers=1)  # compile
    start = time.process_time()
    simulate(cells, p.steps, seed=p.seed, band=BAND, workers=1)
    used, cores = time.process_time() - start, len(os.sched_getaffinity(0))
    what = f"{len(cells):,} cells over {p.steps:,} steps: processor time, and each of {cores} cores' part of it"
    report("dynamics: the phase map", {what: (f"{used:.0f} s, {used / cores:.0f} s", "≤ 60 s on all cores")})


def main() -> None:
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--map", action="store_true")
    if not parser.parse_args().map:
        against_loops()
    phase_map()


def against_loops() -> None:
    """The grid against Adam's own loop and the plain one, and its memory against the steps."""
    single: dict[str, Callable[[], None]] = {}
    every: dict[str, Callable[[], None]] = {}
    for name, settings in KINDS.items():
        table = cells_of(settings)
        single[f"loop: {name}"] = every[f"loop: {name}"] = lambda settings=settings: torch_loop(**settings)
        every[f"grid: {name}"] = lambda table=table: simulate(table, STEPS)
    for name, settings in {**KINDS, **FORM_KINDS}.items():
        table = cells_of(settings)
        single[f"grid: {name}"] = lambda table=table: simulate(table, STEPS, workers=1)
        single[f"plain: {name}"] = lambda settings=settings: plain_run(CELLS, settings)
    one = least(single, rounds=20, clock=time.process_time)
    all_cores = least(every, rounds=30)
    work = CELLS * STEPS / TORCH_STEPS
    rows: dict[str, str | tuple[str, str]] = {}
    for name in KINDS:
        loop, ours = TORCH_STEPS / one[f"loop: {name}"], CELLS * STEPS / one[f"grid: {name}"]
        rows[f"{name}: grid, one thread, against `torch.optim.Adam` on one cell; processor time"] = (
            f"{ours / 1e6:.0f} M against {loop:,.0f} cell-steps/s: {ours / loop:,.0f} ×"
        )
    for name in KINDS:
        ratio = work * all_cores[f"loop: {name}"] / all_cores[f"grid: {name}"]
        rows[f"{name}: grid, all cores, against the same loop; wall time"] = (f"{ratio:,.0f} ×", "≥ 10,000 ×")
    for name in (*KINDS, *FORM_KINDS):
        share = one[f"plain: {name}"] / one[f"grid: {name}"]
        rows[f"{name}: the grid's share of the plain loop's speed, one thread"] = (f"{share:.0%}", "≥ 77 %")
    few, many = peak_bytes(100), peak_bytes(10_000)
    rows["1,000 cells: peak memory at 10,000 steps over that at 100"] = (f"{many / few:.3f}", "flat")
    report("dynamics: cell-steps", rows)


if __name__ == "__main__":
    main()
