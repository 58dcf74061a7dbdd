"""Forward and backward of the losses against a bare sum, a per-task loop, TorchJD's UW, and the least possible."""

import time
from collections.abc import Callable
from typing import Any

import torch
from timing import least, report
from torch import Tensor

from aura_study.losses import FrozenKendallLoss, LogSigma, MaskedKendallLoss, UnmaskedKendallLoss
from aura_study.losses.fused import composed_sum

LOOP = "a Python loop over the present tasks"
GROWING = ("FrozenKendallLoss", LOOP)
ASKED = {"MaskedKendallLoss": "≤ 3.5, flat, less than UW and the loop"}


class OneNode(torch.autograd.Function):
    """The floor for any weighting written in Python: one operation forward, none backward, two learnt inputs."""

    @staticmethod
    def forward(ctx: Any, theta: Tensor, losses: Tensor) -> Tensor:
        ctx.kept = theta.detach(), losses.detach()
        return torch.dot(theta, losses)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        return ctx.kept


def ways(tasks: int) -> dict[str, Callable[[], Tensor]]:
    """Totals of the same losses, half of them present."""
    losses = torch.rand(tasks, requires_grad=True)
    present = torch.rand(tasks, generator=torch.Generator().manual_seed(0)) > 0.5
    names = [f"task {place}" for place in range(tasks)]
    theta = torch.nn.Parameter(torch.zeros(tasks))
    form = LogSigma()

    def loop() -> Tensor:
        kept = present.tolist()
        return sum(0.5 * (-2 * s).exp() * x + s for s, x, here in zip(theta, losses, kept, strict=True) if here)

    found: dict[str, Callable[[], Tensor]] = {"losses.sum()": losses.sum}
    for kind in (MaskedKendallLoss, UnmaskedKendallLoss, FrozenKendallLoss):
        weigh = kind(names)
        found[kind.__name__] = lambda weigh=weigh: weigh(losses, present)
    weigh = MaskedKendallLoss(names)
    found["MaskedKendallLoss, all present"] = lambda: weigh(losses)
    found["the masked sum of plain operations (`composed_sum`), no module, no checks"] = lambda: composed_sum(
        form, theta, losses, present
    )
    found[LOOP] = loop
    try:
        from torchjd.scalarization import UW

        uw = UW(tasks)
        found["torchjd.scalarization.UW"] = lambda: uw(losses)
    except ImportError:
        pass
    found["one autograd.Function of one operation (a floor)"] = lambda: OneNode.apply(theta, losses)
    return found


def costs(tasks: int) -> dict[str, float]:
    """Seconds of each way's forward and backward; those that grow with the tasks get fewer turns of fewer calls."""
    steps = {name: lambda total=total: total().backward() for name, total in ways(tasks).items()}
    growing = {name: steps.pop(name) for name in GROWING}
    fast = least(steps, rounds=300, calls=20, clock=time.process_time)
    return fast | least(growing, rounds=20, calls=max(2, 80 // tasks), clock=time.process_time)


def main() -> None:
    torch.set_num_threads(1)
    few, many = costs(4), costs(256)
    unit = [cost.pop("losses.sum()") for cost in (few, many)]
    rows: dict[str, str | tuple[str, str]] = {
        "`losses.sum()`, the unit": " / ".join(f"{cost * 1e6:.1f} µs" for cost in unit)
    }
    for name in few:
        rows[name] = (f"{few[name] / unit[0]:.2f} × / {many[name] / unit[1]:.2f} ×", ASKED.get(name, ""))
    report("losses: forward + backward at 4 / 256 tasks, half of them present", rows)


if __name__ == "__main__":
    main()
