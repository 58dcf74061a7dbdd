"""Live monitor: each task's running phantom number in a user's own training loop, and a warning when it shows."""

import math
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import torch
from torch import nn

from aura_study.audit.calls.call import adapter, candidates
from aura_study.audit.calls.held import held_leaves
from aura_study.audit.calls.presence import presence
from aura_study.audit.calls.subject import Convention
from aura_study.audit.calls.totals import Unusable, find_total, take_total
from aura_study.audit.laboratory import AuditedCodeError, audited_code

Weights = Callable[[], Any]


class PhantomGradientWarning(UserWarning):
    """An absent task's weight has grown past the monitor's threshold."""


class PhantomMonitor:
    """Watches a loss weighting and the optimiser that learns it.

    A task is present in an optimizer step if any forward call since the step before had it: by the mask where there is
    one, else by a loss that is there, not NaN and above 1e-8. Where the arguments are no losses it asks once for
    `present`, and of a step of which nothing is known it counts nothing. It raises nothing in a training loop. The
    running phantom number of a task is the sum of the learning rate of the weighting's parameters over the steps in
    which it was absent. Reading the losses waits for an accelerator once a step.

    Args:
        weighting: module whose calls are watched; for anything else say who is present with `present`.
        optimizer: that steps the weighting's parameters.
        tasks: names, in order; ``weighting.tasks`` if not given.
        weights: function that gives the current weights, by name or as ``(tasks,)``. If not given,
            ``weighting.weights()`` where there is one, else d total / d L_i of a call of the weighting with all losses
            1, found as the audit finds it (so pass ``weights`` for a weighting that counts its calls).
        call: how to call it for that, as in ``audit``.
        threshold: growth of an absent task's weight, since it was last present, that is worth one warning per task.

    Use as a context manager, or `close` it, to take its hooks off again.

    Raises:
        ValueError: no task names, a threshold <= 1, an optimiser without the weighting's parameters, or weights that
            cannot be found.
    """

    def __init__(
        self,
        weighting: Any,
        optimizer: torch.optim.Optimizer,
        tasks: Sequence[str] | None = None,
        *,
        weights: Weights | None = None,
        call: Callable[..., Any] | None = None,
        threshold: float = 2.0,
    ) -> None:
        names = tasks if tasks is not None else getattr(weighting, "tasks", None)
        if isinstance(names, str) or not isinstance(names, Sequence) or not names:
            raise ValueError(f"tasks must name the tasks in order, got {names!r}")
        if not threshold > 1:
            raise ValueError(f"threshold must be > 1, got {threshold}")
        self.tasks = tuple(map(str, names))
        self.threshold = threshold
        self.phantom_numbers = dict.fromkeys(self.tasks, 0.0)
        self.growth = dict.fromkeys(self.tasks, 1.0)
        self._stretch = dict.fromkeys(self.tasks, 0.0)
        self._weighting = weighting
        self._group, missing = _group_of(weighting, optimizer)
        self._seen: set[str] | None = None
        self._told: set[str] | None = None
        self._warned: set[str] = set()
        self._reading = False
        self._weights = self._weight_source(weights, call)
        self._anchor = self.weights()
        if missing:
            self._say_once(f"the optimizer does not hold {missing} of the weighting's parameters: they will not learn")
        self._handles: list[Any] = [optimizer.register_step_post_hook(self._after_step)]
        if isinstance(weighting, nn.Module):
            self._handles.append(weighting.register_forward_pre_hook(self._before_forward, with_kwargs=True))

    def present(self, tasks: Iterable[str]) -> None:
        """Say which tasks the coming optimiser step holds, where the weighting's arguments do not show it."""
        told = set(tasks)
        if unknown := sorted(told - set(self.tasks)):
            raise ValueError(f"unknown tasks {unknown}; the monitor knows {list(self.tasks)}")
        self._told = (self._told or set()) | told

    def weights(self) -> dict[str, float]:
        """Current weights by task."""
        values = self._weights()
        if isinstance(values, Mapping):
            return {task: float(values[task]) for task in self.tasks}
        return dict(zip(self.tasks, torch.as_tensor(values).detach().reshape(-1).tolist(), strict=True))

    def summary(self) -> dict[str, float]:
        """Flat numbers for a logger: ``phantom_number/<task>`` and ``weight_growth/<task>``."""
        numbers = {f"phantom_number/{task}": value for task, value in self.phantom_numbers.items()}
        return numbers | {f"weight_growth/{task}": value for task, value in self.growth.items()}

    def close(self) -> None:
        """Take the hooks off."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _before_forward(self, module: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        if self._reading or self._told is not None:
            return
        here = presence(module, arguments, keywords, self.tasks)
        if here is not None:
            self._seen = (self._seen or set()) | here
        else:
            self._say_once(
                "its arguments are no losses that the monitor can read, so that it does not know who is present: say "
                "so before each step by monitor.present([...])"
            )

    def _after_step(self, optimizer: torch.optim.Optimizer, *unused: Any) -> None:
        here = self._told if self._told is not None else self._seen
        self._told = self._seen = None
        if here is None:  # a step of which nothing is known
            return
        lr = float(self._group["lr"])
        try:
            now = self.weights()
        except Exception as error:  # the monitor ends no training
            self._say_once(f"the weights could not be read ({type(error).__name__}: {error}); pass weights=...")
            now = dict(self._anchor)
        for task in self.tasks:
            if task in here:
                self._stretch[task], self.growth[task], self._anchor[task] = 0.0, 1.0, now[task]
                continue
            self.phantom_numbers[task] += lr
            self._stretch[task] += lr
            before = self._anchor[task]
            self.growth[task] = now[task] / before if before else math.inf
            if not self.growth[task] <= self.threshold and task not in self._warned:
                self._warned.add(task)
                warnings.warn(self._message(task), PhantomGradientWarning, stacklevel=4)

    def _say_once(self, text: str) -> None:
        if text not in self._warned:
            self._warned.add(text)
            warnings.warn(f"PhantomMonitor: {text}", PhantomGradientWarning, stacklevel=4)

    def _message(self, task: str) -> str:
        return (
            f"task {task!r} has been absent for a phantom number of {self._stretch[task]:.3g} and its weight grew "
            f"x {self.growth[task]:.3g} meanwhile: its regulariser is still in the total. Leave its whole "
            f"term out while it is absent (aura_study.losses.MaskedKendallLoss, or FrozenKendallLoss)."
        )

    def _weight_source(self, weights: Weights | None, call: Callable[..., Any] | None) -> Weights:
        if weights is not None:
            return weights
        if call is None and callable(own := getattr(self._weighting, "weights", None)):
            return lambda: own()
        options = [adapter(call)] if call else [o for o in candidates(self._weighting, self.tasks) if ":" not in o.name]
        reasons = []
        for option in options:
            try:
                with audited_code():
                    self._probe(option)
            except AuditedCodeError as error:  # it is not called this way
                reasons.append(f"{option.text}: {error}")
                continue
            return lambda: self._probe(option)
        raise ValueError(f"the weights cannot be read; pass weights=... Tried: {reasons or 'nothing to call'}")

    def _probe(self, convention: Convention) -> dict[str, float]:
        """Weights of one call with all losses 1; gradients that are waiting for the optimiser stay untouched."""
        held = held_leaves(self._weighting)
        like = held[0] if held else torch.empty(0)
        self._reading = True
        try:
            with torch.enable_grad():
                ones = {task: torch.ones((), dtype=like.dtype, device=like.device) for task in self.tasks}
                leaves = [one.requires_grad_() for one in ones.values()]
                everyone = torch.ones(len(self.tasks), dtype=torch.bool, device=like.device)
                output = convention.invoke(self._weighting, ones, everyone)
                total = take_total(output, find_total(output, self.tasks, leaves), self.tasks, ones)
                slopes = torch.autograd.grad(total, leaves, allow_unused=True)
        finally:
            self._reading = False
        if lost := [task for task, slope in zip(self.tasks, slopes, strict=True) if slope is None]:
            raise Unusable(f"the loss of {lost} does not reach the total")
        return {task: float(slope) for task, slope in zip(self.tasks, slopes, strict=True) if slope is not None}


def _group_of(weighting: Any, optimizer: torch.optim.Optimizer) -> tuple[dict[str, Any], int]:
    """The optimiser's group with the weighting's parameters, read at every step because schedulers change it.

    And how many of these parameters no group holds.
    """
    wanted = {id(leaf) for leaf in held_leaves(weighting)}
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    for group in optimizer.param_groups:
        if any(id(parameter) in wanted for parameter in group["params"]):
            return group, len(wanted - held)
    raise ValueError("the optimizer holds none of the weighting's parameters: nothing would learn them")
