"""AURA's public data files: where each comes from, its digest, and how it is found or fetched."""

import hashlib
import json
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Literal

import pandas as pd
import pooch

from aura_study import paths
from aura_study.data.scratch import scratch

LaterVersion = Literal["V11.3", "V11.4", "V11.5", "V11.6"]
"""AURA's versions after V10.2 whose history is public."""

SILENCE_SECONDS = 30.0
"""How long a server may say nothing before a download is given up."""


class DataError(ValueError):
    """A data file whose content is not what it should be."""


class MissingDataError(FileNotFoundError):
    """A data file that is not in the cache folder and could not be, or was not to be, downloaded."""


@dataclass(frozen=True)
class Source:
    """A public repository at one commit."""

    repository: str
    commit: str
    folder: str
    licence: str

    def url(self, file: str) -> str:
        """Raw address of ``file`` in the source's folder."""
        return f"https://raw.githubusercontent.com/{self.repository}/{self.commit}/{self.folder}/{file}"


@dataclass(frozen=True)
class DataFile:
    """One file: its name (its path below the cache folder), public address, SHA-256 digest and stated licence."""

    name: str
    url: str
    sha256: str
    licence: str


_AURA = "dbee907bfd70b1d07e9fe920b5b47ce6eb9cd113"
UNIFIED = Source("GiuseppeSPk/AURA", _AURA, "data/kaggle_upload/aura-deberta-data", "MIT; OLID: Zampieri et al., 2019")
EXAMPLES = Source("GiuseppeSPk/AURA", _AURA, "data/aura_v9_clean", "MIT")
HISTORIES = Source("GiuseppeSPk/AURA", _AURA, "results", "MIT")
GOEMOTIONS = Source(
    "monologg/GoEmotions-pytorch", "b75f9d3a8b76bc1060687925b04ca98a1b8ea66b", "data/ekman", "Apache-2.0"
)
SST2 = Source(
    "clairett/pytorch-sentiment-classification",
    "457ffd83de90a9d6d472d8ffc31bbffe40a8b236",
    "data/SST2",
    "SST-2: Socher et al., 2013",
)

# name in the cache, source, file name there, SHA-256
_TABLE = (
    ("aura/deberta_unified_train.csv", UNIFIED, "deberta_unified_train.csv",
     "3738e15c684493f3884fc66269c4863403d930d85deec0b1e7172b728c429578"),
    ("aura/deberta_unified_val.csv", UNIFIED, "deberta_unified_val.csv",
     "a487409f0bee50522d1c503c444b54614b55b6e2fddab080359470ac2c349ab7"),
    ("aura/reporting_examples.csv", EXAMPLES, "reporting_examples.csv",
     "40d6d87c78d08c344f14cc25954dce4ce58c237eaa2bda5f7d999747538a12c7"),
    ("aura/aura_v11.3_history.json", HISTORIES, "aura_v11.3_history.json",
     "57406d8faa42f30b836ef69dba0c2cf20cd64c33dbcd3c5f42a292864b51e31f"),
    ("aura/aura_v11.4_history.json", HISTORIES, "aura_v11.4_history.json",
     "fe3420d6834a1232b2ef2435c8edde03cabe6a0f8f79a3aa8b2a4cd0df90e8a0"),
    ("aura/aura_v11.5_history.json", HISTORIES, "aura_v11.5_history.json",
     "2eb1eaac32bf1e6ecb64c5943ce5d2ade3b33bc4e82b3b815d1a622352709ec5"),
    ("aura/aura_v11.6_history.json", HISTORIES, "aura_v11.6_history.json",
     "1db29c2d834a639bdaa6bc29f3ae2e1ec955036aaf7a8dcc58580ec51e55f5f5"),
    ("goemotions/ekman_train.tsv", GOEMOTIONS, "train.tsv",
     "bb74d10aec0975674c665205741ba9fe644cd70f682214624997f3770fd9e53f"),
    ("goemotions/ekman_dev.tsv", GOEMOTIONS, "dev.tsv",
     "011e6579adc4d9bb2ffd908879b99e1594e7647b262cbb2e1c5c9c1c4d7d8bcc"),
    ("goemotions/ekman_test.tsv", GOEMOTIONS, "test.tsv",
     "f9f9b91827fe134259469368b93abddc2a52e2e2a87beab661023b06cf490baa"),
    ("goemotions/ekman_labels.txt", GOEMOTIONS, "labels.txt",
     "5ecd91c315ebf550ac798f06549e35a6ee1fb90866608fd640c24d520dc6aa0c"),
    ("sst2/train.tsv", SST2, "train.tsv",
     "ec192f833a64da08f475488a77b0d0b47db47acd0f458bd18433fc793b569920"),
    ("sst2/dev.tsv", SST2, "dev.tsv",
     "eddea6b39e601dd4e7a672b53cc40fdf6019fa80522f351206c24340ca5d9359"),
    ("sst2/test.tsv", SST2, "test.tsv",
     "831169c7e2e429d6026e1bdbb542f33b636e3e596caad9602ebc953c205928b7"),
)  # fmt: skip
REGISTRY: dict[str, DataFile] = {
    name: DataFile(name, source.url(file), digest, source.licence) for name, source, file, digest in _TABLE
}


