"""A grid of jobs: axes from the command line or a YAML file, every point checked before anything runs."""

import hashlib
import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from aura_study.errors import StudyError
from aura_study.runs.jobs import Job
from aura_study.runs.parameters import refuse_unknown
from aura_study.runs.values import MOST_VALUES, allowed_values, listed, read_value
from aura_study.study.request import read_parameter_file, split_assignments
from aura_study.sweep.kinds import Kind, kind_named

MOST_JOBS = MOST_VALUES

Axes = dict[str, list[Any]]


@dataclass(frozen=True)
class Node:
    """One job of the grid: the axes' values, and the job that its parameters make."""

    values: dict[str, Any]
    job: Job

    @property
    def label(self) -> str:
        """The values that tell it from the grid's other jobs."""
        return " ".join(f"{name}={'none' if value is None else value}" for name, value in self.values.items())


@dataclass(frozen=True)
class Grid:
    """A validated grid.

    Attributes:
        kind: what is swept.
        axes: values of each parameter that was given, validated and in the given order.
        nodes: one per combination, the last axis running fastest.
    """

    kind: Kind
    axes: Axes
    nodes: list[Node]

    @classmethod
    def of(cls, kind: str, assignments: Sequence[str] = (), given: Mapping[str, Any] | None = None) -> "Grid":
        """The grid of ``NAME=VALUES`` assignments on top of ``given`` (a grid file's content).

        Raises:
            StudyError: an unknown kind or parameter, a value of the wrong type or out of range, a value or name given
                twice, parameters that do not go together, or too many jobs.
        """
        declared = kind_named(kind)
        fields = declared.point.model_fields
        words = {name: _listed(name, values) for name, values in (given or {}).items()}
        assigned = split_assignments(assignments, "VALUE[,VALUE...]")
        words |= {name: _listed(name, values) for name, values in assigned.items()}
        refuse_unknown(words, sorted(fields), f"a {kind} sweep")
        axes = {name: _values(declared.point, name, values) for name, values in words.items()}
        count = math.prod(len(values) for values in axes.values())
        if count > MOST_JOBS:
            raise StudyError(f"the grid has {count:,} jobs; at most {MOST_JOBS:,} go into one sweep")
        return cls(declared, axes, list(_nodes(declared, axes)))


def read_grid_file(path: Path) -> dict[str, Any]:
    """A YAML mapping of parameter names to a value, a list of values, or text as after ``-p NAME=``.

    Raises:
        StudyError: the file cannot be read, or is not such a mapping.
    """
    return read_parameter_file(path)


def describe_point(kind: str) -> list[tuple[str, str, str, str]]:
    """Name, type with range, default and meaning of each parameter of a kind of sweep.

    Raises:
        StudyError: no such kind.
    """
    point = kind_named(kind).point
    schema = point.model_json_schema()
    definitions = schema.get("$defs", {})
    return [
        (name, allowed_values(schema["properties"][name], definitions), str(field.default), field.description or "")
        for name, field in point.model_fields.items()
    ]


def _listed(name: str, values: Any) -> list[Any]:
    """The values of one axis as given: ``A,B``, ``[A, B]``, a list, or one value."""
    found = listed(name, values.strip()) if isinstance(values, str) else values
    parts = found if isinstance(found, list) else [found]
    if not parts:
        raise StudyError(f"parameter {name!r} has no values")
    return [None if isinstance(value, str) and value.lower() in ("none", "null") else value for value in parts]


def _values(point: type[BaseModel], name: str, words: list[Any]) -> list[Any]:
    """Validated values of one axis, ranges of integers spelt out."""
    schema = point.model_json_schema()
    property_ = schema["properties"][name]
    allowed = allowed_values(property_, schema.get("$defs", {}))
    spelt = read_value(name, words, property_)
    field = point.model_fields[name]
    declared: Any = Annotated[field.annotation, field]
    adapter: TypeAdapter[Any] = TypeAdapter(declared, config=ConfigDict(allow_inf_nan=False))
    found: dict[Any, None] = {}
    for word in spelt:
        if isinstance(word, bool):  # YAML's yes and no; 1 and 0 they are not
            raise StudyError(f"{name} = {word!r}: not a valid value; allowed: {allowed} (default {field.default})")
        try:
            value = adapter.validate_python(word)
        except ValidationError as error:
            told = f"{name} = {word!r}: {_reason(error)}; allowed: {allowed} (default {field.default})"
            raise StudyError(told) from error
        if value in found:
            raise StudyError(f"{name} = {word!r} is given twice")
        found[value] = None
    return list(found)


def _nodes(kind: Kind, axes: Axes) -> Iterator[Node]:
    for combination in itertools.product(*axes.values()):
        values = dict(zip(axes, combination, strict=True))
        try:
            point: Any = kind.point(**values)
        except ValidationError as error:
            where = ", ".join(f"{name}={value}" for name, value in values.items())
            raise StudyError(f"{_reason(error)} (at {where or 'the defaults'})") from error
        yield Node(values, point.job(_digest(kind, point)))


def _digest(kind: Kind, point: BaseModel) -> str:
    """Name of a record: digest of all parameters, defaults included, so that spelling them out changes nothing."""
    content = json.dumps([kind.name, point.model_dump(mode="json")], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:20]


def _reason(error: ValidationError) -> str:
    problem = error.errors()[0]
    message = problem["msg"].removeprefix("Value error, ")
    return message[0].lower() + message[1:]
