"""AURA's guide, block 4, statement by statement, and the claims that answer each."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Passage:
    """One statement of the guide.

    Attributes:
        section: of the guide; Q1 to Q3 are its questions at the end.
        says: the statement, in English and in short.
        claims: keys of the claims that decide it.
        numbers: of the claims that put a number of the statement to the test, that number as the guide has it.
        remark: what a reader has to know beside the verdicts; for a definition, that it is one.
    """

    section: str
    says: str
    claims: tuple[str, ...] = ()
    remark: str = ""
    numbers: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not (self.claims or self.remark):
            raise ValueError(f"nothing answers {self.says!r} of section {self.section}")


SECTIONS = {
    "1": "Focal loss against class imbalance",
    "1.1": "Its derivation",
    "2": "Kendall's uncertainty: automatic balancing",
    "2.1": "AURA's formula",
    "3": "The phantom gradient",
    "3.1": "The proof",
    "3.2": "The solution of V10.2",
    "4": "Schedule and stability of training",
    "Q1": "What if log sigma were removed from Kendall's formula?",
    "Q2": "Why is the phantom gradient dangerous in multi-task learning?",
    "Q3": "When could focal loss do harm?",
}

SOLVED = {
    "AURA's own log has such a task, through a floor under its logarithm.": ("A1", "A2", "A3"),
    "Sigma follows a solved task's loss, never faster than it falls beside an absent one.": ("A7", "A8"),
    "A floor on the loss gives sigma a rest that it comes back from.": ("A8a",),
    "A solved task breaks balancers, some of which an exact 0 leaves alone.": ("N1d", "N1e"),
}
"""What the guide does not ask: a task that is present and solved, in sentences with the claims that decide them."""

GUIDE = (
    Passage(
        "1",
        "Focal loss is AURA's weapon against imbalanced data, where 95 % are not toxic.",
        ("F2f", "F2a", "F2c", "F2e"),
        "The claims are decided on a part of the comments with the guide's 5 % of toxic ones, and again on the "
        "comments as they are.",
        numbers={"F2f": "95 %", "F2a": "90 %"},
    ),
    Passage(
        "1.1",
        "Focal loss multiplies cross-entropy by alpha and by the modulating factor (1 - p_t)^gamma.",
        ("F5",),
        "The definition of Lin et al. (2017). AURA's code does not quite compute it.",
    ),
    Passage(
        "1.1",
        "At gamma = 2 a sure sample (p_t = 0.9) loses a factor of 100, a wrong one (0.1) hardly any.",
        ("F1",),
        numbers={"F1": "a factor of 100"},
    ),
    Passage("1.1", "Gamma is usually set to 2.", ("F1a",)),
    Passage("1.1", "Alpha balances the toxic against the other class.", ("F3", "F3b", "F3a")),
    Passage(
        "1.1",
        "AURA spends 90 % of its effort on the difficult 5 % of the comments.",
        ("F2", "F2b", "F2d"),
        numbers={"F2": "90 %"},
    ),
    Passage("2", "With four tasks the losses cannot simply be added.", ("P9g", "P9f")),
    Passage(
        "2.1",
        "The total is the sum of L / (2 sigma^2) + log sigma.",
        ("K1",),
        "The formula of Kendall et al. (2018). AURA's code has a regulariser that is linear in softplus, not a "
        "logarithm, and so settles elsewhere; both are studied.",
    ),
    Passage(
        "2.1",
        "The factor 1 / (2 sigma^2) is also called precision.",
        ("K1a",),
        "The factor 2 is common to all tasks, so that their balance does not depend on the word.",
    ),
    Passage("2.1", "An uncertain task has a large sigma, and its weight falls.", ("K1", "K2")),
    Passage("2.1", "log sigma keeps the model from setting sigma to infinity.", ("K3",)),
    Passage(
        "3",
        "In version 10.1 the model learned absurd uncertainties for tasks absent from the batch.",
        ("P11b", "P11c"),
        "No run of V10.1 left a log: what its code does at its settings is simulated. AURA's own project analysis says "
        "“uncertainty collapse” and “exploding weights” of this. The pull itself is P1's, and P2 and P5 say where "
        "other rates take it.",
    ),
    Passage("3.1", "With a loss of 0, the gradient on sigma is 1 / sigma: not zero.", ("P1", "P3")),
    Passage("3.1", "The optimiser lowers sigma of the absent task towards zero.", ("P2", "P5", "S3")),
    Passage("3.2", "V10.2 masks the whole term, and the absent task's gradient is exactly zero.", ("P4", "P10")),
    Passage(
        "3.2",
        "That solves it.",
        ("B1", "B2", "B3"),
        "Not said, but suggested. What still moves sigma at a gradient of zero, and what a mask does not keep out.",
    ),
    Passage(
        "4",
        "AURA uses a OneCycleLR.",
        ("S1a",),
        "V10.2's is the one run whose weights were printed. In AURA's public code versions 2 to 5, 9, 12 and 14 call "
        "OneCycleLR with its peak at 10 % of the steps and version 8 with PyTorch's 30 %; 10 and 11 warm up linearly.",
    ),
    Passage("4", "OneCycleLR starts low, rises until the middle of training and falls at the end.", ("S1",)),
    Passage(
        "4",
        "It starts low so as not to upset RoBERTa; in the middle it explores configurations of the heads.",
        ("P8d",),
        "The second half is a motive, and no experiment here decides it. AURA's V10 code used a linear warm-up over "
        "10 % of the steps and no OneCycleLR.",
    ),
    Passage("4", "The end refines the uncertainties.", ("S2", "S2b", "S2a")),
    Passage("Q1", "The training signal would become unstable.", ("K4", "K4a")),
    Passage("Q1", "Sigma would go to infinity, L / sigma^2 to zero.", ("K3",)),
    Passage("Q1", "The model would evade the task.", ("K3a", "K3b", "K3c")),
    Passage("Q2", "It distorts the balance between the tasks.", ("P9h", "P5", "P9", "P9a", "P9b", "P9c", "P9d")),
    Passage("Q2", "On its return the task has an enormous weight.", ("P6", "P11", "P11a")),
    Passage("Q2", "The encoder's gradients jump violently.", ("P6", "P6a", "P7", "P6b", "P6c", "P6d", "P6e")),
    Passage(
        "Q2",
        "That ruins RoBERTa's pre-training.",
        ("P8", "P8a", "P8b", "P8c", "P8e", "P8f", "P8g", "P8h", "Q1", "Q1a", "Q1b", "Q1c", "Q1d"),
    ),
    Passage("Q3", "On noisy labels focal loss obsesses over wrong labels.", ("F4b",)),
    Passage("Q3", "It overfits the noise.", ("F4",)),
    Passage("Q3", "It does harm there.", ("F4a",)),
)
"""Every statement of the guide that can be checked, in the guide's order, and the definitions among them."""


def by_section() -> dict[str, list[Passage]]:
    """Passages by section, in the guide's order."""
    found: dict[str, list[Passage]] = {section: [] for section in SECTIONS}
    for passage in GUIDE:
        found[passage.section].append(passage)
    return found


def said(claim: str) -> str:
    """The number that the guide gives for what a claim measures, in its words; empty where it gives none."""
    return next((passage.numbers[claim] for passage in GUIDE if claim in passage.numbers), "")
