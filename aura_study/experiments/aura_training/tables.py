"""V10.1 and V10.2 on the AURA model (claim P6): the same batches, the same seed, three absence policies.

Under the ``stretch`` schedule every task but one stands in every batch and the absent one returns at a known step. The
policies then differ in nothing but sigma of the absent task until its return: the encoders are the same bit for bit,
and the ratio of the returning task's gradient norms is the ratio of its weights.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from aura_study.claims import Measurement
from aura_study.claims.statistics.intervals import ratio_interval, raw_range, spread
from aura_study.experiments.aura_training.parameters import AuraTrainingParameters
from aura_study.theory.adam import AdamState, adam_directions
from aura_study.theory.forms import FORMS, LOG_SIGMA
from aura_study.theory.optimizers import Adam
from aura_study.theory.schedules import phantom_number

FORM = LOG_SIGMA


def state_before_absence(run: pd.DataFrame, start: int, optimizer: Adam) -> AdamState:
    """Adam's memory of the absent task's parameter at step ``start``, replayed from the recorded losses and sigmas.

    Args:
        run: one task's rows of one trajectory, in order of step.
        start: first absent step.
        optimizer: the betas.
    """
    seen = run[run["step"] < start]
    gradients = FORM.gradient(np.log(seen["sigma"]), seen["loss"])
    age = np.arange(len(gradients))[::-1]
    m = float(((1 - optimizer.beta1) * optimizer.beta1**age * gradients).sum())
    v = float(((1 - optimizer.beta2) * optimizer.beta2**age * gradients**2).sum())
    return AdamState(m, v, len(gradients))


def predicted_path(run: pd.DataFrame, start: int, stop: int, policy: str, weight_decay: float) -> pd.DataFrame:
    """Sigma of the absent task over its absence, from theory and Adam's memory at its start: step, sigma, weight.

    Unmasked, the gradient is the regulariser's slope, 1; masked, it is 0 and momentum and decay still act; frozen,
    nothing moves. No measured value inside the absence is used.
    """
    optimizer = Adam(weight_decay=weight_decay)
    absent = run[(run["step"] >= start) & (run["step"] <= stop)]
    rates = absent["lr"].to_numpy()[:-1]
    s = float(np.log(absent["sigma"].iloc[0]))
    path = [s]
    state = state_before_absence(run, start, optimizer)
    slope = {"unmasked": 1.0, "masked": 0.0, "frozen": 0.0}[policy]
    for rate, direction in zip(rates, adam_directions(np.full(rates.size, slope), optimizer, state), strict=True):
        s = s if policy == "frozen" else s * (1 - rate * weight_decay) - rate * direction
        path.append(s)
    theta = np.array(path)
    return pd.DataFrame({"step": absent["step"].to_numpy(), "sigma": FORM.sigma(theta), "weight": FORM.weight(theta)})


def predictions(runs: pd.DataFrame, p: AuraTrainingParameters) -> pd.DataFrame:
    """`predicted_path` for every run: columns run, policy, seed, step, sigma, weight."""
    start, stop = p.before, p.before + p.absent_steps
    decay = p.settings("masked", 0).weight_decay_sigma
    frames = []
    for (name, policy), run in runs[runs["task"] == p.absent].groupby(["run", "policy"], sort=False):
        path = predicted_path(run, start, stop, str(policy), decay)
        frames.append(path.assign(run=str(name), policy=str(policy), seed=int(run["seed"].iloc[0])))
    return pd.concat(frames, ignore_index=True)


def returns(runs: pd.DataFrame, predicted: pd.DataFrame, p: AuraTrainingParameters) -> pd.DataFrame:
    """What happens at the return, per seed: weight and encoder gradient of V10.1 over V10.2's, and the prediction.

    Columns: seed, phantom_number, weight_ratio and gradient_ratio (unmasked / masked at the first step back),
    predicted_ratio (of the two predicted weights), gradient_over_predicted, weight_growth (unmasked, return over
    start), others_identical (losses of all other tasks equal bit for bit until the return).
    """
    start, stop = p.before, p.before + p.absent_steps
    rows = []
    for seed, run in runs.groupby("seed"):
        back = run[(run["task"] == p.absent) & (run["step"] == stop)].set_index("policy")
        theory = predicted[(predicted["seed"] == seed) & (predicted["step"] == stop)].set_index("policy")["weight"]
        begin = run[(run["task"] == p.absent) & (run["step"] == start)].set_index("policy")["weight"]
        rates = run[(run["policy"] == "unmasked") & (run["task"] == p.absent)].sort_values("step")
        ratio = float(theory["unmasked"] / theory["masked"])
        gradient = float(back["gradient_norm"]["unmasked"] / back["gradient_norm"]["masked"])
        rows.append(
            {
                "seed": seed,
                "phantom_number": phantom_number(rates["lr"], ~rates["present"].to_numpy()),
                "weight_growth": float(back["weight"]["unmasked"] / begin["unmasked"]),
                "weight_ratio": float(back["weight"]["unmasked"] / back["weight"]["masked"]),
                "gradient_ratio": gradient,
                "predicted_ratio": ratio,
                "gradient_over_predicted": gradient / ratio,
                "others_identical": _identical_until(run, p.absent, stop),
            }
        )
    return pd.DataFrame(rows)


def _identical_until(run: pd.DataFrame, absent: str, stop: int) -> bool:
    """Whether all other tasks' losses agree bit for bit between V10.1 and V10.2 up to and including step ``stop``."""
    others = run[(run["task"] != absent) & (run["step"] <= stop)]
    by_policy = others.pivot(index=["step", "task"], columns="policy", values="loss")
    return bool((by_policy["unmasked"] == by_policy["masked"]).all())


