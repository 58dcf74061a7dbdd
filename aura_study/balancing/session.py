"""One question for every kind of balancer, and one measure of how far an answer is from another."""

import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor

from aura_study.balancing.effects import Effect, Kind

UNTOUCHED_WITHIN, SAME_DIRECTION, STOPPED_BELOW, SHARE_MOVED = 0.01, 0.9999, 1e-3, 1.05


class Told(NamedTuple):
    """What a balancer said: update ``(params,)``, weights of the losses handed over, and the total; None if none."""

    update: Tensor
    weights: Tensor | None
    total: float | None


@contextmanager
def same_draws(seed: int) -> Iterator[None]:
    """Random numbers that do not depend on how many tasks there are, so that two balancers compare draw by draw.

    Within the block a random order is the given order (the problems draw the order of their tasks themselves), and the
    first k of m normal numbers are the k that would have been drawn alone.
    """
    randperm, randn = torch.randperm, torch.randn
    longest = randn(64, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        torch.randperm = lambda count, **_: torch.arange(count)  # type: ignore[assignment]
        torch.randn = lambda count, dtype=None, **_: longest[:count].to(dtype or torch.float32)  # type: ignore[assignment]
        try:
            yield
        finally:
            torch.randperm, torch.randn = randperm, randn


def learner(balancer: Any, made: Any, lr: float = 0.05) -> torch.optim.Optimizer | None:
    """Adam on what ``balancer`` learns by gradient; None if that is nothing. FAMO (``update``) has its own."""
    own = [] if hasattr(made, "update") else list(balancer.parameters())
    return torch.optim.Adam(own, lr=lr) if own else None


def ask(
    balancer: Any, kind: Kind, losses: Tensor, gradients: Tensor, mask: Tensor | None = None, rows: Tensor | None = None
) -> Told:
    """Update ``(params,)`` of a balancer of any kind, the weights of the losses and the total, if it has any.

    A total is backpropagated; its update is the sum of the gradients of the tasks that are there, by the weights found.

    Args:
        balancer: the balancer, or `PresentOnly` around it.
        kind: what it takes.
        losses, gradients: ``(tasks,)`` and ``(tasks, params)``, fills included.
        mask: presence, for a balancer that takes it.
        rows: which rows are no fill, where the balancer does not take ``mask``.
    """
    leaf = losses.clone().requires_grad_()
    values = gradients if kind == Kind.GRADIENTS else leaf
    extra = {"gradients": gradients} if mask is not None else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # cvxpy's, about the programme that Nash-MTL's code hands it
        if kind == Kind.BOTH:
            told = balancer(values, mask, **extra) if mask is not None else balancer(values, gradients)
        else:
            told = balancer(values, mask) if mask is not None else balancer(values)
    if told.ndim:
        return Told(told.detach(), None, None)
    told.backward()
    assert leaf.grad is not None
    there = torch.ones(len(leaf), dtype=torch.bool) if rows is None else rows
    if mask is not None:
        there = mask
    if len(there) != len(leaf):
        there = torch.ones(len(leaf), dtype=torch.bool)  # the others were left out
    return Told(leaf.grad[there] @ gradients[there], leaf.grad, float(told.detach()))


def distance(update: Tensor, reference: Tensor) -> dict[str, Any]:
    """Length, direction and difference of an update against the reference; NaN where that is 0."""
    length, other = float(reference.norm()), float(update.norm())
    comparable = length > 0
    return {
        "finite": bool(update.isfinite().all()),
        "ratio": other / length if comparable else math.nan,
        "cosine": float(update @ reference) / (length * other) if comparable and other > 0 else math.nan,
        "difference": float((update - reference).norm()) / length if comparable else math.nan,
    }


def in_words(found: Mapping[Any, Any]) -> Effect:
    """What `distance` found, as an effect on the present tasks' update."""
    if not found["finite"]:
        return Effect.NAN
    if found["ratio"] < STOPPED_BELOW:
        return Effect.STOPPED
    if not found["difference"] >= UNTOUCHED_WITHIN:  # NaN where the reference is 0 as well
        return Effect.UNTOUCHED
    return Effect.SHRUNK if found["cosine"] > SAME_DIRECTION and found["ratio"] < 1 else Effect.CHANGED


def return_in_words(found: Mapping[Any, Any], growth: float) -> Effect:
    """What `distance` found on a task's return, with the growth of its share of the weights (NaN where unknown)."""
    effect = in_words(found)
    if effect in (Effect.NAN, Effect.UNTOUCHED):
        return effect
    return Effect.STRONG if growth > SHARE_MOVED else Effect.WEAK if growth < 1 / SHARE_MOVED else Effect.CHANGED
