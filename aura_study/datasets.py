"""The corpora that a run can be made on, by name. Light: what loads a corpus is imported when it is called."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from aura_study.data.corpus import Corpus


def _nothing() -> Mapping[str, str]:
    return {}


@dataclass(frozen=True)
class Dataset:
    """A corpus by name.

    Attributes:
        description: what it is, in a few words.
        load: the whole corpus, of a seed and whether missing files may be downloaded.
        files: digest of each file that it reads, by its name in `aura_study.data.sources.REGISTRY`.
        rows: most training rows of a task where nothing else is asked for.
    """

    description: str
    load: Callable[[int, bool], "Corpus"]
    files: Callable[[], Mapping[str, str]] = _nothing
    rows: Mapping[str, int] = field(default_factory=dict)


def _generated(seed: int, download: bool) -> "Corpus":
    from aura_study.data.embedded import generate

    return generate(seed)


def _aura(seed: int, download: bool) -> "Corpus":
    from aura_study.data.aura import load_aura

    return load_aura(download=download)


def _auras_files() -> Mapping[str, str]:
    from aura_study.data.sources import REGISTRY

    return {name: file.sha256 for name, file in REGISTRY.items()}


# The V10.2 run's sizes. SST-2's sentence release, which the public files hold, has 6,920 training rows, not 20,000.
AURA_ROWS = {"toxicity": 11_935, "emotion": 20_000, "sentiment": 20_000, "reporting": 925}

DATASETS: Mapping[str, Dataset] = {
    "embedded": Dataset("generated sentences", _generated),
    "aura": Dataset("AURA's public files", _aura, _auras_files, AURA_ROWS),
}
"""Every corpus by name; the first is the one that a run takes unless told otherwise."""
DEFAULT_DATASET = next(iter(DATASETS))
if TYPE_CHECKING:
    DatasetName: TypeAlias = str
else:
    DatasetName = Literal[tuple(DATASETS)]
