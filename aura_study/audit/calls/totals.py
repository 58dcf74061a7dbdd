"""Which part of a call's result is the total: found once by what depends on the losses, taken from there on."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

Losses = Mapping[str, Tensor | None]
TOTAL_WORDS = ("total", "loss", "objective", "sum")


class Unusable(Exception):
    """A call whose result is no total, with the reason."""


class CutOff(Unusable):
    """A total that the losses reach by value alone."""


@dataclass(frozen=True)
class Place:
    """Where the total is in a result.

    Attributes:
        path: keys, indices and attribute names that lead there; those of the only total, or of each task's term.
        weights: whether what is there are weights, one for each task, which the losses are still to be given.
        regulariser: where a scalar is that belongs to the total and is not in it yet.
    """

    paths: tuple[tuple[Any, ...], ...]
    weights: bool = False
    by_task: tuple[str, ...] = ()
    regulariser: tuple[Any, ...] | None = None


def find_total(output: Any, tasks: Sequence[str], leaves: Sequence[Tensor]) -> Place:
    """The place of the total in ``output``.

    It is the tensor that depends on every loss, by name if there are several; else the terms or weights, one for each
    task, of a list or of a mapping. If these are proportional to the losses, a single other scalar that is learned and
    depends on no loss is their regulariser.

    Raises:
        Unusable: there is neither.
    """
    flat = list(_flatten(output, ()))
    if not flat:
        raise Unusable(f"the result is {type(output).__name__}, not a tensor")
    slopes = {path: _slopes(tensor, leaves) for path, tensor in flat}
    place = _main_place(flat, {path: [bool(slope) for slope in slopes[path]] for path in slopes}, tasks)
    values = {path: float(tensor.detach().sum()) for path, tensor in flat}
    linear = sum(
        slope * float(loss.detach()) for path in place.paths for slope, loss in zip(slopes[path], leaves, strict=True)
    )
    whole = sum(values[path] for path in place.paths)
    aside = [
        path for path, tensor in flat
        if path not in place.paths and tensor.requires_grad and not tensor.is_leaf and tensor.numel() == 1
        and not any(slopes[path])
    ]  # fmt: skip
    proportional = place.weights or math.isclose(whole, linear, rel_tol=1e-4)
    return replace(place, regulariser=aside[0]) if len(aside) == 1 and proportional else place


def _main_place(
    flat: Sequence[tuple[tuple[Any, ...], Tensor]], reach: Mapping[tuple[Any, ...], list[bool]], tasks: Sequence[str]
) -> Place:
    whole = [path for path, _ in flat if all(reach[path])]
    if whole:
        return Place((max(whole, key=_called_total),))  # the first of the likeliest
    for every in _groups(flat):
        group = [path for path in every if any(reach[path])]
        together = [any(reach[path][i] for path in group) for i in range(len(tasks))]
        if len(group) > 1 and all(together):
            return Place(tuple(group), by_task=_names(group, tasks))
    touched = max((path for path, _ in flat), key=lambda path: sum(reach[path]))
    if any(reach[touched]):
        return Place((touched,))
    for path, tensor in flat:
        if tensor.numel() == len(tasks) > 1 and not _called_loss(path):
            return Place((path,), weights=True)
    for group in _groups(flat):
        if len(group) == len(tasks):
            return Place(tuple(group), weights=True, by_task=_names(group, tasks))
    sizes = [tensor.numel() for _, tensor in flat]
    if sizes[0] > 1:
        raise Unusable(f"the result has {sizes[0]} entries: neither a total nor one entry per task")
    return Place((flat[0][0],))


def first_scalar(output: Any) -> Tensor | None:
    """The first tensor of one entry in ``output``: the total, where that was gone back through already."""
    return next((tensor.detach() for _, tensor in _flatten(output, ()) if tensor.numel() == 1), None)


def take_total(output: Any, place: Place, tasks: Sequence[str], losses: Losses) -> Tensor:
    """The total at ``place``, attached to the graph; terms are summed, weights are given their losses.

    Raises:
        Unusable: nothing is there.
    """
    parts = {path: part for path in place.paths if (part := _at(output, path)) is not None}
    if not parts:
        raise Unusable(f"the result has no total at {place.paths[0]}")
    entries = _given(output, place, parts, tasks, losses) if place.weights else list(parts.values())
    if place.regulariser is not None:
        entries.append(_at(output, place.regulariser))
    scalars = [torch.as_tensor(entry).sum() for entry in entries]
    return torch.stack(scalars).sum() if len(scalars) > 1 else scalars[0]


def _given(
    output: Any, place: Place, parts: Mapping[tuple[Any, ...], Any], tasks: Sequence[str], losses: Losses
) -> list[Tensor]:
    """Losses times the weights of their tasks."""
    if len(place.paths) == 1:
        vector = parts[place.paths[0]].reshape(-1)
        named = dict(zip(losses if len(losses) == len(vector) else tasks, vector.unbind(), strict=False))
    else:
        named = {
            task: torch.as_tensor(_at(output, path) or 0.0).reshape(())
            for task, path in zip(place.by_task or tasks, place.paths, strict=True)
        }
    return [weight * loss for task, weight in named.items() if (loss := losses.get(task)) is not None]


def _flatten(thing: Any, path: tuple[Any, ...]) -> list[tuple[tuple[Any, ...], Tensor]]:
    if isinstance(thing, Tensor):
        return [(path, thing)] if thing.is_floating_point() else []
    if isinstance(thing, bool) or len(path) > 3:
        return []
    if isinstance(thing, int | float):
        return [(path, torch.tensor(float(thing)))] if path else []
    if isinstance(thing, Mapping):
        parts = list(thing.items())
    elif isinstance(thing, list | tuple):
        parts = list(enumerate(thing))
    else:
        parts = list(getattr(thing, "__dict__", {}).items())
    return [entry for key, part in parts for entry in _flatten(part, (*path, key))]


def _at(output: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        if isinstance(output, Mapping):
            output = output.get(key)
        elif isinstance(output, list | tuple):
            output = output[key] if key < len(output) else None
        else:
            output = getattr(output, str(key), None)
    return output


def _slopes(tensor: Tensor, leaves: Sequence[Tensor]) -> list[float]:
    """d sum(tensor) / d L_i."""
    if not tensor.requires_grad:
        return [0.0] * len(leaves)
    slopes = torch.autograd.grad(tensor.sum(), list(leaves), retain_graph=True, allow_unused=True)
    return [0.0 if slope is None else float(slope) for slope in slopes]


def _called_total(path: tuple[Any, ...]) -> int:
    words = " ".join(str(key) for key in path).lower()
    named = next((len(TOTAL_WORDS) - i for i, word in enumerate(TOTAL_WORDS) if word in words), 0)
    return named + (len(TOTAL_WORDS) if words in ("loss", "total", "total_loss") else 0)


def _called_loss(path: tuple[Any, ...]) -> bool:
    return any("loss" in str(key).lower() for key in path)


def _groups(flat: Sequence[tuple[tuple[Any, ...], Tensor]]) -> list[list[tuple[Any, ...]]]:
    """Scalars that are side by side in one list or mapping."""
    groups: dict[tuple[Any, ...], list[tuple[Any, ...]]] = {}
    for path, tensor in flat:
        if path and tensor.numel() == 1:
            groups.setdefault(path[:-1], []).append(path)
    return list(groups.values())


def _names(group: Sequence[tuple[Any, ...]], tasks: Sequence[str]) -> tuple[str, ...]:
    keys = tuple(str(path[-1]) for path in group)
    return keys if set(keys) <= set(tasks) else ()
