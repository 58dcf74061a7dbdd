"""What the run as a whole has found: every claim by question, the guide's answers, and what is left open."""

from dataclasses import dataclass

import pandas as pd

from aura_study.claims import CLAIMS, Verdict
from aura_study.claims.guide import GUIDE
from aura_study.claims.questions import QUESTIONS
from aura_study.experiments.findings.advice import advice
from aura_study.experiments.findings.parameters import FindingsParameters
from aura_study.paths import reference_run
from aura_study.runs import ledger
from aura_study.runs.ledger import Row, interval, merge, number, read_evidence

UNDECIDED = "not decided in this run"
PRICE = {
    "doses": "return_costs",
    "spikes": "return_spikes_by_dose",
    "policies": "quality_differences",
    "shares": "quality_shares",
}
"""Tables of notebooks 12 and 14 that say what the phantom gradient costs a model that has learned."""
RETURN = "12_after_the_return"
PRACTICE = {
    "setting": "setting",
    "optimizer": "optimiser",
    "presence": "presence",
    "phantom_number": "phantom number",
    "moved": "log sigma falls by",
    "weight_factor": "weight over its proper one, had it settled",
    "phase": "phase",
}


def decided(p: FindingsParameters) -> dict[str, Row]:
    """The claims that the run's notebooks have decided so far, by key."""
    return {row.claim: row for row in merge(read_evidence(p.read))}


def verdicts(rows: dict[str, Row]) -> pd.DataFrame:
    """Every claim with the question it belongs to and its verdict, columns question, claim, verdict."""
    table = [
        {"question": question.asks, "claim": key, "verdict": str(rows[key].verdict) if key in rows else UNDECIDED}
        for question in QUESTIONS.values()
        for key in question.claims
    ]
    return pd.DataFrame(table)


def tally(table: pd.DataFrame) -> pd.DataFrame:
    """Number of claims per question and verdict, from `verdicts`; the last row holds the sums."""
    order = [*map(str, Verdict), UNDECIDED]
    counts = pd.crosstab(table["question"], table["verdict"]).reindex(
        index=table["question"].unique(), columns=[name for name in order if name in set(table["verdict"])]
    )
    counts.loc["all"] = counts.sum()
    return counts.astype(int).rename_axis(columns=None).reset_index(names="question")


def kinds(rows: dict[str, Row]) -> pd.DataFrame:
    """Number of decided claims by kind and verdict; a claim on arithmetic could have failed only by a bug."""
    counts = ledger.tally(list(rows.values()))
    used = [verdict for verdict in Verdict if any(verdict in found for found in counts.values())]
    return pd.DataFrame(
        [{"kind": str(kind)} | {str(name): found.get(name, 0) for name in used} for kind, found in counts.items()],
        columns=["kind", *map(str, used)],
    )


def failed_predictions(rows: dict[str, Row]) -> pd.DataFrame:
    """What theory said and the measurement did not: claim, prediction, verdict on the sentence, what was measured."""
    return pd.DataFrame(
        [
            {"claim": row.claim, "prediction": row.prediction, "finding": _finding(row)}
            for row in ledger.failed_predictions(list(rows.values()))
        ],
        columns=["claim", "prediction", "finding"],
    )


def answers(rows: dict[str, Row], question: str) -> pd.DataFrame:
    """The claims of one question: statement, and verdict with limit and measurement.

    Raises:
        ValueError: a question that is not in `aura_study.claims.questions.QUESTIONS`.
    """
    if question not in QUESTIONS:
        raise ValueError(f"unknown question {question!r}; questions are {list(QUESTIONS)}")
    return pd.DataFrame(
        {"claim": key, "statement": CLAIMS[key].statement, "finding": _finding(rows.get(key))}
        for key in QUESTIONS[question].claims
    )


def guide(rows: dict[str, Row]) -> pd.DataFrame:
    """The guide's statements in its order, each with the verdicts of the claims that answer it."""
    return pd.DataFrame(
        {
            "section": passage.section,
            "the guide says": passage.says,
            "answer": ", ".join(f"{key} {_verdict(rows.get(key))}" for key in passage.claims) or passage.remark,
        }
        for passage in GUIDE
    )


def practice(p: FindingsParameters) -> pd.DataFrame:
    """Notebook 06's settings from practice with their phantom number and what becomes of the weight."""
    path = p.read.tables / "phase_practice.csv"
    table = pd.read_csv(path) if path.is_file() else pd.DataFrame(columns=list(PRACTICE))
    return table[list(PRACTICE)].rename(columns=PRACTICE)


@dataclass(frozen=True)
class Price:
    """What it costs a model that has learned, of the tables in `PRICE`: differences to the masked runs.

    Attributes:
        doses: the other tasks' loss since the return, by way, arm and step.
        advice: what to do about it, in sentences.
        policies: the mean area under the ROC curve at the end, unmasked, by regime.
        shares: how often each task was present, by regime.
        absent: the task that was away.
        whose: the run that the tables are of.
    """

    doses: pd.DataFrame
    advice: pd.DataFrame
    policies: pd.DataFrame
    shares: pd.DataFrame
    absent: str
    whose: str


def price(p: FindingsParameters) -> Price | None:
    """The price as this run found it, or the reference where this run did not ask; none if neither did."""
    for folders, whose in ((p.read, "this run"), (reference_run(), "the reference run, not of this one")):
        paths = {name: folders.tables / f"{table}.csv" for name, table in PRICE.items()}
        if all(path.is_file() for path in paths.values()):
            absent = ledger.read_one(folders.evidence / f"{RETURN}.json").parameters["absent"]
            found = {name: pd.read_csv(path) for name, path in paths.items()}
            ends = "moment == 'end' and policy == 'unmasked' and measure == 'auc' and task == 'mean of tasks'"
            found["policies"] = found["policies"].query(ends).drop_duplicates("regime")
            rows = {row.claim: row for row in merge(read_evidence(folders))}
            told = advice(found["doses"], found.pop("spikes"), rows, absent)
            found["doses"] = found["doses"].query("task == 'the others' and measure == 'log_loss' and since > 0")
            return Price(**found, advice=told, absent=absent, whose=whose)
    return None


def drawn(told: Price) -> pd.DataFrame:
    """What the figure of the price shows: way, arm, since, regime, task, measure, difference, low, high, seeds."""
    both = pd.concat([told.doses, told.policies], ignore_index=True)
    return both[["way", "arm", "since", "regime", "task", "measure", "difference", "low", "high", "seeds"]]


def _verdict(row: Row | None) -> str:
    return str(row.verdict) if row else UNDECIDED


def _finding(row: Row | None) -> str:
    if row is None:
        return UNDECIDED
    limit = f": {row.limit}" if row.limit else ""
    count = f"{row.seeds} seed{'s' if row.seeds > 1 else ''}" if row.seeds else "exact"
    why = ledger.open_because(row)
    told = f" {why}" if why else ""
    return f"{row.verdict}{limit}. Measured {number(row.measured)}, {interval(row)}; {count}.{told}"
