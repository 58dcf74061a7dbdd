"""What belongs to single tasks in each of TorchJD's balancers, its private attributes included.

For most it is named tensors. DWA, FAMO, Nash-MTL, ExcessMTL and what a user puts together from weightings need a class
of their own; PCD is refused.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from aura_study.balancing.task_state import TaskState, pick, put, read
from aura_study.balancing.torchjd_extra import require_known_series


class DWATaskState(TaskState):
    """Every task has a history of its own: an epoch in which it was never there does not enter it.

    An epoch's average is taken over the calls in which the task was present. A task without two epochs of its own
    counts at a ratio of 1, the paper's start; while no present task has two, the weights are all 1, as in TorchJD.
    """

    def __init__(self, balancer: Any) -> None:
        super().__init__(balancer, {})
        self.total = self.calls = self.older = self.newer = torch.empty(0)

    @contextmanager
    def narrowed(self, places: Tensor, count: int) -> Iterator[None]:
        """TorchJD's DWA sees the present tasks' last two epochs."""
        history: list[Tensor] = []
        if len(self.total):
            older, newer = self.older[places], self.newer[places]
            both = ~(older.isnan() | newer.isnan())
            if both.any():
                history = [torch.where(both, past, torch.ones_like(past)) for past in (older, newer)]
        self.balancer._previous_averages = history
        self.balancer._loss_sum, self.balancer._n_batches = None, 0
        yield

    def after_call(self, values: Tensor, places: Tensor, count: int) -> None:
        """Add this call's losses to each present task's epoch."""
        values = values.detach()
        if not len(self.total):
            self.total, self.calls = values.new_zeros(count), values.new_zeros(count)
            self.older, self.newer = values.new_full((count,), torch.nan), values.new_full((count,), torch.nan)
        self.total[places] += values.to(self.total)
        self.calls[places] += 1

    def step(self) -> None:
        """End an epoch for the tasks that were there."""
        seen = self.calls > 0
        self.older = torch.where(seen, self.newer, self.older)
        self.newer = torch.where(seen, self.total / self.calls.clamp_min(1), self.newer)
        self.total, self.calls = torch.zeros_like(self.total), torch.zeros_like(self.calls)

    def reset(self) -> None:
        """Forget every epoch."""
        self.balancer.reset()
        self.total = self.calls = self.older = self.newer = torch.empty(0)

    def convert(self, change: Callable[[Tensor], Tensor]) -> None:
        """Another device or precision."""
        self.total, self.calls = change(self.total), change(self.calls)
        self.older, self.newer = change(self.older), change(self.newer)

    def state(self) -> dict[str, Tensor]:
        """Sum and number of calls of the running epoch, averages of the last two."""
        names = ("total", "calls", "older", "newer")
        return {name: getattr(self, name).clone() for name in names if len(getattr(self, name))}


class FAMOTaskState(TaskState):
    """Every task's logit is a parameter of its own under one Adam, so that an absent one keeps its clock as well."""

    def __init__(self, balancer: Any) -> None:
        super().__init__(balancer, {"min_losses": (0,), "_prev_losses": (0,)}, blank={"_prev_losses": torch.nan})
        self._fresh()

    def _fresh(self) -> None:
        start = self.balancer._w.detach()
        self.logits = [nn.Parameter(value.clone()) for value in start]
        self.adam = torch.optim.Adam(self.logits, lr=self.balancer.lr, weight_decay=self.balancer.weight_decay)
        self.answered: Tensor | None = None

    @contextmanager
    def narrowed(self, places: Tensor, count: int) -> Iterator[None]:
        """TorchJD's FAMO sees the present tasks' logits."""
        full = self.balancer._w
        self.balancer._w = nn.Parameter(torch.stack([self.logits[place].detach() for place in places.tolist()]))
        self.balancer._optimizer = _Spread(self, places)
        try:
            with super().narrowed(places, count):
                yield
        finally:
            with torch.no_grad():
                full.copy_(torch.stack([logit.detach() for logit in self.logits]))
            self.balancer._w = full

    def after_call(self, values: Tensor, places: Tensor, count: int) -> None:
        """Remember who was there: the update must speak of the same tasks."""
        self.answered = places.clone()

    def update(self, values: Tensor, places: Tensor, count: int) -> None:
        """One step of the present tasks' logits.

        Raises:
            ValueError: other tasks than in the call before.
        """
        if self.answered is None or not torch.equal(self.answered, places):
            before = None if self.answered is None else self.answered.tolist()
            raise ValueError(f"update needs the tasks of the call before it, {before}, got {places.tolist()}")
        super().update(values, places, count)

    def reset(self) -> None:
        """Logits back to 0, Adam forgotten."""
        self.balancer.reset()
        self._fresh()

    def convert(self, change: Callable[[Tensor], Tensor]) -> None:
        """Another device or precision."""
        for logit in self.logits:
            logit.data = change(logit.data)
            moments = self.adam.state[logit]
            moments.update({name: change(moments[name]) for name in ("exp_avg", "exp_avg_sq") if name in moments})

    def state(self) -> dict[str, Tensor]:
        """Logits with Adam's moments and clock."""
        found = {"logits": torch.stack([logit.detach() for logit in self.logits])}
        for name in ("step", "exp_avg", "exp_avg_sq"):
            held = [self.adam.state[logit].get(name, torch.zeros(())) for logit in self.logits]
            found[name] = torch.stack([value.to(found["logits"]) for value in held])
        return found


