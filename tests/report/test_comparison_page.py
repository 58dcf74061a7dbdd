"""The page of runs beside each other, by itself and in a report: its pictures, with scripts and without."""

import errno
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from browsing import Visit
from killed_runs import snapshot
from made_run import plate
from matplotlib.figure import Figure
from toy_study import PhantomToy

from aura_study.claims import Measurement
from aura_study.errors import StudyError
from aura_study.figures import Plate
from aura_study.paths import RunFolders
from aura_study.report import build_comparison, build_report
from aura_study.runs.comparison import Comparison
from aura_study.runs.outputs import NotebookRun


def made(out: Path, rate: float) -> RunFolders:
    """A run with a claim, a trajectory of two tasks, a figure that follows ``rate`` and one that does not."""
    run = NotebookRun.open(PhantomToy(out=str(out), rate=rate))
    run.decide("P1", Measurement(rate, 0.0, rate, "largest error", 0.0))
    rows = [
        {"step": step, "task": task, "sigma": (1 - rate) ** (step * turn)}
        for step in range(20)
        for turn, task in ((1, "emotion"), (2, "toxicity"))
    ]
    run.table("paths", pd.DataFrame(rows))
    figure = Figure(figsize=(6, 3.5))
    figure.subplots().plot([1.0, rate])
    run.figure("phantom_gradient", Plate(figure, "A line.", "a falling line"))
    run.figure("same", plate("both"))
    return run.folders


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of three runs."""
    folder = tmp_path_factory.mktemp("compared")
    runs = [made(folder / name, rate) for name, rate in (("first", 0.1), ("second", 0.2), ("third", 0.3))]
    return build_comparison(Comparison(runs), folder / "page")


def test_without_scripts_the_page_says_all(page: Path) -> None:
    """Parameters, claims, numbers, a still figure of the trajectories, and every run's figure that differs."""
    text = page.read_text(encoding="utf-8")
    for words in ("<h1>first beside second beside third</h1>", "<code>rate</code>", ">P1<", "a falling line"):
        assert words in text
    pictures = sorted(path.name for path in (page.parent / "compared").iterdir())
    assert pictures == [*(f"phantom_gradient-{place}.svg" for place in range(3)), "trajectories.svg"]
    assert all(f"compared/{name}" in text for name in pictures)
    assert not re.search(r"(?:src|href)=\"(?:https?:)?//", text)


def test_a_comparison_is_written_again_over_itself_alone(page: Path) -> None:
    """The same folder takes it twice, the same bytes; the runs' own folders are left as they are."""
    before = page.read_bytes()
    runs = [RunFolders.of(str(page.parents[1] / name)) for name in ("first", "second", "third")]
    left = [snapshot(run.results) for run in runs]
    assert build_comparison(Comparison(runs), page.parent).read_bytes() == before
    assert [snapshot(run.results) for run in runs] == left


def test_a_folder_in_which_the_user_has_put_something_is_refused(page: Path, tmp_path: Path) -> None:
    """A comparison of ours with a note beside it, or a folder of another kind: nothing of it is touched."""
    runs = [RunFolders.of(str(page.parents[1] / name)) for name in ("first", "second", "third")]
    noted, other = shutil.copytree(page.parent, tmp_path / "noted"), tmp_path / "other"
    other.mkdir()
    (other / "index.html").write_text("mine")
    (noted / "notes.md").write_text("mine")
    before = snapshot(tmp_path)
    for folder, told in ((noted, "notes.md"), (other, "index.html")):
        with pytest.raises(StudyError, match=rf"holds something else \(.*{told}"):
            build_comparison(Comparison(runs), folder)
    assert snapshot(tmp_path) == before


def test_a_page_that_cannot_be_made_leaves_the_old_one_and_nothing_else_is_touched(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk, and a hidden folder of the user's beside it."""
    old, mine = shutil.copytree(page.parent, tmp_path / "page"), tmp_path / ".page-new" / "mine.txt"
    mine.parent.mkdir()
    mine.write_text("mine")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    def full(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    runs = [RunFolders.of(str(page.parents[1] / name)) for name in ("first", "second", "third")]
    monkeypatch.setattr("aura_study.report.site.write_page", full)
    with pytest.raises(OSError, match="No space left"):
        build_comparison(Comparison(runs), old)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_report_sets_its_run_beside_the_reference(tmp_path: Path) -> None:
    """The claim and its verdict in both, reached from every page."""
    index = build_report(made(tmp_path / "mine", 0.2))
    text = (index.parent / "comparison.html").read_text(encoding="utf-8")
    assert "<h1>mine beside reference</h1>" in text
    assert ">P1<" in text
    assert 'href="comparison.html"' in index.read_text(encoding="utf-8")


@pytest.mark.browser
def test_in_a_browser_lines_are_laid_over_each_other_and_figures_wiped(browser: Any, page: Path) -> None:
    """The chart holds every run's numbers, task by task; the slider moves the edge between two runs' figures."""
    with Visit(browser, page.as_uri()) as visit:
        shown = visit.page
        data = json.loads(shown.evaluate("JSON.stringify(window.comparison.plotted())"))
        assert data[0] == list(range(20))
        assert len(data) == 1 + 3 * 2
        assert data[5][3] == pytest.approx(0.7**3, rel=1e-4)
        assert not shown.locator("#laid-still").is_visible()
        names = shown.locator(".u-legend .u-label").all_inner_texts()
        runs = ("first", "second", "third")
        assert names == ["step", *(f"{run}, {task}" for run in runs for task in ("emotion", "toxicity"))]
        shown.check("#logarithmic")
        first, second, third = (shown.locator(".beside figure").nth(place) for place in range(3))
        shown.fill(".wipe", "25")
        assert "75%" in first.evaluate("one => one.style.clipPath")
        assert "25%" in second.evaluate("one => one.style.clipPath")
        assert (second.is_visible(), third.is_visible()) == (True, False)
        shown.select_option(".ends select", "third")
        assert (second.is_visible(), third.is_visible()) == (False, True)
        assert visit.complaints == []
        assert all(request.startswith("file:") for request in visit.requests)
        assert visit.violations() == []
