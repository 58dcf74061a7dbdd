"""Which notebooks there are, and which class holds the parameters of each."""

import importlib
import pkgutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from aura_study.errors import StudyError, did_you_mean
from aura_study.paths import notebooks_folder
from aura_study.runs.parameters import Parameters

Registry = Mapping[str, type[Parameters]]


def notebook_names(folder: Path | None = None) -> list[str]:
    """Names, without suffix, of the notebooks in reading order."""
    return sorted(path.stem for path in (folder or notebooks_folder()).glob("*.ipynb"))


def choose_notebooks(wanted: Sequence[str], folder: Path | None = None) -> list[str]:
    """The notebooks meant by ``wanted`` in reading order, all of them if it is empty.

    A notebook may be given by its name, its number (``03`` or ``3``), a path or with the suffix ``.ipynb``.

    Raises:
        StudyError: no such notebook.
    """
    names = notebook_names(folder)
    if not names:
        raise StudyError(f"no notebooks in {folder or notebooks_folder()}")
    chosen = set()
    for word in wanted:
        stem = Path(word).name.removesuffix(".ipynb")
        number = stem.zfill(2) if stem.isdecimal() else stem
        matches = [name for name in names if name == stem or name.split("_")[0] == number]
        if len(matches) != 1:
            raise StudyError(f"unknown notebook {word!r}{did_you_mean(stem, names)}")
        chosen.add(matches[0])
    return [name for name in names if not wanted or name in chosen]


def parameter_classes() -> dict[str, type[Parameters]]:
    """Notebook name to parameter class: that in ``parameters.py`` of its folder in ``experiments``."""
    import aura_study.experiments as experiments

    for folder in pkgutil.iter_modules(experiments.__path__, f"{experiments.__name__}."):
        importlib.import_module(f"{folder.name}.parameters")
    return {cls.notebook: cls for cls in _subclasses(Parameters) if cls.__module__.startswith(experiments.__name__)}


def parameters_of(notebook: str, registry: Registry) -> type[Parameters]:
    """The parameter class of ``notebook``.

    Raises:
        StudyError: it has none.
    """
    if notebook not in registry:
        raise StudyError(f"notebook {notebook} has no Parameters class in aura_study/experiments")
    return registry[notebook]


def _subclasses(cls: type[Parameters]) -> Iterable[type[Parameters]]:
    for child in cls.__subclasses__():
        if hasattr(child, "notebook"):
            yield child
        yield from _subclasses(child)
