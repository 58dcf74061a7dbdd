"""The Python of a repository, read and parsed, never run: its modules, and notebooks cell by cell."""

import ast
import json
import os
import re
import tokenize
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

VENDORED = frozenset(
    ("node_modules", "site-packages", "dist-packages", "__pycache__", "venv", "env", "virtualenv", "build", "dist")
)
"""Folders of what others wrote or tools made; so is every hidden one, and one that holds a ``pyvenv.cfg``."""
LARGEST = 4 * 2**20
"""Bytes of a file that is read; more is data in Python's clothes."""
MOST_REPAIRS = 20
"""Statements of a file that are left out because they cannot be parsed."""
MAGIC = re.compile(r"^\s*[%!?]|\?\s*$")


@dataclass
class Source:
    """One file's syntax tree; of a notebook, the cells' statements in a row, each with its line in the .ipynb."""

    path: str
    tree: ast.Module
    lines: list[int] = field(default_factory=list)
    cells: list[int] = field(default_factory=list)

    def line(self, number: int) -> int:
        """Line of the file."""
        return self.lines[number - 1] if self.lines else number

    def place(self, number: int) -> str:
        """File and line, and the cell of a notebook."""
        cell = f" (cell {self.cells[number - 1]})" if self.cells else ""
        return f"{self.path}:{self.line(number)}{cell}"


@dataclass
class Reading:
    """What was found under a path, and what could not be read and why."""

    sources: list[Source] = field(default_factory=list)
    files: int = 0
    unread: list[tuple[str, str]] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


def read(path: Path, exclude: Sequence[str] = ()) -> Reading:
    """Parse every Python file and notebook under ``path``, or the one file that it is.

    Args:
        path: folder or file; links to folders are not followed.
        exclude: patterns (``tests/*``) of paths, relative to ``path``, to leave out.

    Raises:
        OSError: nothing is there.
    """
    found = Reading()
    if not path.exists():
        raise FileNotFoundError(f"no such file or folder: {path}")
    root, files = (path.parent, [path]) if path.is_file() else (path, _files(path, found, exclude))
    for file in files:
        name = file.relative_to(root).as_posix()
        found.files += 1
        try:
            found.sources.append(_source(file, name, found))
        except (SyntaxError, ValueError) as error:
            found.unread.append((name, f"is no Python 3 that can be parsed: {_short(error)}"))
        except (RecursionError, MemoryError):
            found.unread.append((name, "is nested too deeply"))
        except OSError as error:
            found.unread.append((name, error.strerror or str(error)))
    return found


def _files(root: Path, found: Reading, exclude: Sequence[str]) -> Iterator[Path]:
    def complain(error: OSError) -> None:
        found.unread.append((os.path.relpath(error.filename, root), error.strerror or str(error)))

    for folder, names, files in os.walk(root, onerror=complain):
        here = Path(folder)
        left_out = {name for name in names if _is_vendored(here / name) or (here / name).is_symlink()}
        found.skipped += sorted((here / name).relative_to(root).as_posix() for name in left_out)
        names[:] = sorted(set(names) - left_out)
        for name in sorted(files):
            inside = (here / name).relative_to(root).as_posix()
            wanted = name.endswith((".py", ".ipynb")) and not any(fnmatch(inside, pattern) for pattern in exclude)
            if wanted and (here / name).is_file():
                yield here / name


def _is_vendored(folder: Path) -> bool:
    return folder.name in VENDORED or folder.name.startswith(".") or (folder / "pyvenv.cfg").exists()


def _source(file: Path, name: str, found: Reading) -> Source:
    if file.stat().st_size > LARGEST:
        raise ValueError(f"larger than {LARGEST // 2**20} MB")
    if file.suffix == ".ipynb":
        return _notebook(file, name, found)
    with tokenize.open(file) as stream:
        return Source(name, _readable(stream.read(), name, found))


def _readable(text: str, name: str, found: Reading) -> ast.Module:
    """The tree of a file; a few statements that are no Python 3 are left out, and said."""
    for _ in range(MOST_REPAIRS):
        try:
            return _parse(text)
        except SyntaxError as error:
            found.unread.append((name, f"has what is no Python 3: {_short(error)}"))
            text = _without_statement(text.split("\n"), (error.lineno or 1) - 1)
    return _parse(text)


def _without_statement(rows: list[str], wrong: int) -> str:
    """The text with the statement that holds one row blanked: from a row that is not indented to the next."""
    starts = [at for at, row in enumerate(rows) if row[:1] not in ("", *" \t#)]}\r")]
    wrong = min(max(wrong, 0), len(rows) - 1)
    first = max((at for at in starts if at <= wrong), default=0)
    last = min((at for at in starts if at > wrong), default=len(rows))
    return "\n".join([*rows[:first], *[""] * (last - first), *rows[last:]])


def _parse(text: str) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what the compiler thinks of strings such as "\d" is not our business
        return ast.parse(text)


def _notebook(file: Path, name: str, found: Reading) -> Source:
    text = file.read_text(encoding="utf-8")
    whole, at = Source(name, ast.Module([], [])), 0
    for number, rows in _code(json.loads(text)):
        places = []
        for row in rows:
            at = max(text.find(json.dumps(row, ensure_ascii=False)[1:-1], at), at)
            places.append(text.count("\n", 0, at) + 1)
        try:
            tree = _parse("\n".join(_without_magic(row) for row in rows))
        except SyntaxError as error:
            found.unread.append((f"{name} (cell {number})", f"is no Python 3 that can be parsed: {_short(error)}"))
            continue
        ast.increment_lineno(tree, len(whole.lines))
        whole.tree.body += tree.body
        whole.lines += places
        whole.cells += [number] * len(rows)
    return whole


def _code(book: Any) -> Iterator[tuple[int, list[str]]]:
    """Number and rows of each cell of Python."""
    if not isinstance(book, dict):
        raise ValueError("no notebook")
    sheets = book.get("worksheets", [])  # of format 3
    cells = book.get("cells") or [cell for sheet in sheets for cell in sheet.get("cells", [])]
    for number, cell in enumerate(cells, 1):
        code = cell.get("source", cell.get("input", "")) if cell.get("cell_type") == "code" else ""
        rows = ("".join(code) if isinstance(code, list) else str(code)).splitlines()
        if rows and (not rows[0].startswith("%%") or rows[0].startswith(("%%time", "%%capture"))):
            yield number, rows


def _without_magic(row: str) -> str:
    return row[: len(row) - len(row.lstrip())] + "pass" if MAGIC.search(row) else row


def _short(error: Exception) -> str:
    if isinstance(error, SyntaxError):
        return f"{error.msg} (line {error.lineno})"
    return str(error).splitlines()[0][:80] if str(error) else type(error).__name__
