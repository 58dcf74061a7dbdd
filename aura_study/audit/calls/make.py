"""Ways to make the audited module, from a name, a class, a factory or an instance; and the tensors that it learns."""

import importlib
import importlib.util
import sys
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from aura_study.audit.calls.construct import PACKAGE, Construction, constructions
from aura_study.audit.calls.held import held_leaves
from aura_study.audit.laboratory import AuditedCodeError, CannotAudit, audited_code, say

LEVELS = 4
"""So many of a file's folders are taken for its package."""
HOW = "Give package.module:Name or file.py:Name, Name being a class, a factory function or an instance."


def load_target(target: str) -> Any:
    """The object that ``target``, ``package.module:Name`` or ``file.py:Name``, names; runs the user's code.

    ``Name`` may be dotted, and left out of a file that defines one class. The working directory is importable.

    Raises:
        CannotAudit: nothing of that name, or code that fails when it is imported.
    """
    place, _, name = (target, "", "") if target.endswith(".py") else target.rpartition(":")
    if not place or not (name or place.endswith(".py")):
        raise CannotAudit(f"{target!r} names no object", HOW)
    try:
        with audited_code():
            module = _load_file(Path(place)) if place.endswith(".py") else _load_module(place)
    except AuditedCodeError as error:
        raise CannotAudit(f"Importing {place} failed: {error}", HOW) from error
    if not name:
        offered = _callables(module)
        classes = [one for one in offered if isinstance(getattr(module, one), type)]
        if len(classes) != 1:
            commands = "".join(f"\n    aura-study audit {place}:{one}" for one in offered)
            raise CannotAudit(f"{target!r} names no object", f"{HOW}{commands}")
        name = classes[0]
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            raise CannotAudit(f"{place} has no {name!r}{_offer(module)}", HOW)
        found = getattr(found, part)
    return found


def _load_module(name: str) -> types.ModuleType:
    _importable(Path.cwd())
    return importlib.import_module(name)


def _importable(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def _load_file(path: Path) -> types.ModuleType:
    """The file as a module of the package that its folders are, without the code that makes these packages."""
    if not path.is_file():
        raise CannotAudit(f"there is no file {str(path)!r}", HOW)
    path = path.resolve()
    name = PACKAGE
    for folder in reversed([path.parent, *path.parents][1 : LEVELS + 1]):
        name = f"{name}.{folder.name or 'root'}"
        package = sys.modules[name] = types.ModuleType(name)
        package.__path__ = [str(folder)]  # its neighbours can be imported relative to it
    name = f"{name}.{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise CannotAudit(f"{str(path)!r} is no Python file", HOW)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and typing look their module up
    _importable(Path.cwd())
    _importable(path.parent)  # as when it is run
    spec.loader.exec_module(module)
    return module


def _callables(module: types.ModuleType) -> list[str]:
    """Names of the first dozen classes and functions that the module defines, classes first."""
    found = {
        name: value
        for name, value in vars(module).items()
        if callable(value) and not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    }
    return sorted(found, key=lambda name: (not isinstance(found[name], type), name))[:12]


def _offer(module: types.ModuleType) -> str:
    names = _callables(module)
    return f"; it has {', '.join(names)}" if names else ""


@dataclass(frozen=True)
class Made:
    """A module that was made, and the way it was made."""

    module: Any
    way: Construction

    @property
    def leaves(self) -> list[Tensor]:
        """The learnable tensors that it holds now; a module that is built lazily has more once it was called."""
        return held_leaves(self.module)


def make_in_every_way(
    target: Any, names: Sequence[str], arguments: Mapping[str, Any] | Sequence[Any] | None
) -> dict[str, Made | str]:
    """What each way to make a module of ``target`` gives, or why it gives none, by the way's text; likeliest first.

    Raises:
        CannotAudit: a class that needs more arguments than the tasks.
    """
    made: dict[str, Made | str] = {}
    for construction in constructions(target, names, arguments):
        say(f"making {construction.text}")
        try:
            with audited_code():
                module = construction.make()
                if module is None or isinstance(module, Tensor | int | float | str):
                    raise TypeError(f"gave {type(module).__name__}, not a loss weighting")
                made[construction.text] = Made(module, construction)
        except AuditedCodeError as error:
            made[construction.text] = str(error)
    return made
