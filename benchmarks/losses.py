"""Forward and backward of the losses against a bare sum, a per-task loop and TorchJD's UW, at 4 and 256 tasks."""

from collections.abc import Callable

import torch
from timing import report, seconds
from torch import Tensor

from aura_study.losses import FrozenKendallLoss, MaskedKendallLoss, UnmaskedKendallLoss

CALLS = 200


def step(total: Callable[[], Tensor]) -> None:
    for _ in range(CALLS):
        total().backward()


def compare(tasks: int) -> dict[str, str]:
    losses = torch.rand(tasks, requires_grad=True)
    present = torch.rand(tasks, generator=torch.Generator().manual_seed(0)) > 0.5
    names = [f"task {place}" for place in range(tasks)]
    log_sigma = torch.nn.Parameter(torch.zeros(tasks))

    def loop() -> Tensor:
        kept = present.tolist()
        return sum(0.5 * (-2 * s).exp() * x + s for s, x, here in zip(log_sigma, losses, kept, strict=True) if here)

    ways: dict[str, Callable[[], Tensor]] = {}
    for kind in (UnmaskedKendallLoss, MaskedKendallLoss, FrozenKendallLoss):
        weigh = kind(names)
        ways[kind.__name__] = lambda weigh=weigh: weigh(losses, present)
    ways["a Python loop over the present tasks"] = loop
    try:
        from torchjd.scalarization import UW

        uw = UW(tasks)
        ways["torchjd.scalarization.UW"] = lambda: uw(losses)
    except ImportError:
        pass
    bare = seconds(lambda: step(losses.sum))
    return {name: f"{seconds(lambda way=way: step(way)) / bare:.2f} x losses.sum()" for name, way in ways.items()}


def main() -> None:
    torch.set_num_threads(1)
    for tasks in (4, 256):
        report(f"forward + backward, {tasks} tasks", compare(tasks))


if __name__ == "__main__":
    main()
