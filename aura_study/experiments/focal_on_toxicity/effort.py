"""Who gets the effort: shares of loss and gradients that the hardest 5 % and the toxic comments carry (F2, F3)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.special import logit

from aura_study.claims import Measurement
from aura_study.claims.notebooks.focal_on_toxicity import LEARNED_TOXICITY
from aura_study.claims.statistics.intervals import Estimate, intervals, mean_interval, paired_interval
from aura_study.experiments.focal_on_toxicity.adequacy import margin_of
from aura_study.experiments.focal_on_toxicity.parameters import AS_THEY_ARE, FocalOnToxicityParameters
from aura_study.experiments.focal_on_toxicity.trainings import ToxicityJob, comment_losses
from aura_study.runs.jobs import job_metadata
from aura_study.theory import focal as theory
from aura_study.training.loop import TrainingSettings

HARD, TOXIC = "hardest 5 %", "toxic"
MEASURES = {"loss": "loss", "logits": "pull", "encoder": "encoder"}
"""Name of each kind of effort, and the column that holds it per comment."""
KEYS = ["condition", "gamma", "alpha", "seed", "epochs", "step", "end", "held_out"]


def load_looks(jobs: Sequence[ToxicityJob], paths: Sequence[Path]) -> pd.DataFrame:
    """What several jobs kept (`Watcher.table`), with what they were and how far they had come.

    Adds condition, noise, gamma, alpha (1/2 if none), seed, epochs, end (the step at which training had ended) and
    seen_to_end.
    """
    frames = []
    for job, path in zip(jobs, paths, strict=True):
        settings, about = job.settings, job_metadata(path)
        frame = pd.read_parquet(path).assign(condition=job.condition, noise=job.noise, gamma=settings.gamma)
        frame = frame.assign(alpha=0.5 if settings.alpha is None else settings.alpha, seed=settings.seed)
        frame["epochs"] = frame["step"] * job.batch_size / about["comments"]["count"]
        frames.append(frame.assign(end=about["end"], seen_to_end=about["seen_to_end"]))
    return pd.concat(frames, ignore_index=True)


def efforts(look: pd.DataFrame, gamma: float, alpha: float) -> pd.DataFrame:
    """``look`` with the loss and the pull that `focal_loss` and autograd give each comment at its margin."""
    labels, margin = torch.tensor(look["label"].to_numpy()), torch.tensor(look["margin"].to_numpy())
    logits = torch.zeros(len(margin), 2, dtype=torch.float64).scatter(1, labels[:, None], margin[:, None])
    return look.assign(**comment_losses(logits, labels, TrainingSettings(gamma=gamma, alpha=alpha)))


def shares(looks: pd.DataFrame) -> pd.DataFrame:
    """Share of each kind of effort that each group carries, at every look of every run, among training and held-out.

    Columns: those of `KEYS`, group, measure, share.
    """
    rows: list[dict[str, object]] = []
    for key, look in looks.groupby(KEYS, sort=False):
        about: dict[str, Any] = dict(zip(KEYS, key, strict=True))
        rows += [{**about, **row} for row in _shares(efforts(look, about["gamma"], about["alpha"]))]
    return pd.DataFrame(rows)


def _shares(look: pd.DataFrame) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for group, members in _groups(look).items():
        for measure, column in MEASURES.items():
            effort, taken = look[column].to_numpy(), look[column].notna().to_numpy()
            weight = look["stands_for"].to_numpy()[taken] if measure == "encoder" else 1.0
            if taken.any():
                found = theory.share_of(effort[taken] * weight, members[taken])
                rows.append({"group": group, "measure": measure, "share": found})
    return rows


def _groups(look: pd.DataFrame) -> dict[str, np.ndarray]:
    return {HARD: theory.hardest(look["margin"]), TOXIC: look["label"].to_numpy() == 1}


def bands(table: pd.DataFrame, by: Sequence[str], column: str) -> pd.DataFrame:
    """`intervals` as figures draw them: the bounds of one seed are NaN."""
    return intervals(table, by, column).replace([-np.inf, np.inf], np.nan)


def endings(looks: pd.DataFrame) -> pd.DataFrame:
    """Where each training ended, in epochs, whether it was seen to, and what the model then gets right.

    Columns: condition, gamma, alpha, seed, epochs, seen_to_end, right, right of held-out.
    """
    last = looks[looks["step"] == looks["end"]]
    by = ["condition", "gamma", "alpha", "seed", "epochs", "seen_to_end"]
    right = (last["margin"] > 0).groupby([last[name] for name in [*by, "held_out"]], sort=False).mean().unstack()
    return right.rename(columns={False: "right", True: "right of held-out"}).rename_axis(columns=None).reset_index()


def effort_table(table: pd.DataFrame, p: FocalOnToxicityParameters) -> pd.DataFrame:
    """Mean shares over seeds by condition, comments, group, measure and loss: at the start, over training, at the end.

    Over training and over its second half: looks after the start, up to the end. The end with its interval.
    """
    chosen = table[(table["alpha"] == 0.5) & table["gamma"].isin(p.losses)]
    by = ["condition", "held_out", "group", "measure", "gamma"]
    parts = {
        "start": chosen["step"] == 0,
        "over training": chosen["step"].between(1, chosen["end"]),
        "second half": chosen["step"].between(chosen["end"] / 2, chosen["end"]),
    }
    means = {
        name: chosen[part].groupby([*by, "seed"])["share"].mean().groupby(by).mean() for name, part in parts.items()
    }
    ends = bands(chosen[chosen["step"] == chosen["end"]], by, "share").set_index(by).rename(columns={"mean": "end"})
    return pd.DataFrame(means).join(ends).reset_index().sort_values(by, ignore_index=True)


def at_end(
    table: pd.DataFrame,
    group: str,
    measure: str,
    gamma: float,
    condition: str = AS_THEY_ARE,
    held_out: bool = False,
) -> pd.Series:
    """Shares at the end of training without alpha, by seed."""
    chosen = _of(table, group, measure, gamma, condition, held_out)
    return chosen[chosen["step"] == chosen["end"]].set_index("seed")["share"].sort_index()


def over_second_half(table: pd.DataFrame, gamma: float, condition: str = AS_THEY_ARE, alpha: float = 0.5) -> pd.Series:
    """Toxic training comments' share of the gradient on the logits, mean over training's second half, by seed.

    A bias that swings about its rest swings these shares, so that one look says little.
    """
    chosen = _of(table, TOXIC, "logits", gamma, condition, False, alpha)
    late = chosen[chosen["step"].between(chosen["end"] / 2, chosen["end"])]
    return late.groupby("seed")["share"].mean()


def _of(
    table: pd.DataFrame,
    group: str,
    measure: str,
    gamma: float,
    condition: str,
    held_out: bool,
    alpha: float = 0.5,
) -> pd.DataFrame:
    chosen = table[(table["condition"] == condition) & (table["alpha"] == alpha) & (table["gamma"] == gamma)]
    chosen = chosen[(chosen["group"] == group) & (chosen["measure"] == measure)]
    return chosen[chosen["held_out"] == held_out]


def from_rarity_alone(gamma: float, toxic: float) -> float:
    """Share of the loss in the hardest 5 % if a model knows no more than what share of the comments is ``toxic``.

    Of a bias at rest (`theory.rest`): the toxic comments are then the hardest, all alike.
    """
    rest = theory.rest(toxic, gamma)
    parts = {"toxic": toxic * theory.loss(rest, gamma), "other": (1 - toxic) * theory.loss(-rest, gamma)}
    hard = min(0.05 / toxic, 1.0) * parts["toxic"] + max(0.05 - toxic, 0.0) / (1 - toxic) * parts["other"]
    return float(hard / sum(parts.values()))


def rarity_table(p: FocalOnToxicityParameters) -> pd.DataFrame:
    """`from_rarity_alone` on the guide's set, for each gamma."""
    gammas = sorted({*p.gammas, *p.losses})
    name = "share of the loss in the hardest 5 %"
    return pd.DataFrame({"gamma": gammas, name: [from_rarity_alone(gamma, p.toxic_share) for gamma in gammas]})


