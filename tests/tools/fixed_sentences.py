"""Sentences of the notebooks that are typed and not generated, and what a run must have found for them to be true.

Each is checked in the run of the notebook that decides it, at the smallest profile, and in the committed run.
"""

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from aura_study.claims.model import Kind, Verdict
from aura_study.paths import RunFolders
from aura_study.runs.ledger import read_evidence

REGIMES = ["clipped", "unclipped", "sgd"]
HOLDS = (Verdict.CONFIRMED, Verdict.WITHIN_LIMITS)


@dataclass(frozen=True)
class Sentence:
    """``says`` stands in cell ``cell`` of ``notebook``; the results of notebook ``by`` have to agree."""

    notebook: str
    cell: str
    says: str
    by: str
    agrees: Callable[[RunFolders], bool]


def table(folders: RunFolders, name: str) -> pd.DataFrame:
    return pd.read_csv(folders.tables / f"{name}.csv")


def holds(*keys: str) -> Callable[[RunFolders], bool]:
    """Whether all these claims hold by their own rules."""

    def agrees(folders: RunFolders) -> bool:
        rows = {row.claim: row for entry in read_evidence(folders) for row in entry.claims}
        return all(rows[key].by_itself in HOLDS for key in keys)

    return agrees


def arithmetic(key: str) -> Callable[[RunFolders], bool]:
    def agrees(folders: RunFolders) -> bool:
        rows = {row.claim: row for entry in read_evidence(folders) for row in entry.claims}
        return rows[key].kind == Kind.ARITHMETIC and holds(key)(folders)

    return agrees


def sentiment_asks_for_more(folders: RunFolders) -> bool:
    """Its weight is far below what its loss asks for, at the end of the logged run."""
    found = table(folders, "aura_counterfactual")
    rows = found[(found["task"] == "sentiment") & (found["parameterization"] == "aura_softplus")]
    return bool((rows["asked"] > 3 * rows["masked"]).all())


def common_task_has_nothing_to_mask(folders: RunFolders) -> bool:
    """On V10.2's data the mask changes toxicity's weight by a tenth at most of what it changes reporting's."""
    found = table(folders, "aura_counterfactual").query("parameterization == 'aura_softplus'")
    change = found[found["data"].str.startswith("V10.2")].pivot(index="data", columns="task", values="growth") - 1
    return bool((change["toxicity"].abs() < 0.1 * change["reporting"].abs()).all())


def bigram_below_unigram(folders: RunFolders) -> bool:
    """A left neighbour knows more than none."""
    found = table(folders, "mlm_learning_curve")
    return bool((found["bigram"] < found["unigram"]).all())


def orders_of_magnitude(folders: RunFolders) -> bool:
    """The weight at the return, unmasked over masked: two or three."""
    weight = table(folders, "spikes").set_index("regime")["weight"]
    return bool(weight[weight.index.intersection(REGIMES)].between(10**1.5, 10**3.5).all())


def clipping_keeps_the_step(folders: RunFolders) -> bool:
    """Clipped, the first step back is hardly longer than the mask's; under SGD it is as much longer as the gradient."""
    found = table(folders, "spikes").set_index("regime")
    return bool(found["update"]["clipped"] < 1.1 and found["update"]["sgd"] > 0.9 * found["gradient"]["sgd"])


FINDINGS, LOG, RUIN = "00_findings", "07_aura_log", "13_pretraining"
PHANTOM, MASK = "03_phantom_gradient", "08_beyond_the_mask"
SENTENCES = (
    Sentence(FINDINGS, "phantom-lead", "That is arithmetic (P1).", PHANTOM, arithmetic("P1")),
    Sentence(FINDINGS, "return-lead", "no other gradient is changed (P4)", PHANTOM, holds("P4")),
    Sentence(FINDINGS, "aura-lead", "which of its two losses ran", LOG, holds("P10")),
    Sentence(FINDINGS, "aura-lead", "its rates bound what the other would have done", LOG, holds("P11", "P11a")),
    Sentence(FINDINGS, "todo-lead", "keeps its gradient out (B2)", MASK, holds("B2")),
    Sentence(FINDINGS, "todo-lead", "each rank's own term** (B3)", MASK, holds("B3")),
    Sentence(FINDINGS, "todo-lead", "momentum coasts and decay pulls (B1)", MASK, holds("B1")),
    Sentence(FINDINGS, "rest-lead", "The guide's formulas are arithmetic", "01_focal_loss", arithmetic("F1")),
    Sentence(LOG, "toxicity", "the mask has nothing to mask", LOG, common_task_has_nothing_to_mask),
    Sentence(LOG, "told-apart-read", "Its loss is far below", LOG, sentiment_asks_for_more),
    Sentence(RUIN, "mlm-look", "Below the bigram it uses more", RUIN, bigram_below_unigram),
    Sentence(RUIN, "forgetting-question", "two or three orders of magnitude too large", RUIN, orders_of_magnitude),
    Sentence(RUIN, "step-question", "a step no longer than the others", RUIN, clipping_keeps_the_step),
)
