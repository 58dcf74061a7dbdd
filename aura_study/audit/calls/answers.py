"""A configuration that answers by what a name says, nested as deep as it is asked."""

from collections.abc import Iterator, Sequence
from typing import Any

CONFIGURATIONS = ("cfg", "conf", "config", "args", "opt", "opts", "hparams", "params", "settings")
NAME_WORDS = ("name", "keys", "heads")
COUNT_WORDS = ("num", "count", "shape", "size", "dim", "n_")
SETTING_WORDS = ("lr", "rate", "temp", "alpha", "beta", "gamma", "decay", "momentum", "tau", "eps", "scale", "init")
OFF_WORDS = ("no_", "disable", "freeze", "skip", "without")


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
        return kind(self._names, *([self["name"]] if isinstance(self, dict) and self else []))

    def __repr__(self) -> str:
        return "<settings by name>"


class Answers(_Answering, dict[str, Any]):
    """A configuration that answers whatever it is asked, as an attribute or a key, by what the name says.

    Args:
        names: of the tasks.
        task: the one that it is of, where each has its own.
    """

    def __init__(self, names: Sequence[str], task: str = "") -> None:
        super().__init__(dict.fromkeys(("name", "task", "key"), task) if task else {})
        self.__dict__["_names"] = list(names)
        self.__dict__.update(self)

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
    if told is not None:
        return told
    if name.lower().startswith(OFF_WORDS):
        return False
    return 1.0 if any(word in name.lower().split("_") for word in SETTING_WORDS) else Setting(names)


def told_by_name(name: str, names: Sequence[str]) -> Any:
    """The tasks' names or number, or a device, where an attribute's name asks for them; else None."""
    word = name.lower()
    if any(part in word for part in NAME_WORDS) or word == "tasks":
        return Names(names)
    if any(part in word for part in COUNT_WORDS):
        return len(names)
    return "cpu" if "device" in word else None
