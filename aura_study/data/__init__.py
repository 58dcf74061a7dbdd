"""Labelled texts of the four tasks, their tokens, and the batches that a presence schedule draws from them.

The way through: `load_corpus` -> `corpus_tokenizer` (or `pretrained_tokenizer`) -> `tokenize_splits` -> a schedule
(`mixed`, `stretch`, `alternating`) -> `Batches`, and `dev_batches` for evaluation.
"""

from aura_study.data.batches import Batch, Batches, dev_batches
from aura_study.data.corpus import Corpus, TaskSplit, load_corpus
from aura_study.data.schedules import Schedule, alternating, mixed, quotas, stretch
from aura_study.data.sources import DataError, MissingDataError, fetch, fetch_all, status, training_log
from aura_study.data.tasks import EKMAN, TASK_NAMES, TASKS, Task
from aura_study.data.tokenization import (
    TokenizedSplit,
    corpus_tokenizer,
    pretrained_tokenizer,
    tokenize,
    tokenize_splits,
)

__all__ = [
    "EKMAN",
    "TASKS",
    "TASK_NAMES",
    "Batch",
    "Batches",
    "Corpus",
    "DataError",
    "MissingDataError",
    "Schedule",
    "Task",
    "TaskSplit",
    "TokenizedSplit",
    "alternating",
    "corpus_tokenizer",
    "dev_batches",
    "fetch",
    "fetch_all",
    "load_corpus",
    "mixed",
    "pretrained_tokenizer",
    "quotas",
    "status",
    "stretch",
    "tokenize",
    "tokenize_splits",
    "training_log",
]
