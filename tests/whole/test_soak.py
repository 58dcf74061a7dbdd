"""A long run: 200,000 recorded steps, memory flat, trajectory complete."""

import numpy as np
import psutil
import pyarrow.parquet as pq
import pytest
import torch

from aura_study.losses import UnmaskedKendallLoss
from aura_study.training.recording import TrajectoryRecorder

STEPS = 200_000
TASKS = ("often", "rarely")
MEGABYTE = 2**20


@pytest.mark.slow
def test_memory_stays_flat_and_every_step_is_there(tmp_path):
    """Sigma trained and recorded for 200,000 steps: no more memory at the end than early on, and not a step missing."""
    weigh = UnmaskedKendallLoss(TASKS)
    optimizer = torch.optim.SGD(weigh.parameters(), lr=1e-3)
    losses = torch.tensor([0.5, 0.8])
    norms = torch.full((2,), torch.nan)
    here, gone = torch.tensor([True, True]), torch.tensor([True, False])
    process, memory = psutil.Process(), {}
    path = tmp_path / "soak.parquet"
    with TrajectoryRecorder(path, TASKS, "unmasked", 0, torch.device("cpu")) as recorder:
        for step in range(STEPS):
            present = gone if step % 10 else here
            optimizer.zero_grad()
            weigh(losses, present).backward()
            recorder.record(weigh.sigma(), weigh.weights(), losses, norms, present.tolist(), 1e-3)
            optimizer.step()
            if step in (STEPS // 10, STEPS - 1):
                memory[step] = process.memory_info().rss
    early, late = memory.values()
    assert late - early < 16 * MEGABYTE
    table = pq.read_table(path, columns=["step", "present", "sigma", "loss"])
    steps = table["step"].to_numpy()
    assert np.array_equal(steps, np.repeat(np.arange(STEPS), len(TASKS)))
    assert table["present"].to_numpy().sum() == STEPS + STEPS // 10
    assert table["loss"].null_count == STEPS - STEPS // 10
    rare = table["sigma"].to_numpy()[1::2]
    assert rare[-1] ** 2 == pytest.approx(0.08, rel=0.05)  # the fixed point p L of a task present one step in ten
