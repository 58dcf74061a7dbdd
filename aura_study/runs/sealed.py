"""Parquet files that carry the digest of their own content, so that a file altered since it was written is noticed."""

import hashlib
import json
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

SEAL = b"aura_study.seal"


class SealedWriter:
    """Writes tables to one parquet file; `close` puts what is to be said of them into its footer, and the seal.

    The seal is the SHA-256 of all bytes before the footer and of ``described``. What ends before `close` has no seal.
    ``settings``: of pyarrow's writer.
    """

    def __init__(self, path: Path, schema: pa.Schema, **settings: Any) -> None:
        self._file = path.open("wb+")
        self._writer = pq.ParquetWriter(self._file, schema, compression="zstd", **settings)

    def write(self, table: pa.Table) -> None:
        """Add rows."""
        self._writer.write_table(table)

    def close(self, described: dict[bytes, bytes] | None = None) -> None:
        """End the file, with ``described`` and the seal as its key-value metadata; without the former, unsealed."""
        try:
            if described is not None:
                end = self._file.tell()
                seal = {"bytes": end, "sha256": _digest(self._file, end, described)}
                self._writer.add_key_value_metadata({**described, SEAL: json.dumps(seal).encode()})
            self._writer.close()
        finally:
            self._file.close()


def is_sealed(path: Path) -> bool:
    """Whether the file holds what was written, to the byte; a file that is missing or no parquet file does not."""
    try:
        described: dict[bytes, bytes] = dict(pq.read_metadata(path).metadata or {})
        seal: dict[str, Any] = json.loads(described.pop(SEAL, b"{}"))
        with path.open("rb") as file:
            return bool(seal) and _digest(file, int(seal["bytes"]), described) == seal["sha256"]
    except (OSError, ValueError, KeyError, TypeError):  # pyarrow's and json's errors are among these
        return False


def _digest(file: BinaryIO, end: int, described: dict[bytes, bytes]) -> str:
    """Of the first ``end`` bytes and of what is said of them; the schema that arrow adds is not part of it."""
    file.seek(0)
    found = hashlib.sha256(file.read(end))
    for name in sorted(described):
        if name.startswith(b"aura_study."):
            found.update(name + b"\0" + described[name] + b"\0")
    file.seek(end)
    return found.hexdigest()
