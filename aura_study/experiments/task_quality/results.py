"""What the phantom gradient costs in task quality (P9): five weightings, three regimes, paired development scores.

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
from aura_study.training.runs import train_jobs


def train_all(p: TaskQualityParameters, folder: Path) -> list[Path]:
    """Every weighting of every regime with every seed; finished runs are kept. Their files, in that order."""
    jobs = [p.job(regime, policy, seed) for regime, policy, seed in p.arms]
    return train_jobs(jobs, folder, p.workers, "task quality")


def all_scores(files: Sequence[Path]) -> pd.DataFrame:
    """Every score of every run.

    Columns: regime, policy, seed, step (scored before it), last (whether that is the end), task, macro_f1, samples_f1
    (emotion), majority (macro-F1 of the majority baseline).
    """
    frames = []
    for path in files:
        stored = job_metadata(path)
        settings = stored["job"]["settings"]
        frame = pd.DataFrame(stored["scores"]).astype({"samples_f1": float})
        frame = frame.assign(majority=frame["task"].map(stored["majority"]), last=frame["step"] == settings["steps"])
        common = {"regime": stored["job"]["regime"], "policy": settings["policy"], "seed": settings["seed"]}
        frames.append(frame.assign(**common))
    columns = ["regime", "policy", "seed", "step", "last", "task", "macro_f1", "samples_f1", "majority"]
    return pd.concat(frames, ignore_index=True)[columns]


def resolution(files: Sequence[Path]) -> pd.DataFrame:
    """Rows to learn from and to be judged by, per regime and task, and what one development row is worth.

    ``one row`` is the change of macro-F1 if one more row is right: for two balanced classes, and for emotion's seven
    labels an average; its rare labels have far fewer rows than ``dev_rows``.
    """
    rows = []
    for regime, path in {job_metadata(path)["job"]["regime"]: path for path in files}.items():
        stored = job_metadata(path)
        for task, count in stored["dev_rows"].items():
            sizes = {"train_rows": stored["train_rows"][task], "dev_rows": count, "one row": 1 / count}
            rows.append({"regime": regime, "task": task, **sizes})
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
