"""Data files a run reads: whether they are there, and their digests."""

from dataclasses import dataclass

from aura_study.data.registry import DATASETS
from aura_study.errors import StudyError
from aura_study.runs.fingerprint import digest_json
from aura_study.runs.parameters import Data


@dataclass(frozen=True)
class DataState:
    """Digest of everything read, and the digest per file."""

    digest: str
    files: dict[str, str]


def data_state(data: Data) -> DataState:
    """The data's digests, each file verified.

    A generated corpus has no files: the code that writes it is part of every fingerprint.

    Raises:
        StudyError: files of the data are missing or damaged.
    """
    files = dict(DATASETS[data].files())
    if files:
        from aura_study.data import sources
        from aura_study.paths import DATA_VARIABLE, data_cache

        bad = [entry for entry in sources.status() if entry.name in files and not entry.verified]
        if bad:
            listed = ", ".join(f"{entry.name} ({'damaged' if entry.present else 'missing'})" for entry in bad)
            raise StudyError(
                f"{DATASETS[data].description} are not in {data_cache()}: {listed}; "
                f"run `aura-study data fetch`, or set {DATA_VARIABLE} to a folder that holds them"
            )
    return DataState(digest_json([data, files]), files)
