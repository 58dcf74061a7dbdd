"""Files a run reads, of the data and of encoders: whether they are there, and their digests."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from aura_study.data.registry import BUILT, DATASETS
from aura_study.errors import StudyError
from aura_study.runs.fingerprint import digest_json
from aura_study.runs.parameters import Data


@dataclass(frozen=True)
class DataState:
    """What a run reads.

    Attributes:
        digest: of the data as a whole.
        files: digest of each file, those of encoders as ``encoders/<name>/<file>``.
        encoders: digest of each encoder as a whole, by name; one that is built here has no files and no digest.
    """

    digest: str
    files: dict[str, str]
    encoders: Mapping[str, str] = field(default_factory=dict)


def data_state(data: Data, encoders: Iterable[str] = ()) -> DataState:
    """The digests of data and encoders, each file verified.

    What is made here, a generated corpus or an untrained encoder, has no files: the code that makes it is part of every
    fingerprint.

    Raises:
        StudyError: files of the data or of an encoder are missing or damaged.
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
    read = {name: _encoder_files(name) for name in set(encoders) - {BUILT}}
    of_encoders = {
        f"encoders/{Path(name).name}/{file}": digest for name in sorted(read) for file, digest in read[name].items()
    }
    digests = {name: digest_json(held) for name, held in read.items()}
    return DataState(digest_json([data, files]), {**files, **of_encoders}, digests)


def _encoder_files(name: str) -> dict[str, str]:
    from aura_study.data.encoders import encoder_files

    try:
        return encoder_files(name)
    except (OSError, ValueError) as error:  # missing or damaged, or a name that no folder can have
        raise StudyError(str(error)) from error