def measure_hard_share(
    table: pd.DataFrame, ends: pd.DataFrame, learned: pd.DataFrame, p: FocalOnToxicityParameters, condition: str
) -> Measurement:
    """F2 and F2a: share of the loss in the hardest 5 % at the end of training with focal loss."""
    others = {
        "of the gradient on the logits": at_end(table, HARD, "logits", p.gamma, condition),
        "of the gradient on the encoder": at_end(table, HARD, "encoder", p.gamma, condition),
        "of held-out comments": at_end(table, HARD, "loss", p.gamma, condition, held_out=True),
    }
    means = {name: float(share.mean()) for name, share in others.items()}
    curve = _of(table, HARD, "loss", p.gamma, condition, held_out=False)
    whole = curve[curve["step"].between(1, curve["end"])].groupby("seed")["share"].mean()
    runs = ends[(ends["condition"] == condition) & (ends["gamma"] == p.gamma) & (ends["alpha"] == 0.5)]
    names = {p.gamma: "of a model that knows only how rare toxic is", 0.0: "the same under cross-entropy"}
    rarity = {name: from_rarity_alone(gamma, p.toxic_share) for gamma, name in names.items() if condition == p.rare}
    return Measurement.of(
        mean_interval(at_end(table, HARD, "loss", p.gamma, condition)),
        "share of the loss in the hardest 5 % at the end of training",
        limits={
            "least share at the end: gradients on logits and encoder, and the loss of held-out comments": min(
                means.values()
            ),
            **means,
            "of the loss, mean over training": float(whole.mean()),
            "of the loss under cross-entropy": float(at_end(table, HARD, "loss", 0.0, condition).mean()),
            **rarity,
            "share of the comments that the model gets right": float(runs["right"].mean()),
            "runs whose held-out loss was not seen to stop falling": float((~runs["seen_to_end"]).sum()),
            LEARNED_TOXICITY.quantity: margin_of(learned, condition),
        },
    )


