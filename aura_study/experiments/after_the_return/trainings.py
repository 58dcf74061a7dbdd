"""The return of an absent task on the AURA model (claims P6a and P7): SGD and AdamW, with and without clipping.

An *arm* is one optimiser with one setting of clipping. In each, V10.1 and V10.2 see the same batches with the same seed
through the same absence; V10.2 is V10.1's *twin*, what would have been with the mask. Theory predicts V10.1's sigma
from the twin's losses alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from aura_study.claims.statistics.intervals import seeds
from aura_study.experiments.after_the_return.parameters import ARMS, AfterTheReturnParameters, Arm
from aura_study.runs.jobs import job_metadata
from aura_study.theory.driven import driven_path
from aura_study.theory.forms import LOG_SIGMA
from aura_study.theory.optimizers import OPTIMIZERS, Optimizer
from aura_study.training.runs import train_jobs

FORM = LOG_SIGMA
IN_THEORY: Mapping[str, Optimizer] = {"adamw": OPTIMIZERS["Adam"], "sgd": OPTIMIZERS["SGD"]}
"""What theory calls the loop's optimisers; sigma's weight decay is off in these runs."""
TWINS = ("masked", "unmasked")


@dataclass(frozen=True)
class Run:
    """What tells a run from the others."""

    arm: Arm
    stretch: str
    policy: str
    seed: int


def plan(p: AfterTheReturnParameters) -> list[Run]:
    """Both policies in all four arms through the long absence, and without clipping through the short one."""
    return [
        Run(arm, stretch, policy, seed)
        for seed in seeds(p.seed_count)
        for stretch in ("long", "short")
        for arm in ARMS
        for policy in TWINS
        if stretch == "long" or not arm.clipped
    ]


def train_all(p: AfterTheReturnParameters, folder: Path) -> list[Path]:
    """Files of all runs of `plan`, trained where they are not there already."""
    jobs = [p.job(run.arm, run.stretch, run.policy, run.seed) for run in plan(p)]
    return train_jobs(jobs, folder, p.workers, "returns")


def load(p: AfterTheReturnParameters, paths: Sequence[Path]) -> pd.DataFrame:
    """Rows of all runs, with arm, optimizer, clipped, stretch, policy, seed, the twin's values, and theory.

    ``since``: steps since the return; ``proper_theta``: log sigma as the mask would have left it on the run's own
    losses; ``predicted_theta``: log sigma of the absent task, driven through the whole run by the twin's losses, so
    that for V10.1 no value of its own run is used.
    """
    frames = {run: pd.read_parquet(path) for run, path in zip(plan(p), paths, strict=True)}
    told = []
    for run, frame in frames.items():
        twin = frames[Run(run.arm, run.stretch, "masked", run.seed)]
        path = driven_path(
            FORM, 0.0, twin["loss"], p.lr_sigma, IN_THEORY[run.arm.optimizer], masked=run.policy == "masked"
        )
        told.append(
            frame.assign(
                arm=run.arm.name,
                optimizer=run.arm.optimizer,
                clipped=run.arm.clipped,
                stretch=run.stretch,
                policy=run.policy,
                seed=run.seed,
                since=frame["step"] - p.before - p.length(run.stretch)[0],
                proper_theta=FORM.at_weight(frame["proper_weight"].to_numpy()),
                predicted_theta=path[:-1],
                predicted_weight=FORM.weight(path[:-1]),
                twin_loss=twin["loss"],
                twin_weight=twin["weight"],
                twin_theta=twin["theta"],
            )
        )
    return pd.concat(told, ignore_index=True)


def q_classes(p: AfterTheReturnParameters, paths: Sequence[Path]) -> dict[tuple[str, int], pd.DataFrame]:
    """Distribution of q over the encoder's parameters in V10.2's runs under AdamW, by arm and seed."""
    return {
        (run.arm.name, run.seed): pd.DataFrame(job_metadata(path)["classes"])
        for run, path in zip(plan(p), paths, strict=True)
        if run.policy == "masked" and run.stretch == "long" and run.arm.optimizer == "adamw"
    }


def log_weight_ratio(frame: pd.DataFrame, theta: str = "theta", aim: str = "proper_theta") -> np.ndarray:
    """Log of a weight over the mask's, from log sigma: finite where the weight itself underflows."""
    return 2 * (frame[aim] - frame[theta]).to_numpy()
