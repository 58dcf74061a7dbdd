"""A present, solved task without a network: exact zeros, times to the floor, Kendall's sigma (claims A2, A2a, A7)."""

import math

import numpy as np
import pandas as pd
import torch
from torch.nn import functional as F

from aura_study.claims import Measurement
from aura_study.claims.notebooks.aura_later_logs import SCALE_OF_BATCH
from aura_study.experiments.aura_later_logs.balancers import FLOOR, Scales, gradient_norms, log_losses
from aura_study.experiments.aura_later_logs.parameters import AuraLaterLogsParameters
from aura_study.experiments.aura_later_logs.small_model import SmallModel, batches
from aura_study.theory.solved import SolvedFlow, floor_logit, log_focal, time_to

RATES = ((0.01, 0.01), (0.01, 0.04), (0.05, 0.02), (0.002, 0.05))
"""Of s and of the logit."""
DOORS = {"positive": 24 * math.log(2), "negative": 21 * math.log(2)}
"""Logit from which, in theory, single precision has no gradient, by the label of the row."""


def exploded_batches(count: int = 8) -> pd.DataFrame:
    """What the scaled log loss of reporting leaves on the small model's parameters once every row of it is solved.

    One row per batch: its ``scale`` as V11.5 has it, and the largest absolute ``gradient`` of scale times log loss.
    """
    torch.manual_seed(0)
    model = SmallModel()
    with torch.no_grad():
        for weight in model.heads["reporting"].parameters():
            weight.mul_(1e4)  # far beyond the floor, for the labels that the model itself gives
    rows = []
    for batch in batches(40 * count, seed=0):
        if "reporting" not in batch or len(batch) < 2:
            continue
        held, _ = batch["reporting"]
        logits = model.heads["reporting"](torch.tanh(model.encoder(held)))
        if logits.abs().min() < 2 * floor_logit(FLOOR):
            continue
        shared, losses = model({**batch, "reporting": (held, (logits > 0).float())})
        logs = log_losses(losses)
        scale = Scales()(gradient_norms(logs, shared))["reporting"]
        model.zero_grad()
        (scale * logs["reporting"]).backward()
        left = [float(weight.grad.abs().max()) for weight in model.parameters() if weight.grad is not None]
        rows.append({"scale": scale, "log_loss": logs["reporting"].item(), "gradient": max(left)})
        if len(rows) == count:
            break
    return pd.DataFrame(rows)


def measure_gradient(table: pd.DataFrame) -> Measurement:
    """A2: the largest gradient entry over the batches."""
    limits = {SCALE_OF_BATCH: float(table["scale"].min())}
    return Measurement.over(table["gradient"], "largest gradient of the scaled term", limits=limits, measured=max)


def doors(step: float = 1e-3) -> pd.DataFrame:
    """Logit from which the gradient of the log of the clamped cross-entropy is exactly 0, by label, in float32.

    Columns: ``label``, ``logit`` (the first of all later ones that have none), ``predicted``, ``log_loss`` there.
    """
    logits = torch.arange(8, 20, step)
    rows = []
    for label, predicted in DOORS.items():
        sign = 1.0 if label == "positive" else -1.0
        at = (sign * logits).requires_grad_()
        losses = F.binary_cross_entropy_with_logits(at, torch.full_like(at, max(sign, 0.0)), reduction="none")
        logs = torch.log(losses.clamp(min=FLOOR))
        (slope,) = torch.autograd.grad(logs.sum(), at)
        first = int(torch.nonzero(slope).max()) + 1
        there = {"logit": logits[first].item(), "predicted": predicted, "log_loss": logs[first].item()}
        rows.append({"label": label, **there})
    return pd.DataFrame(rows)


def measure_doors(table: pd.DataFrame) -> Measurement:
    """A2a: where the gradient ends over where it was predicted to, for both labels."""
    return Measurement.over(table["logit"] / table["predicted"], "last logit with a gradient over the predicted", 1.0)


def times_to_the_floor() -> pd.DataFrame:
    """Time of a row from an even guess to the clamp's floor at rate 1, by what is descended.

    Columns: loss, gamma, floor_logit, on_loss, on_log, and under_kendall: on Kendall's term with s at rate 1 as well,
    from its fixed point, the loss taken for the exponential that it becomes.
    """
    rows = []
    for name, gamma in (("binary cross-entropy", 0.0), ("focal, gamma 1", 1.0), ("focal, gamma 2", 2.0)):
        end = floor_logit(FLOOR, gamma)
        first = float(np.exp(log_focal(0.0, gamma)))
        flow = SolvedFlow(1.0, (gamma + 1) ** 2, 0.5 * math.log(first), first)
        times = {"on_loss": time_to(0, end, gamma), "on_log": time_to(0, end, gamma, log=True)}
        times["under_kendall"] = flow.time_to(FLOOR)
        rows.append({"loss": name, "gamma": gamma, "floor_logit": end, **times})
    return pd.DataFrame(rows)


def descents(p: AuraLaterLogsParameters) -> pd.DataFrame:
    r"""Gradient descent on :math:`\tfrac12 e^{-2s}L + s` for a solved row's cross-entropy, and for an absent task.

    One row per pair of rates, task (``solved`` or ``absent``, unmasked) and kept step: ``step``, ``s``, ``ratio``
    (:math:`L/\sigma^2`, of the last loss for the absent one), ``theory`` (of s).
    """
    rates, logit_rates = np.array(RATES).T
    s, z, absent = (np.zeros(len(RATES)) for _ in range(3))
    frames = []
    every = p.flow_steps // 500
    first = float(np.log(2))
    for step in range(p.flow_steps + 1):
        loss = np.logaddexp(0, -z)
        if step % every == 0:
            kept = {"step": step, "rate": rates, "logit_rate": logit_rates}
            flow = [float(SolvedFlow(a, b, 0.0, first).sigma(step)) for a, b in RATES]
            theory = {"solved": np.array(flow), "absent": -rates * step}
            frames.append(pd.DataFrame({**kept, "task": "solved", "s": s, "ratio": loss * np.exp(-2 * s)}))
            frames.append(pd.DataFrame({**kept, "task": "absent", "s": absent, "ratio": 0.0}))
            frames[-2]["theory"], frames[-1]["theory"] = theory["solved"], theory["absent"]
        weight = 0.5 * np.exp(-2 * s)
        slope = 1 / (1 + np.exp(z))  # of the cross-entropy
        s, z = s - rates * (1 - 2 * weight * loss), z + logit_rates * weight * slope
        absent = absent - rates
    return pd.concat(frames, ignore_index=True)


def speeds(table: pd.DataFrame) -> pd.DataFrame:
    """Fall of s per step over the second half, by pair of rates: rate, logit_rate, measured, predicted, of_phantom."""
    late = table[(table["task"] == "solved") & (table["step"] >= table["step"].max() / 2)]
    rows = []
    for (rate, logit_rate), path in late.groupby(["rate", "logit_rate"], sort=False):
        measured = float(-np.polyfit(path["step"], path["s"], 1)[0])
        predicted = SolvedFlow(rate, logit_rate).speed
        rows.append((rate, logit_rate, measured, predicted, measured / rate, float(path["ratio"].iloc[-1])))
    return pd.DataFrame(rows, columns=["rate", "logit_rate", "measured", "predicted", "of_phantom", "ratio"])


def measure_speeds(table: pd.DataFrame) -> Measurement:
    """A7: measured over predicted speed of s, over the pairs of rates."""
    return Measurement.over(table["measured"] / table["predicted"], "fall of log sigma over the predicted", 1.0)
