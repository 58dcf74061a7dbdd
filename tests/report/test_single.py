"""The report as one file and on paper."""

import re
import shutil
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from made_run import make_run
from typer.testing import CliRunner

from aura_study.claims import CLAIMS
from aura_study.cli import app
from aura_study.errors import StudyError
from aura_study.paths import RunFolders, reference_run
from aura_study.report import build_report, single

MOST_PAGES = 40


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> RunFolders:
    folders = make_run(tmp_path_factory.mktemp("single") / "made")
    build_report(folders)
    return folders


@pytest.mark.slow
def test_one_file_holds_story_and_claims_and_asks_for_no_other(made: RunFolders) -> None:
    """Each claim once, pictures inside and once, no script, and each link inside leads to an id of the file."""
    page = BeautifulSoup(single.write_one_file(made).read_text(encoding="utf-8"), "html.parser")
    ids = [tag["id"] for tag in page.find_all(id=True)]
    assert len(ids) == len(set(ids))
    assert {f"claims-{key}" for key in CLAIMS} <= set(ids)
    assert not page.find_all(["script", "link"])
    pictures = [image["src"] for image in page.find_all("img")]
    assert pictures
    assert len(pictures) == len(set(pictures))
    assert all(source.startswith("data:image/") for source in pictures)
    for link in page.find_all("a"):
        assert link["href"].startswith("http") or link["href"].removeprefix("#") in ids, link
    assert len(page.find_all("h1")) == 1


@pytest.mark.slow
@pytest.mark.browser
def test_paper_holds_every_figure_of_the_reference_on_few_pages(tmp_path: Path, browser: object) -> None:
    """Chromium prints a PDF of at most forty pages."""
    reference = reference_run()
    shutil.copytree(reference.results, tmp_path / "reference")
    shutil.copytree(reference.figures, tmp_path / "reference" / "figures")
    folders = RunFolders.of(str(tmp_path / "reference"))
    build_report(folders)
    printed = single.write_pdf(folders).read_bytes()
    assert printed.startswith(b"%PDF")
    assert 3 < len(re.findall(rb"/Type\s*/Page\b(?!s)", printed)) <= MOST_PAGES


def test_without_a_browser_the_command_says_which_it_looked_for(
    made: RunFolders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before any work, and with another way."""
    monkeypatch.setattr(shutil, "which", lambda name: None)
    answer = CliRunner().invoke(app, ["report", "--run", str(made.results), "--pdf"])
    assert isinstance(answer.exception, StudyError)
    assert re.search("none of chromium, .* is installed; --one-file", str(answer.exception))


def test_a_browser_that_does_not_print_is_an_error(
    made: RunFolders, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """One that fails, and one that leaves nothing."""
    for exit_code, words in ((3, "could not print"), (0, "printed nothing")):
        program = tmp_path / f"browser{exit_code}"
        program.write_text(f"#!/bin/sh\nexit {exit_code}\n")
        program.chmod(0o755)
        monkeypatch.setattr(single, "browser", lambda program=program: str(program))
        with pytest.raises(StudyError, match=words):
            single.write_pdf(made)