class _Spread:
    """Stands in for FAMO's own Adam: hands each entry of the gradient to the task's own logit."""

    def __init__(self, state: FAMOTaskState, places: Tensor) -> None:
        self.state, self.places = state, places

    def step(self) -> None:
        gradient = self.state.balancer._w.grad
        for place, entry in zip(self.places.tolist(), gradient, strict=True):
            self.state.logits[place].grad = entry.clone()
        self.state.adam.step()
        self.state.adam.zero_grad()


class NashTaskState(TaskState):
    r"""Weights are kept per task; the convex programme, which has a fixed size, is kept per number of present tasks.

    A single present task has nobody to bargain with, and TorchJD's code raises for it. Its equation
    :math:`G\alpha = 1/\alpha` on the Gramian divided by its norm reads :math:`\alpha = 1/\alpha`: it gets a weight
    of 1, and the clip to ``max_norm`` as always.
    """

    PROGRAMME = ("alpha_param", "prvs_alpha_param", "G_param", "normalization_factor_param", "phi_alpha", "prob")

    def __init__(self, balancer: Any) -> None:
        super().__init__(balancer, {})
        self.programmes: dict[int, dict[str, Any]] = {}

    def tasks(self) -> int | None:
        """Number of tasks that the solver was made for."""
        return int(self.balancer.n_tasks)

    @contextmanager
    def narrowed(self, places: Tensor, count: int) -> Iterator[None]:
        """TorchJD's Nash-MTL solves for the present tasks, from their own last weights."""
        solver = self.balancer.weighting
        full = solver.prvs_alpha
        solver.n_tasks, solver.prvs_alpha = len(places), full[places.numpy()]
        solver.init_gtg = np.eye(len(places))
        if len(places) == 1:
            pass  # no programme: see `call`
        elif len(places) in self.programmes:
            vars(solver).update(self.programmes[len(places)])
        elif solver.step:
            solver._init_optim_problem()
        try:
            yield
            if len(places) > 1:
                self.programmes[len(places)] = {name: getattr(solver, name) for name in self.PROGRAMME}
            merged = full.astype(solver.prvs_alpha.dtype)
            merged[places.numpy()] = solver.prvs_alpha
            full = merged
        finally:
            solver.n_tasks, solver.prvs_alpha = count, full

    def call(self, values: Sequence[Tensor]) -> Tensor:
        """TorchJD's answer, or the closed form for a single task."""
        (jacobian,) = values
        solver = self.balancer.weighting
        if len(jacobian) > 1:
            return super().call(values)
        solver.step += 1
        solver.prvs_alpha = np.ones(1)
        norm = float(jacobian.norm())
        clip = solver.max_norm / norm if 0 < solver.max_norm < norm else 1.0
        return jacobian[0] * clip

    def reset(self) -> None:
        """All weights back to 1."""
        self.balancer.reset()
        self.programmes = {}

    def state(self) -> dict[str, Tensor]:
        """Last weights."""
        return {"weights": torch.from_numpy(self.balancer.weighting.prvs_alpha.copy())}


