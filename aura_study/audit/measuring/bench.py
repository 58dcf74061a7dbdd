"""A ready subject on which things are measured: the losses it is given and what steps it."""

from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor

from aura_study.audit.calls.subject import Subject
from aura_study.audit.evidence import Settings
from aura_study.audit.measuring.memory import remembers, varied

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {"SGD": torch.optim.SGD, "Adam": torch.optim.Adam}
LOSS_LEVELS = (0.3, 2.0, 0.8)
"""Losses of the tasks in turn, below and above the fixed points of usual starts; not 1, often a fixed point itself."""


class Bench:
    """One ready subject as it is made; what is measured is measured on others like it.

    Args:
        subject: one that has been called.
        settings: of the absence.
        late: whether its counters are moved far ahead first, beyond any warm-up of its own.
    """

    def __init__(self, subject: Subject, settings: Settings, late: bool = False) -> None:
        self.subject, self.settings, self.late = subject, settings, late
        self.convention, self.tasks = subject.convention, subject.tasks

    @cached_property
    def memory(self) -> tuple[bool, bool]:
        """Whether earlier losses, and whether draws, decide the weights, and not the parameters alone."""
        return remembers(self.subject, self.tasks)

    @property
    def remembers(self) -> bool:
        """Whether earlier losses decide the weights."""
        return self.memory[0]

    @cached_property
    def base(self) -> dict[str, float]:
        """Of all tasks, at the level that they have on average."""
        return {task: LOSS_LEVELS[i % len(LOSS_LEVELS)] for i, task in enumerate(self.tasks)}

    def losses(self, step: int) -> dict[str, float]:
        """Of all tasks: constant, but for a module that remembers, to which a constant is an exception."""
        return varied(self.base, step) if self.remembers else self.base

    def own_entries(self, subject: Subject, task: str) -> list[tuple[int, Tensor]]:
        """Parameter entries whose gradient depends on the task's loss: (index of the tensor, boolean mask)."""
        return subject.own_entries(task, self.base)

    def stepper(self, subject: Subject, optimizer: str, lr: float | None = None) -> Callable[[], object]:
        """What steps the parameters that the training loop learns; nothing where there are none."""
        learned = subject.learned
        return OPTIMIZERS[optimizer](learned, lr=lr or self.settings.lr).step if learned else lambda: None
