"""What the phantom gradient costs in task quality (P9): five weightings, three regimes, paired development scores,
and the controls that say whether the model can learn its tasks.

Within a regime and seed every weighting starts from the same weights and sees the same batches. The regimes are AURA's
mixing with 101 rows of reporting, as in its first V10.1 (*mixed*), an absence of reporting and its return (*stretch*),
and one task per batch (*alternating*); beside them stand mixing with the corpus's own rows of reporting
(*mixed, all rows*) and *mixed* at AURA's own learning-rate budget (*mixed, AURA's rate*).
"""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from aura_study.experiments.task_quality.parameters import TaskQualityParameters
from aura_study.runs.jobs import job_metadata
from aura_study.training.adequacy import adequacy
from aura_study.training.fork import train_forked
from aura_study.training.runs import train_jobs


def train_all(p: TaskQualityParameters, folder: Path) -> list[Path]:
    """Every weighting of every regime with every seed; finished runs are kept. Their files, in that order."""
    jobs = [p.job(regime, policy, seed) for regime, policy, seed in p.arms]
    return train_forked(jobs, folder, p.workers, "task quality")


def train_controls(p: TaskQualityParameters, folder: Path) -> list[Path]:
    """The same model on the same rows for as many steps, with rows of every task in every batch; files as above."""
    return train_jobs([p.job(*control) for control in p.controls], folder, p.workers, "controls")


def adequacy_of(p: TaskQualityParameters, files: Sequence[Path]) -> pd.DataFrame:
    """What the files' controls score beside models without a network, see `adequacy`; with the column rows in front."""
    ends = all_scores(files).query("last")
    found = []
    for rows, group in ends.groupby("regime", sort=False):
        scores = [_by_task(run) for _, run in group.groupby("seed")]
        corpus = p.job(str(rows), "masked", 0).texts.corpus()
        found.append(adequacy(scores, corpus, thresholds=True).assign(rows=rows))
    table = pd.concat(found, ignore_index=True)
    return table[["rows", *table.columns.drop("rows")]]


def learning(files: Sequence[Path]) -> pd.DataFrame:
    """Whether the controls' development loss has stopped falling: its mean over tasks and seeds, on the way.

    Columns: rows, step (scored before it), log_loss (nats), fell (since the score before), auc.
    """
    scores = all_scores(files).query("measure in ['log_loss', 'auc']")
    means = scores.pivot_table(index=["regime", "step"], columns="measure", values="score").reset_index()
    means["fell"] = -means.groupby("regime")["log_loss"].diff()
    return means.rename(columns={"regime": "rows"})[["rows", "step", "log_loss", "fell", "auc"]]


def _by_task(run: pd.DataFrame) -> dict[str, dict[str, float]]:
    return {str(task): dict(zip(of["measure"], of["score"], strict=True)) for task, of in run.groupby("task")}


def all_scores(files: Sequence[Path]) -> pd.DataFrame:
    """Every score of every run.

    Columns: regime, policy, seed, step (scored before it), last (whether that is the end), task, measure (see
    `aura_study.training.scores.measures`), score.
    """
    frames = []
    for path in files:
        stored = job_metadata(path)
        settings = stored["job"]["settings"]
        frame = pd.DataFrame(stored["scores"]).astype({"score": float})
        common = {"regime": stored["job"]["regime"], "policy": settings["policy"], "seed": settings["seed"]}
        frames.append(frame.assign(**common, last=frame["step"] == settings["steps"]))
    columns = ["regime", "policy", "seed", "step", "last", "task", "measure", "score"]
    return pd.concat(frames, ignore_index=True)[columns]


def resolution(files: Sequence[Path]) -> pd.DataFrame:
    """Rows to learn from and to be judged by, per regime and task, and what one development row is worth.

    ``presence`` is the share of the steps, in the second half, that hold rows of the task. ``one row`` is the change of
    macro-F1 if one more row is right: for two balanced classes, and for emotion's seven labels an average; its rare
    labels have far fewer rows than ``dev_rows``.
    """
    rows = []
    for regime, path in {job_metadata(path)["job"]["regime"]: path for path in files}.items():
        stored, presence = job_metadata(path), pd.read_parquet(path).set_index("task")["presence"]
        for task, count in stored["dev_rows"].items():
            sizes = {"train_rows": stored["train_rows"][task], "presence": presence[task], "dev_rows": count}
            rows.append({"regime": regime, "task": task, **sizes, "one row": 1 / count})
    return pd.DataFrame(rows)


def all_shares(files: Sequence[Path]) -> pd.DataFrame:
    """The shares of every run, with regime, policy and seed, and the predicted share of the loss.

    Unmasked, all fixed points have the same mean weighted loss, 1/2 a step, hence equal shares; masked, frozen and
    analytic have p/2 where the task is present in a share p of the steps. Of equal weights nothing is predicted
    without the losses.
    """
    frames = []
    for path in files:
        job = job_metadata(path)["job"]
        frame = pd.read_parquet(path)
        policy = job["settings"]["policy"]
        present = {"unmasked": 1.0, "equal": float("nan")}.get(policy, frame["presence"])
        predicted = frame["presence"] * 0 + present
        frame["predicted_share"] = predicted / predicted.sum(skipna=False)
        frames.append(frame.assign(regime=job["regime"], policy=policy, seed=job["settings"]["seed"]))
    return pd.concat(frames, ignore_index=True)
