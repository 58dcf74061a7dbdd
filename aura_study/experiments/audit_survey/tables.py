"""The audit over published weightings, packages and our own losses."""

import pandas as pd

from aura_study.audit import Absence, BalancerFinding, CannotAudit, Finding, Settings, Verdict, audit, audit_focal
from aura_study.experiments.audit_survey.published import SURVEY, TASKS
from aura_study.losses import focal_loss


def survey(phantom_number: float, steps: int) -> pd.DataFrame:
    """One row per weighting and mark of absence: verdict, growth, how it was called, reason, notes.

    A package that is not installed, or that could not be audited, has one row without a mark that says so.
    """
    settings = Settings(lr=phantom_number / steps, steps=steps)
    rows: list[dict[str, object]] = []
    for weighting in SURVEY:
        shared: dict[str, object] = {
            "weighting": weighting.name,
            "formula": f"${weighting.formula}$",
            "source": weighting.source,
        }
        try:
            report = audit(weighting.make, tasks=TASKS, settings=settings)
        except CannotAudit as failure:
            rows.append(
                {**shared, "verdict": "could not be audited", "reason": failure.reason.splitlines()[-1].strip()}
            )
            continue
        for finding in report.findings:
            rows.append({**shared, "overall": str(report.verdict), **_finding(finding)})
    columns = ["weighting", "formula", "source", "overall", "absence", "verdict", "growth", "call", "reason", "notes"]
    return pd.DataFrame(rows, columns=columns)


def _finding(finding: Finding | BalancerFinding) -> dict[str, object]:
    return {
        "absence": str(finding.absence),
        "verdict": str(finding.verdict),
        "growth": finding.growth,
        "call": finding.call,
        "reason": finding.reason,
        "notes": "; ".join(finding.notes),
    }


def overview(table: pd.DataFrame) -> pd.DataFrame:
    """One row per weighting, one column per mark of absence: the verdict, with the growth factor of a phantom."""
    known = table[table["absence"].notna()]
    cells = known.assign(
        cell=[
            f"{verdict} x {growth:.3g}" if verdict == Verdict.PHANTOM else verdict
            for verdict, growth in zip(known["verdict"], known["growth"], strict=True)
        ]
    )
    wide = cells.pivot(index="weighting", columns="absence", values="cell")
    order = [str(mark) for mark in Absence if str(mark) in wide]
    names = list(dict.fromkeys(table["weighting"]))
    sources = table.drop_duplicates("weighting").set_index("weighting")[["formula", "source"]]
    return sources.join(wide.reindex(names)[order]).fillna("-").reset_index()


def counts(table: pd.DataFrame) -> pd.DataFrame:
    """How many weightings each verdict fits, by mark of absence."""
    found = pd.crosstab(table["absence"], table["verdict"])
    marks = [str(mark) for mark in Absence if str(mark) in found.index]
    return found.loc[marks, [str(verdict) for verdict in Verdict if str(verdict) in found]].reset_index()


def focal_survey() -> pd.DataFrame:
    """The focal audit of our loss and of the form that AURA's code has: per setting, the largest distortion."""
    from aura_study.experiments.audit_survey.published_focal import taken_from_weighted_loss

    rows = []
    for name, report in (
        ("this project", audit_focal(focal_loss)),
        ("p_t from the weighted, smoothed loss", audit_focal(taken_from_weighted_loss)),
    ):
        for finding in report.findings:
            rows.append((name, finding.setting, finding.verdict, finding.distortion))
    return pd.DataFrame(rows, columns=["focal loss", "setting", "verdict", "largest distortion of the factor"])
