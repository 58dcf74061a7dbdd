"""The questions that a reader comes with, the claims that answer each, and what these decide together."""

from collections.abc import Sequence
from dataclasses import dataclass

from aura_study.claims import CLAIMS
from aura_study.claims.model import DECIDED, Held, Kind, Row, Verdict
from aura_study.claims.statistics.decisions import holm


@dataclass(frozen=True)
class Question:
    """A question a reader comes with.

    Attributes:
        asks: the question.
        notebooks: by number, those whose claims answer it.
    """

    asks: str
    notebooks: tuple[str, ...]

    @property
    def claims(self) -> list[str]:
        """Keys of the claims that answer it, in the ledger's order."""
        return [key for key, claim in CLAIMS.items() if claim.notebook[:2] in self.notebooks]


QUESTIONS = {
    "focal": Question("Does focal loss do what the guide says?", ("01", "11")),
    "kendall": Question("And Kendall's weighting?", ("02",)),
    "phantom": Question("Is there a phantom gradient?", ("03", "05", "06")),
    "return": Question("What happens on the return?", ("04", "12")),
    "cost": Question("What does it cost?", ("13", "14")),
    "aura": Question("And in AURA's own run?", ("07", "16")),
    "schedule": Question("Is the schedule as described?", ("10",)),
    "residue": Question("What does the mask leave behind?", ("08",)),
    "family": Question("Are other balancers hit?", ("09", "15")),
}

LEVEL = 0.05
"""Chance of even one wrong decision among the trained claims of a question."""


def together(rows: Sequence[Row]) -> list[Row]:
    """The rows with Holm's step-down over the trained claims of each question (see `holm`).

    A claim that its rule decides, and that is not decided among those that were measured with it, becomes inconclusive.
    """
    adjusted = dict[str, float]()
    for question in QUESTIONS.values():
        family = [row for row in rows if row.kind == Kind.TRAINED and row.claim in question.claims]
        adjusted |= holm({row.claim: row.p for row in family if row.p is not None})
    return [_adjusted(row, adjusted.get(row.claim)) for row in rows]


def _adjusted(row: Row, p: float | None) -> Row:
    if p is None or not row.p or p < LEVEL or row.alone not in DECIDED:
        return row.model_copy(update={"p_holm": p})
    claim, price = CLAIMS[row.claim], None
    if claim.rule_text() == row.rule:
        confidence = 1 - LEVEL * row.p / p  # at which it would have to be decided alone
        price = claim.rule.price(row.measurement, confidence)
    lost = {"verdict": Verdict.INCONCLUSIVE, "limit": None, "prediction_held": Held.NONE, "price": price}
    return row.model_copy(update={"p_holm": p, **lost})
