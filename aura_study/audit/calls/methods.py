"""Which methods of a module may give the total, and which belong to the end of a step or an epoch."""

import inspect
import types
from collections.abc import Callable, Iterator
from typing import Any

from torch import nn

from aura_study.audit.calls.signature import Signature, is_one_of

METHODS = (
    "backward", "combine", "compute", "compute_loss", "get_loss", "get_weighted_loss", "loss", "total", "total_loss",
    "weigh", "weighted_loss", "weighted_sum",
)  # fmt: skip
INPUT_NAMES = ("x", "input", "inputs", "image", "images", "batch", "features", "input_ids")
OTHER_WORK = ("set_", "load", "save", "reset", "add_", "register", "state", "init", "from_", "to_", "plot", "log_")
UPDATES = ("update", "update_weights", "step_weights", "after_step", "on_step_end", "on_train_batch_end")
EPOCH_ENDS = (
    "end_epoch", "epoch_end", "on_epoch_end", "on_train_epoch_end", "step_epoch", "next_epoch", "end_of_epoch", "step",
)  # fmt: skip


def shape_of(module: Any, method: str) -> Signature:
    """The signature of one of its methods; ``"__call__"`` is that of ``forward`` where a module defines it."""
    if method != "__call__":
        return Signature.of(getattr(module, method))
    return Signature.of(module.forward if _has_forward(module) and not _has_call(module) else module)


def methods_of(module: Any) -> Iterator[str]:
    """Names of what may give the total: calling it, usual names, then any public method of its own.

    Where it is called, a method of another name is none of them, nor is one that its own methods call: a masked mean,
    a norm.
    """
    weighs = _has_forward(module) or _has_call(module) or not isinstance(module, nn.Module)
    called = callable(module) and weighs and not _is_network(module)
    if called:
        yield "__call__"
    usual = [method for method in METHODS if callable(getattr(module, method, None))]
    yield from usual
    helpers = _helpers(module)
    later = [] if called else [name for name in (*UPDATES, *EPOCH_ENDS) if _takes_losses(module, name)]
    for name in own_methods(module):
        if called or name in helpers:
            continue
        shape = Signature.of(getattr(module, name))
        takes = shape.required + len(shape.keyword_required) >= 1 or shape.star or shape.double_star
        collects = (shape.one_task() or ("", ""))[1].endswith(("loss", "value"))
        if takes and name not in (*usual, "forward", *later) and (collects or not name.startswith(OTHER_WORK)):
            yield name
    yield from later  # rather what follows a step, but for an optimiser of its own


def _takes_losses(module: Any, name: str) -> bool:
    function = getattr(module, name, None)
    shape = Signature.of(function) if callable(function) and name in own_methods(module) else None
    return shape is not None and shape.holds_several and shape.required > 0


def _helpers(module: Any) -> set[str]:
    """Names that the code of its own functions, the hidden ones too, looks up."""
    functions = (
        inspect.unwrap(getattr(value, "__func__", value))
        for base in _own_bases(module)
        for value in vars(base).values()
    )
    return {name for one in functions if isinstance(one, types.FunctionType) for name in one.__code__.co_names}


def asked_for_nothing(module: Any) -> Iterator[str]:
    """Names of its own methods that take no arguments, such as those that give weights or a regulariser."""
    for name in own_methods(module):
        shape = Signature.of(getattr(module, name))
        if shape.takes_nothing(()) and name not in EPOCH_ENDS and not name.startswith((*OTHER_WORK, "parameters")):
            yield name


def pulls_of(module: Any) -> list[str]:
    """Names of its own methods that take nothing and give a regulariser, for the caller to add to the total."""
    helpers = _helpers(module)
    return [name for name in asked_for_nothing(module) if name not in helpers and _is_pull(name)]


def _is_pull(name: str) -> bool:
    return is_one_of(name, ("regul", "penalty", "prior")) or "reg" in name.split("_")


def own_methods(module: Any) -> list[str]:
    """Public methods that its class, or one above it that is not torch's, defines; in order."""
    names = dict.fromkeys(name for base in _own_bases(module) for name in vars(base) if not name.startswith("_"))
    return [name for name in names if inspect.isroutine(getattr(type(module), name, None))]


def _own_bases(module: Any) -> list[type]:
    return [base for base in type(module).__mro__ if base.__module__.partition(".")[0] not in ("torch", "builtins")]


def has_layers(module: Any) -> bool:
    """Whether it is a module with a parameter of more than one dimension."""
    return isinstance(module, nn.Module) and any(parameter.ndim > 1 for parameter in module.parameters())


def _is_network(module: Any) -> bool:
    """Whether it has layers, and is called with what a network sees: its answers are predictions and no total."""
    return has_layers(module) and shape_of(module, "__call__").first.lower() in INPUT_NAMES


def _has_forward(module: Any) -> bool:
    own = getattr(type(module), "forward", None) is not nn.Module.forward
    return isinstance(module, nn.Module) and own and callable(getattr(module, "forward", None))


def _has_call(module: Any) -> bool:
    return isinstance(module, nn.Module) and any(
        "__call__" in vars(base) for base in type(module).__mro__ if not base.__module__.startswith("torch")
    )


def function_of(module: Any, method: str) -> Callable[..., Any]:
    """What is called; a module itself for ``"__call__"``."""
    function: Callable[..., Any] = module if method == "__call__" else getattr(module, method)
    return function
