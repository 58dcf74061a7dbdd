"""The README's numbers are those of the reference run."""

import pytest

from aura_study.errors import StudyError
from aura_study.paths import RunFolders, project_root
from aura_study.report import readme


def test_readme_is_filled_from_the_reference_run():
    """A block that differs from what the run says is stale: run `python -m aura_study.report.readme`."""
    text = (project_root() / "README.md").read_text(encoding="utf-8")
    assert readme.fill(text, RunFolders.of(readme.RUN), project_root()) == text


def test_a_stale_number_is_noticed():
    """Filling repairs a block that was changed by hand."""
    text = (project_root() / "README.md").read_text(encoding="utf-8")
    start = text.index("<!-- ledger -->")
    stale = text[:start] + text[start:].replace("confirmed", "refuted", 1)
    assert stale != text
    assert readme.fill(stale, RunFolders.of(readme.RUN), project_root()) == text


def test_missing_blocks_and_runs_are_named(tmp_path):
    """A README without a block, and a run that is not there, are one clear error each."""
    with pytest.raises(StudyError, match="no block 'headline'"):
        readme.fill("no blocks", RunFolders.of(readme.RUN), project_root())
    text = (project_root() / "README.md").read_text(encoding="utf-8")
    with pytest.raises(StudyError, match="has no figure"):
        readme.fill(text, RunFolders.of(f"{tmp_path}/nothing"), project_root())


def test_readme_names_every_notebook():
    """The reading order in the README is the notebooks' folder."""
    text = (project_root() / "README.md").read_text(encoding="utf-8")
    for path in sorted((project_root() / "notebooks").glob("*.ipynb")):
        assert f"`{path.stem}`" in text
