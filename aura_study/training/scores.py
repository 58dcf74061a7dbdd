"""Development scores of a trained model."""

import math
from collections.abc import Mapping

import numpy as np
import torch
from sklearn.metrics import f1_score, roc_auc_score

from aura_study.data.batches import dev_batches
from aura_study.data.tasks import TASKS
from aura_study.data.tokenization import TokenizedSplit
from aura_study.training.model import AuraModel


@torch.no_grad()
def probabilities(
    model: AuraModel, task: str, split: TokenizedSplit, batch_size: int = 64
) -> tuple[np.ndarray, np.ndarray]:
    """Probability of each of a task's labels, float64 ``(rows, labels)``, and `truth`; shortest rows first.

    Of a binary task that is one label, 1.
    """
    was_training = model.training
    model.eval()
    found, true = [], []
    one_of_several = TASKS[task].kind == "multiclass"
    for batch in dev_batches(task, split, batch_size):
        logits = model(batch.to(model.device))[task].double()
        found.append((logits.softmax(-1) if one_of_several else logits.sigmoid()).cpu().numpy())
        true.append(batch.labels[task].numpy())
    model.train(was_training)
    labels = truth(task, np.concatenate(true))
    return np.concatenate(found).reshape(labels.shape), labels


def truth(task: str, labels: np.ndarray) -> np.ndarray:
    """Labels of a task in the form of `TaskSplit` as 0 and 1, int ``(rows, labels)``; of a binary task, one column."""
    if TASKS[task].kind == "multiclass":
        return np.eye(TASKS[task].outputs, dtype=int)[labels.astype(int)]
    return labels.astype(int).reshape(len(labels), -1)


def predictions(
    model: AuraModel, task: str, split: TokenizedSplit, batch_size: int = 64
) -> tuple[np.ndarray, np.ndarray]:
    """Predicted and true labels of one task's rows, shortest first.

    A class index per row, or 0/1 values (thresholded at probability 1/2), of shape ``(rows, labels)`` for a multi-label
    task.
    """
    found, true = probabilities(model, task, split, batch_size)
    return _labels(task, found), _labels(task, true)


def _labels(task: str, values: np.ndarray, thresholds: np.ndarray | float = 0.5) -> np.ndarray:
    """Probabilities, or `truth`, as labels in the form of `TaskSplit`."""
    if TASKS[task].kind == "multiclass":
        return (values[:, 1] > np.ravel(thresholds)[-1]).astype(int) if values.shape[1] == 2 else values.argmax(-1)
    return (values > thresholds).astype(int)[:, 0 if TASKS[task].kind == "binary" else slice(None)]


def best_thresholds(probability: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Probability from which on to predict each label, ``(labels,)``: the one that gives these rows the highest F1.

    Midway between two neighbouring probabilities; 1/2 for a label that no row has, or every row. For rows that the
    model was trained on, not for those that it is judged by.

    Args:
        probability, true: ``(rows, labels)``, see `probabilities`.
    """
    found = np.full(true.shape[1], 0.5)
    for label in np.flatnonzero((true.min(0) < true.max(0)) & np.isfinite(probability).all()):
        order = np.argsort(-probability[:, label], kind="stable")
        sure, hits = probability[order, label], np.cumsum(true[order, label])
        f1 = 2 * hits / (np.arange(1, len(order) + 1) + hits[-1])
        f1[:-1][sure[:-1] == sure[1:]] = -1.0  # equal probabilities fall on one side
        last = int(f1.argmax())
        found[label] = (sure[last] + (sure[last + 1] if last + 1 < len(sure) else 0.0)) / 2
    return found


def measures(
    task: str, probability: np.ndarray, true: np.ndarray, thresholds: np.ndarray | float = 0.5
) -> dict[str, float]:
    """Scores of probabilities ``(rows, labels)`` against `truth`; ``thresholds`` as of `best_thresholds`.

    ``auc``, the area under the ROC curve, mean over the labels that some of the rows have and some have not (NaN if
    there are none); ``log_loss``, minus the mean log of the true label's probability, in nats (of each label's 0 or 1
    where they do not exclude each other); ``macro_f1``, a label that is never predicted counting 0; and for a
    multi-label task ``samples_f1``, averaged over rows, a row without any label, found or true, counting 1.
    """
    mixed = (true.min(0) < true.max(0)) & np.isfinite(probability).all()
    areas = [roc_auc_score(true[:, label], probability[:, label]) for label in np.flatnonzero(mixed)]
    sure = np.where(true == 1, probability, 1 - probability).clip(1e-12)
    exclusive = TASKS[task].kind == "multiclass"
    guess, labels = _labels(task, probability, thresholds), _labels(task, true)
    found = {
        "auc": float(np.mean(areas)) if areas else math.nan,
        "log_loss": float(-np.log(sure[true == 1] if exclusive else sure).mean()),
        "macro_f1": float(f1_score(labels, guess, average="macro", zero_division=0)),
    }
    if TASKS[task].kind == "multilabel":
        found["samples_f1"] = float(f1_score(labels, guess, average="samples", zero_division=1))
    return found


def development(
    model: AuraModel, dev: Mapping[str, TokenizedSplit], train: Mapping[str, TokenizedSplit] | None = None
) -> dict[str, dict[str, float]]:
    """`measures` per task, with the thresholds that suit the rows of ``train`` best; without them 1/2."""
    cuts = {task: best_thresholds(*probabilities(model, task, split)) for task, split in (train or {}).items()}
    return {
        task: measures(task, *probabilities(model, task, split), cuts.get(task, 0.5)) for task, split in dev.items()
    }


def macro_f1(model: AuraModel, dev: Mapping[str, TokenizedSplit]) -> dict[str, float]:
    """Macro-averaged F1 per task, see `measures`."""
    return {task: found["macro_f1"] for task, found in development(model, dev).items()}


def samples_f1(model: AuraModel, dev: Mapping[str, TokenizedSplit]) -> dict[str, float]:
    """F1 averaged over rows, of each multi-label task, see `measures`."""
    several = {task: split for task, split in dev.items() if TASKS[task].kind == "multilabel"}
    return {task: found["samples_f1"] for task, found in development(model, several).items()}
