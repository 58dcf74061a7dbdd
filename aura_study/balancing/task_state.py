"""What part of a balancer's state belongs to which task: hands out the present tasks' part and takes it back.

Between calls the balancer holds the state of all tasks. For a call with some tasks absent every per-task tensor is cut
down to the present tasks, the balancer's own code runs on it, and the result is put back into the places it came from.
Which state each of TorchJD's balancers has stands in `aura_study.balancing.task_state_torchjd`.
"""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

Axes = Mapping[str, Sequence[int]]


def read(owner: Any, path: str) -> Any:
    """The attribute at a dotted path."""
    return functools.reduce(getattr, path.split("."), owner)


def write(owner: Any, path: str, value: Any) -> None:
    """Set the attribute at a dotted path."""
    *parents, name = path.split(".")
    setattr(functools.reduce(getattr, parents, owner), name, value)


def pick(tensor: Tensor, axes: Sequence[int], places: Tensor) -> Tensor:
    """The entries of the tasks at ``places``, along each of ``axes``."""
    for axis in axes:
        tensor = tensor.index_select(axis, places.to(tensor.device))
    return tensor


def put(full: Tensor, part: Tensor, axes: Sequence[int], places: Tensor) -> Tensor:
    """``full`` with ``part`` in the places that `pick` took it from; a new tensor."""
    index: list[Any] = [slice(None)] * full.ndim
    places = places.to(full.device)
    for turn, axis in enumerate(axes):
        index[axis] = places.reshape([-1 if turn == other else 1 for other in range(len(axes))])
    result = full.clone()
    result[tuple(index)] = part
    return result


class TaskState:
    """The per-task state of one balancer.

    Args:
        balancer: whose state it is.
        axes: for every attribute (dotted path) that holds per-task numbers, the axes that run over the tasks.
        shares: attributes whose entries are shares of a whole, and whether the whole is the number of tasks (True) or
            1 (False). The present tasks get the whole between them for the call; afterwards they share what they had
            before it, so that the absent tasks keep exactly theirs.
        blank: what an entry is for a task that has never been there, where it is not 0.
        key: attribute whose first entry is the number of tasks, by which the balancer notices a change.
    """

    def __init__(
        self,
        balancer: Any,
        axes: Axes,
        shares: Mapping[str, bool] | None = None,
        blank: Mapping[str, float] | None = None,
        key: str | None = None,
    ) -> None:
        self.balancer = balancer
        self.learned = tuple(path for path in axes if isinstance(read(balancer, path), nn.Parameter))
        self.axes = {path: tuple(dims) for path, dims in axes.items() if path not in self.learned}
        self.shares, self.blank, self.key = dict(shares or {}), dict(blank or {}), key

    def tasks(self) -> int | None:
        """Number of tasks, where the state tells."""
        for path, dims in self.axes.items():
            if (held := read(self.balancer, path)) is not None:
                return int(held.shape[dims[0]])
        return len(read(self.balancer, self.learned[0])) if self.learned else None

    @contextmanager
    def narrowed(self, places: Tensor, count: int) -> Iterator[None]:
        """The balancer's state is the present tasks' for the duration of the ``with`` block.

        If the block fails, the state is put back as it was.
        """
        if len(places) == count:
            yield
            return
        paths = [*self.axes, *([self.key] if self.key else [])]
        saved = {path: read(self.balancer, path) for path in paths}
        try:
            self._enter(saved, places)
            yield
            for path in self.axes:
                write(self.balancer, path, self._merged(path, saved[path], places, count))
            if self.key and (key := read(self.balancer, self.key)) is not None:
                write(self.balancer, self.key, (count, *key[1:]))
        except BaseException:
            for path, value in saved.items():
                write(self.balancer, path, value)
            raise

    def _enter(self, saved: Mapping[str, Any], places: Tensor) -> None:
        for path, dims in self.axes.items():
            if saved[path] is not None:
                part = pick(saved[path], dims, places)
                write(self.balancer, path, part * self._scale(path, part) if path in self.shares else part)
        if self.key and saved[self.key] is not None:
            write(self.balancer, self.key, (len(places), *saved[self.key][1:]))

    def _merged(self, path: str, before: Tensor | None, places: Tensor, count: int) -> Tensor | None:
        after: Tensor | None = read(self.balancer, path)
        if after is None:
            return None
        dims = self.axes[path]
        if before is None or before.shape[len(dims) :] != after.shape[len(dims) :]:
            shape = [count if axis in dims else size for axis, size in enumerate(after.shape)]
            before = after.new_full(shape, self._blank(path, count))
        if path in self.shares:
            after = after / self._scale(path, pick(before, dims, places))
        return put(before.to(after), after, dims, places)

    def _scale(self, path: str, part: Tensor) -> Tensor:
        whole = len(part) if self.shares[path] else 1
        mass = part.sum()
        return torch.where(mass > 0, whole / mass, torch.ones_like(mass))

    def _blank(self, path: str, count: int) -> float:
        if path in self.shares:
            return 1.0 if self.shares[path] else 1.0 / count
        return self.blank.get(path, 0.0)

    def call(self, values: Sequence[Tensor]) -> Tensor:
        """The balancer's answer to the present tasks' values."""
        answer: Tensor = self.balancer(*values)
        return answer

    def after_call(self, values: Tensor, places: Tensor, count: int) -> None:
        """What has to be noted once the balancer has answered; nothing, for most."""

    def update(self, values: Tensor, places: Tensor, count: int) -> None:
        """The balancer's own ``update`` (FAMO's second half of a step) for the present tasks."""
        with self.narrowed(places, count):
            self.balancer.update(values)

    def step(self) -> None:
        """The balancer's own ``step`` (DWA's end of an epoch)."""
        self.balancer.step()

    def reset(self) -> None:
        """The balancer's own ``reset``."""
        self.balancer.reset()

    def convert(self, change: Callable[[Tensor], Tensor]) -> None:
        """Move what is held here, not in the balancer, to another device or precision."""

    def state(self) -> dict[str, Tensor]:
        """The per-task state by name; entries along each name's axes are tasks."""
        held = {path: read(self.balancer, path) for path in self.axes}
        return {path: value.detach().clone() for path, value in held.items() if value is not None}
