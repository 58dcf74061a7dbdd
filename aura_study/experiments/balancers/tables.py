"""What was measured as tables: effects in plain words, numbers with intervals, what the cure leaves."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from aura_study.balancing import BALANCERS, Effect
from aura_study.balancing.effects import UNTOUCHED_WITHIN
from aura_study.balancing.session import Fill
from aura_study.claims.statistics.intervals import mean_interval

SEVERITY = (
    Effect.UNTOUCHED,
    Effect.SHRUNK,
    Effect.CHANGED,
    Effect.WEAK,
    Effect.STRONG,
    Effect.STOPPED,
    Effect.NAN,
    Effect.ERROR,
)
COLUMNS = {
    "zero, away": (Fill.ZERO, "during"),
    "zero, back": (Fill.ZERO, "after"),
    "NaN, away": (Fill.NAN, "during"),
    "NaN, back": (Fill.NAN, "after"),
    "left out, away": (Fill.LEFT_OUT, "during"),
    "left out, back": (Fill.LEFT_OUT, "after"),
}


def joined(random: pd.DataFrame, layer: pd.DataFrame) -> pd.DataFrame:
    """The zero-filled rows of both kinds of problems."""
    both = pd.concat([random, layer], ignore_index=True)
    return both[both["fill"] == Fill.ZERO].reset_index(drop=True)


def commonest(effects: Sequence[str]) -> str:
    """The effect in most problems; of equals the gravest."""
    counts = pd.Series(list(effects)).value_counts()
    return max(counts.index, key=lambda effect: (counts[effect], SEVERITY.index(Effect(effect))))


def shown(name: str, column: str, random: pd.DataFrame, layer: pd.DataFrame) -> pd.Series:
    """Effects of one of ``COLUMNS`` on a balancer, one per problem that the column is read off."""
    fill, stage = COLUMNS[column]
    source = pd.concat([random, layer], ignore_index=True) if column == "zero, away" else layer
    return source.loc[(source["balancer"] == name) & (source["fill"] == fill), stage]


def overview(random: pd.DataFrame, layer: pd.DataFrame, cured: pd.DataFrame) -> pd.DataFrame:
    """One row per balancer, gravest last: its effect in each column of ``COLUMNS``, and the numbers beside a zero.

    What a zero does while the task is away is read off all problems; the return, NaN and left out off the trained
    layer, whose stretch is long enough to leave something behind; `PresentOnly` off its trials against twins.
    """
    rows = []
    for entry in BALANCERS:
        row: dict[str, object] = {"balancer": entry.name, "takes": str(entry.kind)}
        for column in COLUMNS:
            row[column] = commonest(shown(entry.name, column, random, layer).tolist())
        row["PresentOnly"] = _of_the_cure(cured[cured["balancer"] == entry.name])
        zero = layer[(layer["balancer"] == entry.name) & (layer["fill"] == Fill.ZERO)]
        row["length"], row["growth"] = zero["ratio"].astype(float).mean(), zero["share_growth"].astype(float).mean()
        rows.append({**row, "predicted": _predicted(row, entry.during, entry.after), "why": entry.why})
    table = pd.DataFrame(rows)
    rank = table["zero, away"].map(_severity) * 10 + table["zero, back"].map(_severity)
    return table.iloc[rank.argsort(kind="stable")].reset_index(drop=True)


def _of_the_cure(trials: pd.DataFrame) -> str:
    if trials.empty:
        return "-"
    within = bool((trials["difference"] < UNTOUCHED_WITHIN).all() and (trials["moved"] == 0).all())
    return str(Effect.UNTOUCHED if within else Effect.CHANGED)


def _severity(effect: str) -> int:
    return SEVERITY.index(Effect(effect))


def _predicted(row: dict[str, object], during: Effect, after: Effect) -> str:
    missed = [
        f"{stage}: {expected}"
        for stage, expected in (("zero, away", during), ("zero, back", after))
        if row[stage] != expected
    ]
    return "yes" if not missed else f"no, predicted {'; '.join(missed)}"


def numbers(random: pd.DataFrame, layer: pd.DataFrame) -> pd.DataFrame:
    """Means with 95 % intervals over problems, zero-filled: the update's worst step, its return, its recovery."""
    rows = []
    for entry in BALANCERS:
        zero = [table[(table["balancer"] == entry.name) & (table["fill"] == Fill.ZERO)] for table in (random, layer)]
        both = pd.concat(zero, ignore_index=True)
        rows.append(
            {
                "balancer": entry.name,
                "source": entry.source,
                "code": entry.code(),
                "problems": len(both),
                "length while away": interval(both["ratio"]),
                "cosine while away": interval(both["cosine"]),
                "steps stopped": interval(both["stopped"]),
                "share on return": interval(zero[1]["share_growth"]),
                "update on return differs by": interval(zero[1]["return_difference"]),
                "steps to recover": interval(zero[1]["recovery"]),
            }
        )
    return pd.DataFrame(rows)


def interval(values: pd.Series) -> str:
    """Mean with its 95 % interval of the finite values, in words; no interval if all are equal, a dash if none is."""
    numbers = values.astype(float)
    finite = numbers[np.isfinite(numbers)]
    if finite.empty:
        return "-"
    found = mean_interval(finite)
    bounds = "" if finite.nunique() == 1 else f" [{found.low:.3g}, {found.high:.3g}]"
    return f"{found.mean:.3g}{bounds}"


def fills(layer: pd.DataFrame) -> pd.DataFrame:
    """One row per balancer and fill: what happens while the task is away and on its return, and the error, if any."""
    rows = [
        {
            "balancer": name,
            "fill": fill,
            "while away": commonest(part["during"].tolist()),
            "on return": commonest(part["after"].tolist()),
            "error": next(iter(part["error"].dropna()), "-"),
        }
        for (name, fill), part in layer.groupby(["balancer", "fill"], sort=False)
    ]
    return pd.DataFrame(rows)


def advice(table: pd.DataFrame) -> pd.DataFrame:
    """Which balancers can be fed a zero: the names by what it does, for the README."""
    parts = table.groupby(["zero, away", "zero, back"], sort=False)["balancer"]
    rows = [
        {"while it is away": away, "on its return": back, "balancers": ", ".join(names)}
        for (away, back), names in parts
    ]
    return pd.DataFrame(rows)


def before_and_after(zero: pd.DataFrame, cured: pd.DataFrame) -> pd.DataFrame:
    """Per balancer the largest relative difference from the present tasks alone, zero-filled and cured."""
    chosen = zero[zero["fill"] == Fill.ZERO]
    rows = []
    for entry in BALANCERS:
        mine = chosen[chosen["balancer"] == entry.name]
        broken = (mine[["during", "after"]] == str(Effect.NAN)).any(axis=None)
        worst = mine[["worst_difference", "return_difference"]].astype(float).max(axis=None)
        part = cured[cured["balancer"] == entry.name]
        rows.append(
            {
                "balancer": entry.name,
                "zero-filled": float("inf") if broken else worst,
                "PresentOnly": part["difference"].max(),
                "absent state moved": part["moved"].max(),
                "trials": len(part),
            }
        )
    return pd.DataFrame(rows)