class ExcessTaskState(TaskState):
    """A task's first presence is its baseline, whenever it comes; the weights are shares of 1."""

    BASELINE, SQUARES = "weighting._initial_w", "weighting._sq_grad_sum"
    STABILISER, TINY = 1e-7, 1e-7  # TorchJD's constants in the baseline's division and under the root

    def __init__(self, balancer: Any) -> None:
        if balancer.n_warmup_steps:
            raise ValueError(
                f"PresentOnly keeps no warm-up statistics: n_warmup_steps must be 0, got {balancer.n_warmup_steps}"
            )
        axes = {"weighting._weights": (0,), self.SQUARES: (0,), "weighting._warmup_w_sum": (0,), self.BASELINE: (0,)}
        super().__init__(
            balancer,
            axes,
            shares={"weighting._weights": False},
            blank={self.BASELINE: torch.nan},
            key="weighting._state_key",
        )
        self.newcomers: Tensor | None = None

    @contextmanager
    def narrowed(self, places: Tensor, count: int) -> Iterator[None]:
        """As for the others, after marking the present tasks that have no baseline yet."""
        weighting = self.balancer.weighting
        held = weighting._initial_w
        self.newcomers = None
        if held is not None and held[places].isnan().any():
            self.newcomers = places[held[places].isnan()]
            # The code divides by the baseline: one that amounts to 1 leaves a newcomer's first excess as it is.
            weighting._initial_w = put(held, held.new_tensor(1 - self.STABILISER), (0,), self.newcomers)
        try:
            with super().narrowed(places, count):
                yield
        except BaseException:
            weighting._initial_w = held
            raise

    def after_call(self, values: Tensor, places: Tensor, count: int) -> None:
        """A newcomer's first excess risk is its baseline."""
        if self.newcomers is not None:
            weighting = self.balancer.weighting
            chosen = torch.isin(places, self.newcomers)
            squares = values.detach()[chosen].square()
            spread = (pick(read(self.balancer, self.SQUARES), (0,), self.newcomers) + self.TINY).sqrt()
            weighting._initial_w = put(weighting._initial_w, (squares / spread).sum(1), (0,), self.newcomers)


@dataclass(frozen=True)
class _Held:
    """What a TorchJD weighting holds of single tasks: as the arguments of `TaskState`, by its own attributes."""

    axes: Mapping[str, Sequence[int]] = field(default_factory=dict)
    shares: Mapping[str, bool] = field(default_factory=dict)
    key: str | None = None


_WEIGHTINGS: Mapping[str, _Held] = {
    **dict.fromkeys(("Sum", "Mean", "Random", "MGDA", "PCGrad", "IMTLG", "CAGrad", "FairGrad", "Krum"), _Held()),
    **dict.fromkeys(("UPGrad", "DualProj", "AlignedMTL"), _Held({"pref_vector": (0,)})),
    "Constant": _Held({"weights": (0,)}),
    "GradVac": _Held({"_phi_t": (0, 1)}, key="_state_key"),
    "MoDo": _Held({"_lambda": (0,)}, {"_lambda": False}, "_state_key"),
    "SDMGrad": _Held({"_w": (0,), "pref_vector": (0,)}, {"_w": False}, "_state_key"),
}


class WeightedTaskState(TaskState):
    """An aggregator put together from a weighting, which CR-MOGM may smooth: ``GramianWeightedAggregator(...)``.

    CR-MOGM's running weights are each task's own: one that is there for the first time starts at ``initial_weights``
    or, without them, at what the weighting inside says of it in that call.

    Args:
        balancer: whose state it is.
        start: attribute that holds the weighting, or nothing where the balancer is one.
    """

    def __init__(self, balancer: Any, start: str) -> None:
        self.outermost = weighting = read(balancer, start) if start else balancer
        prefix = f"{start}." if start else ""
        axes: dict[str, Sequence[int]] = {}
        blank: dict[str, float] = {}
        self.smoothed: list[Any] = []
        while (name := type(weighting).__name__.removesuffix("Weighting")) == "CRMOGM":
            axes |= {f"{prefix}_lambda": (0,), f"{prefix}_initial_weights": (0,)}
            blank[f"{prefix}_lambda"] = torch.nan
            self.smoothed.append(weighting)
            prefix, weighting = f"{prefix}weighting.", weighting.weighting
        if name not in _WEIGHTINGS:
            raise TypeError(f"PresentOnly does not know what {type(weighting).__name__} keeps of a task")
        held = _WEIGHTINGS[name]
        super().__init__(
            balancer,
            {**axes, **{prefix + path: dims for path, dims in held.axes.items()}},
            {prefix + path: whole for path, whole in held.shares.items()},
            blank,
            held.key and prefix + held.key,
        )

    @contextmanager
    def narrowed(self, places: Tensor, count: int) -> Iterator[None]:
        """As for the others, with a start for the tasks that CR-MOGM has not seen yet."""
        hooks = [one.weighting.register_forward_hook(partial(self._begin, one)) for one in self.smoothed]
        try:
            with super().narrowed(places, count):
                yield
        finally:
            for hook in hooks:
                hook.remove()

    @staticmethod
    def _begin(smoothed: Any, module: nn.Module, arguments: tuple[Any, ...], weights: Tensor) -> None:
        if smoothed._lambda is not None:
            given = smoothed._initial_weights
            start = weights if given is None else given.to(weights)
            smoothed._lambda = torch.where(smoothed._lambda.isnan(), start, smoothed._lambda)

    def reset(self) -> None:
        """The weighting's own ``reset``."""
        self.outermost.reset()


