"""Trainings of the small model as V11.3 to V11.6 balanced theirs (claims A3, A3a, A5 and A5a)."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from aura_study.claims import Measurement
from aura_study.claims.notebooks.aura_later_logs import DECADES, SCALE
from aura_study.claims.statistics.intervals import mean_interval, ratio_interval, seeds, share_interval
from aura_study.experiments.aura_later_logs.balancers import (
    AuraGradNorm,
    Scales,
    gradient_norms,
    log_losses,
    scaled_total,
)
from aura_study.experiments.aura_later_logs.logs import SCALE_CLAMP, weights
from aura_study.experiments.aura_later_logs.parameters import AuraLaterLogsParameters
from aura_study.experiments.aura_later_logs.small_model import ROWS, Batch, SmallModel, batches

EPOCHS, ACCUMULATION = 10, 4
SOLVED = "reporting"
NO_PULL = "in some seed no batch had a gradient of reporting"
ALPHAS = {"V11.3": 1.5, "V11.4": 1.0}
"""GradNorm's alpha, by version."""
Total = Callable[[dict[str, Tensor], Tensor], Tensor]
"""From the present tasks' losses and the shared representation to what is descended."""


class Training:
    """The small model in training: AdamW, clipped gradients, four batches a step, the encoder frozen in epoch 1."""

    def __init__(self, p: AuraLaterLogsParameters, seed: int) -> None:
        torch.manual_seed(seed)
        self.model = SmallModel()
        groups = [
            {"params": self.model.encoder.parameters(), "lr": p.rate / 5},
            {"params": self.model.heads.parameters(), "lr": p.rate},
        ]
        self.optimizer = torch.optim.AdamW(groups, weight_decay=0.01)
        self._batches = batches(p.batches, seed)
        self._epoch = p.batches // EPOCHS

    def epochs(self) -> Iterator[tuple[int, Iterator[Batch]]]:
        """Number and batches of each epoch; the encoder is frozen in the first."""
        for epoch in range(1, EPOCHS + 1):
            self.model.encoder.requires_grad_(epoch > 1)
            yield epoch, (next(self._batches) for _ in range(self._epoch))

    def descend(self, index: int, total: Tensor) -> None:
        """Backward pass of one batch, and an optimiser step after every fourth."""
        (total / ACCUMULATION).backward()
        if (index + 1) % ACCUMULATION == 0:
            nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimizer.step()
            self.optimizer.zero_grad()

    def parameters(self) -> Tensor:
        """All of the model's parameters as one vector."""
        return nn.utils.parameters_to_vector(self.model.parameters()).detach()


@dataclass(frozen=True)
class Scaled:
    """One training by DB-MTL.

    Attributes:
        end: the model's parameters after it.
        epochs: by epoch and version: mean ``scale`` over all batches, 1 without the task, and mean ``pull``, scale
            times norm on the shared representation, over the batches that hold it; V11.6's scales are those that it
            would have given at V11.5's states. Also ``log_loss``, and the ``share`` of the batches without gradient.
    """

    end: Tensor
    epochs: pd.DataFrame


def scaled_training(p: AuraLaterLogsParameters, seed: int, *, exploding: bool) -> Scaled:
    """V11.5's training; if not ``exploding``, with scale 1 for every term whose gradient is exactly 0."""
    training = Training(p, seed)
    ways = {"V11.5": Scales(), "V11.6": Scales(clamp=SCALE_CLAMP, memory=0.9)}
    rows = []
    for epoch, drawn in training.epochs():
        seen: dict[str, list[float]] = defaultdict(list)
        for index, batch in enumerate(drawn):
            shared, losses = training.model(batch)
            logs = log_losses(losses)
            norms = gradient_norms(logs, shared) if shared.requires_grad and epoch > 1 else dict.fromkeys(logs, 1.0)
            if epoch == 1:
                used = dict.fromkeys(logs, 1.0)
            else:
                scales = {version: way(norms) for version, way in ways.items()}
                used = scales["V11.5"] if exploding else _tamed(scales["V11.5"], norms)
                for version, by_task in scales.items():
                    seen[f"scale {version}"].append(by_task.get(SOLVED, 1.0))
                    if SOLVED in norms:
                        seen[f"pull {version}"].append(by_task[SOLVED] * norms[SOLVED])
                if SOLVED in norms:
                    seen["log_loss"].append(logs[SOLVED].item())
                    seen["still"].append(float(norms[SOLVED] == 0))
            training.descend(index, scaled_total(logs, used))
        if epoch > 1:
            rows += [
                {
                    "epoch": epoch,
                    "version": version,
                    "scale": float(np.mean(seen[f"scale {version}"])),
                    "pull": float(np.mean(seen[f"pull {version}"])),
                    "log_loss": float(np.mean(seen["log_loss"])),
                    "share": float(np.mean(seen["still"])),
                }
                for version in ways
            ]
    return Scaled(training.parameters(), pd.DataFrame(rows).assign(seed=seed))


def _tamed(scales: dict[str, float], norms: dict[str, float]) -> dict[str, float]:
    return {name: scale if norms[name] else 1.0 for name, scale in scales.items()}


