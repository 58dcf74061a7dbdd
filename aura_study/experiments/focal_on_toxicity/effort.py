"""Who gets the effort: shares of loss and gradients that the hardest 5 % and the toxic comments carry (F2, F3)."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.special import logit

from aura_study.claims import Measurement
from aura_study.claims.statistics.intervals import intervals, mean_interval, paired_interval
from aura_study.experiments.focal_on_toxicity.parameters import AS_THEY_ARE, LONG, FocalOnToxicityParameters
from aura_study.experiments.focal_on_toxicity.trainings import ToxicityJob, comment_losses
from aura_study.runs.jobs import job_metadata
from aura_study.theory import focal as theory
from aura_study.training.loop import TrainingSettings

HARD, TOXIC = "hardest 5 %", "toxic"
MEASURES = {"loss": "loss", "logits": "pull", "encoder": "encoder"}
"""Name of each kind of effort, and the column of a look that holds it per comment."""
KEYS = ["condition", "gamma", "alpha", "seed", "progress", "dropout"]


def load_looks(jobs: Sequence[ToxicityJob], paths: Sequence[Path]) -> pd.DataFrame:
    """What several jobs kept (`Watcher.table`), with each job's condition, gamma, alpha (1/2 if none) and seed."""
    frames = []
    for job, path in zip(jobs, paths, strict=True):
        settings = job.settings
        alpha = 0.5 if settings.alpha is None else settings.alpha
        frame = pd.read_parquet(path).assign(condition=job.condition, alpha=alpha, noise=job.noise)
        frames.append(frame.assign(gamma=settings.gamma, seed=settings.seed))
    return pd.concat(frames, ignore_index=True)


def shares(looks: pd.DataFrame) -> pd.DataFrame:
    """Share of each kind of effort that each group carries, at every look of every run.

    Columns: those of `KEYS`, group, measure, rows (the group's share of the comments), share (measured), predicted
    (closed form on the measured p_t; NaN for the encoder, which has none), right (share of the comments classified so).
    """
    rows = []
    for key, look in looks.groupby(KEYS, sort=False):
        gamma, alpha = float(look["gamma"].iloc[0]), float(look["alpha"].iloc[0])
        rows += [{**dict(zip(KEYS, key, strict=True)), **row} for row in _shares(look, gamma, alpha)]
    return pd.DataFrame(rows)


def _shares(look: pd.DataFrame, gamma: float, alpha: float) -> list[dict[str, object]]:
    margin, toxic = look["margin"].to_numpy(), look["label"].to_numpy() == 1
    weight = np.where(toxic, alpha, 1 - alpha)
    closed = {"loss": weight * theory.loss(margin, gamma), "logits": weight * theory.pull(margin, gamma)}
    rows: list[dict[str, object]] = []
    for group, members in {HARD: theory.hardest(margin), TOXIC: toxic}.items():
        for measure, column in MEASURES.items():
            effort = look[column].to_numpy()
            if measure == "encoder":
                taken = np.isfinite(effort)
                if not taken.any():
                    continue
                found = theory.share_of((effort * look["stands_for"].to_numpy())[taken], members[taken])
            else:
                found = theory.share_of(effort, members)
            predicted = theory.share_of(closed[measure], members) if measure in closed else np.nan
            rows.append({"group": group, "measure": measure, "rows": float(members.mean()), "share": found})
            rows[-1] |= {"predicted": predicted, "right": float((margin > 0).mean())}
    return rows


def bands(table: pd.DataFrame, by: Sequence[str], column: str) -> pd.DataFrame:
    """`intervals` as figures draw them: the bounds of one seed are NaN."""
    return intervals(table, by, column).replace([-np.inf, np.inf], np.nan)


def effort_bands(table: pd.DataFrame, p: FocalOnToxicityParameters) -> pd.DataFrame:
    """`bands` of the shares of the two losses without dropout, with the closed form's mean as ``predicted``."""
    chosen = table[(table["alpha"] == 0.5) & table["gamma"].isin(p.losses) & ~table["dropout"]]
    by = ["condition", "group", "measure", "gamma", "progress"]
    return bands(chosen, by, "share").join(chosen.groupby(by)["predicted"].mean(), on=by)


def effort_table(table: pd.DataFrame, p: FocalOnToxicityParameters) -> pd.DataFrame:
    """Mean shares at the start, middle and end of training by condition, loss, group and measure; end with interval."""
    chosen = table[(table["alpha"] == 0.5) & table["gamma"].isin(p.losses)]
    by = ["condition", "group", "measure", "gamma"]
    still, shaken = chosen[~chosen["dropout"]], chosen[chosen["dropout"] & (chosen["progress"] == 1)]
    columns = {
        name: still[still["progress"] == at].groupby(by, sort=False)["share"].mean()
        for name, at in {"start": 0.0, "middle": 0.5, "end": 1.0}.items()
    }
    columns["end, with dropout"] = shaken.groupby(by, sort=False)["share"].mean()
    ends = bands(still[still["progress"] == 1], by, "share").set_index(by)
    wide = pd.DataFrame(columns).join(ends[["low", "high", "seeds"]])
    return wide.reset_index().sort_values(by, ignore_index=True)


