"""What the doses cost: every arm against the masked one of its way and seed, over the steps since the return."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from aura_study.claims import Measurement
from aura_study.claims.rules import ADEQUACY
from aura_study.claims.statistics.intervals import Estimate, intervals, mean_interval, ratio_interval, ratio_of_means
from aura_study.data.registry import load_corpus
from aura_study.experiments.after_the_return.doses import CLIPPED, DOSES, SHOWN_DOSE
from aura_study.experiments.after_the_return.parameters import AfterTheReturnParameters
from aura_study.training.adequacy import adequacy, least_above

OTHERS, ALL = "the others", "all tasks"
SOON, LATER = 10, 50
"""Steps after the return that the claims speak of; in a run that is shorter its last."""
MEASURES = ("log_loss", "auc", "macro_f1")
KEYS = ["way", "arm", "seed", "since"]


def against_the_mask(scores: pd.DataFrame, absent: str) -> pd.DataFrame:
    """Every arm's development scores less the masked arm's, of the same way and seed: `doses.scores` in long form.

    Columns: way, arm, seed, since, task (the means ``the others`` and ``all tasks`` among them), measure, score,
    difference. The cycles stand against their own masked arm, under the name ``cycles``.
    """
    table = scores.melt([*KEYS, "task"], list(MEASURES), "measure", "score")
    means = {OTHERS: table[table["task"] != absent], ALL: table}
    grouped = [
        chosen.groupby([*KEYS, "measure"], sort=False)["score"].mean().reset_index().assign(task=name)
        for name, chosen in means.items()
    ]
    table = pd.concat([table, *grouped], ignore_index=True)
    cycles = table["arm"].str.startswith("cycles")
    table = table.assign(twin=np.where(cycles, "cycles, masked", "masked"))
    masked = table[table["arm"].isin(["masked", "cycles, masked"])]
    on = ["way", "twin", "seed", "since", "task", "measure"]
    both = table.merge(
        masked.drop(columns="twin").rename(columns={"arm": "twin"})[[*on, "score"]], on=on, suffixes=("", "_masked")
    )
    both = both.assign(difference=both["score"] - both["score_masked"])
    return both[both["arm"] != both["twin"]].drop(columns=["twin", "score_masked"]).reset_index(drop=True)


def cost_table(differences: pd.DataFrame) -> pd.DataFrame:
    """`against_the_mask` over seeds: way, arm, since, task, measure, difference, low, high, seeds."""
    return intervals(differences, ["way", "arm", "since", "task", "measure"], "difference", "difference")


def spike_table(steps: pd.DataFrame, absent: str) -> pd.DataFrame:
    """The returning task's first gradient into the encoder, over the masked arm's: way, arm, dose, ratio, low, high,
    seeds, weight_ratio, and law, exp(2 dose). The dose of ``unmasked`` is what its own absence made of sigma."""
    first = steps[(steps["since"] == 0) & (steps["task"] == absent)]
    masked = first[first["arm"] == "masked"].set_index(["way", "seed"])
    rows = []
    doses = first[first["arm"].isin(["unmasked", *(f"{dose:g}" for dose in DOSES)])]
    for (way, arm), group in doses.groupby(["way", "arm"], sort=False):
        twin = masked.loc[list(zip(group["way"], group["seed"], strict=True))]
        found = ratio_interval(group["gradient_norm"], twin["gradient_norm"])
        weight = ratio_interval(group["weight"], twin["weight"]).mean
        dose = 0.5 * float(np.log(weight)) if arm == "unmasked" else float(str(arm))
        rows.append(
            {
                "way": way,
                "arm": arm,
                "dose": dose,
                **found.row("ratio"),
                "weight_ratio": weight,
                "law": np.exp(2 * dose),
            }
        )
    return pd.DataFrame(rows)


def adequacy_table(p: AfterTheReturnParameters, controls: pd.DataFrame) -> pd.DataFrame:
    """`aura_study.training.adequacy.adequacy` of the controls at their end."""
    last = controls[(controls["step"] == controls["step"].max()) & (controls["layers"] == "as the arms")]
    scores = last.drop(columns=["layers", "step"])
    found = [
        {row.pop("task"): row for row in rows.drop(columns="seed").to_dict("records")}
        for _, rows in scores.groupby("seed")
    ]
    corpus = load_corpus(p.data, rows=p.dose_rows, dev_rows=p.dev_rows)
    return adequacy(found, corpus)


def learning_curve(controls: pd.DataFrame) -> pd.DataFrame:
    """Development scores of the controls on their way, mean over seeds: layers, step, task, auc, log_loss, macro_f1."""
    return controls.groupby(["layers", "step", "task"], sort=False)[list(MEASURES)].mean().reset_index()


def by_seed(differences: pd.DataFrame, arm: str, task: str, measure: str, since: int | Sequence[int]) -> pd.Series:
    """One arm's difference under AdamW, clipped, by seed: after ``since`` steps, or the mean over several moments."""
    clipped = differences[differences["way"] == CLIPPED.name]
    chosen = clipped.query("arm == @arm and task == @task and measure == @measure")
    moments = [min(since, int(chosen["since"].max()))] if isinstance(since, int) else list(since)
    return chosen[chosen["since"].isin(moments)].groupby("seed")["difference"].mean()


