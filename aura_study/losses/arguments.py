"""What a Kendall loss is made and called with, checked: each misuse is one error that names the value."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from aura_study.losses.parameterisation import Parameterization


def check_tasks(tasks: Sequence[str]) -> tuple[str, ...]:
    """The names, at least one and distinct."""
    if isinstance(tasks, str) or not all(isinstance(task, str) for task in tasks):
        raise TypeError(f"tasks must be a sequence of names, got {tasks!r}")
    if not tasks:
        raise ValueError("tasks must name at least one task")
    if repeated := sorted({task for task in tasks if list(tasks).count(task) > 1}):
        raise ValueError(f"task names must be distinct, repeated: {repeated}")
    return tuple(tasks)


def initial_thetas(
    form: Parameterization, tasks: Sequence[str], initial_sigma: float | Sequence[float] | None
) -> list[float]:
    """Start of each task's parameter: the form's published one, or where sigma has the value given."""
    if initial_sigma is None:
        return [form.initial_theta] * len(tasks)
    each = [initial_sigma] * len(tasks) if isinstance(initial_sigma, int | float) else initial_sigma
    sigmas = [float(sigma) for sigma in each]
    if len(sigmas) != len(tasks):
        raise ValueError(f"initial_sigma holds {len(sigmas)} values for {len(tasks)} tasks {tuple(tasks)}")
    if bad := [sigma for sigma in sigmas if not (sigma > 0 and math.isfinite(sigma))]:
        raise ValueError(f"initial_sigma must be finite and > 0, got {bad}")
    return [form.theta(sigma) for sigma in sigmas]


def check_vectors(tasks: tuple[str, ...], losses: Tensor, present: Tensor | None) -> None:
    """``losses`` is floating point and ``present`` boolean, both ``(tasks,)``."""
    if not losses.is_floating_point():
        raise TypeError(f"losses must be floating point, got {losses.dtype}")
    if losses.shape != (len(tasks),):
        raise ValueError(f"losses must have shape ({len(tasks)},), one per task of {tasks}, got {tuple(losses.shape)}")
    if present is None:
        return
    if not isinstance(present, Tensor) or present.dtype != torch.bool:
        kind = present.dtype if isinstance(present, Tensor) else type(present).__name__
        raise TypeError(f"present must be a boolean tensor, got {kind}")
    if present.shape != losses.shape:
        raise ValueError(f"present must have the shape of losses {tuple(losses.shape)}, got {tuple(present.shape)}")


def vectors(tasks: tuple[str, ...], losses: Mapping[str, Tensor], like: Tensor) -> tuple[Tensor, Tensor | None]:
    """Scalar losses by name as ``(tasks,)`` losses, 0 where absent, and presence, None if nothing is.

    Absent losses take device and dtype of ``like``.
    """
    if unknown := [task for task in losses if task not in tasks]:
        raise ValueError(f"unknown tasks {unknown}; this loss knows {list(tasks)}")
    for task, loss in losses.items():
        if not isinstance(loss, Tensor):
            raise TypeError(f"the loss of {task!r} must be a tensor, got {type(loss).__name__}")
        if not loss.is_floating_point():
            raise TypeError(f"the loss of {task!r} must be floating point, got {loss.dtype}")
        if loss.device != like.device:
            raise ValueError(
                f"the loss of {task!r} is on {loss.device}, the uncertainty parameters are on {like.device}"
            )
        if loss.ndim:
            raise ValueError(f"the loss of {task!r} must be a scalar, got shape {tuple(loss.shape)}: reduce it first")
    zero = like.new_zeros(())
    vector = torch.stack([losses.get(task, zero) for task in tasks])
    if len(losses) == len(tasks):
        return vector, None
    return vector, torch.tensor([task in losses for task in tasks], device=like.device)
