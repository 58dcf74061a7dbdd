"""Forward and backward of the losses against a bare sum, TorchJD's UW, an AutomaticWeightedLoss, a per-task loop."""

import time
from collections.abc import Callable

import numpy as np
import torch
from timing import least, report
from torch import Tensor, nn
from torchjd.scalarization import UW

from aura_study.losses import FrozenKendallLoss, KendallLoss, MaskedKendallLoss, UnmaskedKendallLoss

REPEATS = 5
UNIT = "`losses.sum()`, the unit"
RIVAL = "torchjd.scalarization.UW, all present"
LOOP = "a Python loop over the present tasks"
AUTOMATIC = "as AutomaticWeightedLoss: log(1 + sigma^2), a loop over all tasks"
GROWING = ("FrozenKendallLoss", LOOP, AUTOMATIC)
ASKED = {"MaskedKendallLoss": "less than UW, flat"}


class AutomaticWeightedLoss(nn.Module):
    """Liebel and Koerner's form as it is usually written: one task after another, all of them present."""

    def __init__(self, tasks: int) -> None:
        super().__init__()
        self.sigma = nn.Parameter(torch.ones(tasks))

    def forward(self, losses: Tensor) -> Tensor:
        """Sum of L / (2 sigma^2) + log(1 + sigma^2)."""
        total = torch.zeros(())
        for place, loss in enumerate(losses):
            total = total + 0.5 / self.sigma[place] ** 2 * loss + torch.log(1 + self.sigma[place] ** 2)
        return total


def ways(tasks: int) -> dict[str, Callable[[], Tensor]]:
    """Totals of the same losses, half of them present where nothing else is said."""
    losses = torch.rand(tasks, requires_grad=True)
    present = torch.rand(tasks, generator=torch.Generator().manual_seed(0)) > 0.5
    names = [f"task {place}" for place in range(tasks)]
    theta = nn.Parameter(torch.zeros(tasks))
    masked, unmasked, frozen = (kind(names) for kind in (MaskedKendallLoss, UnmaskedKendallLoss, FrozenKendallLoss))
    uw, automatic = UW(tasks), AutomaticWeightedLoss(tasks)

    def terms(weigh: KendallLoss) -> Tensor:
        return weigh._terms(theta, losses, present).sum()

    def loop() -> Tensor:
        kept = present.tolist()
        return sum(0.5 * (-2 * s).exp() * x + s for s, x, here in zip(theta, losses, kept, strict=True) if here)

    return {
        UNIT: losses.sum,
        "MaskedKendallLoss": lambda: masked(losses, present),
        "UnmaskedKendallLoss": lambda: unmasked(losses, present),
        "FrozenKendallLoss": lambda: frozen(losses, present),
        "MaskedKendallLoss, all present": lambda: masked(losses),
        "the masked terms as they are written, no module, no checks": lambda: terms(masked),
        "the unmasked terms as they are written, no module, no checks": lambda: terms(unmasked),
        RIVAL: lambda: uw(losses),
        "torchjd.scalarization.UW of `torch.where(present, losses, 0.0)`": lambda: uw(
            torch.where(present, losses, 0.0)
        ),
        AUTOMATIC: lambda: automatic(losses),
        LOOP: loop,
    }


def costs(tasks: int) -> dict[str, float]:
    """Seconds of each way's forward and backward; those that grow with the tasks get fewer turns of fewer calls."""
    steps = {name: lambda total=total: total().backward() for name, total in ways(tasks).items()}
    growing = {name: steps.pop(name) for name in GROWING}
    fast = least(steps, rounds=100, calls=20, clock=time.process_time)
    return fast | least(growing, rounds=10, calls=max(2, 80 // tasks), clock=time.process_time)


def main() -> None:
    torch.set_num_threads(1)
    turns = [(costs(4), costs(256)) for _ in range(REPEATS)]
    units = np.median([[cost[UNIT] for cost in turn] for turn in turns], axis=0)
    rows: dict[str, str | tuple[str, str]] = {UNIT: " / ".join(f"{unit * 1e6:.1f} µs" for unit in units)}
    for name in ways(4):
        if name != UNIT:
            few, many = np.median([[cost[name] / cost[UNIT] for cost in turn] for turn in turns], axis=0)
            rows[name] = (f"{few:.2f} × / {many:.2f} ×", ASKED.get(name, ""))
    report(f"losses: forward + backward at 4 / 256 tasks, half of them present, median of {REPEATS} turns", rows)


if __name__ == "__main__":
    main()
