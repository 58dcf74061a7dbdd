"""What users rely on is pinned: public names, their signatures, and the command line's help.

``public.txt`` beside this file holds them. A change that is meant is written there with
``python tests/whole/test_public.py``, and seen in review.
"""

import inspect
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

PINNED = Path(__file__).with_name("public.txt")
MODULES = ("aura_study.losses", "aura_study.audit", "aura_study.balancing", "aura_study.diagnosis")
COMMANDS = (
    "run",
    "params",
    "verify",
    "claims",
    "report",
    "compare",
    "thin",
    "archive",
    "sweep",
    "train",
    "scan",
    "audit",
    "diagnose",
    "data",
    "data fetch",
    "data status",
)


def signatures() -> Iterator[str]:
    """Each public name of `MODULES`; of classes, their constructor and own public methods."""
    for place in MODULES:
        module = import_module(place)
        for name in sorted(module.__all__):
            value = getattr(module, name)
            yield f"{place}.{name}{_signature(value)}"
            if isinstance(value, type):
                own = {key for base in value.__mro__ if base.__module__.startswith("aura_study") for key in vars(base)}
                for key in sorted(key for key in own if not key.startswith("_") and callable(getattr(value, key))):
                    yield f"{place}.{name}.{key}{_signature(getattr(value, key))}"


def _signature(value: object) -> str:
    try:
        text = str(inspect.signature(value)) if callable(value) else ""
    except ValueError:
        return ""
    return re.sub(r"(?:\w+\.)+(\w+)", r"\1", text)  # where a type lives is nobody's business


def helps() -> Iterator[str]:
    """``--help`` of the program and of each command, at 100 columns."""
    environment = {**os.environ, "COLUMNS": "100", "TERM": "dumb", "NO_COLOR": "1"}
    for command in ([], *map(str.split, COMMANDS)):
        done = subprocess.run(
            [sys.executable, "-m", "aura_study", *command, "--help"], capture_output=True, text=True, env=environment
        )
        yield f"$ aura-study {' '.join([*command, '--help'])}\n{done.stdout}"


def everything() -> str:
    return "\n".join([*signatures(), "", *helps()]).rstrip() + "\n"


def test_public_names_signatures_and_help_are_those_that_are_pinned() -> None:
    """Nothing that users call has changed its name, its arguments or its help unseen."""
    assert everything() == PINNED.read_text(encoding="utf-8")


if __name__ == "__main__":
    PINNED.write_text(everything(), encoding="utf-8")
