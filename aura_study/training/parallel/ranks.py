r"""What each rank computes of a global batch, so that the average over ranks is the global batch's own gradient.

A task's loss is a mean over its rows, which lie on several ranks. Every rank draws the same schedule, so every rank
knows, without asking, which tasks the *global* batch holds and how many rows of each. Rank r of R enters
:math:`R \sum_{i \in r} l_i / n` for a task with n global rows: data parallelism averages the ranks' gradients, and the
average is that of the global mean. A rank without a row of a task that others hold enters 0, and its regulariser with
it: the task is present, its loss here is a share of 0. A task that no rank holds is absent everywhere.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from aura_study.data.batches import Batch
from aura_study.data.schedules import Rows
from aura_study.training.loop import TrainingSettings, task_losses
from aura_study.training.model import AuraModel
from aura_study.training.weighting import Weighting


def shard(drawn: Rows, rank: int, ranks: int) -> Rows:
    """The rows of one rank: every ``ranks``-th of the global batch, counted through all tasks.

    Raises:
        ValueError: the global batch has fewer rows than there are ranks.
    """
    if (rows := sum(map(len, drawn.values()))) < ranks:
        raise ValueError(f"a batch of {rows} rows cannot be split over {ranks} ranks")
    own, before = {}, 0
    for task, chosen in drawn.items():
        part = chosen[(before + np.arange(len(chosen))) % ranks == rank]
        before += len(chosen)
        if len(part):
            own[task] = part
    return own


class ShardedLoss(nn.Module):
    """Model and weighting as one module, for `torch.nn.parallel.DistributedDataParallel` to average.

    Args:
        model, weighting: trained together.
        settings: of the task losses.
        ranks: number of processes.
    """

    def __init__(self, model: AuraModel, weighting: Weighting, settings: TrainingSettings, ranks: int) -> None:
        super().__init__()
        self.model = model
        self.weighting = weighting
        self.settings = settings
        self.ranks = ranks

    def forward(self, batch: Batch, counts: Mapping[str, int]) -> tuple[Tensor, dict[str, Tensor]]:
        """This rank's total and task losses; both are the global batch's once averaged over ranks.

        Args:
            batch: this rank's rows.
            counts: rows of every task of the global batch.
        """
        losses = {task: torch.zeros((), device=batch.input_ids.device) for task in counts}
        for task, mean in task_losses(self.model, batch, self.settings).items():
            rows = batch.rows[task]
            losses[task] = mean * (self.ranks * (rows.stop - rows.start) / counts[task])
        return self.weighting(losses), losses
