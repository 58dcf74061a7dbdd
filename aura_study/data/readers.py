"""Readers of AURA's data files: every row checked, one clear error for the first that is wrong."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from aura_study.data.sources import DataError


def read_csv(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """A comma-separated file with a header that names at least ``columns``; all values as strings.

    Raises:
        DataError: a missing column, or a table that cannot be parsed.
    """
    frame = _parse(path, sep=",")
    if missing := [column for column in columns if column not in frame.columns]:
        raise DataError(f"{path}: missing columns {missing}; found {list(frame.columns)}")
    return frame


def read_tsv(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """A tab-separated file without header and without quoting, its columns named ``columns``; all values as strings.

    Quotation marks are text: with quoting on, one stray mark would swallow the rows that follow it.

    Raises:
        DataError: another number of columns, or a table that cannot be parsed.
    """
    frame = _parse(path, sep="\t", header=None, quoting=csv.QUOTE_NONE)
    if frame.shape[1] != len(columns):
        raise DataError(f"{path}: expected {len(columns)} columns {list(columns)}, found {frame.shape[1]}")
    return frame.set_axis(list(columns), axis=1)


def _parse(path: Path, **options: object) -> pd.DataFrame:
    try:
        # A text may well read "null" or "NA": only an empty field is a missing one.
        frame = pd.read_csv(path, dtype=str, keep_default_na=False, **options)  # type: ignore[call-overload]
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a readable table: {error}") from error
    return frame


def texts(frame: pd.DataFrame, path: Path) -> list[str]:
    """Column ``text``, stripped.

    Raises:
        DataError: an empty text; row numbers count data rows from 1.
    """
    values = [text.strip() if isinstance(text, str) else "" for text in frame["text"]]
    for index, text in zip(frame.index, values, strict=True):
        if not text:
            raise DataError(f"{path}, row {index + 1}: text is missing, got {frame.at[index, 'text']!r}")
    return values


def class_labels(frame: pd.DataFrame, path: Path, column: str = "label", classes: int = 2) -> np.ndarray:
    """Class indices, int64 ``(rows,)``.

    Raises:
        DataError: a label that is not one of 0 ... ``classes`` - 1.
    """
    codes = {str(label): label for label in range(classes)}
    return np.array([_code(value, codes, path, row, column) for row, value in _numbered(frame, column)], np.int64)


def multi_hot(frame: pd.DataFrame, path: Path, column: str, classes: int) -> np.ndarray:
    """Multi-hot labels, float32 ``(rows, classes)``, from comma-separated class indices.

    Raises:
        DataError: an index that is not one of 0 ... ``classes`` - 1.
    """
    codes = {str(label): label for label in range(classes)}
    labels = np.zeros((len(frame), classes), np.float32)
    for position, (row, value) in enumerate(_numbered(frame, column)):
        for part in str(value).split(","):
            labels[position, _code(part, codes, path, row, column)] = 1
    return labels


def _numbered(frame: pd.DataFrame, column: str) -> list[tuple[int, object]]:
    return [(index + 1, value) for index, value in zip(frame.index, frame[column], strict=True)]


def _code(value: object, codes: dict[str, int], path: Path, row: int, column: str) -> int:
    if value not in codes:
        raise DataError(f"{path}, row {row}: {column} must be one of {list(codes.values())}, got {value!r}")
    return codes[value]