def closed_form_error(table: pd.DataFrame) -> pd.DataFrame:
    """Largest difference of measured and closed-form share, by measure, over all looks of all runs."""
    known = table.dropna(subset="predicted")
    off = (known["share"] - known["predicted"]).abs()
    return off.groupby(known["measure"], sort=False).max().rename("largest |measured - predicted|").reset_index()


def at_end(table: pd.DataFrame, group: str, measure: str, gamma: float, where: str = AS_THEY_ARE) -> pd.Series:
    """Shares at the end of training without dropout and alpha, by seed."""
    chosen = table[(table["condition"] == where) & (table["alpha"] == 0.5) & (table["gamma"] == gamma)]
    chosen = chosen[(chosen["group"] == group) & (chosen["measure"] == measure) & ~chosen["dropout"]]
    return chosen[chosen["progress"] == 1].set_index("seed")["share"].sort_index()


def measure_hard_share(table: pd.DataFrame, p: FocalOnToxicityParameters, rare: bool = False) -> Measurement:
    """F2, and F2a with ``rare``: share of the loss in the hardest 5 % at the end of training with focal loss."""
    where = p.rare if rare else AS_THEY_ARE
    chosen = table[(table["condition"] == where) & (table["gamma"] == p.gamma) & (table["alpha"] == 0.5)]
    chosen = chosen[(chosen["group"] == HARD) & ~chosen["dropout"]]
    long = at_end(table, HARD, "loss", p.gamma, LONG)
    later = chosen[chosen["progress"] >= 0.5].groupby(["progress", "measure"])["share"].mean()
    end = chosen[(chosen["progress"] == 1) & (chosen["measure"] == "loss")]
    return Measurement.of(
        mean_interval(end["share"]),
        "share of the loss in the hardest 5 % at the end of training",
        predicted=float(end["predicted"].mean()),
        limits={
            "least share of loss and gradients from the middle of training on": float(later.min()),
            "the same share under cross-entropy": float(at_end(table, HARD, "loss", 0.0, where).mean()),
            "share of the comments that the model gets right": float(end["right"].mean()),
            "the same share on few comments after many epochs": float(long.mean()),
        },
    )


def measure_gain(table: pd.DataFrame, p: FocalOnToxicityParameters) -> Measurement:
    """F2b: share of the loss in the hardest 5 % at the end, focal loss less cross-entropy, paired over seeds."""
    gain = paired_interval(at_end(table, HARD, "loss", p.gamma), at_end(table, HARD, "loss", 0.0))
    pulls = [at_end(table, HARD, "encoder", gamma).mean() for gamma in (p.gamma, 0.0)]
    unit = "share of the loss in the hardest 5 % at the end, focal loss - cross-entropy"
    limits = {"gain in the encoder's gradient": float(pulls[0] - pulls[1])}
    return Measurement.of(gain, unit, limits=limits)


def measure_minority(table: pd.DataFrame, p: FocalOnToxicityParameters) -> Measurement:
    """F2c: toxic comments' share of the gradient on the logits at the end, focal less cross-entropy, paired."""
    gain = paired_interval(at_end(table, TOXIC, "logits", p.gamma), at_end(table, TOXIC, "logits", 0.0))
    unit = "toxic comments' share of the gradient on the logits at the end, focal loss - cross-entropy"
    return Measurement.of(gain, unit, predicted=0.0)


def given_model(looks: pd.DataFrame, p: FocalOnToxicityParameters) -> pd.DataFrame:
    """The shares that every alpha and gamma would give one and the same model, cross-entropy's half-way through.

    Measured with `focal_loss` and autograd on the model's logits. Predicted: for the toxic comments, alpha = 1/2's
    share with its odds times alpha / (1 - alpha); for the hardest, the closed form. Columns: seed, alpha, gamma, group,
    measure, share, predicted.
    """
    chosen = looks[(looks["condition"] == AS_THEY_ARE) & (looks["gamma"] == 0) & (looks["alpha"] == 0.5)]
    rows: list[dict[str, object]] = []
    for seed, look in chosen[(chosen["progress"] == 0.5) & ~chosen["dropout"]].groupby("seed"):
        labels = torch.tensor(look["label"].to_numpy())
        margin = torch.tensor(look["margin"].to_numpy())
        logits = torch.zeros(len(margin), 2, dtype=torch.float64).scatter(1, labels[:, None], margin[:, None])
        for gamma in sorted({*p.gammas, *p.losses}):
            for alpha in sorted({*p.alphas, 0.5}):
                settings = TrainingSettings(gamma=gamma, alpha=alpha)
                seen = look.assign(**comment_losses(logits, labels, settings), encoder=np.nan)
                about = {"seed": seed, "alpha": alpha, "gamma": gamma}
                rows += [{**about, **row} for row in _shares(seen, gamma, alpha)]
    table = pd.DataFrame(rows).drop(columns=["rows", "right"])
    even = table[table["alpha"] == 0.5].set_index(["seed", "gamma", "group", "measure"])["share"]
    toxic = table["group"] == TOXIC
    keys = pd.MultiIndex.from_frame(table.loc[toxic, ["seed", "gamma", "group", "measure"]])
    base, alphas = even.loc[keys].to_numpy(), table.loc[toxic, "alpha"].to_numpy()
    table.loc[toxic, "predicted"] = [float(theory.weighted_share(s, a)) for s, a in zip(base, alphas, strict=True)]
    return table


