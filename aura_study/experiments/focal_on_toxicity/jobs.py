"""Focal loss on AURA's toxicity task (F2, F3, F4): the parameters, and the trainings that they ask for."""

from typing import Any

import pandas as pd

from aura_study.claims.statistics.intervals import seeds
from aura_study.data.corpus import Corpus
from aura_study.data.registry import load_corpus
from aura_study.experiments.focal_on_toxicity.parameters import LONG, FocalOnToxicityParameters
from aura_study.experiments.focal_on_toxicity.trainings import TASK, ToxicityJob


def effort_jobs(p: FocalOnToxicityParameters) -> list[ToxicityJob]:
    """Cross-entropy and focal loss on the comments as they are, and on a set with the guide's share of toxic ones."""
    rare = {"toxic_share": p.toxic_share, "condition": p.rare}
    shared: dict[str, Any] = {"comments": p.comments, "encoder_rows": p.encoder_rows}
    settings = {"plain": shared, "rare": {**shared, **rare}}
    return [
        p.job(f"toxicity-{name}-gamma{gamma:g}-seed{seed}", seed, gamma, **changes)
        for seed in seeds(p.seed_count)
        for name, changes in settings.items()
        for gamma in p.losses
    ]


def alpha_jobs(p: FocalOnToxicityParameters) -> list[ToxicityJob]:
    """Models trained with alpha and gamma; alpha = 1/2 with the two compared losses is in `effort_jobs` already."""
    gammas = sorted({*p.gammas, p.gamma}) if p.whole_grid else [p.gamma]
    return [
        p.job(f"toxicity-alpha{alpha:g}-gamma{gamma:g}-seed{seed}", seed, gamma, alpha, comments=p.comments)
        for seed in seeds(p.alpha_seeds)
        for alpha in p.alphas
        for gamma in gammas
        if alpha != 0.5 or gamma not in p.losses
    ]


def noise_jobs(p: FocalOnToxicityParameters) -> list[ToxicityJob]:
    """Cross-entropy and focal loss on few comments for many epochs, with a share of their labels flipped."""
    few: dict[str, Any] = {
        "comments": p.noise_comments,
        "probe_rows": max(p.noise_comments, 20),
        "steps": p.noise_steps,
        "condition": LONG,
    }
    return [
        p.job(f"toxicity-noise{rate:g}-gamma{gamma:g}-seed{seed}", seed, gamma, noise=rate, **few)
        for seed in seeds(p.seed_count)
        for rate in p.noise_rates
        for gamma in p.losses
    ]


def class_shares(p: FocalOnToxicityParameters) -> pd.DataFrame:
    """How many comments there are, and what share is toxic: the guide supposes 5 %."""
    corpus: Corpus = load_corpus(p.data, rows=p.rows, dev_rows=p.dev_rows)
    splits = {"training": corpus.train[TASK], "development": corpus.dev[TASK]}
    return pd.DataFrame(
        {"comments": which, "count": len(split), "share that is toxic": float(split.labels.mean())}
        for which, split in splits.items()
    )
