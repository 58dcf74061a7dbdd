"""Is the cured balancer the balancer on the present tasks alone? Against twins that never knew the others."""

from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from aura_study.balancing import BALANCERS, Balancer, PresentOnly, balancer
from aura_study.balancing.session import Fill, Session
from aura_study.claims import Measurement
from aura_study.claims.statistics.intervals import seeds
from aura_study.experiments.balancers.parameters import BalancersParameters
from aura_study.experiments.balancers.problems import RandomGradients, present_mask, sizes
from aura_study.experiments.balancers.stretches import CORRELATIONS
from aura_study.runs.jobs import side_by_side

EPOCH = 3


def twin(entry: Balancer, tasks: int, places: Tensor, dtype: torch.dtype) -> Any:
    """The balancer made for the tasks at ``places`` alone, as a user with no other task would make it."""
    alone: Any = entry.make(len(places))
    if entry.name == "Constant":
        alone.weights = entry.make(tasks).weights[places]
    return alone.to(dtype)


def trial(entry: Balancer, tasks: int, absent: int, seed: int, steps: int, dtype: torch.dtype) -> dict[str, object]:
    """Two groups of tasks in turn, each away while the other is there; each against its own twin.

    In the rows of the group that is away stands NaN. The cured balancer serves both groups; each twin sees its own
    group's steps alone. Runs of three steps, so that a state has time to move.
    """
    first = present_mask(tasks, absent)
    problem = RandomGradients(tasks, max(96, tasks), seed, CORRELATIONS[seed % len(CORRELATIONS)])
    order = torch.randperm(tasks, generator=problem.random)
    groups = [first[order], ~first[order]]
    made = PresentOnly(entry.make(tasks).to(dtype)).to(dtype)
    cured = Session(made, entry.kind, epoch=EPOCH)
    alone = [twin(entry, tasks, group.nonzero().flatten(), dtype) for group in groups]
    twins = [Session(balancer, entry.kind, Fill.LEFT_OUT, epoch=EPOCH) for balancer in alone]
    worst, moved = 0.0, 0.0
    with torch.random.fork_rng(devices=[]):
        for step in range(2 * steps):
            turn = step // EPOCH % 2
            here, both = groups[turn], (cured, twins[turn])
            problem.draw()
            losses, gradients = problem.losses().to(dtype), problem.gradients().to(dtype)
            before = made.state_of(~here)
            updates = []
            for session in both:
                torch.manual_seed(step)
                updates.append(session.answer(losses, gradients, here).update)
            problem.move(updates[0])
            for session in both:
                session.close(problem.losses().to(dtype), here)
            moved = max(moved, _moved(before, made.state_of(~here)))
            worst = max(worst, _difference(*updates))
    return {"balancer": entry.name, "tasks": tasks, "absent": absent, "seed": seed, "difference": worst, "moved": moved}


def _difference(update: Tensor, reference: Tensor) -> float:
    length = float(reference.norm())
    apart = float((update - reference).norm())
    return apart / length if length > 0 else (0.0 if apart == 0 else np.inf)


def _moved(before: dict[str, Tensor], after: dict[str, Tensor]) -> float:
    """Largest change of an entry; NaN that stays NaN did not move, NaN that comes or goes moved without bound."""
    largest = 0.0
    for name, held in before.items():
        same = (held == after[name]) | (held.isnan() & after[name].isnan())
        if not bool(same.all()):
            largest = max(largest, float((after[name] - held)[~same].abs().nan_to_num(torch.inf).max()))
    return largest


def cure(p: BalancersParameters, dtype: torch.dtype = torch.float64) -> pd.DataFrame:
    """One row per balancer, size and seed: worst difference from the twins, largest motion of an absent task's state.

    Nash-MTL is left out where a group is one task: TorchJD's code raises for a single task, so there is no twin.
    """
    names = [entry.name for entry in BALANCERS]
    return pd.DataFrame([row for rows in side_by_side(_trials, names, p, dtype, workers=p.workers) for row in rows])


def _trials(name: str, p: BalancersParameters, dtype: torch.dtype) -> list[dict[str, object]]:
    return [
        trial(balancer(name), tasks, absent, seed, p.cure_steps, dtype)
        for tasks, absent in sizes(p.cure_sizes.split(","))
        for seed in seeds(p.problems, p.seed)
        if not (name == "Nash-MTL" and 1 in (absent, tasks - absent))
    ]


def n2_measurement(cured: pd.DataFrame) -> Measurement:
    """Worst relative difference between cured and twin; the interval spans the balancers."""
    by_balancer = cured.groupby("balancer")["difference"].max()
    return Measurement(
        float(by_balancer.max()), float(by_balancer.min()), float(by_balancer.max()), "|difference| / |update|"
    )


def n2a_measurement(cured: pd.DataFrame) -> Measurement:
    """Largest motion of an absent task's state; the interval spans the balancers."""
    by_balancer = cured.groupby("balancer")["moved"].max()
    return Measurement(float(by_balancer.max()), float(by_balancer.min()), float(by_balancer.max()), "state")
