"""What the runs of `after_the_return` show, table by table: the spike, the ways back, the encoder."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from aura_study.claims.statistics.intervals import Estimate, median_time, spread
from aura_study.experiments.after_the_return.parameters import AfterTheReturnParameters
from aura_study.experiments.after_the_return.trainings import FORM, IN_THEORY, log_weight_ratio
from aura_study.theory.driven import driven_path
from aura_study.theory.fixed_points import fixed_point
from aura_study.theory.optimizers import Adam
from aura_study.theory.poisoning import chance_shrinkage, clipped_part, shrinkage, spike_parts
from aura_study.theory.recovery import recovery_phantom, return_step

Array = NDArray[np.float64]
BAND = 2.0
"""Factor within which a weight counts as back, as in the phase diagrams."""
OFF = 10.0
"""A task whose weight is smaller than the mask's by more than this factor is switched off."""


def by_arm(table: pd.DataFrame, *columns: str) -> pd.DataFrame:
    """Means over seeds of some columns, by arm and, where the table has both, by absence."""
    keys = [key for key in ("absence", "arm") if key in table]
    return table.groupby(keys, sort=False)[list(columns)].mean().reset_index()


def unmasked(runs: pd.DataFrame, stretch: str = "long") -> list[tuple[str, int, pd.DataFrame]]:
    """Arm, seed and rows of every run of V10.1 through that absence."""
    chosen = runs[(runs["policy"] == "unmasked") & (runs["stretch"] == stretch)]
    groups = chosen.groupby(["arm", "seed"], sort=False)
    return [(run["arm"].iloc[0], int(run["seed"].iloc[0]), run) for _, run in groups]


def spikes(runs: pd.DataFrame, p: AfterTheReturnParameters) -> pd.DataFrame:
    """The first step back, by arm and seed: weight and encoder gradient of V10.1 over V10.2's, and the prediction.

    ``predicted_ratio`` comes from the losses before the absence alone; ``others_identical``: all other tasks' losses
    are equal bit for bit in both runs, up to and including that step.
    """
    twins = dict(iter(runs[runs["policy"] == "masked"].groupby(["arm", "stretch", "seed"])))
    rows = []
    for arm, seed, run in unmasked(runs):
        twin = twins[arm, "long", seed]
        here, there = run[run["since"] == 0].iloc[0], twin[twin["since"] == 0].iloc[0]
        ratio = float(here["predicted_weight"] / there["predicted_weight"])
        gradient = float(here["pull_norm"] / there["pull_norm"])
        same = run["others_loss"].to_numpy() == twin["others_loss"].to_numpy()
        rows.append(
            {
                "arm": arm,
                "seed": seed,
                "phantom_number": p.lr_sigma * p.absent_steps,
                "weight_ratio": float(here["weight"] / there["weight"]),
                "gradient_ratio": gradient,
                "predicted_ratio": ratio,
                "gradient_over_predicted": gradient / ratio,
                "others_identical": bool(same[run["since"] <= 0].all()),
            }
        )
    return pd.DataFrame(rows)


def ways_back(runs: pd.DataFrame, p: AfterTheReturnParameters) -> pd.DataFrame:
    """Steps until V10.1's weight is back where the mask would have it, by absence, arm and seed.

    The mask's weight is that of a masked sigma on the run's own losses, so that what the return does to the losses does
    not count as a way back of sigma. ``back`` within a factor 2 and ``back_10`` within 10 %, for the first time;
    ``predicted``, ``back`` from the twin's losses; all NaN where the run ended first, after ``seen`` steps.
    ``loss_ratio``: the task's mean loss since the return over the twin's, by which the return has changed it;
    ``replay_error``, log sigma less the recursion's on the run's own losses, at most.
    """
    rows = []
    for stretch in ("long", "short"):
        absent, seen = p.length(stretch)
        for arm, seed, run in unmasked(runs, stretch):
            after = run[run["since"] >= 0]
            measured, theory = log_weight_ratio(after), log_weight_ratio(after, "predicted_theta", "twin_theta")
            replay = driven_path(FORM, 0.0, run["loss"], p.lr_sigma, IN_THEORY[run["optimizer"].iloc[0]])[:-1]
            rows.append(
                {
                    "absence": stretch,
                    "arm": arm,
                    "seed": seed,
                    "phantom_number": p.lr_sigma * absent,
                    "absent_steps": absent,
                    "back": _first(np.abs(measured) <= np.log(BAND)),
                    "back_10": _first(np.abs(measured) <= np.log(1.1)),
                    "predicted": _first(np.abs(theory) <= np.log(BAND)),
                    "seen": seen,
                    "loss_ratio": float(after["loss"].mean() / after["twin_loss"].mean()),
                    "replay_error": float(np.abs(replay - run["theta"]).max()),
                }
            )
    return pd.DataFrame(rows)


