"""The corpora that a run can be made on, by name. Light: what reads or writes one is imported when it is loaded."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

from aura_study.data.tasks import TASKS, task_order

if TYPE_CHECKING:
    from aura_study.data.corpus import Corpus

DatasetName = Literal["embedded", "aura"]


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

DATASETS: Mapping[DatasetName, Dataset] = {
    "embedded": Dataset("generated sentences", _generated),
    "aura": Dataset("AURA's public files", _aura, _auras_files, AURA_ROWS),
}
"""Every corpus by name; the first is the one that a run takes unless told otherwise."""
DEFAULT_DATASET: DatasetName = next(iter(DATASETS))

Limits: TypeAlias = Mapping[str, int] | int | None


def load_corpus(
    name: DatasetName = DEFAULT_DATASET,
    seed: int = 0,
    rows: Limits = None,
    dev_rows: Limits = None,
    *,
    download: bool = False,
) -> "Corpus":
    """Texts and labels of the four tasks.

    Args:
        name: one of `DATASETS`: "embedded" (generated from ``seed``, no download), "aura" (the
            public files, see `aura.load_aura`).
        seed: of the generator, and of the choice of rows.
        rows: most training rows to keep, for every task or by task name; a smaller limit keeps a subset of what a
            larger one keeps. Without it, or for tasks it leaves out, the corpus's own sizes: for "embedded" AURA's
            V10.2 mixture scaled down, for "aura" that mixture itself (SST-2's sentence release has only 6,920
            training rows, where AURA took 20,000 of its phrases).
        dev_rows: the same for the development rows.
        download: whether missing files may be downloaded.

    Raises:
        ValueError: an unknown corpus or task, a limit below 1, or a file whose content is not what it should be.
        FileNotFoundError: a file that is missing, if ``download`` is false.
    """
    limits, dev_limits = _limits(rows, "rows"), _limits(dev_rows, "dev_rows")
    if name not in DATASETS:
        raise ValueError(f"unknown corpus {name!r}; choose one of {', '.join(map(repr, DATASETS))}")
    return DATASETS[name].load(seed, download).limited({**DATASETS[name].rows, **limits}, dev_limits, seed)


def _limits(rows: Limits, what: str) -> dict[str, int]:
    limits = {} if rows is None else dict(rows) if isinstance(rows, Mapping) else dict.fromkeys(TASKS, rows)
    task_order(limits)
    if bad := {task: limit for task, limit in limits.items() if limit < 1}:
        raise ValueError(f"{what} must keep at least 1 row of each task, got {bad}")
    return limits
