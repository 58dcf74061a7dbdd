"""Parameters of a notebook: names, types, ranges, meanings and profiles, checked before anything runs."""

import ast
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Self, TypeAlias, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from aura_study.data.registry import DATASETS, ENCODERS, DatasetName
from aura_study.errors import StudyError, did_you_mean
from aura_study.paths import INTERACTIVE, RunFolders, reference_run
from aura_study.runs.values import allowed_values, read_value

Profile = Literal["smoke", "quick", "full"]
PROFILES: tuple[Profile, ...] = get_args(Profile)
DATA_MEANING = "corpus: " + ", or ".join(f"{name} ({dataset.description})" for name, dataset in DATASETS.items())
Data: TypeAlias = Annotated[DatasetName, Field(description=DATA_MEANING)]
ENCODER_MEANING = ", ".join(f"{name} ({known.description})" for name, known in ENCODERS.items())
Encoder: TypeAlias = Annotated[str, Field(min_length=1, description=f"{ENCODER_MEANING}, a local folder, or a hub id")]
Workers: TypeAlias = Annotated[int, Field(ge=0, description="trainings side by side; 0 means one per core")]


class Parameters(BaseModel):
    """Base of every notebook's parameters; a subclass declares its fields with ``Field(default, description=...)``.

    Field defaults are the quick profile's values and stand, in the same order, in the notebook's ``parameters`` cell.
    ``profiles`` holds what the other profiles change.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    notebook: ClassVar[str]
    profiles: ClassVar[Mapping[Profile, Mapping[str, Any]]] = {}

    out: str = Field(
        INTERACTIVE,
        description="run to write to: a name (results/<name>, figures/<name>) or a folder; interactive: a new one each "
        "time, <notebook>-1, -2, ...",
    )

    @property
    def encoders(self) -> tuple[str, ...]:
        """Encoders that the notebook reads, by name."""
        return ()

    @classmethod
    def from_namespace(cls, namespace: Mapping[str, Any]) -> Self:
        """Parameters from a notebook's variables, other names ignored.

        ``from_namespace(globals())`` in a notebook validates what papermill injected, strings included. What the cells
        just before set beside the declared names is a slip: it would change nothing, silently.

        Raises:
            StudyError: such a name, or a value of the wrong type or out of range.
        """
        names = _just_set(namespace.get("In", ()), len(cls.model_fields))
        refuse_unknown(names, cls.model_fields, f"notebook {cls.notebook}")
        return cls.checked({name: namespace[name] for name in cls.model_fields if name in namespace})

    @classmethod
    def for_profile(cls, profile: Profile, **overrides: Any) -> Self:
        """The values of ``profile``, some overridden."""
        return cls(**{**cls.profiles.get(profile, {}), **overrides})

    @classmethod
    def checked(cls, given: Mapping[str, Any], profile: Profile = "quick") -> Self:
        """The values of ``profile``, those in ``given`` instead, as people write them.

        Raises:
            StudyError: a value of the wrong type or out of range; the text says what is allowed.
        """
        rows = {row.name: row for row in describe(cls)}
        properties = cls.model_json_schema()["properties"]
        known = {name: read_value(name, value, properties[name]) for name, value in given.items()}
        try:
            return cls.for_profile(profile, **known)
        except ValidationError as error:
            lines = dict.fromkeys(_told(problem, rows, given) for problem in error.errors())
            raise StudyError(f"notebook {cls.notebook}: {'; '.join(lines)}") from error


class SummaryParameters(Parameters):
    """Base of the parameters of a notebook that reads the others' claims and tables: it runs after them all."""

    @property
    def read(self) -> RunFolders:
        """The run to read: that which it is part of, or the reference run where nobody named one."""
        return reference_run() if self.out == INTERACTIVE else RunFolders.of(self.out)


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
    of_profiles = {profile: cls.for_profile(profile) for profile in PROFILES}
    rows = []
    for name, field in cls.model_fields.items():
        values = {profile: getattr(parameters, name) for profile, parameters in of_profiles.items()}
        allowed = allowed_values(schema["properties"][name], definitions)
        rows.append(ParameterRow(name, field.default, allowed, field.description or "", values))
    return rows


def refuse_unknown(names: Iterable[Any], known: Iterable[str], where: str) -> None:
    """Nothing, if all ``names`` are ``known``.

    Raises:
        StudyError: one is not; the text names the nearest that are.
    """
    valid = list(known)
    for name in names:
        if name not in valid:
            raise StudyError(f"unknown parameter {name!r} of {where}{did_you_mean(str(name), valid)}")


def _told(problem: Any, rows: Mapping[str, ParameterRow], given: Mapping[str, Any]) -> str:
    """What pydantic found wrong, in a line."""
    name = str(problem["loc"][0]) if problem["loc"] else ""
    what = str(problem["msg"]).removeprefix("Value error, ")
    what = what[0].lower() + what[1:]
    if name not in rows:
        return what
    return f"{name} = {given.get(name)!r}: {what}; allowed: {rows[name].allowed} (default {rows[name].default})"


def _just_set(cells: Sequence[str], count: int) -> Iterator[str]:
    """Names that the cells right before the running one set to literals, back to the cell of all ``count`` parameters.

    ``cells`` are the sources that IPython has run, the running one last.
    """
    for source in reversed(cells[:-1]):
        names = _set_to_literals(source)
        if names is None:
            return
        yield from (name for name in names if not name.startswith("_"))
        if len(names) >= count:
            return


def _set_to_literals(source: str) -> list[str] | None:
    """The names that a cell sets, or ``None`` if it does anything else."""
    names = []
    try:
        for statement in ast.parse(source).body:
            if not isinstance(statement, ast.Assign):
                return None
            if not (isinstance(statement.value, ast.Call) and ast.unparse(statement.value.func) == "float"):
                ast.literal_eval(statement.value)  # float("inf") is how papermill writes it
            names += [target.id for target in statement.targets if isinstance(target, ast.Name)]
    except (SyntaxError, ValueError):
        return None
    return names