def _first(true: np.ndarray) -> float:
    """Index of the first True; NaN if there is none."""
    return float(true.argmax()) if true.any() else np.nan


def median_steps(table: pd.DataFrame, column: str) -> Estimate:
    """Median of some steps, NaN where the run ended before them, after ``seen`` steps."""
    return median_time(table[column].fillna(table["seen"]), table[column].notna())


def medians(table: pd.DataFrame, column: str) -> pd.DataFrame:
    """`median_steps` by absence and arm: median with its interval, ``reached`` of ``runs``, and the ``predicted``."""
    rows = []
    for (absence, arm), group in table.groupby(["absence", "arm"], sort=False):
        found = median_steps(group, column)
        counts = {"reached": int(group[column].notna().sum()), "runs": len(group)}
        told = {"median": found.mean, "low": found.low, "high": found.high}
        said = {"predicted": median_steps(group, "predicted").mean, "absent_steps": group["absent_steps"].iloc[0]}
        rows.append({"absence": absence, "arm": arm, **told, **counts, **said})
    return pd.DataFrame(rows)


def whiplash(runs: pd.DataFrame, p: AfterTheReturnParameters) -> pd.DataFrame:
    """SGD's first step with the task back, and what it costs, by absence, arm and seed.

    ``strength`` is eta exp(2 Lambda); ``landed``, log sigma after the step less the twin's, which had no absence to
    suffer from; ``landing``, the same from theory and the twin's loss at that step; ``mean_field``, at a loss without
    noise, eta (exp(2 Lambda) - 1) - Lambda; ``off``, steps until the weight is a tenth of the mask's again; ``back``,
    until it is half of it, the throw included. ``predicted`` and ``predicted_back`` take the regulariser's pull alone
    from the predicted landing on. NaN where the run ended first, after ``seen`` steps.
    """
    rows = []
    for stretch in ("long", "short"):
        absent, seen = p.length(stretch)
        lam = p.lr_sigma * absent
        for arm, seed, run in unmasked(runs[runs["optimizer"] == "sgd"], stretch):
            first, second = run[run["since"] == 0].iloc[0], run[run["since"] == 1].iloc[0]
            aim, theta, loss = (float(first[name]) for name in ("twin_theta", "predicted_theta", "twin_loss"))
            landing = float(return_step(FORM, theta, p.lr_sigma, loss) + fixed_point(FORM, loss)) - aim
            ratio = log_weight_ratio(run[run["since"] > 0])
            rows.append(
                {
                    "absence": stretch,
                    "arm": arm,
                    "seed": seed,
                    "absent_steps": absent,
                    "strength": p.lr_sigma * np.exp(2 * lam),
                    "landed": float(second["theta"]) - aim,
                    "landing": landing,
                    "mean_field": p.lr_sigma * (np.exp(2 * lam) - 1) - lam,
                    "off": _first(ratio >= -np.log(OFF)),
                    "predicted": _fall(landing, OFF) / p.lr_sigma,
                    "back": 1 + _first(np.abs(ratio) <= np.log(BAND)),
                    "predicted_back": 1 + _fall(landing, BAND) / p.lr_sigma,
                    "seen": seen,
                }
            )
    return pd.DataFrame(rows)


