"""Whether a model has learned its tasks: its scores beside those of a bag of words on the same rows.

A difference between two arms says something of a task only if the model can learn it. So a *control*, the same model on
the same rows for as many steps, but with rows of every task in every batch, is held against TF-IDF with logistic
regression (`aura_study.claims.rules.LEARNED`).
"""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pandas as pd
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from aura_study.data.corpus import Corpus, TaskSplit
from aura_study.data.tasks import TASK_NAMES, TASKS
from aura_study.training.scores import best_thresholds, measures, truth

Scores = Mapping[str, Mapping[str, float]]
"""Of one model: `measures` by task."""
DECISIVE = ("auc", "macro_f1")
"""Measures in which the control must come near the bag of words."""


def adequacy(controls: Sequence[Scores], corpus: Corpus, thresholds: bool = False) -> pd.DataFrame:
    """The control's development scores beside two models that need no network, per task and measure.

    With ``thresholds`` the bag of words predicts a label from the probability on that suits its training rows best, as
    a control scored by `development` with training rows does.

    Columns: task, measure, commonest (the training rows' commonest answer, or for the two measures of probabilities the
    training rows' shares), tf_idf (`bag_of_words`), control (mean over ``controls``, one a seed), above (control minus
    tf_idf).
    """
    rows = []
    for task in corpus.train:
        train, dev = corpus.train[task], corpus.dev[task]
        true = truth(task, dev.labels)
        cuts = best_thresholds(bag_of_words(task, train, train), truth(task, train.labels)) if thresholds else 0.5
        words, commonest = measures(task, bag_of_words(task, train, dev), true, cuts), _commonest(task, train, true)
        for measure, score in words.items():
            control = float(np.mean([scores[task][measure] for scores in controls]))
            row = {"task": task, "measure": measure, "commonest": commonest[measure], "tf_idf": score}
            rows.append({**row, "control": control, "above": control - score})
    return pd.DataFrame(rows)


def least_above(table: pd.DataFrame, tasks: Collection[str] = TASK_NAMES) -> float:
    """How far the control of `adequacy` lies above the bag of words in the worst of ``tasks`` and `DECISIVE` measures.

    NaN, which no gate lets through, if one of them could not be measured.
    """
    return float(table[table["task"].isin(tasks) & table["measure"].isin(DECISIVE)]["above"].to_numpy().min())


def bag_of_words(task: str, train: TaskSplit, dev: TaskSplit) -> np.ndarray:
    """Probability of each label of the development rows, ``(rows, labels)``, by logistic regression on TF-IDF.

    scikit-learn's own settings (single words, ridge penalty of strength 1), with logarithmic counts and the classes
    as frequent as they are: the objective of the model's own heads. A label that all training rows have, or none, is
    predicted as it stands.
    """
    vectorizer = TfidfVectorizer(sublinear_tf=True)
    seen, unseen = vectorizer.fit_transform(train.texts), vectorizer.transform(dev.texts)
    columns = []
    for label in truth(task, train.labels).T:
        if label.min() == label.max():
            columns.append(np.full(len(dev), float(label[0])))
        else:
            columns.append(LogisticRegression(max_iter=1000).fit(seen, label).predict_proba(unseen)[:, 1])
    found = np.stack(columns, axis=1)
    return found / found.sum(1, keepdims=True) if TASKS[task].kind == "multiclass" else found


def _commonest(task: str, train: TaskSplit, true: np.ndarray) -> dict[str, float]:
    """`measures` of an answer that is always the same: the commonest label, or label set, and the labels' shares."""
    labels = truth(task, train.labels)
    answers, counts = np.unique(labels, axis=0, return_counts=True)
    sure = measures(task, np.broadcast_to(answers[counts.argmax()].astype(float), true.shape), true)
    shares = measures(task, np.broadcast_to(labels.mean(0), true.shape), true)
    return {**sure, **{measure: shares[measure] for measure in ("auc", "log_loss")}}
