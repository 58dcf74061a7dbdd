"""Cell-steps per second of the grid simulation against torch.optim.Adam on one cell; then a million cells."""

import time

import numpy as np
import torch
from timing import report, seconds

from aura_study.dynamics import grid, simulate
from aura_study.losses import UnmaskedKendallLoss
from aura_study.theory.optimizers import DEFAULT_ADAM

STEPS = 1000


def torch_loop(steps: int = 200) -> None:
    """One cell, step by step, as one would write it without the grid."""
    weigh = UnmaskedKendallLoss(["task"], dtype=torch.float64)
    optimizer = torch.optim.Adam(weigh.parameters(), lr=1e-3)
    loss = torch.tensor(0.5, dtype=torch.float64)
    for _ in range(steps):
        optimizer.zero_grad()
        weigh({"task": loss}).backward()
        optimizer.step()


def main() -> None:
    torch.set_num_threads(1)
    axes = {"optimizer": DEFAULT_ADAM, "policy": "unmasked", "presence": 0.5, "noise": 0.5}
    small = grid(**axes, rate=np.geomspace(1e-4, 1e-2, 20_000))
    ours = 20_000 * STEPS / seconds(lambda: simulate(small, STEPS), repeats=3)
    theirs = 200 / seconds(torch_loop, repeats=5)
    million = grid(**axes, rate=np.geomspace(1e-4, 1e-2, 1000), loss=np.geomspace(1e-2, 1e2, 1000))
    start = time.perf_counter()
    simulate(million, STEPS)
    rows = {
        "torch.optim.Adam on one cell": f"{theirs:.3g} cell-steps/s",
        "aura_study.dynamics, Adam, noise, presence 1/2": f"{ours:.3g} cell-steps/s, {ours / theirs:,.0f} x",
        "one million cells x 1,000 steps": f"{time.perf_counter() - start:.1f} s",
    }
    report("sigma dynamics", rows)


if __name__ == "__main__":
    main()
