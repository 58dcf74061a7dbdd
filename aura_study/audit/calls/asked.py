"""What code asks its arguments for: found by handing over mappings that have everything and remember what was asked.

Also a configuration that answers by what a name says, nested as deep as it is asked.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from aura_study.audit.calls.signature import Signature, is_prediction
from aura_study.audit.laboratory import AuditedCodeError, audited_code

NAME_WORDS = ("name", "keys", "heads")
COUNT_WORDS = ("num", "count", "shape", "size", "dim", "n_")
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


class _Answering:
    """Answers any attribute by what its name says."""

    _names: list[str]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return _answer(name, self._names)

    def get(self, name: str, default: Any = None) -> Any:
        """As a mapping does."""
        return self[name] if default is None else default  # type: ignore[index]

    def __deepcopy__(self, memo: Any) -> Any:
        kind: Any = type(self)
        return kind(self._names)

    def __repr__(self) -> str:
        return "<settings by name>"


class Answers(_Answering, dict[str, Any]):
    """A configuration that answers whatever it is asked, as an attribute or a key, by what the name says."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self.__dict__["_names"] = list(names)

    def __missing__(self, name: Any) -> Any:
        return _answer(str(name), self._names)


class Setting(_Answering, float):
    """One of its values: the number 1, and a configuration within it."""

    def __new__(cls, names: Sequence[str]) -> "Setting":
        """A new one."""
        setting = super().__new__(cls, 1.0)
        setting._names = list(names)
        return setting

    def __getitem__(self, name: Any) -> Any:
        return _answer(str(name), self._names)


class Names(_Answering, list[str]):
    """The tasks' names, which also have settings each."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(names)
        self.__dict__["_names"] = list(names)

    def __getitem__(self, place: Any) -> Any:
        return Setting(self._names) if isinstance(place, str) else super().__getitem__(place)

    def keys(self) -> list[str]:
        """The names."""
        return list(self)

    def values(self) -> list[Setting]:
        """Settings of each."""
        return [Setting(self._names) for _ in self]

    def items(self) -> Iterator[tuple[str, Setting]]:
        """Both."""
        return zip(self, self.values(), strict=True)


def _answer(name: str, names: Sequence[str]) -> Any:
    told = told_by_name(name, names)
    return Setting(names) if told is None else told


def told_by_name(name: str, names: Sequence[str]) -> Any:
    """The tasks' names or number, or a device, where an attribute's name asks for them; else None."""
    word = name.lower()
    if any(part in word for part in NAME_WORDS) or word == "tasks":
        return Names(names)
    if any(part in word for part in COUNT_WORDS):
        return len(names)
    return "cpu" if "device" in word else None
