"""What the runs of the balancers on the AURA model show: updates, shares, and the claims' numbers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from aura_study.claims import Measurement
from aura_study.claims.statistics.intervals import ratio_interval
from aura_study.experiments.balancers.on_model import ABSENT, STOPPED
from aura_study.experiments.balancers.tables import interval
from aura_study.runs.jobs import job_metadata

RUN = ["balancer", "arm", "seed"]
FAMO_FLOOR = 1e-8
"""What FAMO adds to a loss before its logarithm."""
NOTHING = 1e-12
"""Stands for 0 in a logarithm, far below what FAMO leaves."""
PHASES = ("before", "away", "first step back", "back")


def read_steps(files: Sequence[Path]) -> pd.DataFrame:
    """Every step of every run: `ModelBalancer.rows` with balancer, arm, seed, phase and share.

    ``share`` is the task's pull over the sum of the tasks' pulls, NaN where nothing pulls; ``phase`` is one of
    ``PHASES``. A run that broke ends at the step before.
    """
    frames = []
    for path in files:
        job = job_metadata(path)["job"]
        frame = pd.read_parquet(path)
        total = frame.groupby("step")["pull"].transform("sum")
        run = {"balancer": job["balancer"], "arm": job["arm"], "seed": job["settings"]["seed"]}
        phase = _phases(frame["step"], job["presence"])
        frames.append(frame.assign(**run, share=frame["pull"] / total.where(total > 0), phase=phase))
    return pd.concat(frames, ignore_index=True)


def _phases(steps: pd.Series, presence: dict[str, Any]) -> pd.Series:
    start, stop = presence["start"], presence["stop"]
    return pd.Series(
        np.select([steps < start, steps < stop, steps == stop], PHASES[:3], PHASES[3]), index=steps.index, dtype=object
    )


def ratios(steps: pd.DataFrame) -> pd.DataFrame:
    """The zero-filled update's length over the cured one's: balancer, seed, phase, step, ratio; NaN once it broke.

    At the first absent step both arms stand at the same parameters; later each on its own.
    """
    each = steps.drop_duplicates([*RUN, "step"])
    wide = each.pivot(index=["balancer", "seed", "phase", "step"], columns="arm", values="update").reset_index()
    return wide.assign(ratio=wide["zero"] / wide["PresentOnly"])


def updates(steps: pd.DataFrame) -> pd.DataFrame:
    """One row per balancer: the zero-filled update over the cured one, over seeds, and where it broke."""
    rows = []
    for name, part in ratios(steps).groupby("balancer", sort=False):
        away = part[part["phase"] == "away"]
        first = away[away["step"] == away["step"].min()].set_index("seed")["ratio"]
        back = part[part["phase"] == "first step back"].set_index("seed")["ratio"]
        broke = part[part["ratio"].isna()].groupby("seed")["step"].min()
        rows.append(
            {
                "balancer": name,
                "first absent step": interval(first),
                "while away": interval(away.groupby("seed")["ratio"].median()),
                "first step back": interval(back),
                "runs that broke": f"{len(broke)} of {part['seed'].nunique()}",
                "not a number from step": ", ".join(str(step) for step in sorted(set(broke))) or "-",
            }
        )
    return pd.DataFrame(rows)


def left(steps: pd.DataFrame) -> pd.DataFrame:
    """What a zero leaves of the update with the balancers that it stops or breaks, at the last absent step.

    One row per balancer and seed: ``left``, the length over the cured one's, and ``broke``, that it is not a number.
    Of a run that broke nothing is left, so ``left`` is 0 there.
    """
    away = ratios(steps).query("phase == 'away'")
    last = away[(away["step"] == away["step"].max()) & away["balancer"].isin(STOPPED)]
    return last[["balancer", "seed"]].assign(left=last["ratio"].fillna(0.0), broke=last["ratio"].isna())


def famo_foretold(steps: pd.DataFrame) -> pd.DataFrame:
    r"""FAMO's first absent step, one row per seed: ``foretold``, ``measured``, and their ``ratio``.

    Its weights are z_i / L_i over their sum, with 1e-8 added to each loss. A zero adds z_a 1e8 to that sum, so that
    :math:`10^{-8} \sum_S z_i / L_i / z_a` of the update is left. The z_i come from the cured arm: of those present at
    that step, and of the absent task at the step before (FAMO moves them once in between).
    """
    mine = steps[(steps["balancer"] == "FAMO") & (steps["arm"] == "PresentOnly")]
    measured = ratios(steps).query("balancer == 'FAMO' and phase == 'away'").set_index(["seed", "step"])["ratio"]
    rows = []
    for seed, run in mine.groupby("seed"):
        step = run.loc[run["phase"] == "away", "step"].min()
        now, before = (run[run["step"] == at].set_index("task") for at in (step, step - 1))
        z, z_before = now["weight"] * now["loss"], before["weight"] * before["loss"]
        share = z_before[ABSENT] / z_before.drop(ABSENT).sum()  # of the absent, in parts of what the others have
        told = FAMO_FLOOR * (z / z.sum() / now["loss"]).sum() / share
        rows.append({"seed": seed, "foretold": told, "measured": measured[seed, step]})
    table = pd.DataFrame(rows)
    return table.assign(ratio=table["measured"] / table["foretold"])


def shares(steps: pd.DataFrame) -> pd.DataFrame:
    """Each task's share of the pulls on the encoder, per phase and balancer: zero-filled, cured, difference.

    Means over the phase's steps, then over seeds, with 95 % intervals; a dash where nothing pulls at all.
    """
    chosen = steps[steps["phase"] != "before"]
    keys = ["phase", "balancer", "task"]
    means = chosen.groupby([*keys, "arm", "seed"], sort=False)["share"].mean().unstack("arm")
    rows = []
    for key, part in means.groupby(level=keys, sort=False):
        apart = part["zero"] - part["PresentOnly"]
        words = {"zero": part["zero"], "PresentOnly": part["PresentOnly"], "change": apart}
        rows.append({**dict(zip(keys, key, strict=True)), **{name: interval(found) for name, found in words.items()}})
    return pd.DataFrame(rows)


def n1b_measurement(steps: pd.DataFrame) -> Measurement:
    """What is left of the update with the four balancers that a zero stops or breaks: the most of the four, over seeds.

    A geometric mean, in which nothing counts as ``NOTHING``. A run that broke has nothing left; the limits say how many
    did, of how many.
    """
    table = left(steps)
    most = table.groupby("seed")["left"].max().clip(lower=NOTHING)
    broke = {"runs": float(len(table)), "runs that broke": float(table["broke"].sum())}
    unit = "length left over that without the absent task; 0 of a run that broke"
    return Measurement.of(ratio_interval(most, np.ones(len(most))), unit, 0.0, broke, logarithmic=True)


def n2b_measurement(twins: Sequence[Path]) -> Measurement:
    """Largest distance between the twins' encoders, over the way they went; the interval spans the balancers."""
    apart = pd.concat([pd.read_parquet(path) for path in twins])["apart"]
    return Measurement(float(apart.max()), float(apart.min()), float(apart.max()), "|difference| / |way|")


def away_steps(steps: pd.DataFrame) -> tuple[int, int]:
    """First step of the stretch, and the first after it."""
    away = steps.loc[(steps["phase"] == "away") & (steps["task"] == ABSENT), "step"]
    return int(away.min()), int(away.max()) + 1
