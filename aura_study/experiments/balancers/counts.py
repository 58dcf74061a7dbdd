"""Counts of balancers: how many a zero disturbs, how badly, and of how many the formula foretold it.

The sentences are about balancers, so a balancer counts once, with the effect that it shows in the typical problem (the
commonest over the problems, as in `aura_study.experiments.balancers.tables.overview`).
"""

from enum import StrEnum

import pandas as pd

from aura_study.balancing import BALANCERS, Effect
from aura_study.claims import Measurement
from aura_study.claims.notebooks.balancers import MORE_THAN_A_FACTOR
from aura_study.claims.statistics.intervals import share_interval
from aura_study.experiments.balancers.tables import shown


class Grade(StrEnum):
    """How badly a zero disturbs a balancer."""

    NONE = "untouched"
    FACTOR = "by a factor"
    """The update only becomes shorter, which acts as a smaller learning rate; Adam divides it out once it lasted."""
    MORE = "by more than a factor"
    """The update points elsewhere, is 0 or NaN, or the balancer's state has moved when the task returns."""


def grade(during: str, after: str) -> Grade:
    """Of the effects while the task is away and on its return."""
    if after != Effect.UNTOUCHED or during not in (Effect.UNTOUCHED, Effect.SHRUNK):
        return Grade.MORE
    return Grade.FACTOR if during == Effect.SHRUNK else Grade.NONE


def stages(table: pd.DataFrame) -> pd.DataFrame:
    """Two rows per balancer of an ``overview``, while the task is away and on its return: foretold and measured."""
    measured = table.set_index("balancer")
    rows = [
        {"balancer": entry.name, "stage": stage, "foretold": str(foretold), "measured": measured.loc[entry.name, stage]}
        for entry in BALANCERS
        for stage, foretold in (("zero, away", entry.during), ("zero, back", entry.after))
    ]
    return pd.DataFrame(rows)


def grades(table: pd.DataFrame, column: str = "measured") -> pd.Series:
    """Grade of each balancer, by name; by the registry's formulas if ``column`` is "foretold"."""
    by_stage = stages(table).pivot(index="balancer", columns="stage", values=column)
    return by_stage.apply(lambda row: grade(row["zero, away"], row["zero, back"]), axis="columns")


def ever_disturbed(zero: pd.DataFrame) -> pd.Series:
    """Whether a zero disturbs it in any problem, by name."""
    disturbed = (zero["during"] != Effect.UNTOUCHED) | (zero["after"] != Effect.UNTOUCHED)
    return disturbed.groupby(zero["balancer"], sort=False).any()


def foretold(table: pd.DataFrame) -> pd.Series:
    """Whether both effects on a balancer are the foretold ones, by name."""
    told = stages(table)
    return (told["measured"] == told["foretold"]).groupby(told["balancer"]).all()


def counts(table: pd.DataFrame, zero: pd.DataFrame) -> pd.DataFrame:
    """How many balancers are what: ``counted``, balancers, of, share, low, high (Wilson), which.

    The last row says what the interval would be if it were all of them: so few balancers leave that much open.
    """
    found = grades(table)
    rows = {
        "disturbed in the typical problem": found != Grade.NONE,
        "disturbed in any problem": ever_disturbed(zero),
        f"disturbed {Grade.FACTOR}": found == Grade.FACTOR,
        f"disturbed {Grade.MORE}": found == Grade.MORE,
        "disturbed as foretold": foretold(table),
        "if it were all": found.notna(),
    }
    return pd.DataFrame([_row(name, chosen) for name, chosen in rows.items()])


def _row(name: str, chosen: pd.Series) -> dict[str, object]:
    share = share_interval(int(chosen.sum()), len(chosen))
    which = [entry.name for entry in BALANCERS if chosen.get(entry.name)]
    return {
        "counted": name,
        "balancers": len(which),
        "of": len(chosen),
        "share": share.mean,
        "low": share.low,
        "high": share.high,
        "which": "all" if len(which) == len(chosen) else ", ".join(which),
    }


def misses(table: pd.DataFrame, random: pd.DataFrame, layer: pd.DataFrame) -> pd.DataFrame:
    """The stages where the formula missed: what it foretold, what was measured, and in how many problems what was."""
    told = stages(table)
    missed = told[told["measured"] != told["foretold"]]
    counted = [
        shown(name, stage, random, layer).value_counts().to_dict()
        for name, stage in zip(missed["balancer"], missed["stage"], strict=True)
    ]
    return missed.assign(problems=[", ".join(f"{effect}: {n}" for effect, n in found.items()) for found in counted])


def disturbed_measurement(table: pd.DataFrame, zero: pd.DataFrame) -> Measurement:
    """Share of balancers that are disturbed in the typical problem, with Wilson's interval, for N1 and N1c.

    Predicted: the same by the registry's formulas.
    """
    found = grades(table)
    limits = {
        "share of balancers disturbed in any problem": float(ever_disturbed(zero).mean()),
        MORE_THAN_A_FACTOR: float((found == Grade.MORE).mean()),
    }
    return _share(found != Grade.NONE, float((grades(table, "foretold") != Grade.NONE).mean()), limits)


def n1a_measurement(table: pd.DataFrame) -> Measurement:
    """Share of balancers that are disturbed as foretold, both while the task is away and on its return."""
    told = stages(table)
    effects = {"share of effects as foretold": float((told["measured"] == told["foretold"]).mean())}
    return _share(foretold(table), 1.0, effects)


def _share(chosen: pd.Series, predicted: float, limits: dict[str, float]) -> Measurement:
    """A count as a measurement: of balancers, not of seeds."""
    share = share_interval(int(chosen.sum()), len(chosen))
    unit = f"share of {len(chosen)} balancers"
    return Measurement(share.mean, share.low, share.high, unit, predicted, limits=limits)
