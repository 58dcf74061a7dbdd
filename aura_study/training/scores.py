"""Development scores of a trained model."""

from collections.abc import Mapping

import numpy as np
import torch
from sklearn.metrics import f1_score

from aura_study.data.batches import dev_batches
from aura_study.data.tasks import TASKS
from aura_study.data.tokenization import TokenizedSplit
from aura_study.training.model import AuraModel


@torch.no_grad()
def predictions(
    model: AuraModel, task: str, split: TokenizedSplit, batch_size: int = 64
) -> tuple[np.ndarray, np.ndarray]:
    """Predicted and true labels of one task's rows, shortest first.

    A class index per row, or 0/1 values (thresholded at probability 1/2) of shape ``(rows, labels)`` for a multi-label
    task.
    """
    was_training = model.training
    model.eval()
    found, true = [], []
    for batch in dev_batches(task, split, batch_size):
        logits = model(batch.to(model.device))[task]
        one_of_several = TASKS[task].kind == "multiclass"
        found.append((logits.argmax(-1) if one_of_several else (logits > 0).long()).cpu().numpy())
        true.append(batch.labels[task].numpy())
    model.train(was_training)
    labels = np.concatenate(true).astype(int)
    return np.concatenate(found).reshape(labels.shape), labels


def macro_f1(model: AuraModel, dev: Mapping[str, TokenizedSplit]) -> dict[str, float]:
    """Macro-averaged F1 per task, a label that is never predicted counting 0."""
    scores = {}
    for task, split in dev.items():
        found, true = predictions(model, task, split)
        scores[task] = float(f1_score(true, found, average="macro", zero_division=0))
    return scores


def samples_f1(model: AuraModel, dev: Mapping[str, TokenizedSplit]) -> dict[str, float]:
    """F1 averaged over rows, of each multi-label task; a row without any label, found or true, counts 1."""
    scores = {}
    for task, split in dev.items():
        if TASKS[task].kind == "multilabel":
            found, true = predictions(model, task, split)
            scores[task] = float(f1_score(true, found, average="samples", zero_division=1))
    return scores


def majority_macro_f1(train: Mapping[str, TokenizedSplit], dev: Mapping[str, TokenizedSplit]) -> dict[str, float]:
    """Macro-averaged F1 of always predicting the training set's commonest label (or label set)."""
    scores = {}
    for task, split in dev.items():
        values, counts = np.unique(train[task].labels, axis=0, return_counts=True)
        true = split.labels.astype(int)
        guess = np.broadcast_to(values[counts.argmax()].astype(int), true.shape)
        scores[task] = float(f1_score(true, guess, average="macro", zero_division=0))
    return scores
