"""Reading back what a run wrote: JSON files, checked against the model of what they should hold."""

import json
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import BaseModel, Field, ValidationError

from aura_study.errors import StudyError

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w-]*$")]  # becomes part of a path, so nothing else is let in
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w.-]*$")]
Model = TypeVar("Model", bound=BaseModel)


def read_record(path: Path, model: type[Model]) -> Model:
    """The content of a JSON file as ``model``.

    Raises:
        StudyError: the file cannot be read or does not hold what it should; the text names file, place and value.
    """
    try:
        return model.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the whole file"
        raise StudyError(f"{path} is damaged at {place}: {first['msg']}, got {str(first['input'])[:80]!r}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise StudyError(f"cannot read {path}: {error}") from error
