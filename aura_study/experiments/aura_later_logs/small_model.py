"""A small model of AURA's shape, and batches of four tasks in AURA's proportions, one of them exactly solvable."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aura_study.experiments.aura_later_logs.logs import BATCH, OTHERS

FEATURES, HIDDEN = 16, 32
OUTPUTS = {"toxicity": 2, "emotion": 7, "sentiment": 2, "reporting": 1}
"""Logits of each head."""
SHARES = {"toxicity": 0.20, "emotion": 0.10, "sentiment": 0.05, "reporting": 0.0}
"""Of labels that are wrong: reporting has none, so that it can be solved exactly."""
ROWS = {**OTHERS, "reporting": 6_440}
SMOOTHING, GAMMA = 0.1, 2.0
MARGIN = 3.0
"""Of reporting's rows, in standard deviations of a feature: wide enough for scales as V11.6 logged them."""

Batch = dict[str, tuple[Tensor, Tensor]]
"""Rows and labels of the tasks that a batch holds."""


class SmallModel(nn.Module):
    """A tanh layer that all tasks share, and a linear head each, in single precision."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(FEATURES, HIDDEN)
        self.heads = nn.ModuleDict({task: nn.Linear(HIDDEN, size) for task, size in OUTPUTS.items()})

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The shared representation ``(rows, HIDDEN)`` of the whole batch, and each present task's loss."""
        shared = torch.tanh(self.encoder(torch.cat([rows for rows, _ in batch.values()])))
        parts = torch.split(shared, [len(rows) for rows, _ in batch.values()])
        return shared, {
            task: task_loss(task, self.heads[task](part), labels)
            for (task, (_, labels)), part in zip(batch.items(), parts, strict=True)
        }


def task_loss(task: str, logits: Tensor, labels: Tensor) -> Tensor:
    """AURA's: smoothed focal loss for toxicity and sentiment, binary cross-entropy for emotion and reporting."""
    if OUTPUTS[task] != 2:
        return F.binary_cross_entropy_with_logits(logits, labels)
    entropy = F.cross_entropy(logits, labels.long()[:, 0], reduction="none", label_smoothing=2 * SMOOTHING)
    return ((1 - torch.exp(-entropy)) ** GAMMA * entropy).mean()  # AURA gives .1 to the wrong class, PyTorch half of it


def batches(count: int, seed: int) -> Iterator[Batch]:
    """``count`` batches of 16 rows, drawn by the tasks' sizes; equal for equal seeds, whatever is trained on them."""
    random = torch.Generator().manual_seed(seed)
    teachers = {task: torch.randn(FEATURES, labels(task), generator=random) for task in OUTPUTS}
    sizes = torch.tensor([float(size) for size in ROWS.values()])
    for _ in range(count):
        drawn = torch.multinomial(sizes, BATCH, replacement=True, generator=random)
        held = [(task, int((drawn == place).sum())) for place, task in enumerate(ROWS)]
        yield {task: _rows(task, number, teachers, random) for task, number in held if number}


def labels(task: str) -> int:
    """Labels of a row: one for two classes, one for each emotion."""
    return 1 if OUTPUTS[task] <= 2 else OUTPUTS[task]


def _rows(task: str, number: int, teachers: Mapping[str, Tensor], random: torch.Generator) -> tuple[Tensor, Tensor]:
    rows = torch.randn(number, FEATURES, generator=random)
    if task == "reporting":  # one feature tells, by a margin that differs from row to row
        right = torch.randint(0, 2, (number, 1), generator=random)
        rows[:, :1] = (2 * right - 1) * (MARGIN + rows[:, :1].abs())
        return rows, right.float()
    wrong = torch.rand(number, labels(task), generator=random) < SHARES[task]
    return rows, ((rows @ teachers[task] > 0) ^ wrong).float()
