"""Focal loss on AURA's toxicity task: the trainings that the parameters ask for, and the classes of the data (F2f)."""

from dataclasses import replace
from typing import Any

import pandas as pd

from aura_study.claims import Measurement
from aura_study.claims.statistics.intervals import seeds, share_interval
from aura_study.data.registry import load_corpus
from aura_study.experiments.focal_on_toxicity.parameters import FocalOnToxicityParameters
from aura_study.experiments.focal_on_toxicity.trainings import TASK, ToxicityJob


def effort_jobs(p: FocalOnToxicityParameters) -> list[ToxicityJob]:
    """Cross-entropy and focal loss on the comments as they are, and on a set with the guide's share of toxic ones."""
    rare: dict[str, Any] = {"toxic_share": p.toxic_share, "condition": p.rare}
    return [
        p.job(f"toxicity-{name}-gamma{gamma:g}-seed{seed}", seed, gamma, encoder_rows=p.encoder_rows, **changes)
        for seed in seeds(p.seed_count)
        for name, changes in {"plain": {}, "rare": rare}.items()
        for gamma in p.losses
    ]


def alpha_jobs(p: FocalOnToxicityParameters) -> list[ToxicityJob]:
    """Models trained with alpha and focal loss; alpha = 1/2 is in `effort_jobs` already."""
    return [
        p.job(f"toxicity-alpha{alpha:g}-gamma{p.gamma:g}-seed{seed}", seed, p.gamma, alpha)
        for seed in seeds(p.seed_count)
        for alpha in p.alphas
        if alpha != 0.5
    ]


def noise_jobs(p: FocalOnToxicityParameters) -> list[ToxicityJob]:
    """Cross-entropy and focal loss with a share of the labels flipped, to the last epoch; and their control.

    The control is cross-entropy on the same comments with all labels right.
    """
    runs = [(0.0, 0.0), *((rate, gamma) for rate in p.noise_rates for gamma in p.losses)]
    return [
        p.job(
            f"toxicity-noise{rate:g}-gamma{gamma:g}-seed{seed}",
            seed,
            gamma,
            noise=rate,
            condition=f"noise {rate:g}",
            comments=p.noise_comments,
            probe_rows=max(p.noise_comments, 20),
            epochs=p.noise_epochs,
            looks_per_epoch=1,
            patience=None,
        )
        for seed in seeds(p.seed_count)
        for rate, gamma in runs
    ]


def class_shares(p: FocalOnToxicityParameters) -> pd.DataFrame:
    """How many toxicity comments the data hold, repeated texts dropped, and how many are toxic."""
    corpus = load_corpus(p.data)
    splits = {"training": corpus.train[TASK].labels, "development": corpus.dev[TASK].labels}
    rows = [{"comments": which, "count": len(labels), "toxic": int(labels.sum())} for which, labels in splits.items()]
    table = pd.DataFrame(rows)
    both = {"comments": "all", **table[["count", "toxic"]].sum()}
    table = pd.concat([table, pd.DataFrame([both])], ignore_index=True)
    return table.assign(**{"share that is toxic": table["toxic"] / table["count"]})


def measure_rarity(classes: pd.DataFrame, p: FocalOnToxicityParameters) -> Measurement:
    """F2f: share of AURA's toxicity comments that are not toxic, with Wilson's interval; void for other data."""
    row = classes[classes["comments"] == "all"].iloc[0]
    share = share_interval(int(row["count"] - row["toxic"]), int(row["count"]))
    other = "" if p.data == "aura" else f"counted on the {p.data} data, which are not AURA's"
    found = Measurement.of(share, f"share of {row['count']:,} comments that are not toxic", predicted=0.95, void=other)
    return replace(found, seeds=0)
