"""The questions that a reader comes with, and the claims that answer each."""

from dataclasses import dataclass

from aura_study.claims import CLAIMS


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
    "phantom": Question("Is there a phantom gradient?", ("03", "05")),
    "return": Question("What happens on the return?", ("04", "12")),
    "cost": Question("What does it cost?", ("13", "14")),
    "aura": Question("And in AURA's own run?", ("07",)),
    "schedule": Question("Is the schedule as described?", ("10",)),
    "residue": Question("What does the mask leave behind?", ("08",)),
    "family": Question("Are other balancers hit?", ("15",)),
}
