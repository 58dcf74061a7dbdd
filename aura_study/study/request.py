"""What the user asked for: notebooks, profile, data, overrides and output, all checked before anything runs."""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aura_study.data.registry import DEFAULT_DATASET
from aura_study.errors import StudyError
from aura_study.paths import RunFolders, without_folders
from aura_study.runs.manifest import Identity
from aura_study.runs.parameters import Data, Parameters, Profile, SummaryParameters, refuse_unknown
from aura_study.runs.values import parse_value, plain_yaml
from aura_study.study.registry import Registry, choose_notebooks, parameters_of

Overrides = dict[str, Any]


def parse_assignments(assignments: Sequence[str]) -> Overrides:
    """``NAME=VALUE`` strings to a mapping of values, see `parse_value`.

    Raises:
        StudyError: no ``=``, a name given twice, or a list that cannot be read.
    """
    return {name: parse_value(name, value.strip()) for name, value in split_assignments(assignments).items()}


def split_assignments(assignments: Sequence[str], values: str = "VALUE") -> dict[str, str]:
    """``NAME=VALUE`` strings to a mapping of texts; ``values`` says in an error what may follow the ``=``.

    Raises:
        StudyError: no ``=``, or a name given twice.
    """
    words: dict[str, str] = {}
    for text in assignments:
        name, equals, value = text.partition("=")
        name = name.strip()
        if not equals or not name:
            raise StudyError(f"-p takes NAME={values}, got {text!r}")
        if name in words:
            raise StudyError(f"parameter {name!r} is given twice")
        words[name] = value
    return words


def read_parameter_file(path: Path) -> Overrides:
    """A YAML mapping of parameter names to values; a notebook's name may hold a mapping for that notebook alone.

    Raises:
        StudyError: the file cannot be read, or is not a mapping.
    """
    try:
        content = plain_yaml(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StudyError(f"cannot read parameters from {path}: {' '.join(str(error).split())}") from error
    if content is None:
        return {}
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        raise StudyError(f"{path} must hold a mapping of parameter names to values")
    return content


@dataclass(frozen=True)
class Request:
    """A validated request.

    Attributes:
        profile, data: as on the command line.
        parameters: notebook name to validated parameters, in running order: summaries last.
        overrides: what the user changed, as given.
        folders: where the run goes.
    """

    profile: Profile
    data: Data
    parameters: dict[str, Parameters]
    overrides: Overrides
    folders: RunFolders

    @classmethod
    def of(
        cls,
        registry: Registry,
        notebooks: Sequence[str] = (),
        profile: Profile = "quick",
        data: Data = DEFAULT_DATASET,
        out: str | None = None,
        overrides: Overrides | None = None,
        folder: Path | None = None,
    ) -> "Request":
        """Check everything and resolve the run's name.

        Raises:
            StudyError: unknown notebook or parameter, a value of the wrong type, out of range or not finite.
        """
        named = {name: parameters_of(name, registry) for name in choose_notebooks(notebooks, folder)}
        chosen = {
            name: named[name] for name in sorted(named, key=lambda name: issubclass(named[name], SummaryParameters))
        }
        overrides = overrides or {}
        _refuse_unknown(overrides, chosen, registry)
        name = out or default_name(profile, data, overrides)
        try:
            folders = RunFolders.of(name)
        except (ValueError, RuntimeError) as error:  # RuntimeError: the home of a user who does not exist
            raise StudyError(f"--out {name!r}: {error}") from error
        destination = name if folders.results.name == name else str(folders.results)
        common = {"data": data, "out": destination}
        parameters = {
            notebook: declared.checked(
                _among(declared, {**common, **_overrides_for(notebook, declared, overrides)}), profile
            )
            for notebook, declared in chosen.items()
        }
        for notebook, values in parameters.items():
            _refuse_not_finite(notebook, values)
        return cls(profile, data, parameters, overrides, folders)

    @property
    def spared(self) -> dict[str, list[str]]:
        """Of each override that not all notebooks have as a parameter: the notebooks that it does not reach."""
        lacking = {
            name: [notebook for notebook, held in self.parameters.items() if name not in type(held).model_fields]
            for name, value in self.overrides.items()
            if name not in self.parameters
        }
        return {name: notebooks for name, notebooks in lacking.items() if notebooks}

    @property
    def waves(self) -> tuple[list[str], list[str]]:
        """The notebooks that measure, and the summaries, which read what those found."""
        names = {name: isinstance(values, SummaryParameters) for name, values in self.parameters.items()}
        return [name for name in names if not names[name]], [name for name in names if names[name]]

    @property
    def identity(self) -> Identity:
        """What tells this run from another in the same folder."""
        return Identity(profile=self.profile, data=self.data, overrides=without_folders(self.overrides))


def default_name(profile: Profile, data: Data, overrides: Overrides) -> str:
    """``quick``, ``quick-aura`` and so on; with overrides a short digest is added, so that runs never collide."""
    name = profile if data == DEFAULT_DATASET else f"{profile}-{data}"
    if not overrides:
        return name
    text = json.dumps(overrides, sort_keys=True, default=str)
    return f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"


def _refuse_unknown(overrides: Overrides, chosen: Registry, registry: Registry) -> None:
    common = {name for cls in chosen.values() for name in cls.model_fields} - {"out", "data"}
    for name, value in overrides.items():
        if name in registry and isinstance(value, Mapping):
            if name not in chosen:
                raise StudyError(f"parameters are given for notebook {name}, which is not among those to run")
            own = [field for field in registry[name].model_fields if field not in ("out", "data")]
            refuse_unknown(value, own, f"notebook {name}")
        elif name in ("out", "data"):
            raise StudyError(f"{name!r} is set with --{name}, not as a parameter")
        else:
            where = f"notebook {next(iter(chosen))}" if len(chosen) == 1 else "the chosen notebooks"
            refuse_unknown([name], sorted(common), where)


def _refuse_not_finite(notebook: str, values: Parameters) -> None:
    """A notebook writes its parameters down as JSON, which has finite numbers only."""
    for name, value in values.model_dump().items():
        for number in _numbers(value):
            if not math.isfinite(number):
                raise StudyError(f"notebook {notebook}: {name} = {number}: a parameter has to be a finite number")


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, float):
        yield value
    elif isinstance(value, Mapping):
        yield from _numbers(list(value.values()))
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _numbers(part)


def _overrides_for(notebook: str, declared: type[Parameters], overrides: Overrides) -> Overrides:
    own = overrides.get(notebook)
    return {**_among(declared, overrides), **(own if isinstance(own, Mapping) else {})}


def _among(declared: type[Parameters], values: Overrides) -> Overrides:
    return {name: value for name, value in values.items() if name in declared.model_fields}
