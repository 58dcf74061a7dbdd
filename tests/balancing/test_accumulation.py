"""Gradient accumulation: several micro-batches, one update, the same as the full batch whoever is in which of them."""

import pytest
import torch
from torch import nn

from aura_study.balancing import PresentOnly, balancer
from aura_study.losses import FrozenKendallLoss, MaskedKendallLoss

TASKS = ["a", "b", "c"]
ROWS = [{"a": 3, "b": 5}, {"a": 1}, {"b": 1, "a": 4}]
"""Rows of each task in each micro-batch; c is in none of them."""


class Step:
    """A model of a trunk and a head per task, and the micro-batches of one update."""

    def __init__(self, seed):
        draws = torch.Generator().manual_seed(seed)
        torch.manual_seed(0)
        self.trunk = nn.Linear(6, 4).double()
        self.heads = nn.ModuleDict({task: nn.Linear(4, 1) for task in TASKS}).double()
        self.batches = [
            {task: torch.randn(rows, 7, generator=draws, dtype=torch.float64) for task, rows in held.items()}
            for held in ROWS
        ]
        self.full = {task: torch.cat([batch[task] for batch in self.batches if task in batch]) for task in ("a", "b")}

    def loss(self, task, rows):
        return (self.heads[task](self.trunk(rows[:, :6]).tanh()).squeeze(1) - rows[:, 6]).square().mean()

    def losses(self, batch):
        return {task: self.loss(task, rows) for task, rows in batch.items()}

    def share(self, batch, task):
        return len(batch[task]) / len(self.full[task])

    def jacobian(self, batch):
        rows = {}
        for task, loss in self.losses(batch).items():
            slopes = torch.autograd.grad(loss, list(self.trunk.parameters()))
            rows[task] = torch.cat([slope.flatten() for slope in slopes])
        return rows

    def parameters(self):
        return [*self.trunk.parameters(), *self.heads.parameters()]


def trained(weigh, one_step):
    """Three updates under AdamW with momentum and decay; all parameters afterwards, the weighting's among them."""
    step = Step(0)
    everything = [*step.parameters(), *weigh.parameters()]
    optimizer = torch.optim.AdamW(everything, lr=0.05, weight_decay=0.1)
    for seed in range(3):
        step.batches, step.full = Step(seed).batches, Step(seed).full
        optimizer.zero_grad()
        one_step(step, weigh)
        optimizer.step()
    return torch.cat([parameter.detach().flatten() for parameter in everything])


def at_once(step, weigh):
    weigh(step.losses(step.full)).backward()


def task_by_task(step, weigh):
    """A task's term, by its micro-batch's share of the task's rows: the regulariser's shares sum to one as well."""
    for batch in step.batches:
        sum(step.share(batch, task) * weigh({task: loss}) for task, loss in step.losses(batch).items()).backward()


def mean_of_totals(step, weigh):
    """What a Trainer does: the mean of the micro-batches' totals."""
    for batch in step.batches:
        (weigh(step.losses(batch)) / len(step.batches)).backward()


MADE = {
    "masked": lambda: MaskedKendallLoss(TASKS, dtype=torch.float64),
    "frozen": lambda: FrozenKendallLoss(TASKS, dtype=torch.float64),
    "UW": lambda: PresentOnly(balancer("UW").make(3).double(), TASKS),
    "IMTL-L": lambda: PresentOnly(balancer("IMTL-L").make(3).double(), TASKS),
}


@pytest.mark.parametrize("name", MADE)
def test_learned_weights_take_a_step_task_by_task(name):
    """Sums of one term per task: exact by each task's share of the rows; the mean of the totals is something else."""
    if name in ("UW", "IMTL-L"):
        pytest.importorskip("torchjd")
    full = trained(MADE[name](), at_once)
    torch.testing.assert_close(trained(MADE[name](), task_by_task), full, rtol=1e-10, atol=1e-12)
    assert (trained(MADE[name](), mean_of_totals) - full).abs().max() > 1e-3


@pytest.mark.parametrize("name", ["FAMO", "DWA", "STCH", "Geometric mean"])
def test_other_weights_are_asked_for_once_and_spread_over_the_micro_batches(name):
    """Weights d total / d L at the full batch's losses, then each micro-batch backward; one answer, one update."""
    pytest.importorskip("torchjd")

    def close(step, weigh):
        if name == "FAMO":
            weigh.update({task: loss.detach() * 0.9 for task, loss in step.losses(step.full).items()})
        weigh.step() if name == "DWA" else None

    def full(step, weigh):
        at_once(step, weigh)
        close(step, weigh)

    def spread(step, weigh):
        known = dict.fromkeys(step.full, 0.0)
        with torch.no_grad():
            for batch in step.batches:
                for task, loss in step.losses(batch).items():
                    known[task] += step.share(batch, task) * loss
        leaves = {task: loss.requires_grad_() for task, loss in known.items()}
        weights = dict(zip(leaves, torch.autograd.grad(weigh(leaves), list(leaves.values())), strict=True))
        for batch in step.batches:
            losses = step.losses(batch)
            sum(weights[task] * step.share(batch, task) * loss for task, loss in losses.items()).backward()
        close(step, weigh)

    made = [PresentOnly(balancer(name).make(3).double(), TASKS) for _ in range(2)]
    torch.testing.assert_close(trained(made[0], spread), trained(made[1], full), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", ["UPGrad", "GradVac", "ExcessMTL", "MGDA"])
def test_gradients_are_summed_before_the_one_answer(name):
    """A task's row is the sum of its micro-batches' rows by share; the balancer is asked, and remembers, once."""
    pytest.importorskip("torchjd")
    made = [PresentOnly(balancer(name).make(3).double(), TASKS) for _ in range(2)]
    for seed in range(3):
        step, summed = Step(seed), {}
        for batch in step.batches:
            for task, row in step.jacobian(batch).items():
                summed[task] = summed.get(task, 0) + step.share(batch, task) * row
        answers = []
        for weigh, rows in zip(made, (summed, step.jacobian(step.full)), strict=True):
            torch.manual_seed(seed)
            answers.append(weigh(rows))
        torch.testing.assert_close(*answers, rtol=1e-6, atol=1e-8)
