"""The cure for a missing task, the same for every balancer: hand it the present tasks, keep the others' state still."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.func import functional_call

from aura_study.balancing.task_state import read
from aura_study.balancing.task_state_torchjd import task_state_of

ByName = Mapping[str, Tensor]


class PresentOnly(nn.Module):
    """Any balancer, given the present tasks only.

    Args:
        balancer: takes losses ``(tasks,)`` and returns a total (a TorchJD scalarizer, any such module or function), or
            takes a Jacobian ``(tasks, params)`` and returns an update (a TorchJD aggregator), or takes both
            (`GradNorm`, `DBMTL`). It is held, not copied, and belongs to this module from now on.
        tasks: names in order, needed where losses come by name.
        state: for a balancer that this project does not know: its attributes that hold per-task numbers, and the axes
            that run over tasks, such as ``{"history": (0,)}``. A class may say so itself, as ``task_state``.

    Shapes, types and devices are the balancer's; what the absent entries hold (0, NaN, anything) is never read.

    What becomes of the state:

    ================================  ================================================================================
    parameters learned by gradient    one parameter per task, stacked for the call: an absent one has no gradient at
    (UW, IMTL-L)                      all, so momentum and weight decay leave it alone too. Train ``parameters()`` of
                                      this module, not the balancer's
    FAMO                              one logit per task under one Adam with a clock per task; softmax over the present
    DWA                               a history per task: epochs in which it was there, over its own presences
    GradVac                           the block of the target matrix between present tasks
    ExcessMTL                         squared gradients and baseline per task; weights are shares of 1: the present
                                      tasks divide among them what they held before, the absent ones keep theirs
    GradNorm                          first loss per task; weights are shares, as above, of the number of tasks
    DB-MTL                            running gradient and number of calls per task
    Nash-MTL                          last weights per task; one convex programme per number of present tasks
    Constant, STCH, preferences,      the present tasks' entries, as they are (nothing is renormalised)
    leaks, references
    ================================  ================================================================================

    Raises:
        TypeError: a balancer with state of which nobody says what belongs to a task.

    Example: the mean over the present tasks; a 0 for the absent one would halve it.

    >>> import torch
    >>> weigh = PresentOnly(lambda losses: losses.mean(), tasks=["depth", "normals"])
    >>> weigh({"depth": torch.tensor(3.0)})
    tensor(3.)
    >>> weigh(torch.tensor([3.0, float("nan")]), torch.tensor([True, False]))
    tensor(3.)
    """

    def __init__(
        self,
        balancer: Callable[..., Tensor],
        tasks: Sequence[str] | None = None,
        state: Mapping[str, Sequence[int]] | None = None,
    ) -> None:
        super().__init__()
        self.tasks = None if tasks is None else tuple(tasks)
        self._held = (balancer,)  # no submodule: its own parameters are not to be trained
        self._task_state = task_state_of(balancer, state)
        self._count = self._task_state.tasks()
        if self.tasks is not None and self._count not in (None, len(self.tasks)):
            raise ValueError(f"{len(self.tasks)} task names for a balancer of {self._count} tasks")
        rows = [read(balancer, path).detach() for path in self._task_state.learned]
        self.learned = nn.ModuleList(nn.ParameterList(nn.Parameter(row.clone()) for row in full) for full in rows)

    @property
    def balancer(self) -> Any:
        """The balancer inside."""
        return self._held[0]

    def forward(
        self, values: Tensor | ByName, present: Tensor | None = None, gradients: Tensor | ByName | None = None
    ) -> Tensor:
        """What the balancer says of the present tasks.

        Args:
            values: losses ``(tasks,)`` or Jacobian ``(tasks, params)``; or losses or rows by name, the present ones.
            present: boolean ``(tasks,)``; all if not given. Not to be given with names: the keys say it.
            gradients: Jacobian for a balancer that takes losses and gradients, in the form of ``values``.

        Returns:
            The total, or the update ``(params,)``. With nobody present: a total of 0 that can be backpropagated and
            reaches nothing, or an update of 0.

        Raises:
            ValueError: ``present`` of another shape or type, an unknown name, or a number of tasks that changed.
        """
        places, chosen = self._chosen(values, present)
        more = [] if gradients is None else [self._chosen(gradients, present)[1]]
        if not len(places):
            return self._nothing(chosen, more)
        assert self._count is not None
        with self._task_state.narrowed(places, self._count):
            if self._task_state.learned:
                result: Tensor = functional_call(self.balancer, dict(self._stacked(places)), (chosen, *more))
            else:
                result = self._task_state.call((chosen, *more))
        self._task_state.after_call(chosen, places, self._count)
        return result

    def update(self, values: Tensor | ByName, present: Tensor | None = None) -> None:
        """FAMO's second half of a step: the losses after the model moved, for the same present tasks."""
        places, chosen = self._chosen(values, present)
        if len(places):
            assert self._count is not None
            self._task_state.update(chosen, places, self._count)

    def step(self) -> None:
        """DWA's end of an epoch."""
        self._task_state.step()

    @torch.no_grad()
    def reset(self) -> None:
        """Back to the start, by the balancer's own ``reset``."""
        self._task_state.reset()
        for path, rows in self._rows():
            for row, value in zip(rows, read(self.balancer, path), strict=True):
                row.copy_(value)

    def state(self) -> dict[str, Tensor]:
        """Copies of the state that belongs to single tasks, by name."""
        rows = {path: torch.stack([row.detach() for row in parts]) for path, parts in self._rows()}
        return {**rows, **self._task_state.state()}

    def state_of(self, chosen: Tensor) -> dict[str, Tensor]:
        """The part of `state` that belongs to the tasks where boolean ``chosen`` ``(tasks,)`` is True, flattened.

        An entry that belongs to two tasks, such as GradVac's targets, counts if either is chosen.
        """
        found = {}
        for name, held in self.state().items():
            mask = torch.zeros(held.shape, dtype=torch.bool)
            for axis in self._task_state.axes.get(name, (0,)):
                shape = [-1 if other == axis else 1 for other in range(held.ndim)]
                mask = mask | chosen.reshape(shape)
            found[name] = held[mask.to(held.device)]
        return found

    def _rows(self) -> Iterator[tuple[str, nn.ParameterList]]:
        """Learned parameters: the balancer's name for them, and one parameter per task."""
        for path, rows in zip(self._task_state.learned, self.learned, strict=True):
            assert isinstance(rows, nn.ParameterList)
            yield path, rows

    def _stacked(self, places: Tensor) -> Iterator[tuple[str, Tensor]]:
        for path, rows in self._rows():
            yield path, torch.stack([rows[place] for place in places.tolist()])

    def _chosen(self, values: Tensor | ByName, present: Tensor | None) -> tuple[Tensor, Tensor]:
        """Places of the present tasks, and their values."""
        if isinstance(values, Mapping):
            return self._by_name(values, present)
        if self._count is None:
            self._count = len(values)
        if len(values) != self._count:
            raise ValueError(f"values of {len(values)} tasks for a balancer of {self._count}")
        if present is None:
            return torch.arange(self._count), values
        if present.dtype != torch.bool or present.shape != (self._count,):
            raise ValueError(
                f"present must be boolean of shape ({self._count},), got {present.dtype} {tuple(present.shape)}"
            )
        places = present.nonzero().flatten().cpu()
        return places, values if len(places) == self._count else values[places.to(values.device)]

    def _by_name(self, values: ByName, present: Tensor | None) -> tuple[Tensor, Tensor]:
        if self.tasks is None or present is not None:
            raise ValueError("values by name need PresentOnly(balancer, tasks=[...]), and no mask beside their keys")
        if unknown := [name for name in values if name not in self.tasks]:
            raise ValueError(f"unknown tasks {unknown}; known: {list(self.tasks)}")
        self._count = len(self.tasks)
        names = [name for name in self.tasks if name in values]
        places = torch.tensor([self.tasks.index(name) for name in names], dtype=torch.long)
        return places, torch.stack([values[name] for name in names]) if names else torch.empty(0)

    def _nothing(self, values: Tensor, more: Sequence[Tensor]) -> Tensor:
        rows = more[0] if more and getattr(self.balancer, "returns_update", False) else values
        if rows.ndim > 1:
            return rows.new_zeros(rows.shape[1])
        return rows.new_zeros(()).requires_grad_()

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        """Moves the balancer inside along: ``to``, ``double``, ``cuda`` and their like."""
        if isinstance(self.balancer, nn.Module):
            self.balancer._apply(fn)
        self._task_state.convert(fn)
        return super()._apply(fn, recurse)
