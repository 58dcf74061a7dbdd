"""The survey of published weightings: every row audited, sources cited, figure drawn."""

import hashlib

import pandas as pd
import pytest

from aura_study.audit import Absence, Verdict
from aura_study.experiments.audit_survey import figures, scanned
from aura_study.experiments.audit_survey import tables as audit_survey
from aura_study.experiments.audit_survey.published import SURVEY


@pytest.fixture(scope="module")
def table():
    pytest.importorskip("torchjd")
    pytest.importorskip("mtl_uncertainty_loss")
    return audit_survey.survey(phantom_number=0.5, steps=12)


@pytest.mark.slow
def test_every_weighting_is_audited(table):
    """Nothing in the survey could not be audited, and every row cites a source."""
    assert set(table["weighting"]) == {weighting.name for weighting in SURVEY}
    assert set(table["verdict"]) <= {str(verdict) for verdict in Verdict}
    assert table["source"].str.len().min() > 5


@pytest.mark.slow
def test_the_mark_is_part_of_the_answer(table):
    """The weighting that masks L = 0 is safe for 0 and phantom for 1e-8; the one that skips None is phantom for 0."""
    found = table.set_index(["weighting", "absence"])["verdict"]
    assert found["masks L = 0", "zero"] == "safe"
    assert found["masks L = 0", "tiny"] == "phantom"
    assert found["bounded, skips None", "none"] == "safe"
    assert found["bounded, skips None", "zero"] == "phantom"
    assert (found["masked, log sigma"] == "safe").all()
    assert (found["unmasked, log sigma"] == "phantom").all()


@pytest.mark.slow
def test_tables_and_figure_follow_the_findings(table):
    """The overview has one row per weighting and a column per mark; counts add up; the figure draws."""
    overview = audit_survey.overview(table)
    assert list(overview["weighting"]) == [weighting.name for weighting in SURVEY]
    assert [str(mark) for mark in Absence if str(mark) in overview] == list(overview.columns[3:])
    assert audit_survey.counts(table).drop(columns="absence").to_numpy().sum() == len(table)
    assert figures.matrix(table).encode("png")[:4] == b"\x89PNG"


def test_focal_survey_finds_the_leak():
    """Our loss has no distortion under any setting; the leaky form has under weights and smoothing, not plain."""
    table = audit_survey.focal_survey().set_index(["focal loss", "setting"])
    assert (table.loc["this project", "verdict"] == "safe").all()
    leaky = table.loc["p_t from the weighted, smoothed loss", "verdict"]
    assert leaky["plain"] == "safe"
    assert (leaky.drop("plain") == "leaks").all()


def test_the_scans_record_is_whole_and_its_rates_follow_from_it():
    """At least 40 repositories with and without, each at a commit; rates by hand on four rows."""
    repositories = scanned.repositories()
    assert repositories["label"].value_counts().min() >= 40
    assert repositories["commit"].str.fullmatch("[0-9a-f]{40}").all()
    assert repositories["repository"].is_unique
    assert ((repositories["label"] == "with") == (repositories["file"] != "")).all()
    rows = pd.DataFrame(
        [("with", 2, "yes"), ("with", 1, "no"), ("with", 0, "no"), ("without", 1, "")],
        columns=["label", "first_places", "first_found"],
    )
    assert scanned.share(rows, "precision").mean == pytest.approx(2 / 3)
    assert scanned.share(rows, "recall").mean == pytest.approx(1 / 3)
    assert len(scanned.wrong(rows)) == 3
    assert figures.scan(scanned.rates(repositories)).alt


def test_the_halves_are_those_of_the_names():
    """No repository was put into a half by what it holds."""
    table = scanned.repositories()
    even = [int(hashlib.sha256(name.encode()).hexdigest(), 16) % 2 == 0 for name in table["repository"]]
    assert [half == "tune" for half in table["half"]] == even