def measure_soon(differences: pd.DataFrame, learned: pd.DataFrame) -> Measurement:
    """P6b: what the spike costs the other tasks ten steps after the return, where log sigma has fallen by 3."""
    return _measurement(
        mean_interval(by_seed(differences, f"{SHOWN_DOSE:g}", OTHERS, "log_loss", SOON)),
        f"development loss (nats) of the other tasks, mean, {SOON} steps after the return, unmasked less masked",
        learned,
    )


def measure_healed(differences: pd.DataFrame, learned: pd.DataFrame) -> Measurement:
    """P6c: what is left of it in the area under the ROC curve at the end."""
    last = int(differences.loc[~differences["arm"].str.startswith("cycles"), "since"].max())
    return _measurement(
        mean_interval(by_seed(differences, f"{SHOWN_DOSE:g}", ALL, "auc", last)),
        f"development area under the ROC curve, mean over the tasks, {last} steps after the return, unmasked less "
        "masked",
        learned,
    )


def measure_own_dose(differences: pd.DataFrame, learned: pd.DataFrame) -> Measurement:
    """P6d: what the return costs where log sigma has fallen by AURA's own phantom number."""
    return _measurement(
        mean_interval(by_seed(differences, f"{DOSES[0]:g}", ALL, "log_loss", _moments(differences))),
        "development loss (nats), mean over the tasks and the moments since the return, unmasked less masked",
        learned,
    )


def measure_growth(differences: pd.DataFrame, learned: pd.DataFrame) -> Measurement:
    """P6e: by how much more the other tasks lose at the largest dose than at 1."""
    lost = {
        dose: by_seed(differences, f"{dose:g}", OTHERS, "log_loss", _moments(differences)) for dose in (1.0, DOSES[-1])
    }
    return _measurement(
        mean_interval(lost[DOSES[-1]] - lost[1.0]),
        "development loss (nats) of the other tasks, mean over the moments since the return, log sigma fallen by "
        f"{DOSES[-1]:g} less by 1",
        learned,
    )


def measure_alone(differences: pd.DataFrame, learned: pd.DataFrame) -> Measurement:
    """P6f: what the largest spike costs the others, in parts of what the returned task's rows alone cost them."""
    spike, alone = (by_seed(differences, arm, OTHERS, "log_loss", LATER) for arm in (f"{DOSES[-1]:g}", "alone"))
    return _measurement(
        ratio_of_means(spike, alone),
        f"development loss that the other tasks lose by {LATER} steps after the return, log sigma fallen by "
        f"{DOSES[-1]:g} / with the returned task's rows alone",
        learned,
        predicted=1.0,
        void="" if alone.mean() > 0 else "the returned task's rows alone cost the others nothing",
    )


def _moments(differences: pd.DataFrame) -> list[int]:
    """Those since the return at which every arm was scored."""
    alone = differences[differences["arm"] == "alone"]
    return [int(since) for since in sorted(alone["since"].unique()) if since > 0]


def _measurement(
    found: Estimate, unit: str, learned: pd.DataFrame, predicted: float | None = None, void: str = ""
) -> Measurement:
    limits = {ADEQUACY: least_above(learned)} if len(learned) else {}
    return Measurement.of(found, unit, predicted, limits, void=void)
