"""Which tasks a call of a weighting holds, read off its arguments; nothing where these are no losses."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from aura_study.audit.calls.signature import looks_like_mask
from aura_study.audit.marks import TINY_LOSS


class NoLosses(Exception):
    """Arguments that say nothing of who is present."""


def presence(
    module: nn.Module, arguments: Sequence[Any], keywords: Mapping[str, Any], tasks: Sequence[str]
) -> set[str] | None:
    """Tasks that a call has, from its mask or from the losses themselves; None where neither can be recognised."""
    try:
        mask = _mask_of(module, arguments, keywords)
        if mask is not None:
            return _by_mask(mask, tasks)
        return {task for task, loss in _losses(arguments, keywords, tasks).items() if _counts(loss)}
    except Exception:  # the monitor ends no training, whatever it is shown
        return None


def at_zero(arguments: Sequence[Any], keywords: Mapping[str, Any], tasks: Sequence[str]) -> set[str]:
    """Tasks whose loss is handed over and is 0 or next to nothing; none where the arguments are no losses."""
    try:
        losses = _losses(arguments, keywords, tasks)
        return {task for task, loss in losses.items() if _is_there(loss) and 0 <= float(loss) <= TINY_LOSS}
    except Exception:  # the monitor ends no training, whatever it is shown
        return set()


def losses_held(
    arguments: Sequence[Any], keywords: Mapping[str, Any], tasks: Sequence[str], here: set[str]
) -> dict[str, float]:
    """Losses of the tasks in ``here``, for a log; none where the arguments are no losses."""
    try:
        found = {task: loss for task, loss in _losses(arguments, keywords, tasks).items() if task in here}
        return {task: float(loss.detach() if isinstance(loss, Tensor) else loss) for task, loss in found.items()}
    except Exception:  # the monitor ends no training, whatever it is shown
        return {}


def scalar_of(output: Any) -> float | None:
    """A total that can be seen at once: the first tensor of one entry that is learned from; None if there is none."""
    try:
        if isinstance(output, Mapping):
            output = list(output.values())
        parts = output if isinstance(output, list | tuple) else [output]
        found = [part for part in parts if isinstance(part, Tensor) and part.numel() == 1 and part.requires_grad]
        return float(found[0].detach()) if found else None
    except Exception:
        return None


def _is_there(loss: Any) -> bool:
    return loss is not None and not (isinstance(loss, Tensor) and not loss.numel())


def _by_mask(mask: Any, tasks: Sequence[str]) -> set[str]:
    if isinstance(mask, Mapping):
        if not set(mask) & set(tasks):
            raise NoLosses
        return {task for task in tasks if task in mask and _any(mask[task])}
    if isinstance(mask, Tensor):
        if not mask.ndim or mask.shape[-1] != len(tasks):
            raise NoLosses
        flags = mask.detach().reshape(-1, len(tasks)).bool().any(0).tolist()
    else:
        flags = list(mask)
        if flags and all(isinstance(flag, str) for flag in flags):
            return set(tasks) & set(flags)
        if len(flags) != len(tasks):
            raise NoLosses
    return {task for task, here in zip(tasks, flags, strict=True) if _any(here)}


def _any(flag: Any) -> bool:
    return bool(flag.any()) if isinstance(flag, Tensor) else bool(flag)


def _losses(arguments: Sequence[Any], keywords: Mapping[str, Any], tasks: Sequence[str]) -> dict[str, Any]:
    first = arguments[0] if arguments else keywords
    if isinstance(first, Mapping) and not set(first) & set(tasks):
        first = next(iter(first.values()))
    if isinstance(first, Mapping):
        found = {task: first[task] for task in tasks if task in first}
        if not found and first:
            raise NoLosses
    elif isinstance(first, list | tuple):
        found = dict(zip(tasks, first, strict=len(first) > len(tasks)))
    elif isinstance(first, Tensor) and first.ndim == 1 and len(first) == len(tasks):
        found = dict(zip(tasks, first.detach().tolist(), strict=True))
    else:
        found = dict(zip(tasks, arguments, strict=True))
    if not all(_is_loss(loss) for loss in found.values()):
        raise NoLosses
    return found


def _is_loss(loss: Any) -> bool:
    return loss is None or isinstance(loss, int | float) or (isinstance(loss, Tensor) and loss.numel() <= 1)


def _counts(loss: Any) -> bool:
    return _is_there(loss) and float(loss.detach() if isinstance(loss, Tensor) else loss) > TINY_LOSS


def _mask_of(module: nn.Module, arguments: Sequence[Any], keywords: Mapping[str, Any]) -> Any:
    try:
        bound = inspect.signature(module.forward).bind_partial(*arguments, **keywords).arguments
    except (TypeError, ValueError):
        bound = dict(keywords)
    return next((value for name, value in bound.items() if looks_like_mask(name) and value is not None), None)