def pulls(runs: pd.DataFrame, p: AuraTrainingParameters, window: int = 60) -> pd.DataFrame:
    """Norm of the gradient that the absent task sends into the encoder, ``window`` steps before and after its absence.

    Columns: policy, step, mean, low, high; mean and range over seeds.
    """
    near = runs["step"].between(p.before - window, p.before + p.absent_steps + window)
    return spread(runs[(runs["task"] == p.absent) & runs["present"] & near], ["policy", "step"], "gradient_norm")


def measure_return(table: pd.DataFrame) -> Measurement:
    """P6: gradient spike over the precision ratio that is predicted for its seed, with the jumps as they were."""
    return Measurement.of(
        ratio_interval(table["gradient_ratio"], table["predicted_ratio"]),
        "encoder gradient norm at the first step back, V10.1 / V10.2, over its prediction",
        predicted=1.0,
        limits={f"{end} jump": value for end, value in raw_range(table["gradient_ratio"]).items()},
        logarithmic=True,
    )


def stillness(runs: pd.DataFrame, p: AuraTrainingParameters) -> pd.DataFrame:
    """Sigma of the absent task at the start and end of its absence, per policy and seed, and its change in per cent."""
    start, stop = p.before, p.before + p.absent_steps
    chosen = runs[(runs["task"] == p.absent) & runs["step"].isin([start, stop])]
    table = chosen.pivot(index=["policy", "seed"], columns="step", values="sigma").reset_index()
    table.columns = pd.Index(["policy", "seed", "sigma at start", "sigma at return"])
    return table.assign(**{"change in %": 100 * (table["sigma at return"] / table["sigma at start"] - 1)})


def presence_shares(runs: pd.DataFrame, tasks: Sequence[str], tail: float = 0.5) -> pd.DataFrame:
    """Under mixing: each task's share of steps present, and sigma^2 over the mean loss it saw, at the end of training.

    ``tail`` is the last share of the steps that is averaged over. Theory: sigma^2 = p L unmasked and L masked.
    """
    last = runs[runs["step"] >= (1 - tail) * runs["step"].max()]
    rows = []
    for (policy, task), run in last.groupby(["policy", "task"], sort=False):
        if task not in tasks:
            continue
        share, loss = float(run["present"].mean()), float(run["loss"].mean())
        precision = float((1 / (2 * FORMS["log_sigma"].weight(np.log(run["sigma"])))).mean())
        predicted = share if policy == "unmasked" else 1.0
        rows.append(
            {"policy": policy, "task": task, "present": share, "loss": loss, "sigma^2 / loss": precision / loss}
            | {"predicted at rest": predicted}
        )
    return pd.DataFrame(rows)
