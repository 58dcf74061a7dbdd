"""Which notebooks there are, and which class holds the parameters of each."""

import importlib
import pkgutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from aura_study.errors import StudyError, did_you_mean
from aura_study.paths import notebooks_folder
from aura_study.runs.parameters import Parameters, Profile

Registry = Mapping[str, type[Parameters]]
PROFILES: tuple[Profile, ...] = get_args(Profile)


def notebook_names(folder: Path | None = None) -> list[str]:
    """Names, without suffix, of the notebooks in reading order."""
    return sorted(path.stem for path in (folder or notebooks_folder()).glob("*.ipynb"))


def choose_notebooks(wanted: Sequence[str], folder: Path | None = None) -> list[str]:
    """The notebooks meant by ``wanted`` in reading order, all of them if it is empty.

    A notebook may be given by its name, its number (``03``), a path or with the suffix ``.ipynb``.

    Raises:
        StudyError: no such notebook.
    """
    names = notebook_names(folder)
    if not names:
        raise StudyError(f"no notebooks in {folder or notebooks_folder()}")
    chosen = set()
    for word in wanted:
        stem = Path(word).name.removesuffix(".ipynb")
        matches = [name for name in names if name == stem or name.split("_")[0] == stem]
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


@dataclass(frozen=True)
class ParameterRow:
    """One parameter as the user sees it."""

    name: str
    default: Any
    allowed: str
    meaning: str
    profiles: dict[Profile, Any]


def describe(cls: type[Parameters]) -> list[ParameterRow]:
    """Name, default, type with range, meaning and the profiles' own values of each parameter."""
    schema = cls.model_json_schema()
    definitions = schema.get("$defs", {})
    rows = []
    for name, field in cls.model_fields.items():
        values = {p: getattr(cls.for_profile(p), name) for p in PROFILES}
        allowed = allowed_values(schema["properties"][name], definitions)
        rows.append(ParameterRow(name, field.default, allowed, field.description or "", values))
    return rows


def allowed_values(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    """The type and range of one JSON-schema property in words."""
    if "$ref" in schema:
        return allowed_values(definitions[schema["$ref"].rsplit("/", 1)[-1]], definitions)
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(allowed_values(option, definitions) for option in schema["anyOf"]))
    if "enum" in schema:
        return "one of " + ", ".join(str(value) for value in schema["enum"])
    if "const" in schema:
        return str(schema["const"])
    kind = schema.get("type")
    if kind == "array":
        return _allowed_list(schema, definitions)
    words = {"integer": "integer", "number": "number", "string": "text", "boolean": "true or false", "null": "none"}
    return ", ".join([words.get(str(kind), "any value"), *_bounds(schema)])


def _allowed_list(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    if "prefixItems" in schema:
        return f"list of ({'; '.join(allowed_values(item, definitions) for item in schema['prefixItems'])})"
    text = f"list of ({allowed_values(schema.get('items', {}), definitions)})"
    lengths = [
        f"{word} {schema[key]}" for key, word in (("minItems", "at least"), ("maxItems", "at most")) if key in schema
    ]
    return text + (f" with {' and '.join(lengths)} entries" if lengths else "")


def _bounds(schema: Mapping[str, Any]) -> Iterator[str]:
    words = {
        "minimum": "at least {}",
        "exclusiveMinimum": "above {}",
        "maximum": "at most {}",
        "exclusiveMaximum": "below {}",
        "minLength": "at least {} characters",
        "pattern": "matching {}",
    }
    for key, text in words.items():
        if key in schema:
            yield text.format(f"{schema[key]:g}" if isinstance(schema[key], int | float) else schema[key])


def _subclasses(cls: type[Parameters]) -> Iterable[type[Parameters]]:
    for child in cls.__subclasses__():
        if hasattr(child, "notebook"):
            yield child
        yield from _subclasses(child)
