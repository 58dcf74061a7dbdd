"""What code asks its arguments for: found by handing over mappings that have everything and remember what was asked."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from aura_study.audit.calls.signature import Signature, is_prediction
from aura_study.audit.laboratory import AuditedCodeError, audited_code

SAMPLES = 5


SOURCE = "_audited_source"


def made_up(name: str, size: Sequence[int], value: float = 1.0) -> Tensor:
    """A tensor of one value that stands for what ``name`` is, and says so."""
    tensor = torch.full(tuple(size), float(value), requires_grad=True)
    setattr(tensor, SOURCE, name)
    return tensor


def source_of(thing: Any) -> str:
    """The name that a made-up tensor stands for, or the first of several; empty where there is none."""
    if isinstance(thing, Tensor):
        return str(getattr(thing, SOURCE, ""))
    parts = thing.values() if isinstance(thing, Mapping) else thing if isinstance(thing, list | tuple) else ()
    return next((name for part in parts if (name := source_of(part))), "")


class MadeUp(TorchFunctionMode):
    """Torch computing with made-up tensors: what it cannot compute of them is a made-up number."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = source_of(args) or source_of(kwargs or {})
        try:
            result = func(*args, **(kwargs or {}))
        except Exception:
            if not name:
                raise
            return made_up(name, ())
        for part in (result if isinstance(result, list | tuple) else [result]) if name else []:
            if isinstance(part, Tensor):
                setattr(part, SOURCE, name)
        return result


class Asked(dict[str, Any]):
    """Has whatever it is asked for, by key or as an attribute, made up; ``asked`` are the names."""

    size: tuple[int, ...]
    asked: dict[str, None]

    def __init__(self, size: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.__dict__.update(size=size, asked={})

    def __missing__(self, name: str) -> torch.Tensor:
        self.asked[name] = None
        return made_up(str(name), self.size)

    def __getattr__(self, name: str) -> torch.Tensor:
        if name.startswith("_"):
            raise AttributeError(name)
        return self[name]

    def __contains__(self, name: object) -> bool:
        return True

    def get(self, name: str, default: Any = None) -> Any:
        """What it has, which is everything."""
        return self[name]


def asked_of(function: Any, shape: Signature) -> list[tuple[str, ...]]:
    """Names that ``function`` asks each of its required arguments for, as far as it runs; numbers are 1."""
    handed: dict[str, Any] = {}
    for name in (*shape.positional[: max(shape.required, 1)], *shape.keyword_required):
        size = (SAMPLES,) if is_prediction(name) or len(handed) else ()
        handed[name] = 1.0 if shape.is_number(name) else Asked(size)
    with suppress(AuditedCodeError), audited_code(), MadeUp():  # what it asked for before it raised is known
        function(**handed)
    return [tuple(map(str, value.asked)) if isinstance(value, Asked) else () for value in handed.values()]
