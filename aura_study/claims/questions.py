"""The questions that a reader comes with, and the claims that answer each."""

from dataclasses import dataclass

from aura_study.claims import CLAIMS


@dataclass(frozen=True)
class Question:
    """A question a reader comes with, and the claims that answer it.

    Attributes:
        asks: the question.
        claims: keys; a key stands for its parts too, P7 for P7a to P7d.
    """

    asks: str
    claims: tuple[str, ...]

    def with_parts(self) -> list[str]:
        """All claims, parts included, in the ledger's order."""
        return [key for key in CLAIMS if key.rstrip("abcdefgh") in self.claims]


QUESTIONS = {
    "focal": Question("Does focal loss do what the guide says?", ("F1", "F2", "F3", "F4", "F5")),
    "kendall": Question("And Kendall's weighting?", ("K1", "K2", "K3", "K4")),
    "phantom": Question("Is there a phantom gradient?", ("P1", "P2", "P3", "P4", "P5")),
    "return": Question("What happens on the return?", ("P6", "P7")),
    "cost": Question("What does it cost?", ("P8", "P9")),
    "aura": Question("And in AURA's own run?", ("P10", "P11")),
    "schedule": Question("Is the schedule as described?", ("S1", "S2", "S3")),
    "residue": Question("What does the mask leave behind?", ("B1", "B2", "B3")),
    "family": Question("Are other balancers hit?", ("N1", "N2")),
}
