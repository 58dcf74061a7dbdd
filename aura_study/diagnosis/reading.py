"""A log file as a flat table: CSV and its kin, JSON of any usual shape, JSON lines; what is wrong, in a sentence."""

import csv
import io
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd

from aura_study.errors import StudyError

LARGEST = 200_000_000
LONGEST = 1_000_000
"""Bytes of a file that is still read, and characters of a line of a table."""
DELIMITERS = ",\t;|"
SEPARATOR = "/"
"""Between the names of nested fields."""


class CannotRead(StudyError):
    """The file is no log that can be read, or lacks what a diagnosis needs; the text says what and what to do."""


def read_table(path: Path) -> pd.DataFrame:
    """The file's rows and columns, nothing interpreted but numbers in JSON.

    JSON may be a list of records, a dict of columns, either under further names, a record for each step or epoch, or a
    record a line. Names of nested fields are joined by a slash, and places in a list count as names.

    Raises:
        CannotRead: the file is missing, empty, binary, too large, or no table.
    """
    text = _text(path)
    try:
        if text.lstrip()[:1] in ("{", "["):
            return _from_json(text, path)
        return _from_lines(text, path)
    except RecursionError:
        raise CannotRead(f"{path}: nested too deep to be a log") from None


def _text(path: Path) -> str:
    try:
        if path.is_dir():
            raise CannotRead(f"{path} is a folder; give the log's file")
        if (size := path.stat().st_size) > LARGEST:
            raise CannotRead(f"{path} has {size:,} bytes, more than the {LARGEST:,} that are read; thin it out")
        content = path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a name with a null character
        raise CannotRead(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise CannotRead(f"{path} is no text: a log is CSV, JSON, or JSON lines")
    if not text.strip():
        raise CannotRead(f"{path} is empty")
    return text


def _from_lines(text: str, path: Path) -> pd.DataFrame:
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    for number, line in enumerate(lines, 1):
        if len(line) > LONGEST:
            raise CannotRead(f"{path}: line {number} has {len(line):,} characters; that is no row of a log")
    if not lines:
        raise CannotRead(f"{path} holds comments only")
    delimiter = max(DELIMITERS, key=lines[0].count)
    names = [name.strip() for name in next(csv.reader(lines[:1], delimiter=delimiter))]
    if len(names) < 2:
        raise CannotRead(
            f"{path} has one column, {names[0][:60]!r}; a log has losses and weights in columns of their own"
        )
    if sum(_is_number(name) for name in names) > len(names) / 2:
        raise CannotRead(f"{path}: the first line holds numbers; it must name the columns")
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise CannotRead(f"{path}: several columns are called {repeated[0]!r}")
    try:
        table = pd.read_csv(
            io.StringIO("\n".join(lines)), sep=delimiter, header=0, names=names, dtype=str, skipinitialspace=True,
            index_col=False,
        )  # fmt: skip
    except (pd.errors.ParserError, csv.Error) as error:
        raise CannotRead(f"{path} is no table: {error}") from None
    if not len(table):
        raise CannotRead(f"{path} has names and no rows")
    return table


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _from_json(text: str, path: Path) -> pd.DataFrame:
    try:
        held = json.loads(text)
    except json.JSONDecodeError as error:
        held = _json_lines(text, path, error)
    records, columns = _records(held), _columns(held)
    if records:
        table = pd.DataFrame([dict(_flat(record)) for record in records])
    elif columns:
        table = pd.DataFrame({name: pd.Series(values) for name, values in columns.items()})
    else:
        raise CannotRead(f"{path}: neither a list of records nor a dict of columns was found in it")
    if not len(table):
        raise CannotRead(f"{path} has no rows")
    return table


def _json_lines(text: str, path: Path, error: json.JSONDecodeError) -> list[Any]:
    lines = [line for line in text.splitlines() if line.strip()]
    try:
        found = [json.loads(line) for line in lines]
    except json.JSONDecodeError:
        raise CannotRead(f"{path} is no JSON: {error.msg} in line {error.lineno}") from None
    return found


def _records(held: Any) -> list[dict[str, Any]]:
    """The longest list of records anywhere in it; or a dict of records by step or epoch."""
    if isinstance(held, list):
        return [entry for entry in held if isinstance(entry, dict)]
    if not isinstance(held, dict):
        return []
    if held and all(isinstance(entry, dict) for entry in held.values()) and all(map(_is_number, held)):
        return [{"epoch": float(key), **entry} for key, entry in held.items()]
    return max((_records(entry) for entry in held.values()), key=len, default=[])


def _columns(held: Any, above: str = "") -> dict[str, list[Any]]:
    """Lists of numbers by the names that lead to them; a list of rows becomes a column for each place."""
    found: dict[str, list[Any]] = {}
    for key, entry in held.items() if isinstance(held, dict) else ():
        name = f"{above}{key}"
        if isinstance(entry, dict):
            found |= _columns(entry, name + SEPARATOR)
        elif isinstance(entry, list) and entry and all(isinstance(row, list) for row in entry):
            width = max(map(len, entry))
            for place in range(width):
                found[f"{name}{SEPARATOR}{place}"] = [row[place] if place < len(row) else None for row in entry]
        elif isinstance(entry, list):
            found[name] = entry
    return found


def _flat(record: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, entry in record.items():
        name = f"{above}{key}"
        if isinstance(entry, dict):
            yield from _flat(entry, name + SEPARATOR)
        elif isinstance(entry, list):
            yield from _flat({str(place): value for place, value in enumerate(islice(entry, 1000))}, name + SEPARATOR)
        else:
            yield name, entry
