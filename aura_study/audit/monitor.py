"""Live monitor: each task's running phantom number in a user's own training loop, and a warning when it shows."""

import math
import warnings
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import torch
from torch import nn

from aura_study.audit.calls.call import adapter, candidates
from aura_study.audit.calls.held import held_leaves
from aura_study.audit.calls.presence import at_zero, losses_held, presence, scalar_of
from aura_study.audit.calls.shared import through
from aura_study.audit.calls.subject import Convention
from aura_study.audit.calls.totals import Unusable, find_total, take_total
from aura_study.audit.laboratory import AuditedCodeError, audited_code

Weights = Callable[[], Any]
STEADY, LEAST_FALL, ALIKE = 30, 0.2, 1.1
"""Steps after which a total that falls steadily is told of; its least fall, in learning rates; how steady."""


class PhantomGradientWarning(UserWarning):
    """An absent task's weight has grown past the monitor's threshold."""


class PhantomMonitor:
    """Watches a loss weighting and the optimiser that learns it.

    A task is present in an optimizer step if any forward call since the step before had it: by the mask where there is
    one, else by a loss that is there, not NaN and above 1e-8. Where the arguments are no losses it asks once for
    `present`, and of a step of which nothing is known it counts nothing. It raises nothing in a training loop. The
    running phantom number of a task is the sum of the learning rate of the weighting's parameters over the steps in
    which it was absent. Reading the losses waits for an accelerator once a step.

    It says once, too, of a task that is present at a loss of 0 (solved) that its weight has grown past the threshold,
    and of a total that falls by the same multiple of the learning rate at every step although nobody is known to be
    away, as a regulariser alone does.

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
        self._logged = _Interval()
        self._solved: set[str] = set()
        self._totals: deque[tuple[float, float]] = deque(maxlen=STEADY + 1)
        self._total: float | None = None
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
            self._handles.append(weighting.register_forward_hook(self._after_forward))

    def present(self, tasks: Iterable[str]) -> None:
        """Say which tasks the coming optimiser step holds, where the weighting's arguments do not show it."""
        told = set(tasks)
        if unknown := sorted(map(str, told - set(self.tasks))):
            self._say_once(f"unknown tasks {unknown}; the monitor knows {list(self.tasks)}")
        self._told = (self._told or set()) | (told & set(self.tasks))

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

    def log_entry(self) -> dict[str, float]:
        """`summary`, and for a logger what happened since the last entry; a new interval begins.

        ``weight/<task>`` and its ``sigma/<task>``, 1 / sqrt(2 weight), as they are now; ``present/<task>``, the share
        of the optimiser steps that held the task; ``loss/<task>``, the mean over the calls that did, left out where
        there was none or the arguments do not show it.
        """
        now = self._weights_now()
        numbers = self.summary() | {f"weight/{task}": weight for task, weight in now.items()}
        numbers |= {f"sigma/{task}": (2 * weight) ** -0.5 for task, weight in now.items() if weight > 0}
        numbers |= self._logged.numbers(self.tasks)
        self._logged = _Interval()
        return numbers

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

    def __reduce__(self) -> tuple[Any, tuple[()]]:
        """A copy of the weighting, or one read from a file, is not watched."""
        return _Nobody, ()

    def _before_forward(self, module: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        if self._reading:
            return
        self._solved |= at_zero(arguments, keywords, self.tasks)
        here = self._told if self._told is not None else presence(module, arguments, keywords, self.tasks)
        self._logged.call(losses_held(arguments, keywords, self.tasks, here or set()))
        if self._told is not None:
            return
        if here is not None:
            self._seen = (self._seen or set()) | here
        else:
            self._say_once(
                "its arguments are no losses that the monitor can read, so that it does not know who is present: say "
                "so before each step by monitor.present([...])"
            )

    def _after_forward(self, module: nn.Module, arguments: Any, output: Any) -> None:
        if not self._reading:
            self._total = scalar_of(output)

    def _after_step(self, optimizer: torch.optim.Optimizer, *unused: Any) -> None:
        here = self._told if self._told is not None else self._seen
        solved, self._solved = self._solved, set()
        self._told = self._seen = None
        try:
            lr = float(self._group["lr"])
            if here is None or here >= set(self.tasks):  # who is away is told of by name
                self._watch_total(lr)
            if here is not None:  # something is known of the step
                self._logged.step(here)
                self._count(here, solved & here, lr)
        except Warning:  # the user's filter turns warnings into errors
            raise
        except Exception as error:  # the monitor ends no training
            self._say_once(f"a step could not be counted ({type(error).__name__}: {error})")

    def _watch_total(self, lr: float) -> None:
        if self._total is None or not lr:
            return
        self._totals.append((self._total, lr))
        pairs = list(zip(self._totals, list(self._totals)[1:], strict=False))
        falls = [(before - after) / rate for (before, rate), (after, _) in pairs]
        if len(falls) == STEADY and min(falls) > LEAST_FALL and max(falls) < min(falls) * ALIKE:
            self._say_once(
                f"the total has fallen by {falls[-1]:.2g} times the learning rate at each of {STEADY} steps: this is a "
                "regulariser that falls without end, not a loss that is learned"
            )

    def _count(self, here: set[str], solved: set[str], lr: float) -> None:
        now = self._weights_now()
        for task in self.tasks:
            if task in solved:
                if now[task] > self.threshold * self._anchor[task]:
                    self._say_once(
                        f"task {task!r} is present and its loss is 0 (solved): its weight has grown past x "
                        f"{self.threshold:g}, and nothing but its regulariser decides it"
                    )
                self._stretch[task], self.growth[task] = 0.0, 1.0
                continue
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

    def _weights_now(self) -> dict[str, float]:
        try:
            return self.weights()
        except Exception as error:  # the monitor ends no training
            self._say_once(f"the weights could not be read ({type(error).__name__}: {error}); pass weights=...")
            return dict(self._anchor)

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
                given = through(convention.shared or (), ones, self.tasks)
                output = convention.invoke(self._weighting, given, everyone)
                total = take_total(output, find_total(output, self.tasks, leaves), self.tasks, ones)
                slopes = torch.autograd.grad(total, leaves, allow_unused=True)
        finally:
            self._reading = False
        if lost := [task for task, slope in zip(self.tasks, slopes, strict=True) if slope is None]:
            raise Unusable(f"the loss of {lost} does not reach the total")
        return {task: float(slope) for task, slope in zip(self.tasks, slopes, strict=True) if slope is not None}


class _Interval:
    """What is counted between two entries of a log."""

    def __init__(self) -> None:
        self.steps = 0
        self.held: Counter[str] = Counter()
        self.losses: defaultdict[str, list[float]] = defaultdict(list)

    def call(self, losses: Mapping[str, float]) -> None:
        for task, loss in losses.items():
            self.losses[task].append(loss)

    def step(self, here: Iterable[str]) -> None:
        self.steps += 1
        self.held.update(here)

    def numbers(self, tasks: Sequence[str]) -> dict[str, float]:
        shares = {f"present/{task}": self.held[task] / self.steps for task in tasks if self.steps}
        return shares | {f"loss/{task}": sum(found) / len(found) for task, found in self.losses.items()}


class _Nobody:
    """In the monitor's place in a copy of the weighting: hears nothing."""

    _reading = True

    def _before_forward(self, *unused: Any) -> None: ...

    def _after_forward(self, *unused: Any) -> None: ...


def weighting_in(model: Any, weighting: nn.Module | str | Callable[[Any], Any]) -> Any:
    """The weighting that a user of a trainer names: itself, its dotted name in the model, or a function of it."""
    if isinstance(weighting, nn.Module):
        return weighting
    return model.get_submodule(weighting) if isinstance(weighting, str) else weighting(model)


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
