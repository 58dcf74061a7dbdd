"""Jobs: work that leaves one parquet file behind, kept until something that decides it changes; many run at once."""

import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from joblib import cpu_count
from pydantic import BaseModel, ConfigDict
from tqdm import tqdm

from aura_study.paths import without_folders
from aura_study.runs.engine import Ended, LocalEngine, default_workers, on_one_core
from aura_study.runs.fingerprint import code_digest
from aura_study.runs.records import unfinished
from aura_study.runs.sealed import SealedWriter, is_sealed

METADATA = b"aura_study.job"


class Job(BaseModel):
    """Work that leaves one parquet file behind, kept until something that decides it changes.

    ``code`` names the modules that decide the result, as import statements; a subclass names its own.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    code: ClassVar[tuple[str, ...]] = ()

    name: str

    def inputs(self) -> Mapping[str, str]:
        """Digests of files outside the package that decide the result and that no field pins, by name; none."""
        return {}

    def key(self) -> str:
        """Digest of everything that decides the result, the package's code included."""
        decides = [self.model_dump(mode="json"), code_digest(list(self.code)), dict(self.inputs())]
        content = json.dumps(decides, sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()


def keep_table(job: Job, frame: pd.DataFrame, folder: Path, **results: Any) -> Path:
    """Write a job's table under ``folder`` in one step, with the job, its key and JSON-ready ``results`` beside it."""
    path = job_path(job, folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    return keep_tables([pa.Table.from_pandas(frame, preserve_index=False)], path, footer(job, results))


def keep_tables(tables: Sequence[pa.Table], path: Path, described: dict[bytes, bytes]) -> Path:
    """Write tables of one schema to ``path`` in one step, sealed (`aura_study.runs.sealed`)."""
    partial = unfinished(path)
    try:
        writer = SealedWriter(partial, tables[0].schema)
        for table in tables:
            writer.write(table)
        writer.close(described)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)  # left there only by an error, such as a full disk
    return path


def footer(job: Job, results: dict[str, Any]) -> dict[bytes, bytes]:
    """Key-value metadata of a job's file: the job, its key, and JSON-ready results."""
    content = {"key": job.key(), "job": without_folders(job.model_dump(mode="json")), **results}
    return {METADATA: json.dumps(content, sort_keys=True).encode()}


def run_jobs(
    run: Callable[[Any, Path], Path], jobs: Sequence[Job], folder: Path, workers: int = 0, progress: str = "jobs"
) -> list[Path]:
    """Run jobs side by side, one core each, or one after another on a GPU; finished ones are not run again.

    Args:
        run: does one job, leaves its file at `job_path` (see `keep_table`) and returns that path; an importable
            function.
        jobs: with distinct names.
        folder: of the jobs' files.
        workers: processes; 0 means one per core (in a study's run: of those that its notebooks share out), but one in
            all where there is a GPU.
        progress: label of the progress bar.

    Returns the files in the order of the jobs.

    Raises:
        ValueError: two jobs of one name.
    """
    names = [job.name for job in jobs]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"jobs need distinct names, repeated: {repeated}")
    waiting = [(job, folder) for job in jobs if not is_finished(job, folder)]
    if waiting:
        for _ in tqdm(_each(run, waiting, workers), total=len(waiting), desc=progress, unit="run", mininterval=1.0):
            pass
    return [job_path(job, folder) for job in jobs]


def side_by_side(function: Callable[..., Any], items: Sequence[Any], *shared: Any, workers: int = 0) -> list[Any]:
    """``function(item, *shared)`` for every item, one core each; for work that leaves no file. Results in order.

    Args:
        function: an importable one.
        items, shared: picklable arguments.
        workers: processes; 0 means one per core.
    """
    calls = [(item, *shared) for item in items]
    ended_calls = _each(function, calls, workers or cpu_count())
    return [ended.result() for ended in sorted(ended_calls, key=attrgetter("number"))]


def _each(function: Callable[..., Any], calls: Sequence[tuple[Any, ...]], workers: int) -> Iterator[Ended]:
    """The calls as they end, the first error raised at once; a single worker is this process itself."""
    workers = min(workers or default_workers(), len(calls))
    if workers <= 1:
        yield from (Ended(number, on_one_core(function, *call)) for number, call in enumerate(calls))
        return
    with LocalEngine(workers) as engine:
        for ended in engine.complete(function, calls):
            ended.result()
            yield ended


def job_path(job: Job, folder: Path) -> Path:
    """Where `run_job` records ``job``."""
    return folder / f"{job.name}.parquet"


def is_finished(job: Job, folder: Path) -> bool:
    """Whether an equal job has left its whole record under ``folder``; a damaged file counts as none.

    One whose content is no longer what was written is named on standard error.
    """
    path = job_path(job, folder)
    try:
        equal = job_metadata(path).get("key") == job.key()
    except (OSError, ValueError):  # missing or truncated: pyarrow's and json's errors are among these
        return False
    if equal and not is_sealed(path):
        print(f"{path.name} was altered since it was written; it is made again", file=sys.stderr)
        return False
    return equal


def job_metadata(path: Path) -> dict[str, Any]:
    """What `run_job` wrote into a trajectory file beside the trajectory."""
    content = (pq.read_metadata(path).metadata or {}).get(METADATA)
    return json.loads(content) if content else {}