def over_seeds(given: pd.DataFrame) -> pd.DataFrame:
    """`given_model`'s shares, mean over seeds."""
    return given.groupby(["group", "measure", "gamma", "alpha"])[["share", "predicted"]].mean().reset_index()


def trained_grid(table: pd.DataFrame) -> pd.DataFrame:
    """Shares at the end of models trained each with its own alpha and gamma, mean over seeds; and how many seeds."""
    chosen = table[(table["condition"] == AS_THEY_ARE) & (table["progress"] == 1) & ~table["dropout"]]
    by = ["group", "measure", "alpha", "gamma"]
    found = chosen.groupby(by)["share"].agg(["mean", "count"]).reset_index()
    return found.rename(columns={"mean": "share", "count": "seeds"})


def calls(jobs: Sequence[ToxicityJob], paths: Sequence[Path]) -> pd.DataFrame:
    """What alpha and gamma did to the development comments at the end: called toxic, toxic ones found, macro-F1.

    Means over seeds, of the models trained on the comments as they are.
    """
    rows = []
    for job, path in zip(jobs, paths, strict=True):
        last = max(job_metadata(path)["dev"], key=lambda score: score["progress"])
        alpha = 0.5 if job.settings.alpha is None else job.settings.alpha
        if job.condition == AS_THEY_ARE:
            rows.append({"alpha": alpha, "gamma": job.settings.gamma, **last})
    names = {"called_toxic": "share called toxic", "found_toxic": "share of the toxic ones found"}
    grouped = pd.DataFrame(rows).groupby(["gamma", "alpha"])
    found = grouped[[*names, "macro_f1"]].mean().assign(seeds=grouped.size())
    return found.rename(columns=names).reset_index()


def measure_alpha(given: pd.DataFrame, trained: pd.DataFrame, p: FocalOnToxicityParameters) -> Measurement:
    """F3: change of the toxic share's odds over alpha / (1 - alpha) for a given model, and what is left in training."""
    toxic = given[given["group"] == TOXIC]
    even = toxic[toxic["alpha"] == 0.5].set_index(["seed", "gamma", "measure"])["share"]
    other = toxic[toxic["alpha"] != 0.5]
    base = even.loc[pd.MultiIndex.from_frame(other[["seed", "gamma", "measure"]])].to_numpy()
    ratio = logit(other["share"]) - logit(base) - logit(other["alpha"])
    estimate = mean_interval(np.exp(ratio.groupby(other["seed"]).mean()))
    ends = trained[(trained["group"] == TOXIC) & (trained["measure"] == "logits") & (trained["gamma"] == p.gamma)]
    reached = dict(zip(ends["alpha"], logit(ends["share"]), strict=True))
    low, high = min(p.alphas), max(p.alphas)
    left = (reached[high] - reached[low]) / (logit(high) - logit(low))
    unit = "change of the odds of the toxic comments' share / (alpha / (1 - alpha)), for a given model"
    limits = {"share of the change that is left after training with alpha": float(left)}
    return Measurement.of(estimate, unit, predicted=1.0, limits=limits)


def measure_gamma(given: pd.DataFrame, table: pd.DataFrame, p: FocalOnToxicityParameters) -> Measurement:
    """F3a: what the hardest 5 % gain of the loss from gamma, less the spread over alpha, for a given model."""
    hard = given[(given["group"] == HARD) & (given["measure"] == "loss")]
    even = hard[hard["alpha"] == 0.5].pivot(index="seed", columns="gamma", values="share")
    over_alpha = hard[hard["gamma"] == p.gamma].groupby("seed")["share"]
    estimate = paired_interval(even[p.gamma] - even[0.0], over_alpha.max() - over_alpha.min())
    trained = measure_gain(table, p).measured
    unit = "gain of the hardest 5 % from gamma - spread over alpha, share of the loss"
    limits = {"gain from gamma in models trained with it": trained}
    return Measurement.of(estimate, unit, limits=limits)
