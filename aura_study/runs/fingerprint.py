"""What a notebook's result depends on, as digests: its text, its parameters, the code it imports, data and versions."""

import ast
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import aura_study
from aura_study.errors import StudyError
from aura_study.runs.parameters import Parameters

PACKAGE = Path(aura_study.__file__).parent
NO_DATA = (".py", ".pyc", ".md")
"""What lies beside a module and decides nothing unless it is imported."""


def digest(content: bytes) -> str:
    """SHA-256 as hexadecimal text."""
    return hashlib.sha256(content).hexdigest()


def digest_file(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest_json(value: Any) -> str:
    """SHA-256 of a value's canonical JSON."""
    return digest(json.dumps(value, sort_keys=True, default=str).encode())


def fingerprint(notebook: Path, parameters: Parameters, data: str, versions: dict[str, str]) -> dict[str, str]:
    """One digest per ingredient; two equal fingerprints stand for the same result.

    ``out`` is left out of the parameters: where a result lies does not change it.

    Raises:
        StudyError: the notebook cannot be read.
    """
    try:
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        text = [[cell["cell_type"], "".join(cell["source"])] for cell in cells]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StudyError(f"cannot read notebook {notebook}: {type(error).__name__}: {error}") from error
    return {
        "notebook": digest_json(text),
        "parameters": digest_json(parameters.model_dump(mode="json", exclude={"out"})),
        "code": code_digest(source for kind, source in text if kind == "code"),
        "data": data,
        "versions": digest_json(versions),
    }


def findings_digest(outputs: Mapping[str, Mapping[str, str]]) -> str:
    """Digest of what a summary reads, the claims and tables of other notebooks, from the digests of their outputs."""
    return digest_json(
        {
            name: {key: value for key, value in written.items() if key.startswith(("evidence/", "tables/"))}
            for name, written in sorted(outputs.items())
        }
    )


def code_digest(sources: Iterable[str]) -> str:
    """Digest of every file of the package that ``sources`` import, directly or not, with the data files beside them."""
    files = sorted(imported_files(sources))
    return digest_json([[path.relative_to(PACKAGE).as_posix(), digest_file(path)] for path in files])


def imported_files(sources: Iterable[str]) -> set[Path]:
    """Files of the package reached from ``sources`` by following their import statements."""
    found: set[Path] = set()
    waiting = [path for source in sources for path in _imports(source)]
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found.add(path)
        found.update(other for other in path.parent.iterdir() if other.is_file() and other.suffix not in NO_DATA)
        waiting.extend(_imports_of(path, path.stat().st_mtime_ns))
    return found


@cache
def _imports_of(path: Path, changed: int) -> tuple[Path, ...]:
    return tuple(_imports(path.read_text(encoding="utf-8")))


def _imports(source: str) -> Iterator[Path]:
    code = "\n".join("" if line.lstrip().startswith(("%", "!")) else line for line in source.splitlines())
    try:
        tree = ast.parse(code)
    except SyntaxError:
        return  # the kernel will say so, and better
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            yield from _files_of(name)


def _files_of(name: str) -> Iterator[Path]:
    """The module's own file and every ``__init__`` above it; nothing for names that are not modules of the package."""
    first, *rest = name.split(".")
    if first != PACKAGE.name:
        return
    folder = PACKAGE
    yield folder / "__init__.py"
    for part in rest:
        module, folder = folder / f"{part}.py", folder / part
        if module.is_file():
            yield module
            return
        if not (folder / "__init__.py").is_file():
            return
        yield folder / "__init__.py"