def measure_gain(
    table: pd.DataFrame, learned: pd.DataFrame, p: FocalOnToxicityParameters, condition: str
) -> Measurement:
    """F2b and F2d: share of the loss in the hardest 5 % at the end, focal loss less cross-entropy, paired."""

    def gain(measure: str, held_out: bool = False) -> Estimate:
        focal, plain = (at_end(table, HARD, measure, gamma, condition, held_out) for gamma in (p.gamma, 0.0))
        return paired_interval(focal, plain)

    unit = "share of the loss in the hardest 5 % at the end, focal loss - cross-entropy"
    limits = {
        "gain in the encoder's gradient": gain("encoder").mean,
        "gain on held-out comments": gain("loss", held_out=True).mean,
        LEARNED_TOXICITY.quantity: margin_of(learned, condition),
    }
    return Measurement.of(gain("loss"), unit, limits=limits)


def measure_minority(
    table: pd.DataFrame, learned: pd.DataFrame, p: FocalOnToxicityParameters, condition: str
) -> Measurement:
    """F2c and F2e: toxic comments' share of the gradient on the logits, focal loss less cross-entropy, paired."""
    focal, plain = (over_second_half(table, gamma, condition) for gamma in (p.gamma, 0.0))
    unit = "toxic comments' share of the gradient on the logits, second half of training, focal loss - cross-entropy"
    limits = {
        "share under focal loss": float(focal.mean()),
        "share under cross-entropy": float(plain.mean()),
        LEARNED_TOXICITY.quantity: margin_of(learned, condition),
    }
    return Measurement.of(paired_interval(focal, plain), unit, predicted=0.0, limits=limits)


def given_model(looks: pd.DataFrame, p: FocalOnToxicityParameters) -> pd.DataFrame:
    """The shares that every alpha and gamma would give one and the same model, cross-entropy's at its end.

    Measured with `focal_loss` and autograd on the model's margins. Predicted: for the toxic comments, alpha = 1/2's
    share with its odds times alpha / (1 - alpha); for the hardest, the closed form. Columns: seed, alpha, gamma, group,
    measure, share, predicted.
    """
    chosen = looks[(looks["condition"] == AS_THEY_ARE) & (looks["gamma"] == 0) & (looks["alpha"] == 0.5)]
    chosen = chosen[(chosen["step"] == chosen["end"]) & ~chosen["held_out"]]
    rows: list[dict[str, object]] = []
    for seed, look in chosen.groupby("seed"):
        for gamma in sorted({*p.gammas, *p.losses}):
            for alpha in sorted({*p.alphas, 0.5}):
                about = {"seed": seed, "alpha": alpha, "gamma": gamma}
                seen = efforts(look, gamma, alpha).assign(encoder=np.nan)
                closed = _closed_forms(look, gamma, alpha)
                rows += [{**about, **row, "predicted": closed[row["group"], row["measure"]]} for row in _shares(seen)]
    table = pd.DataFrame(rows)
    even = table[table["alpha"] == 0.5].set_index(["seed", "gamma", "group", "measure"])["share"]
    toxic = table["group"] == TOXIC
    keys = pd.MultiIndex.from_frame(table.loc[toxic, ["seed", "gamma", "group", "measure"]])
    base, alphas = even.loc[keys].to_numpy(), table.loc[toxic, "alpha"].to_numpy()
    table.loc[toxic, "predicted"] = [float(theory.weighted_share(s, a)) for s, a in zip(base, alphas, strict=True)]
    return table


def _closed_forms(look: pd.DataFrame, gamma: float, alpha: float) -> dict[tuple[object, object], float]:
    margin = look["margin"].to_numpy()
    weight = np.where(look["label"] == 1, alpha, 1 - alpha)
    closed = {"loss": weight * theory.loss(margin, gamma), "logits": weight * theory.pull(margin, gamma)}
    groups = _groups(look).items()
    return {(group, name): theory.share_of(of, members) for group, members in groups for name, of in closed.items()}


def over_seeds(given: pd.DataFrame) -> pd.DataFrame:
    """`given_model`'s shares, mean over seeds."""
    return given.groupby(["group", "measure", "gamma", "alpha"])[["share", "predicted"]].mean().reset_index()


