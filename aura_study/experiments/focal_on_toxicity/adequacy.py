"""Can the model learn its task from these comments? Cross-entropy against TF-IDF with logistic regression."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from aura_study.data.corpus import TaskSplit
from aura_study.experiments.focal_on_toxicity.trainings import (
    TASK,
    ToxicityJob,
    held_out_comments,
    prepare,
    training_comments,
)
from aura_study.training.adequacy import bag_of_words


def auc(look: pd.DataFrame) -> float:
    """Area under the ROC curve of the comments of ``look``, their labels taken as the truth."""
    toxic = look["label"].to_numpy() == 1
    return float(roc_auc_score(toxic, np.where(toxic, look["margin"], -look["margin"])))


def baseline(job: ToxicityJob) -> float:
    """The same of `bag_of_words`, trained and held out on the job's comments."""
    corpus, chosen, held_out = prepare(job).corpus, training_comments(job), held_out_comments(job)
    train = TaskSplit(corpus.train[TASK].take(chosen.rows).texts, chosen.split.labels)
    dev = TaskSplit(corpus.dev[TASK].take(held_out.rows).texts, held_out.split.labels)
    return float(roc_auc_score(dev.labels, bag_of_words(TASK, train, dev)[:, 1]))


def adequacy(jobs: Sequence[ToxicityJob], looks: pd.DataFrame) -> pd.DataFrame:
    """Held-out AUC of each control (cross-entropy, no wrong labels, no alpha) at its end, and that of the baseline.

    Columns: condition, seed, model, baseline, margin (model - baseline).
    """
    held = looks[looks["held_out"] & (looks["step"] == looks["end"]) & (looks["alpha"] == 0.5)]
    rows = []
    for job in jobs:
        if job.settings.gamma or job.noise or job.settings.alpha is not None:
            continue
        mine = held[(held["condition"] == job.condition) & (held["seed"] == job.settings.seed) & (held["gamma"] == 0)]
        rows.append({"condition": job.condition, "seed": job.settings.seed, "model": auc(mine)})
        rows[-1]["baseline"] = baseline(job)
    table = pd.DataFrame(rows)
    return table.assign(margin=table["model"] - table["baseline"])


def margin_of(table: pd.DataFrame, condition: str) -> float:
    """Mean margin of a condition over its seeds."""
    return float(table.loc[table["condition"] == condition, "margin"].mean())
