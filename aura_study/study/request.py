"""What the user asked for: notebooks, profile, data, overrides and output, all checked before anything runs."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from aura_study.data.registry import DEFAULT_DATASET
from aura_study.errors import StudyError, did_you_mean
from aura_study.paths import RunFolders, without_folders
from aura_study.runs.manifest import Identity
from aura_study.runs.parameters import Data, Parameters, Profile, SummaryParameters
from aura_study.study.registry import Registry, choose_notebooks, describe, parameters_of

Overrides = dict[str, Any]


def parse_assignments(assignments: Sequence[str]) -> Overrides:
    """``NAME=VALUE`` strings to a mapping; a value that starts with ``[`` is read as a YAML list.

    Raises:
        StudyError: no ``=``, a name given twice, or a list that cannot be read.
    """
    return {name: _parse_value(name, value.strip()) for name, value in split_assignments(assignments).items()}


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
        content = _plain_yaml(path.read_text(encoding="utf-8"))
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
            StudyError: unknown notebook or parameter, a value of the wrong type or out of range.
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
            notebook: _validated(
                notebook, declared, profile, {**common, **_overrides_for(notebook, declared, overrides)}
            )
            for notebook, declared in chosen.items()
        }
        return cls(profile, data, parameters, overrides, folders)

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


def _parse_value(name: str, value: str) -> Any:
    if not value.startswith(("[", "{")):
        return None if value.lower() in ("none", "null") else value
    try:
        return _plain_yaml(value)
    except ValueError as error:
        shown = value if len(value) < 80 else f"{value[:80]}..."
        raise StudyError(f"parameter {name!r}: cannot read {shown!r} as a list") from error


def _plain_yaml(text: str) -> Any:
    """YAML of plain values; anchors are refused, for a few lines of them unfold into more than a machine can hold.

    Raises:
        ValueError: whatever is wrong with it; PyYAML has half a dozen other ways to say so.
    """
    try:
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, yaml.SafeLoader)):
            raise ValueError("anchors and aliases are not used here")
        return yaml.safe_load(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except (yaml.YAMLError, AttributeError) as error:
        raise ValueError(str(error)) from error


def _refuse_unknown(overrides: Overrides, chosen: Registry, registry: Registry) -> None:
    common = {name for cls in chosen.values() for name in cls.model_fields} - {"out", "data"}
    for name, value in overrides.items():
        if name in registry and isinstance(value, Mapping):
            if name not in chosen:
                raise StudyError(f"parameters are given for notebook {name}, which is not among those to run")
            own = [field for field in registry[name].model_fields if field not in ("out", "data")]
            for key in value:
                if key not in own:
                    raise StudyError(f"unknown parameter {key!r} of notebook {name}{did_you_mean(str(key), own)}")
        elif name in ("out", "data"):
            raise StudyError(f"{name!r} is set with --{name}, not as a parameter")
        elif name not in common:
            where = f"notebook {next(iter(chosen))}" if len(chosen) == 1 else "the chosen notebooks"
            raise StudyError(f"unknown parameter {name!r} of {where}{did_you_mean(name, sorted(common))}")


def _overrides_for(notebook: str, declared: type[Parameters], overrides: Overrides) -> Overrides:
    own = overrides.get(notebook)
    shared = {name: value for name, value in overrides.items() if name in declared.model_fields}
    return {**shared, **(own if isinstance(own, Mapping) else {})}


def _validated(notebook: str, declared: type[Parameters], profile: Profile, values: Overrides) -> Parameters:
    known = {name: value for name, value in values.items() if name in declared.model_fields}
    try:
        return declared.for_profile(profile, **known)
    except ValidationError as error:
        allowed = {row.name: row for row in describe(declared)}
        lines = []
        for problem in error.errors():
            name = str(problem["loc"][0]) if problem["loc"] else ""
            what = problem["msg"][0].lower() + problem["msg"][1:]
            if name in allowed:
                row = allowed[name]
                lines.append(f"{name} = {known.get(name)!r}: {what}; allowed: {row.allowed} (default {row.default})")
            else:
                lines.append(what)
        raise StudyError(f"notebook {notebook}: " + "; ".join(dict.fromkeys(lines))) from error
