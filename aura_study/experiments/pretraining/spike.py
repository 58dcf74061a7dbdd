"""The first steps back of a returning task: how much larger the gradient, and how much longer the encoder's step."""

import numpy as np
import pandas as pd

from aura_study.experiments.pretraining.forgetting import main_arms
from aura_study.experiments.pretraining.jobs import settings
from aura_study.experiments.pretraining.parameters import ADAM_MEMORY, PretrainingParameters
from aura_study.theory.optimizers import Adam


def first_steps(runs: pd.DataFrame, p: PretrainingParameters) -> pd.DataFrame:
    r"""Unmasked and masked arm around the return, mean over seeds.

    Columns: regime; policy; since (steps since the return, 0 at the first step back); weight of the returning task;
    gradient, the encoder's whole norm before clipping; update, root mean square over the encoder's parameters in units
    of the learning rate; bound, by how much Adam moves a parameter in that step if its gradient is the same from the
    return on and was nothing beside that before: with k = since + 1 and t = k + steps before the return,
    :math:`\frac{1 - b_1^k}{1 - b_1^t} / \sqrt{\frac{1 - b_2^k}{1 - b_2^t}}`. It grows with Adam's age t, to 3.2 for
    the first step back and 6.5 for the tenth. NaN before the return and under SGD.
    """
    frames = []
    runs = main_arms(runs, p)
    for regime in p.regimes:
        near = runs["step"].between(p.stop - ADAM_MEMORY, p.steps - 1)
        run = runs[(runs["regime"] == regime) & runs["policy"].isin(["masked", "unmasked"]) & near]
        mean = run.groupby(["policy", "step"])[["weight", "gradient_norm", "update"]].mean().reset_index()
        frames.append(mean.assign(regime=regime, update=mean["update"] / settings(p, regime, 0).lr_encoder))
    table = pd.concat(frames, ignore_index=True).rename(columns={"gradient_norm": "gradient"})
    adam, since = Adam(), table["step"] - p.stop
    k = (since + 1).where(since >= 0)
    m, v = ((1 - beta**k) / (1 - beta ** (k + p.stop)) for beta in (adam.beta1, adam.beta2))
    return table.assign(since=since, bound=(m / np.sqrt(v)).where(table["regime"] != "sgd")).drop(columns="step")


def spikes(steps: pd.DataFrame) -> pd.DataFrame:
    """`first_steps` in one row per regime: unmasked over masked.

    Columns: regime; weight, gradient and update at the first step back; longest update of the first ten, over the
    masked arm's longest.
    """
    rows = []
    for regime, run in steps.groupby("regime", sort=False):
        first = run[run["since"] == 0].set_index("policy")[["weight", "gradient", "update"]]
        soon = run[run["since"].between(0, ADAM_MEMORY - 1)].groupby("policy")["update"].max()
        ratios = (first.loc["unmasked"] / first.loc["masked"]).to_dict()
        rows.append({"regime": regime, **ratios, "longest_update": float(soon["unmasked"] / soon["masked"])})
    return pd.DataFrame(rows)
