"""Public repositories, labelled by reading, and what `aura_study.audit.scan` lists in each.

``repositories.csv`` has a row a repository: commit, half (a digest of its name tells), label, the file in which a
reader found learned weighting or a balancer and what it is, the places that the scan listed as its code was fixed
before it ran on the held-out half (``first_places``), and whether that file was among them. Facts alone; nothing of
the repositories is kept here.
"""

from importlib import resources
from typing import Literal

import pandas as pd

from aura_study.claims import Measurement
from aura_study.claims.statistics.intervals import Estimate, share_interval

HELD_OUT = "held out"
Measure = Literal["precision", "recall"]


def repositories() -> pd.DataFrame:
    """One row per repository."""
    with resources.files(__package__).joinpath("repositories.csv").open(encoding="utf-8") as stream:
        return pd.read_csv(stream, keep_default_na=False)


def share(table: pd.DataFrame, measure: Measure) -> Estimate:
    """Precision: of the repositories in which the scan lists a place, those that have one. Recall: of those that have
    one, those in which the scan lists the file that the reader found; each with Wilson's interval.
    """
    has = table["label"] == "with"
    counted = table["first_places"] > 0 if measure == "precision" else has
    right = has if measure == "precision" else table["first_found"] == "yes"
    return share_interval(int((right & counted).sum()), int(counted.sum()))


def rates(table: pd.DataFrame) -> pd.DataFrame:
    """Precision and recall by half and over all: ``measure``, ``half``, ``of``, ``share``, ``low``, ``high``."""
    halves = {**dict(list(table.groupby("half"))), "all": table}
    measures: tuple[Measure, ...] = ("precision", "recall")
    rows = [(measure, half, share(rows, measure)) for measure in measures for half, rows in halves.items()]
    found = [(measure, half, its.count, its.mean, its.low, its.high) for measure, half, its in rows]
    return pd.DataFrame(found, columns=["measure", "half", "of", "share", "low", "high"])


def wrong(table: pd.DataFrame) -> pd.DataFrame:
    """Repositories in which the scan listed what is none, or missed what the reader found."""
    listed = (table["label"] == "without") & (table["first_places"] > 0)
    return table[listed | (table["first_found"] == "no")].reset_index(drop=True)


def measurement(table: pd.DataFrame, measure: Measure) -> Measurement:
    """A rate on the held-out half, for N3 and N3a."""
    its = share(table[table["half"] == HELD_OUT], measure)
    return Measurement(its.mean, its.low, its.high, f"{measure} over {its.count} repositories")