class BareWeightingTaskState(WeightedTaskState):
    """A weighting by itself: it takes a matrix ``(tasks, tasks)`` and says ``(tasks,)`` weights, 0 for the absent.

    This is how MoDo and SDMGrad are meant to be used, on a product of the Jacobians of two batches.
    """

    def __init__(self, balancer: Any) -> None:
        super().__init__(balancer, "")

    @contextmanager
    def narrowed(self, places: Tensor, count: int) -> Iterator[None]:
        """As for the others, and the columns are the present tasks' too."""
        self.places, self.count = places, count
        with super().narrowed(places, count):
            yield

    def call(self, values: Sequence[Tensor]) -> Tensor:
        """The present tasks' weights, in their places."""
        (rows,) = values
        weights: Tensor = self.balancer(pick(rows, (1,), self.places))
        return put(weights.new_zeros(self.count), weights, (0,), self.places)


def _primary_first(balancer: Any) -> TaskState:
    raise TypeError(
        "PresentOnly does not take PCD: its first task is the primary one, without which it has no update to give, and "
        "its running norms are corrected by one clock for all tasks"
    )


_NONE = partial(TaskState, axes={})
_PREFERENCE = partial(TaskState, axes={"pref_vector": (0,)})
_WEIGHTS = partial(TaskState, axes={"weights": (0,)})
_REFERENCE = partial(TaskState, axes={"weights": (0,), "reference": (0,)})

TASK_STATES: Mapping[str, Mapping[str, Callable[[Any], TaskState]]] = {
    "torchjd.scalarization": {
        **dict.fromkeys(("Sum", "Mean", "Random", "GeometricMean"), _NONE),
        **dict.fromkeys(("STCH", "PBI"), _REFERENCE),
        **dict.fromkeys(("Constant", "COSMOS"), _WEIGHTS),
        "UW": partial(TaskState, axes={"log_var": (0,)}),
        "IMTLL": partial(TaskState, axes={"log_scale": (0,)}),
        "DWA": DWATaskState,
        "FAMO": FAMOTaskState,
    },
    "torchjd.aggregation": {
        **dict.fromkeys(("Sum", "Mean", "Random", "MGDA", "PCGrad", "IMTLG", "CAGrad", "FairGrad"), _NONE),
        **dict.fromkeys(("Krum", "TrimmedMean"), _NONE),
        **dict.fromkeys(("UPGrad", "DualProj", "AlignedMTL", "ConFIG"), _PREFERENCE),
        "Constant": partial(TaskState, axes={"weighting.weights": (0,)}),
        "GradDrop": partial(TaskState, axes={"leak": (0,)}),
        "GradVac": partial(TaskState, axes={"gramian_weighting._phi_t": (0, 1)}, key="gramian_weighting._state_key"),
        "NashMTL": NashTaskState,
        "ExcessMTL": ExcessTaskState,
        "PCD": _primary_first,
        # Last in the order in which a class's bases are asked for: what a user puts together.
        "GramianWeightedAggregator": partial(WeightedTaskState, start="gramian_weighting"),
        "WeightedAggregator": partial(WeightedTaskState, start="weighting"),
        "Weighting": BareWeightingTaskState,
    },
}


def task_state_of(balancer: Any, axes: Mapping[str, Sequence[int]] | None) -> TaskState:
    """The state of ``balancer``: as ``axes`` says, as its class says, or as it is known of TorchJD's class.

    Raises:
        TypeError: a balancer with tensors of which nobody says whether they belong to tasks.
        MissingBalancers: a balancer of another series of TorchJD than the one that is known.
    """
    if axes is not None:
        return TaskState(balancer, axes)
    if (declared := getattr(balancer, "task_state", None)) is not None:
        shares, blank = getattr(balancer, "task_shares", None), getattr(balancer, "task_blank", None)
        return TaskState(balancer, declared, shares, blank)
    for kind in type(balancer).__mro__:
        package = ".".join(kind.__module__.split(".")[:2])
        if (known := TASK_STATES.get(package, {}).get(kind.__name__)) is not None:
            require_known_series()
            return known(balancer)
    if held := _tensors_held(balancer):
        raise TypeError(
            f"{type(balancer).__name__} holds {', '.join(held)}: say which axes run over the tasks, as in "
            f"PresentOnly(balancer, state={{{held[0]!r}: (0,)}}), or state={{}} if none does"
        )
    return TaskState(balancer, {})


def _tensors_held(balancer: Any) -> list[str]:
    """Names of the tensors that ``balancer`` or its submodules hold, as parameters, buffers or plain attributes."""
    modules = list(balancer.named_modules()) if isinstance(balancer, nn.Module) else [("", balancer)]
    found = []
    for prefix, module in modules:
        held = {**vars(module), **vars(module).get("_parameters", {}), **vars(module).get("_buffers", {})}
        found += [f"{prefix}.{name}".lstrip(".") for name, value in held.items() if isinstance(value, Tensor)]
    return found
