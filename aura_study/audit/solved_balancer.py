"""How a balancer breaks on a task that is present and solved, beside what it does with one that is away."""

import copy
from collections.abc import Callable
from statistics import median
from typing import Any, Protocol

import torch
from torch import Tensor

from aura_study.balancing import Broken, Kind, PresentOnly
from aura_study.balancing.effects import broken, distance
from aura_study.balancing.session import Session, same_draws

WARM, FALL, STAY, BACK, EPOCH = 6, 4, 6, 4, 2
LEFT = 1e-6
"""Of the solved task's loss and gradient."""

WORDS = {
    Broken.NAN: "the update is NaN or infinite",
    Broken.STOPS: "nobody learns while it is solved: the update's length is x {length:.2g}",
    Broken.BLOWS_UP: "the update's length is x {length:.3g} while it is solved",
    Broken.LEFT_BEHIND: "once its loss is back its share of the weights is x {growth:.3g}",
    Broken.NOT: "neither stops, nor blows up, nor leaves the task behind",
}


class Stream(Protocol):
    """Losses ``(tasks,)`` and gradients ``(tasks, params)`` that change from step to step."""

    losses: Tensor
    gradients: Tensor

    def draw(self) -> None:
        """Go on to the next step."""
        ...


def solve(make: Callable[[], Any], kind: Kind, tasks: int, stream: Stream) -> tuple[Broken, str]:
    """How the balancer breaks, and a sentence: the last task's loss and gradient fall to a millionth, stay, are back.

    The reference is the same balancer, told meanwhile that the task is away.
    """
    made = make()
    inner = made.balancer if isinstance(made, PresentOnly) else made
    right = Session(PresentOnly(copy.deepcopy(inner)).double(), kind, epoch=EPOCH)
    asked = Session(made.double(), kind, epoch=EPOCH)
    everyone = torch.ones(tasks, dtype=torch.bool)
    others = everyone.clone()
    others[-1] = False
    finite, lengths, growth = True, [], 1.0
    for number in range(WARM + FALL + STAY + BACK):
        solved = WARM <= number < WARM + FALL + STAY
        factor = torch.ones(tasks, dtype=torch.float64)
        factor[-1] = LEFT ** min((number - WARM + 1) / FALL, 1.0) if solved else 1.0
        losses, gradients = factor * stream.losses, factor.unsqueeze(1) * stream.gradients
        with same_draws(number):
            answer = asked.answer(losses, gradients, everyone)
        with same_draws(number):
            reference = right.answer(stream.losses, stream.gradients, others if solved else everyone)
        asked.close(0.95 * losses, everyone)
        right.close(0.95 * stream.losses, others if solved else everyone)
        found = distance(answer.update, reference.update)
        finite = finite and found["finite"]
        if number >= WARM + FALL - 1 and solved:
            lengths.append(found["ratio"])
        elif number >= WARM + FALL + STAY:
            growth = max(growth, _share(answer.weights) / _share(reference.weights), key=_far)
        stream.draw()
    length = median(lengths)
    how = broken(finite, length, growth)
    return how, WORDS[how].format(length=length, growth=growth)


def _share(weights: Tensor) -> float:
    return float(weights[-1].abs() / weights.abs().sum())


def _far(growth: float) -> float:
    return max(growth, 1 / growth) if growth > 0 else growth == 0 and float("inf")
