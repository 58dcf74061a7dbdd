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
    if loss is None or (isinstance(loss, Tensor) and not loss.numel()):
        return False
    return float(loss.detach() if isinstance(loss, Tensor) else loss) > TINY_LOSS


def _mask_of(module: nn.Module, arguments: Sequence[Any], keywords: Mapping[str, Any]) -> Any:
    try:
        bound = inspect.signature(module.forward).bind_partial(*arguments, **keywords).arguments
    except (TypeError, ValueError):
        bound = dict(keywords)
    return next((value for name, value in bound.items() if looks_like_mask(name) and value is not None), None)