def trained_grid(table: pd.DataFrame, p: FocalOnToxicityParameters) -> pd.DataFrame:
    """Of models trained each with its own alpha and gamma, with intervals over seeds.

    Toxic comments' share of the gradient on the logits over the second half of training, by alpha; the hardest 5 %'s
    share of the loss at the end, by gamma. Columns: group, measure, alpha, gamma, mean, low, high, seeds.
    """
    rows = []
    for alpha in sorted({*p.alphas, 0.5}):
        toxic = mean_interval(over_second_half(table, p.gamma, alpha=alpha))
        rows.append({"group": TOXIC, "measure": "logits", "alpha": alpha, "gamma": p.gamma, **toxic.row()})
    for gamma in p.losses:
        hard = mean_interval(at_end(table, HARD, "loss", gamma))
        rows.append({"group": HARD, "measure": "loss", "alpha": 0.5, "gamma": gamma, **hard.row()})
    return pd.DataFrame(rows).replace([-np.inf, np.inf], np.nan)


def calls(looks: pd.DataFrame) -> pd.DataFrame:
    """What alpha and gamma did to the held-out comments at the end: called toxic, toxic ones found; seeds' means."""
    last = looks[(looks["condition"] == AS_THEY_ARE) & looks["held_out"] & (looks["step"] == looks["end"])]
    toxic, right = last["label"] == 1, last["margin"] > 0
    called = last.assign(called=toxic == right, found=np.where(toxic, right, np.nan))
    each = called.groupby(["gamma", "alpha", "seed"])[["called", "found"]].mean()
    means = each.groupby(["gamma", "alpha"]).mean().assign(seeds=each.groupby(["gamma", "alpha"]).size())
    return means.rename(
        columns={"called": "share called toxic", "found": "share of the toxic ones found"}
    ).reset_index()


def alpha_left(table: pd.DataFrame, p: FocalOnToxicityParameters) -> pd.Series:
    """Share of the change of the log odds, alpha's largest against its smallest, that is left in training, by seed."""
    low, high = min(p.alphas), max(p.alphas)
    reached = [logit(over_second_half(table, p.gamma, alpha=alpha)) for alpha in (low, high)]
    return (reached[1] - reached[0]) / (logit(high) - logit(low))


def measure_alpha(given: pd.DataFrame, table: pd.DataFrame, p: FocalOnToxicityParameters) -> Measurement:
    """F3: change of the toxic share's odds over alpha / (1 - alpha) for a given model."""
    toxic = given[given["group"] == TOXIC]
    even = toxic[toxic["alpha"] == 0.5].set_index(["seed", "gamma", "measure"])["share"]
    other = toxic[toxic["alpha"] != 0.5]
    base = even.loc[pd.MultiIndex.from_frame(other[["seed", "gamma", "measure"]])].to_numpy()
    ratio = logit(other["share"]) - logit(base) - logit(other["alpha"])
    estimate = mean_interval(np.exp(ratio.groupby(other["seed"]).mean()))
    unit = "change of the odds of the toxic comments' share / (alpha / (1 - alpha)), for a given model"
    limits = {"share of the change that is left after training with alpha": float(alpha_left(table, p).mean())}
    return Measurement.of(estimate, unit, predicted=1.0, limits=limits)


def measure_alpha_left(table: pd.DataFrame, learned: pd.DataFrame, p: FocalOnToxicityParameters) -> Measurement:
    """F3b: share of alpha's change of the log odds that is left over the second half of training."""
    unit = "log odds of the toxic comments' share of the gradient, change between the alphas / that in a given model"
    limits = {LEARNED_TOXICITY.quantity: margin_of(learned, AS_THEY_ARE)}
    return Measurement.of(mean_interval(alpha_left(table, p)), unit, predicted=0.0, limits=limits)


def measure_gamma(
    given: pd.DataFrame, table: pd.DataFrame, learned: pd.DataFrame, p: FocalOnToxicityParameters
) -> Measurement:
    """F3a: what the hardest 5 % gain of the loss from gamma, less the spread over alpha, for a given model."""
    hard = given[(given["group"] == HARD) & (given["measure"] == "loss")]
    even = hard[hard["alpha"] == 0.5].pivot(index="seed", columns="gamma", values="share")
    over_alpha = hard[hard["gamma"] == p.gamma].groupby("seed")["share"]
    estimate = paired_interval(even[p.gamma] - even[0.0], over_alpha.max() - over_alpha.min())
    unit = "gain of the hardest 5 % from gamma - spread over alpha, share of the loss"
    limits = {
        "gain from gamma in models trained with it": measure_gain(table, learned, p, AS_THEY_ARE).measured,
        LEARNED_TOXICITY.quantity: margin_of(learned, AS_THEY_ARE),
    }
    return Measurement.of(estimate, unit, limits=limits)
