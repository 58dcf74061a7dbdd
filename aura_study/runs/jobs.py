"""Jobs: work that leaves one parquet file behind, kept until something that decides it changes; many run at once."""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from joblib import Parallel, cpu_count, delayed
from pydantic import BaseModel, ConfigDict
from tqdm import tqdm

from aura_study.paths import without_folders
from aura_study.runs import trajectories
from aura_study.runs.fingerprint import code_digest

METADATA = b"aura_study.job"


class Job(BaseModel):
    """Work that leaves one parquet file behind, kept until something that decides it changes.

    ``code`` names the modules that decide the result, as import statements; a subclass names its own.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    code: ClassVar[tuple[str, ...]] = ()

    name: str

    def key(self) -> str:
        """Digest of everything that decides the result, the package's code included."""
        content = json.dumps([self.model_dump(mode="json"), code_digest(list(self.code))], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()


def keep_table(job: Job, frame: pd.DataFrame, folder: Path, **results: Any) -> Path:
    """Write a job's table under ``folder`` in one step, with the job, its key and JSON-ready ``results`` beside it."""
    path = job_path(job, folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pandas(frame, preserve_index=False)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    described = table.replace_schema_metadata({**(table.schema.metadata or {}), **footer(job, results)})
    try:
        pq.write_table(described, partial)
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
    waiting = [job for job in jobs if not is_finished(job, folder)]
    if waiting:
        workers = workers or (1 if torch.cuda.is_available() else min(cpu_count(), len(waiting)))
        calls = (delayed(run_on_one_core)(run, job, folder) for job in waiting)
        results = Parallel(n_jobs=workers, return_as="generator")(calls)
        for _ in tqdm(results, total=len(waiting), desc=progress, unit="run", mininterval=1.0):
            pass
    paths = [job_path(job, folder) for job in jobs]
    trajectories.keep(paths)
    return paths


def side_by_side(function: Callable[..., Any], items: Sequence[Any], *shared: Any, workers: int = 0) -> list[Any]:
    """``function(item, *shared)`` for every item, one core each; for work that leaves no file. Results in order.

    Args:
        function: an importable one.
        items, shared: picklable arguments.
        workers: processes; 0 means one per core.
    """
    calls = (delayed(_on_one_core)(function, item, *shared) for item in items)
    return list(Parallel(n_jobs=workers or min(cpu_count(), len(items)))(calls))


def run_on_one_core(run: Callable[[Any, Path], Path], job: Job, folder: Path) -> Path:
    """What a worker process does with one job, whichever engine brought it there."""
    path: Path = _on_one_core(run, job, folder)
    return path


def _on_one_core(function: Callable[..., Any], *arguments: Any) -> Any:
    if not torch.cuda.is_available():
        torch.set_num_threads(1)  # one job per core is faster, and results do not depend on the number of cores
    return function(*arguments)


def job_path(job: Job, folder: Path) -> Path:
    """Where `run_job` records ``job``."""
    return folder / f"{job.name}.parquet"


def is_finished(job: Job, folder: Path) -> bool:
    """Whether an equal job has left its whole record under ``folder``; a damaged file counts as none."""
    try:
        return job_metadata(job_path(job, folder)).get("key") == job.key()
    except (OSError, ValueError):  # missing, truncated or altered: pyarrow's and json's errors are among these
        return False


def job_metadata(path: Path) -> dict[str, Any]:
    """What `run_job` wrote into a trajectory file beside the trajectory."""
    content = (pq.read_metadata(path).metadata or {}).get(METADATA)
    return json.loads(content) if content else {}
