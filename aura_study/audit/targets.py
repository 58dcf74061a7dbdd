"""From ``package.module:Name`` or ``file.py:Name`` to the object it names. Runs the user's code, reads nothing else."""

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from aura_study.audit.api import describe
from aura_study.audit.build import CannotAudit

HOW = "Give package.module:Name or file.py:Name, Name being a class, a factory function or an instance."


def load_target(target: str) -> Any:
    """The object that ``target`` names; ``Name`` may be dotted. The working directory is importable.

    Raises:
        CannotAudit: nothing of that name, or code that fails when it is imported.
    """
    place, colon, name = target.rpartition(":")
    if not colon or not place or not name:
        raise CannotAudit(f"{target!r} names no object", HOW)
    try:
        module = _load_file(Path(place)) if place.endswith(".py") else _load_module(place)
    except CannotAudit:
        raise
    except (Exception, SystemExit) as error:
        raise CannotAudit(f"Importing {place} failed: {describe(error)}", HOW) from error
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            raise CannotAudit(f"{place} has no {name!r}{_offer(module)}", HOW)
        found = getattr(found, part)
    return found


def _load_module(name: str) -> ModuleType:
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    return importlib.import_module(name)


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise CannotAudit(f"there is no file {str(path)!r}", HOW)
    path = path.resolve()
    name = f"audited_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise CannotAudit(f"{str(path)!r} is no Python file", HOW)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and typing look their module up
    sys.path.insert(0, str(path.parent))  # its neighbours are importable, as when it is run
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.parent))
    return module


def _offer(module: ModuleType) -> str:
    names = [
        name
        for name, value in vars(module).items()
        if callable(value) and not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    ]
    return f"; it has {', '.join(sorted(names)[:12])}" if names else ""
