"""AURA's own mixture from the public files: OLID, GoEmotions (Ekman), SST-2 and AURA's reporting set."""

from typing import Literal

import numpy as np

from aura_study.data.corpus import Corpus, TaskSplit
from aura_study.data.readers import class_labels, multi_hot, read_csv, read_tsv, texts
from aura_study.data.sources import DataError, fetch
from aura_study.data.tasks import EKMAN, TASK_NAMES

REPORTING_V10_1 = 1_600  # rows of the last V10.1's reporting set, for ``rows={"reporting": REPORTING_V10_1}``


def load_aura(*, reporting: Literal["unified", "examples"] = "unified", download: bool = False) -> Corpus:
    """Every row of the four public sets, repeated texts dropped, the published splits kept.

    Toxicity and reporting are the rows of AURA's unified files with that ``source``. Of rows with equal text in a split
    the first stays; a dev text that is also a training text, of any task, is dropped from dev, so that the training
    set stays AURA's. ``Corpus.dropped`` counts both.

    Differs from the files: the unified files code *reported* speech as 0 and direct speech as 1, the opposite of
    ``is_reporting`` in AURA's first reporting set; here 1 is reported in both.

    Args:
        reporting: "unified", or "examples" for the 100 hand-written training rows of the first V10.1.
        download: whether missing files may be downloaded.

    Raises:
        DataError: a file whose digest, columns, labels or texts are wrong.
        MissingDataError: a missing file, if ``download`` is false.
        ValueError: an unknown reporting set.
    """
    if reporting not in ("unified", "examples"):
        raise ValueError(f"reporting must be 'unified' or 'examples', got {reporting!r}")
    train = {
        "toxicity": _unified("train", "toxicity", download),
        "emotion": _emotion("train", download),
        "sentiment": _sentiment("train", download),
        "reporting": _examples(download) if reporting == "examples" else _unified("train", "reporting", download),
    }
    dev = {
        "toxicity": _unified("val", "toxicity", download),
        "emotion": _emotion("dev", download),
        "sentiment": _sentiment("dev", download),
        "reporting": _unified("val", "reporting", download),
    }
    trained: set[str] = set()
    dropped = {}
    for kind, splits, excluded in (("train", train, set()), ("dev", dev, trained)):
        for task in TASK_NAMES:
            read = len(splits[task])
            splits[task] = without(splits[task], excluded)
            if gone := read - len(splits[task]):
                dropped[f"{kind}/{task}"] = gone
        trained.update(*(split.texts for split in splits.values()))
    return Corpus("aura", train, dev, dropped)


def without(split: TaskSplit, excluded: set[str]) -> TaskSplit:
    """``split`` without the texts in ``excluded`` and without repeated texts, the first of each staying."""
    seen = set(excluded)
    kept = []
    for row, text in enumerate(split.texts):
        if text not in seen:
            seen.add(text)
            kept.append(row)
    return split.take(np.array(kept, np.int64))


def _unified(split: str, source: str, download: bool) -> TaskSplit:
    path = fetch(f"aura/deberta_unified_{split}.csv", download=download)
    frame = read_csv(path, ("text", "label", "source"))
    frame = frame[frame["source"] == source]
    if frame.empty:
        raise DataError(f"{path}: no row has source {source!r}")
    labels = class_labels(frame, path)
    return TaskSplit(texts(frame, path), 1 - labels if source == "reporting" else labels)


def _examples(download: bool) -> TaskSplit:
    path = fetch("aura/reporting_examples.csv", download=download)
    frame = read_csv(path, ("text", "is_reporting"))
    return TaskSplit(texts(frame, path), class_labels(frame, path, "is_reporting"))


def _emotion(split: str, download: bool) -> TaskSplit:
    names = fetch("goemotions/ekman_labels.txt", download=download)
    if (found := tuple(names.read_text(encoding="utf-8").split())) != EKMAN:
        raise DataError(f"{names}: expected the labels {list(EKMAN)}, found {list(found)}")
    path = fetch(f"goemotions/ekman_{split}.tsv", download=download)
    frame = read_tsv(path, ("text", "labels", "id"))
    return TaskSplit(texts(frame, path), multi_hot(frame, path, "labels", len(EKMAN)))


def _sentiment(split: str, download: bool) -> TaskSplit:
    path = fetch(f"sst2/{split}.tsv", download=download)
    frame = read_tsv(path, ("text", "label"))
    return TaskSplit(texts(frame, path), class_labels(frame, path))