def scaled_trainings(p: AuraLaterLogsParameters) -> tuple[pd.DataFrame, pd.DataFrame]:
    """V11.5's training with and without the explosion, for every seed.

    Returns:
        One row per seed: ``seed`` and the largest absolute ``difference`` of a parameter at the end; and the epochs of
        the exploding trainings, see `Scaled`.
    """
    ends, epochs = [], []
    for seed in seeds(p.seeds):
        exploded, tame = (scaled_training(p, seed, exploding=exploding) for exploding in (True, False))
        ends.append({"seed": seed, "difference": float((exploded.end - tame.end).abs().max())})
        epochs.append(exploded.epochs)
    return pd.DataFrame(ends), pd.concat(epochs, ignore_index=True)


def measure_end(ends: pd.DataFrame, epochs: pd.DataFrame) -> Measurement:
    """A3: largest difference of a parameter, over seeds."""
    limits = {SCALE: _least_peak(epochs)}
    return Measurement.of(mean_interval(ends["difference"]), "largest difference of a parameter", limits=limits)


def measure_pull(epochs: pd.DataFrame) -> Measurement:
    """A3a: reporting's mean pull on the shared representation, V11.6's over V11.5's at the same states, over seeds."""
    pulls = epochs.pivot_table(index="seed", columns="version", values="pull", aggfunc="mean")
    unit = "pull of reporting, V11.6 over V11.5"
    limits = {SCALE: _least_peak(epochs)}
    if not (pulls > 0).all().all():
        return Measurement(np.nan, np.nan, np.nan, unit, limits=limits, void=NO_PULL)
    return Measurement.of(ratio_interval(pulls["V11.6"], pulls["V11.5"]), unit, limits=limits, logarithmic=True)


def _least_peak(epochs: pd.DataFrame) -> float:
    """Least of the seeds' largest mean scales of an epoch under V11.5."""
    return float(epochs.query("version == 'V11.5'").groupby("seed")["scale"].max().min())


def gradnorm_training(p: AuraLaterLogsParameters, seed: int, alpha: float) -> pd.DataFrame:
    """GradNorm's weights after every epoch of one training, as AURA steps them, and the epoch's mean losses.

    Columns: epoch, task, weight, loss.
    """
    training = Training(p, seed)
    balancer: AuraGradNorm | None = None
    rows = []
    for epoch, drawn in training.epochs():
        seen: dict[str, list[float]] = defaultdict(list)
        for index, batch in enumerate(drawn):
            shared, losses = training.model(batch)
            for task, loss in losses.items():
                seen[task].append(loss.item())
            if balancer is None:
                training.descend(index, torch.stack(list(losses.values())).sum())
                continue
            if (index + 1) % ACCUMULATION == 0:
                balancer.step(losses, shared)
            training.descend(index, balancer.total(losses))
        means = {task: float(np.mean(seen[task])) for task in ROWS}
        balancer = balancer or AuraGradNorm(means, alpha)
        rows += [{"epoch": epoch, "task": task, "weight": balancer.weights[task], "loss": means[task]} for task in ROWS]
    return pd.DataFrame(rows)


def gradnorm_trainings(p: AuraLaterLogsParameters) -> pd.DataFrame:
    """`gradnorm_training` at V11.3's and V11.4's alpha for every seed, with the columns version and seed."""
    return pd.concat(
        [
            gradnorm_training(p, seed, alpha).assign(version=version, seed=seed)
            for version, alpha in ALPHAS.items()
            for seed in seeds(p.seeds)
        ],
        ignore_index=True,
    )


def directions(runs: pd.DataFrame) -> pd.DataFrame:
    """Which way each task's weight has gone by the end, logged and simulated; one row per version and task.

    Columns: ``logged``, the last weight; ``simulated``, the seeds' geometric mean of it; ``up``, the share of seeds
    that end above 1, where all begin; ``same``, whether most of the seeds end on the log's side.
    """
    logged = weights()
    rows = []
    for (version, task), run in _last(runs).groupby(["version", "task"], sort=False):
        last = logged.query("version == @version and task == @task")["weight"].iloc[-1]
        up = float((run["weight"] > 1).mean())
        mean = float(np.exp(np.log(run["weight"]).mean()))
        same = up > 0.5 if last > 1 else up < 0.5
        rows.append({"version": version, "task": task, "logged": last, "simulated": mean, "up": up, "same": same})
    return pd.DataFrame(rows)


def measure_directions(table: pd.DataFrame, runs: pd.DataFrame) -> Measurement:
    """A5: of the eight directions, how many the simulation shows."""
    share = share_interval(int(table["same"].sum()), len(table))
    return Measurement.of(share, "share of directions as logged", limits=_decades(runs))


def measure_alpha(runs: pd.DataFrame) -> Measurement:
    """A5a: the solved task's last weight at alpha 1 over that at 1.5, over seeds."""
    ends = _last(runs).query("task == @SOLVED").pivot_table(index="seed", columns="version", values="weight")
    unit = "last weight of reporting, alpha 1 over alpha 1.5"
    return Measurement.of(ratio_interval(ends["V11.4"], ends["V11.3"]), unit, limits=_decades(runs), logarithmic=True)


def _decades(runs: pd.DataFrame) -> dict[str, float]:
    """How far the solved task's loss, after the frozen epoch, lies below that of an undecided row, least over all."""
    losses = runs.query("task == @SOLVED and epoch > 1").groupby(["version", "seed"])["loss"].mean()
    return {DECADES: float(np.log10(np.log(2) / losses).min())}


def _last(runs: pd.DataFrame) -> pd.DataFrame:
    return runs[runs["epoch"] == runs["epoch"].max()]
