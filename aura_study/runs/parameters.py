"""Parameters of a notebook: names, types, ranges, meanings and profiles, checked before anything runs."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from aura_study.data.registry import DATASETS, ENCODERS, DatasetName

Profile = Literal["smoke", "quick", "full"]
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

    out: str = Field("interactive", description="run to write to: a name (results/<name>, figures/<name>) or a folder")

    @property
    def encoders(self) -> tuple[str, ...]:
        """Encoders that the notebook reads, by name."""
        return ()

    @classmethod
    def from_namespace(cls, namespace: Mapping[str, Any]) -> Self:
        """Parameters from a notebook's variables, other names ignored.

        ``from_namespace(globals())`` in a notebook validates what papermill injected, strings included.
        """
        return cls(**{name: namespace[name] for name in cls.model_fields if name in namespace})

    @classmethod
    def for_profile(cls, profile: Profile, **overrides: Any) -> Self:
        """The values of ``profile``, some overridden."""
        return cls(**{**cls.profiles.get(profile, {}), **overrides})


class SummaryParameters(Parameters):
    """Base of the parameters of a notebook that reads the others' claims and tables: it runs after them all."""