def _fall(height: float, factor: float) -> float:
    """Sum of rates until a weight at that height of log sigma is within the factor of the fixed point's."""
    return recovery_phantom(FORM, float(fixed_point(FORM, 1.0)) + height, 1.0, factor - 1)


def shrinkages(
    runs: pd.DataFrame, classes: Mapping[tuple[str, int], pd.DataFrame], p: AfterTheReturnParameters
) -> pd.DataFrame:
    """V10.1 under AdamW at every step since the return: what is left of the other tasks' encoder updates.

    Theory takes the size of the task's proper gradient at each step (rho) from the twin, and its mean square on each
    parameter.

    Columns: ``left_by_v``, their updates' norm over that which the same gradients would have through the v of a
    properly weighted task; ``predicted``, the closed form from the predicted weight ratios (``ratio``) and the twin's
    gradients, for a spike that is not clipped; ``left_in_layers`` and ``predicted_in_layers``, and so on, the same for
    each of `encoder_parts`: the returning task never touches the embeddings of other texts' tokens; ``left``, their
    updates' norm over the proper one, through v and clipping together; ``share``, of the whole update.
    """
    frames = []
    masked = runs[(runs["policy"] == "masked") & (runs["stretch"] == "long") & (runs["since"] >= 0)]
    for arm, seed, run in unmasked(runs[runs["optimizer"] == "adamw"]):
        after = run[run["since"] >= 0]
        twin = masked[(masked["arm"] == arm) & (masked["seed"] == seed)]
        sizes = (twin["pull_norm"] ** 2 / (twin["pull_norm"] ** 2).mean()).to_numpy()
        ratios = np.exp(log_weight_ratio(after, "predicted_theta", "twin_theta"))
        told = classes[arm, seed]
        parts = spike_parts(ratios, p.before + p.absent_steps, Adam(), sizes)
        lost: dict[str, Array] = {} if after["clipped"].any() else _predicted(parts, told)
        frames.append(
            pd.DataFrame(
                {
                    "arm": arm,
                    "clipped": after["clipped"],
                    "seed": seed,
                    "since": after["since"],
                    "ratio": ratios,
                    "kappa": parts.sum(1),
                    **{str(name): after[name] for name in after if str(name).startswith("left_")},
                    **lost,
                    "left": after["others_update"] / after["others_proper"],
                    "share": after["others_share"],
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def _predicted(memory: Array, classes: pd.DataFrame) -> dict[str, Array]:
    """``predicted`` for the whole encoder, ``predicted_in_layers`` and so on, from what each holds of every q."""
    columns = {"predicted": "shares"} | {
        f"predicted_in_{name}": f"{name}_shares" for name in _parts(classes, "_shares")
    }
    return {told: chance_shrinkage(memory, classes["q"], classes[column]) for told, column in columns.items()}


def _parts(table: pd.DataFrame, mark: str) -> list[str]:
    """Parts of the encoder, by the columns that have ``mark`` in their names."""
    return [str(name).replace(mark, "") for name in table if mark in str(name)]


def _shrinkages(table: pd.DataFrame) -> list[str]:
    """What is left of the others' update, column by column of `shrinkages`."""
    return [str(name) for name in table if str(name).startswith(("left", "predicted", "share"))]


def shrinkage_bands(table: pd.DataFrame) -> pd.DataFrame:
    """`shrinkages`, `spread` over seeds: measure (its columns), clipped, since, mean, low, high."""
    long = table.melt(["clipped", "since"], _shrinkages(table), "measure", "value")
    return spread(long, ["measure", "clipped", "since"], "value")


def proper_share(runs: pd.DataFrame) -> pd.DataFrame:
    """V10.2's share of the others in AdamW's whole update, `spread` over seeds and arms: since, mean, low, high."""
    masked = runs[(runs["policy"] == "masked") & (runs["optimizer"] == "adamw") & (runs["stretch"] == "long")]
    return spread(masked[masked["since"] >= 0], ["since"], "others_share")


def late(table: pd.DataFrame) -> pd.DataFrame:
    """Of `shrinkages`: geometric means over the second half of the steps since the return, by arm and seed."""
    half = table[table["since"] >= table["since"].max() / 2]
    told = _shrinkages(half)
    logs = half.assign(**{name: np.log(half[name].clip(lower=1e-12)) for name in told})
    return np.exp(logs.groupby(["arm", "clipped", "seed"], sort=False)[told].mean()).reset_index()


def by_part(table: pd.DataFrame) -> pd.DataFrame:
    """Of `late`, without clipping: part of the encoder, seed, what v leaves there, and that by the closed form."""
    free = table[~table["clipped"]]
    told = {
        part: {"seed": free["seed"], "left": free[f"left_in_{part}"], "predicted": free[f"predicted_in_{part}"]}
        for part in _parts(free, "predicted_in_")
    }
    return pd.concat([pd.DataFrame({"part": part, **columns}) for part, columns in told.items()], ignore_index=True)


def fading(
    table: pd.DataFrame, classes: Mapping[tuple[str, int], pd.DataFrame], p: AfterTheReturnParameters
) -> pd.DataFrame:
    """How long the poisoning of the layers lasts, by seed, without clipping: at the run's end, and beyond by theory.

    ``left_at_end`` over the last tenth of the steps, measured and predicted; ``steps_to_half``, ``steps_to_90``: since
    the return, until the others' updates of the layers have that size again if the weight is proper from the run's end
    on, from the mean form; ``memory``, 1/(1-b2).
    """
    rows = []
    b2 = Adam().beta2
    for (arm, seed), told in classes.items():
        run = table[(table["arm"] == arm) & (table["seed"] == seed) & ~table["clipped"]]
        if run.empty:
            continue
        last = run[run["since"] >= 0.9 * run["since"].max()]
        row = {
            "seed": seed,
            "left_at_end": float(np.exp(np.log(last["left_in_layers"]).mean())),
            "left_at_end_predicted": float(np.exp(np.log(last["predicted_in_layers"]).mean())),
        }
        end = run.iloc[-1]
        made, ahead = p.before + p.absent_steps + end["since"] + 1, np.arange(0, 20_000, 20)
        kappa = end["kappa"] * b2**ahead * (1 - b2**made) / (1 - b2 ** (made + ahead))
        left = shrinkage(kappa, told["q"], told["layers_shares"])
        for name, size in (("steps_to_half", 0.5), ("steps_to_90", 0.9)):
            row[name] = float(end["since"] + 1 + ahead[(left >= size).argmax()])
        rows.append(row | {"memory": 1 / (1 - b2)})
    return pd.DataFrame(rows)


def clippings(runs: pd.DataFrame, p: AfterTheReturnParameters) -> pd.DataFrame:
    """What clipping leaves of all gradients at the first step back, over what it would with the proper weight.

    Columns: arm, seed, ``kept`` and ``kept_proper`` (factors), ``measured``, their ratio, and ``predicted``, from the
    twin's norms and the predicted weight.
    """
    rows = []
    masked = runs[(runs["policy"] == "masked") & (runs["since"] == 0) & (runs["stretch"] == "long")]
    for arm, seed, run in unmasked(runs[runs["clipped"]]):
        first = run[run["since"] == 0].iloc[0]
        twin = masked[(masked["arm"] == arm) & (masked["seed"] == seed)].iloc[0]
        ratio = first["predicted_weight"] / twin["weight"]
        rows.append(
            {
                "arm": arm,
                "seed": seed,
                "kept": first["kept"],
                "kept_proper": twin["kept"],
                "measured": first["kept"] / twin["kept"],
                "predicted": float(clipped_part(twin["others_all"], twin["proper_all"], ratio, p.clip_norm)),
            }
        )
    return pd.DataFrame(rows)


def kept_under_adamw(table: pd.DataFrame) -> float:
    """Of `clippings`: what is left under AdamW, median over seeds."""
    return float(table.loc[table["arm"] == "AdamW, clipped", "measured"].median())
