"""What the runs of the balancers on the AURA model show: updates, shares, losses, scores, and the claims' numbers."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from aura_study.claims import Measurement
from aura_study.claims.statistics.intervals import mean_interval
from aura_study.data.tasks import TASK_NAMES
from aura_study.experiments.balancers.on_model import ABSENT, PRESENT, STOPPED
from aura_study.experiments.balancers.tables import interval
from aura_study.runs.jobs import job_metadata

RUN = ["regime", "balancer", "arm", "seed"]
PHASES = ("before", "away", "first step back", "back")


def read_steps(files: Sequence[Path]) -> pd.DataFrame:
    """Every step of every run: `ModelBalancer.rows` with regime, balancer, arm, seed, phase and share.

    ``share`` is the task's pull over the sum of the tasks' pulls, NaN where nothing pulls; ``phase`` is one of
    ``PHASES`` in a stretch and ``mixed`` else.
    """
    frames = []
    for path in files:
        job = job_metadata(path)["job"]
        frame = pd.read_parquet(path)
        total = frame.groupby("step")["pull"].transform("sum")
        share = frame["pull"] / total.where(total > 0)
        frames.append(frame.assign(**_run(job), share=share, phase=_phases(frame["step"], job["presence"])))
    return pd.concat(frames, ignore_index=True)


def _run(job: dict[str, Any]) -> dict[str, Any]:
    settings, presence = job["settings"], job["presence"]
    found = (presence["schedule"], job["balancer"], job["arm"], settings["seed"])
    return dict(zip(RUN, found, strict=True))


def _phases(steps: pd.Series, presence: dict[str, Any]) -> pd.Series:
    if presence["schedule"] != "stretch":
        return pd.Series("mixed", index=steps.index)
    start, stop = presence["start"], presence["stop"]
    return pd.Series(
        np.select([steps < start, steps < stop, steps == stop], PHASES[:3], PHASES[3]), index=steps.index, dtype=object
    )


def read_ends(files: Sequence[Path]) -> pd.DataFrame:
    """One row per run: steps made, why it stopped if it did, and losses of the present tasks' development texts.

    ``before`` and ``returned``, of a stretch, are sums over the tasks that stay, when reporting goes away and when it
    comes back; ``f1 <task>`` are the scores at the end. A run that stopped keeps what it had then.
    """
    rows = []
    for path in files:
        stored = job_metadata(path)
        losses = [sum(found[task] for task in PRESENT) for _, found in sorted(_by_step(stored["dev_losses"]).items())]
        before, returned = losses[:2] if len(losses) > 1 else (math.nan, math.nan)
        scores = {f"f1 {task}": score for task, score in stored["macro_f1"].items()}
        made = {"steps": stored["steps"], "stopped": stored["stopped"], "before": before, "returned": returned}
        rows.append({**_run(stored["job"]), **made, **scores})
    return pd.DataFrame(rows)


def _by_step(losses: dict[str, dict[str, float]]) -> dict[int, dict[str, float]]:
    return {int(step): found for step, found in losses.items()}


def updates(steps: pd.DataFrame, ends: pd.DataFrame) -> pd.DataFrame:
    """One row per balancer, in a stretch: the zero-filled update over the cured one, and where the run stopped.

    At the first absent step both arms stand at the same parameters; later each on its own.
    """
    stretch = steps[steps["regime"] == "stretch"].drop_duplicates([*RUN, "step"])
    wide = stretch.pivot(index=["balancer", "seed", "phase", "step"], columns="arm", values="update").reset_index()
    wide["ratio"] = wide["zero"] / wide["PresentOnly"]
    rows = []
    for name, part in wide.groupby("balancer", sort=False):
        away = part[part["phase"] == "away"]
        first = away[away["step"] == away["step"].min()].set_index("seed")["ratio"]
        back = part[part["phase"] == "first step back"].set_index("seed")["ratio"]
        broken = ends[(ends["balancer"] == name) & (ends["regime"] == "stretch") & ends["stopped"].notna()]
        rows.append(
            {
                "balancer": name,
                "first absent step": interval(first),
                "while away": interval(away.groupby("seed")["ratio"].median()),
                "first step back": interval(back),
                "stopped at step": ", ".join(str(step) for step in sorted(set(broken["steps"]))) or "-",
            }
        )
    return pd.DataFrame(rows)


def shares(steps: pd.DataFrame) -> pd.DataFrame:
    """Each task's share of the pulls on the encoder, per regime, phase and balancer: zero-filled, cured, difference.

    Means over the phase's steps, then over seeds, with 95 % intervals; a dash where nothing pulls at all.
    """
    chosen = steps[steps["phase"] != "before"]
    keys = ["regime", "phase", "balancer", "task"]
    means = chosen.groupby([*keys, "arm", "seed"], sort=False)["share"].mean().unstack("arm")
    rows = []
    for key, part in means.groupby(level=keys, sort=False):
        apart = part["zero"] - part["PresentOnly"]
        words = {"zero": part["zero"], "PresentOnly": part["PresentOnly"], "change": apart}
        rows.append({**dict(zip(keys, key, strict=True)), **{name: interval(found) for name, found in words.items()}})
    return pd.DataFrame(rows)


def scores(ends: pd.DataFrame) -> pd.DataFrame:
    """Development macro-F1 at the end, per regime, balancer and task: both arms, and their paired difference."""
    rows = []
    for (regime, name), part in ends.groupby(["regime", "balancer"], sort=False):
        for task in TASK_NAMES:
            wide = part.pivot(index="seed", columns="arm", values=f"f1 {task}")
            found = mean_interval(wide["PresentOnly"] - wide["zero"])
            rows.append(
                {
                    "regime": regime,
                    "balancer": name,
                    "task": task,
                    "zero": wide["zero"].mean(),
                    "PresentOnly": wide["PresentOnly"].mean(),
                    "gain": found.mean,
                    "low": found.low,
                    "high": found.high,
                    "seeds": found.count,
                }
            )
    return pd.DataFrame(rows)


def lost(ends: pd.DataFrame) -> pd.DataFrame:
    """What a zero takes of the progress during a stretch: per balancer and seed, losses and the share lost.

    Progress is the fall of the summed development loss of the tasks that stay, ``before`` to ``returned``.
    """
    stretch = ends[ends["regime"] == "stretch"]
    wide = stretch.pivot(index=["balancer", "seed"], columns="arm", values=["before", "returned"])
    table = pd.DataFrame(
        {
            "learnt with PresentOnly": wide["before", "PresentOnly"] - wide["returned", "PresentOnly"],
            "learnt with zero": wide["before", "zero"] - wide["returned", "zero"],
        }
    )
    gone = table["learnt with PresentOnly"] - table["learnt with zero"]
    return table.assign(**{"share lost": gone / table["learnt with PresentOnly"]}).reset_index()


def n1b_measurement(ends: pd.DataFrame) -> Measurement:
    """Share of the progress lost with the four balancers that a zero stops or breaks, over seeds.

    Progress is summed over the four before the division; the limit is the smallest share of the four, over all seeds.
    """
    table = lost(ends)
    stopped = table[table["balancer"].isin(STOPPED)]
    columns = ["learnt with PresentOnly", "learnt with zero"]
    by_seed = stopped.groupby("seed")[columns].sum()
    share = mean_interval(1 - by_seed[columns[1]] / by_seed[columns[0]])
    by_balancer = stopped.groupby("balancer")[columns].sum()
    least = float((1 - by_balancer[columns[1]] / by_balancer[columns[0]]).min())
    limits = {"share lost with the least disturbed of the four": least}
    return Measurement(share.mean, share.low, share.high, "share of the progress", 1.0, share.count, limits)


def n2b_measurement(twins: Sequence[Path]) -> Measurement:
    """Largest distance between the twins' encoders, over the way they went; the interval spans the balancers."""
    apart = pd.concat([pd.read_parquet(path) for path in twins])["apart"]
    return Measurement(float(apart.max()), float(apart.min()), float(apart.max()), "|difference| / |way|")


def away_steps(steps: pd.DataFrame) -> tuple[int, int]:
    """First step of the stretch, and the first after it."""
    away = steps.loc[(steps["phase"] == "away") & (steps["task"] == ABSENT), "step"]
    return int(away.min()), int(away.max()) + 1
