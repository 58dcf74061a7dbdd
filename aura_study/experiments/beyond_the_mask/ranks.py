"""Two real processes (gloo) that train one uncertainty by DistributedDataParallel, a task present on one rank only.

Run by `two_processes` of `aura_study.experiments.beyond_the_mask.shards`; every process executes `work`.
"""

import datetime
import gc
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from aura_study.experiments.beyond_the_mask.shard_model import Case, ShardModel

RANKS = 2
TIMEOUT = datetime.timedelta(seconds=120)
STILL_STEPS = 5


def run_ranks(cases: Sequence[Case], ways: Sequence[str], steps: int, lr: float) -> list[dict[str, Any]]:
    """Start two processes, train every way on every case in them, and bring rank 0's rows back."""
    with tempfile.TemporaryDirectory() as folder, _without_warnings():
        mp.spawn(work, args=(folder, list(cases), list(ways), steps, lr), nprocs=RANKS)
        rows: list[dict[str, Any]] = json.loads((Path(folder) / "rows.json").read_text(encoding="utf-8"))
        return rows


@contextmanager
def _without_warnings() -> Iterator[None]:
    """For processes started within: DDP warns of each step in which it looked for unused parameters and found none."""
    name = "TORCH_CPP_LOG_LEVEL"  # PyTorch reads it while it is imported
    before = os.environ.get(name)
    os.environ[name] = "ERROR"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def work(rank: int, folder: str, cases: list[Case], ways: list[str], steps: int, lr: float) -> None:
    """One process: join the group through a file, train, and let rank 0 write what came out."""
    torch.set_num_threads(1)
    if sys.platform == "linux":
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # the ranks live on one machine, which may have no network
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=RANKS, timeout=TIMEOUT)
    try:
        rows = [_train(rank, case, way, steps, lr) for case in cases for way in ways]
        if rank == 0:
            (Path(folder) / "rows.json").write_text(json.dumps(rows), encoding="utf-8")
        dist.barrier()
    finally:
        gc.collect()  # a model of DDP, kept by a cycle, would hold the group's threads until they abort the process
        dist.destroy_process_group()


def _train(rank: int, case: Case, way: str, steps: int, lr: float) -> dict[str, Any]:
    model = ShardModel(way)
    parallel = DistributedDataParallel(model, find_unused_parameters=way == "local frozen")
    optimizer = torch.optim.SGD(model.weigh.parameters(), lr=lr)
    for _ in range(steps):
        parallel.zero_grad()
        parallel(case, rank).backward()
        optimizer.step()
    gain = model.gain.grad
    assert gain is not None
    variance = float(model.weigh.sigma()[1] ** 2)
    return {
        "shards": "two processes",
        "case": case.name,
        "way": way,
        "sigma_squared": variance,
        "encoder": float(gain[1]),
        "ranks_agree": _agree(variance),
        "moved_when_absent_everywhere": _absence(model, parallel, case, rank),
    }


def _absence(model: ShardModel, parallel: nn.Module, case: Case, rank: int) -> float:
    """How far AdamW's decay moves the task's parameter while no rank has it."""
    before = model.weigh.thetas()[1].detach().clone()
    optimizer = torch.optim.AdamW(model.weigh.parameters(), lr=0.01, weight_decay=1.0)
    for _ in range(STILL_STEPS):
        optimizer.zero_grad()
        parallel(case.without(), rank).backward()
        optimizer.step()
    return float((model.weigh.thetas()[1].detach() - before).abs())


def _agree(value: float) -> bool:
    everyone = [torch.zeros((), dtype=torch.float64) for _ in range(RANKS)]
    dist.all_gather(everyone, torch.tensor(value, dtype=torch.float64))
    return bool(everyone[0] == everyone[1])
