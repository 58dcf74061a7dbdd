"""The embedded corpus: four tasks of generated sentences, in AURA's proportions, with no download."""

import re
from bisect import bisect
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate

import numpy as np

from aura_study.data.corpus import Corpus, TaskSplit
from aura_study.data.grammar import RULES, START
from aura_study.data.tasks import TASK_NAMES, TASKS

# Two fifths of AURA's V10.2 mixture of 11,935 / 20,000 / 20,000 / 925 rows.
TRAIN_ROWS = {"toxicity": 4_774, "emotion": 8_000, "sentiment": 8_000, "reporting": 370}
DEV_ROWS = {"toxicity": 600, "emotion": 1_000, "sentiment": 1_000, "reporting": 200}

# Rows per label set in AURA's training files: OLID, GoEmotions (Ekman; ids as in `tasks.EKMAN`), SST-2, and the
# balanced reporting set of V10.1. GoEmotions' rarer sets, 1 % of its rows, are left out.
PROPORTIONS: dict[str, dict[tuple[int, ...], int]] = {
    "toxicity": {(0,): 8_005, (1,): 3_930},
    "emotion": {
        (3,): 15_216, (4,): 12_823, (0,): 4_293, (6,): 3_858, (5,): 2_326, (2,): 541, (1,): 498, (3, 6): 775,
        (3, 4): 593, (0, 3): 352, (3, 5): 318, (4, 6): 302, (0, 4): 297, (0, 5): 236, (0, 6): 188, (5, 6): 142,
        (0, 1): 138, (4, 5): 129,
    },
    "sentiment": {(0,): 3_310, (1,): 3_610},
    "reporting": {(0,): 1, (1,): 1},
}  # fmt: skip
NOISE = 0.03
"""Share of rows whose text was written for another label, as annotators' errors are in real sets."""

_ATTEMPTS = 1_000
_PATIENCE = 8  # draws, after which a text may have a clause more: so that a million rows cost no more than that each


def generate(
    seed: int = 0, train_rows: Mapping[str, int] = TRAIN_ROWS, dev_rows: Mapping[str, int] = DEV_ROWS
) -> Corpus:
    """Corpus of distinct sentences: no text stands twice, neither within a task nor across tasks and splits.

    Labels come first, in exactly AURA's proportions (to the row), then a sentence is drawn for each from the grammar; a
    row with two emotions joins a clause for each, and a row for which the shorter sentences are used up has one clause
    more. Equal seeds and sizes give equal corpora.

    Raises:
        ValueError: sizes that do not name every task with at least 1 row, or that exceed what the grammar can say.
    """
    for rows, what in ((train_rows, "train_rows"), (dev_rows, "dev_rows")):
        if set(rows) != set(TASK_NAMES) or min(rows.values()) < 1:
            raise ValueError(f"{what} must give at least 1 row for each of {list(TASK_NAMES)}, got {dict(rows)}")
    writer = _Writer(np.random.default_rng(seed))
    train, dev = ({task: writer.split(task, rows[task]) for task in TASK_NAMES} for rows in (train_rows, dev_rows))
    return Corpus("embedded", train, dev)


def apportion(proportions: Mapping[tuple[int, ...], int], rows: int) -> list[tuple[int, ...]]:
    """``rows`` label sets in the given proportions, by largest remainders; equal sets stand together."""
    total = sum(proportions.values())
    exact = {labels: rows * share / total for labels, share in proportions.items()}
    counts = {labels: int(share) for labels, share in exact.items()}
    for labels in sorted(exact, key=lambda key: counts[key] - exact[key])[: rows - sum(counts.values())]:
        counts[labels] += 1
    return [labels for labels, count in counts.items() for _ in range(count)]


class _Writer:
    """Writes sentences that it has not written before."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.uniform = _uniforms(rng)
        self.written: set[str] = set()

    def split(self, task: str, rows: int) -> TaskSplit:
        proportions = PROPORTIONS[task]
        labels = apportion(proportions, rows)
        labels = [labels[row] for row in self.rng.permutation(rows)]
        texts = [self._fresh(task, self._meant(proportions, given)) for given in labels]
        return TaskSplit(texts, _encoded(task, labels))

    def _meant(self, proportions: Mapping[tuple[int, ...], int], given: tuple[int, ...]) -> tuple[int, ...]:
        """The label set that the text will express: the given one, but for the noise."""
        if next(self.uniform) >= NOISE:
            return given
        others = [labels for labels in proportions if labels != given]
        return others[int(next(self.uniform) * len(others))]

    def _fresh(self, task: str, labels: Sequence[int]) -> str:
        for attempt in range(_ATTEMPTS):
            meant = labels if attempt < _PATIENCE else (*labels, labels[0])
            first, *others = [self._say(_WEIGHTED[f"{task}:{TASKS[task].labels[label]}"]) for label in meant]
            text = first + "".join(f" {self._expand('join')} {other}" for other in others)
            text = _ARTICLE.sub("an ", text)
            if text not in self.written:
                self.written.add(text)
                return text
        raise ValueError(f"the grammar has no more distinct sentences for {task!r}: ask for fewer rows")

    def _say(self, form: tuple[list[tuple[str, ...]], list[float]]) -> str:
        alternatives, cumulative = form
        return self._fill(alternatives[bisect(cumulative, next(self.uniform) * cumulative[-1])])

    def _expand(self, rule: str) -> str:
        alternatives = _RULES[rule]
        return self._fill(alternatives[int(next(self.uniform) * len(alternatives))])

    def _fill(self, parts: tuple[str, ...]) -> str:
        """Literal parts stand at even places, rule names at odd ones."""
        if len(parts) == 1:
            return parts[0]
        return "".join(self._expand(part) if place % 2 else part for place, part in enumerate(parts))


def _uniforms(rng: np.random.Generator) -> Iterator[float]:
    """Uniform numbers in [0, 1), drawn in blocks: one by one they would take most of the time."""
    while True:
        yield from rng.random(4096).tolist()


def _encoded(task: str, labels: Sequence[tuple[int, ...]]) -> np.ndarray:
    if TASKS[task].kind != "multilabel":
        return np.array([label for (label,) in labels], np.int64)
    hot = np.zeros((len(labels), len(TASKS[task].labels)), np.float32)
    for row, ones in enumerate(labels):
        hot[row, list(ones)] = 1
    return hot


def _parsed(alternative: str) -> tuple[str, ...]:
    return tuple(re.split(r"\{([^}]+)\}", alternative))


_ARTICLE = re.compile(r"\ba (?=[aeio]|u(?!se))")
_RULES = {rule: [_parsed(alternative) for alternative in alternatives] for rule, alternatives in RULES.items()}
_WEIGHTED = {
    start: ([_parsed(alternative) for alternative in weights], list(accumulate(weights.values())))
    for start, weights in START.items()
}
