"""Files of a run: written whole or not at all; JSON read back and checked against the model of what it should hold."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, Field, ValidationError

from aura_study.errors import StudyError

UNFINISHED = ".aura_study-unfinished-"
"""What the name of every file and folder begins with that one of our writers has not finished."""
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w.-]*$")]  # so that nothing leads out of a run's folders
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


def unfinished(path: Path) -> Path:
    """Where ``path`` is written until it is whole: beside it, under a name of this process, with the same suffix."""
    return path.with_name(f"{UNFINISHED}{os.getpid()}-{path.name}")


def write_atomically(path: Path, write: Callable[[Path], object]) -> Path:
    """Call ``write`` with a temporary path beside ``path``, then move the result there in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = unfinished(path)
    try:
        write(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def write_json(path: Path, content: Any) -> Path:
    """JSON, indented, keys in the given order, no NaN."""
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    return write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