@dataclass(frozen=True)
class FileStatus:
    """State of one file in the cache folder; ``verified`` says that it is there with the right digest."""

    name: str
    present: bool
    verified: bool
    bytes: int
    licence: str


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def status() -> list[FileStatus]:
    """State of every registered file, in the registry's order; reads, never downloads."""
    rows = []
    for file in REGISTRY.values():
        path = paths.data_cache() / file.name
        present = path.is_file()
        verified = present and sha256(path) == file.sha256
        rows.append(FileStatus(file.name, present, verified, path.stat().st_size if present else 0, file.licence))
    return rows


def fetch(name: str, *, download: bool = False) -> Path:
    """Path of a registered file whose digest was just verified.

    It is looked for in `paths.data_cache`, which may be read-only as long as nothing is missing there.

    Args:
        name: as in `REGISTRY`, e.g. ``"sst2/train.tsv"``.
        download: whether to download the file where it is missing; the download is verified before it gets its name.

    Raises:
        ValueError: a name that is not registered.
        DataError: the file's digest is not the registered one; the file is left as it is.
        MissingDataError: the file is missing and was not to be, or could not be, downloaded.
    """
    if name not in REGISTRY:
        raise ValueError(f"unknown data file {name!r}; registered: {list(REGISTRY)}")
    file, folder = REGISTRY[name], paths.data_cache()
    path = folder / name
    if not path.is_file():
        if not download:
            raise MissingDataError(
                f"data file {name} is missing: looked for {path}. Run `aura-study data fetch` to download it, or set "
                f"{paths.DATA_VARIABLE} to a folder that holds it"
            )
        _download(file, path)
    if (found := sha256(path)) != file.sha256:
        raise DataError(
            f"data file {path} is damaged or another version: SHA-256 expected {file.sha256}, found {found}. "
            f"Remove it and run `aura-study data fetch`"
        )
    return path


def fetch_all() -> list[Path]:
    """Every registered file, downloaded where missing, digests verified."""
    return [fetch(name, download=True) for name in REGISTRY]


def _download(file: DataFile, path: Path) -> None:
    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel("WARNING")
    try:
        reader = pooch.HTTPDownloader(timeout=SILENCE_SECONDS)
        path.parent.mkdir(parents=True, exist_ok=True)
        with scratch(".fetching-", path.parent) as folder:
            pooch.retrieve(file.url, f"sha256:{file.sha256}", fname=path.name, path=folder, downloader=reader)
            (folder / path.name).replace(path)
    except (OSError, ValueError) as error:
        raise MissingDataError(f"data file {file.name} could not be downloaded from {file.url}: {error}") from error
    finally:
        logger.setLevel(level)


def training_log() -> pd.DataFrame:
    """AURA's real V10.2 run, one row per epoch, as its showcase notebook printed it.

    Columns: ``epoch``; the epoch means ``total_loss``, ``toxicity_loss`` and ``reporting_loss``; macro ``toxicity_f1``;
    ``weight_<task>``, the Kendall weight 1 / softplus(theta) after the epoch. The table ships with the package.
    """
    with resources.files("aura_study.data").joinpath("v10_2_training_log.csv").open("rb") as stream:
        return pd.read_csv(stream)


def later_log(version: LaterVersion) -> pd.DataFrame:
    """One of AURA's later runs, one row per epoch, as its repository's history file has it.

    Columns: ``epoch``; the epoch mean ``train_loss``; macro F1 on held-out rows ``toxicity_f1``, ``emotion_f1``,
    ``sentiment_f1``; ``weight_<task>``: GradNorm's weight after the epoch (V11.3, V11.4), or the mean scale over the
    epoch's batches, 1 where the task was absent (V11.5, V11.6). The files ship with the package.
    """
    text = resources.files("aura_study.data").joinpath(f"aura_{version.lower()}_history.json").read_bytes()
    history = json.loads(text)
    scores = {"toxicity_f1": "val_f1", "emotion_f1": "val_emo_f1", "sentiment_f1": "val_sent_f1"}
    table = pd.DataFrame({"train_loss": history["train_loss"], **{name: history[key] for name, key in scores.items()}})
    table.insert(0, "epoch", range(1, len(table) + 1))
    tasks = ("toxicity", "emotion", "sentiment", "reporting")  # in the order of AURA's code
    weights = pd.DataFrame(history["task_weights"], columns=[f"weight_{task}" for task in tasks])
    return pd.concat([table, weights], axis=1)
