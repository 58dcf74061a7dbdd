"""The report as files: complete, escaped, self-contained, and never a crash on what a run left behind."""

import json
import math
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import nbformat
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from killed_runs import snapshot
from made_run import make_run, plate
from markupsafe import escape
from typer.testing import CliRunner

from aura_study.claims import CLAIMS, Measurement, Rule
from aura_study.claims import lock as claims_lock
from aura_study.claims.guide import GUIDE
from aura_study.claims.model import DECIDED
from aura_study.cli import app
from aura_study.errors import StudyError
from aura_study.paths import REPETITION, RunFolders, carried, reference_run
from aura_study.report import build_report
from aura_study.report.cells import clean
from aura_study.report.content import ADVICE_TABLE, PRICE_FIGURE, gather
from aura_study.report.formulas import with_formulas
from aura_study.report.images import Pictures, only_shows
from aura_study.report.references import works
from aura_study.report.render import interval
from aura_study.report.render import number as spoken
from aura_study.report.scale import scale
from aura_study.report.site import deviation
from aura_study.runs.ledger import Row, read_claims
from aura_study.runs.outputs import NotebookRun
from aura_study.runs.words import number
from aura_study.study.registry import parameter_classes
from aura_study.study.request import Request, parse_assignments
from aura_study.theory.absence import adam_phantom
from aura_study.theory.fluctuations import adam_memory
from aura_study.theory.forms import LOG_SIGMA
from aura_study.theory.schedules import constant

OWN_SCRIPTS = {
    "explorer.html": ("uPlot.iife.js", "dynamics.js", "explorer-words.js", "explorer-plots.js", "explorer.js"),
    "comparison.html": ("uPlot.iife.js", "comparison.js"),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> RunFolders:
    folders = make_run(tmp_path_factory.mktemp("report") / "made")
    build_report(folders)
    return folders


@pytest.fixture
def copy(made: RunFolders, tmp_path: Path) -> RunFolders:
    """A copy to damage."""
    shutil.copytree(made.results, tmp_path / "made")
    return RunFolders.of(str(tmp_path / "made"))


def pages(folders: RunFolders) -> Iterator[tuple[Path, BeautifulSoup]]:
    for path in sorted(folders.report.rglob("*.html")):
        yield path, BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


def test_there_is_a_page_for_each_claim_and_each_notebook(made: RunFolders) -> None:
    """Index, guide, run, explorer, the reference beside it, one page a claim, one a notebook, and nothing else."""
    found = {path.relative_to(made.report).as_posix() for path, _ in pages(made)}
    claims = {f"claims/{key}.html" for key in CLAIMS}
    notebooks = {f"notebooks/{claim.notebook}.html" for claim in CLAIMS.values()}
    others = {
        "index.html",
        "guide.html",
        "negative.html",
        "methods.html",
        "reproducibility.html",
        "run.html",
        "explorer.html",
        "comparison.html",
    }
    assert found == others | claims | notebooks


@pytest.mark.slow
def test_a_manual_that_was_built_comes_along(copy: RunFolders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every page leads to it, in the report itself; another build of it is another report; none, no link."""
    assert all("the manual" not in page.footer.text for _, page in pages(copy))
    (tmp_path / "docs").mkdir()
    monkeypatch.setattr("aura_study.report.building.MANUAL", str(tmp_path / "docs"))
    for text in ("first", "second"):
        (tmp_path / "docs" / "index.html").write_text(f"<!doctype html><footer>{text}</footer>", encoding="utf-8")
        build_report(copy)
        assert text in (copy.report / "manual" / "index.html").read_text(encoding="utf-8")
    (copy.report / "manual" / "index.html").unlink()
    for path, page in pages(copy):
        link = page.footer.find("a", string="the manual")["href"]
        assert (path.parent / link).resolve() == copy.report.resolve() / "manual" / "index.html"


def test_the_story_says_what_it_costs_and_what_to_do(made: RunFolders, copy: RunFolders) -> None:
    """The figure and the sentences of notebook 00, where it ran; nothing where it did not."""
    assert "What it costs" not in (made.report / "index.html").read_text(encoding="utf-8")
    run = NotebookRun("00_findings", str(copy.results))
    run.figure(PRICE_FIGURE, plate("of prices"))
    run.table(ADVICE_TABLE, pd.DataFrame({"sentence": ["Mask, if 1 < 2.", "Clip & wait."]}))
    build_report(copy)
    page = BeautifulSoup((copy.report / "index.html").read_text(encoding="utf-8"), "html.parser")
    section = page.find("section", attrs={"aria-labelledby": "price"})
    assert [item.text for item in section.find_all("li", recursive=True)[-2:]] == ["Mask, if 1 < 2.", "Clip & wait."]
    assert "of prices" in section.figcaption.text


def test_the_table_of_growth_is_what_theory_makes_of_an_absence(made: RunFolders) -> None:
    """exp(2 Lambda) under SGD; under Adam the phantom number that its memory of the loss, by its head, makes of it."""
    page = BeautifulSoup((made.report / "index.html").read_text(encoding="utf-8"), "html.parser")
    table = page.find("table", class_="growth")
    steps = int(re.findall(r"in (\d+) steps", table.caption.text)[0])
    noises = [float(head.text.rpartition("=")[2]) for head in table.find_all("th")[2:]]
    plain = re.sub(r" × 10<sup>(\d+)</sup>", r"e\1", str(table.tbody)).replace("× ", "")
    found = BeautifulSoup(plain, "html.parser").find_all("tr")
    rows = [[float(cell.text) for cell in row.find_all("td")] for row in found]
    assert len(rows) > 3
    assert len(noises) > 2
    for phantom, under_sgd, *under_adam in rows:
        assert under_sgd == pytest.approx(math.exp(2 * phantom), rel=1e-3)
        for noise, factor in zip(noises, under_adam, strict=True):
            rates = constant(phantom / steps, steps)
            memory = float(adam_memory(LOG_SIGMA, 1.0, 1.0, rates[0], noise))
            assert factor == pytest.approx(math.exp(2 * adam_phantom(rates, memory)[-1]), rel=1e-3)


def test_a_claims_page_says_when_its_wording_was_fixed(made: RunFolders) -> None:
    """The commit, and the look at the numbers that lay behind it."""
    for key, locked in claims_lock.read(carried("claims.lock")).claims.items():
        page = (made.report / "claims" / f"{key}.html").read_text(encoding="utf-8")
        assert locked.commit is None or locked.commit[:10] in page
        first = "before anything of the claim was measured" in page
        assert first == (locked.look == claims_lock.Look.FIRST)
        assert "judged by another" not in page


@pytest.mark.slow
def test_a_run_judged_by_another_wording_and_a_damaged_lock_are_a_sentence_each(
    copy: RunFolders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An older run keeps its rule and says so; without a readable lock the pages are there and the index says why."""
    path = tmp_path / "claims.lock"
    monkeypatch.setattr("aura_study.report.content.carried", lambda _: path)
    held = claims_lock.read(carried("claims.lock"))
    other = {"P1": held.claims["P1"].model_copy(update={"rule": "0" * 16})}
    claims_lock.write(held.model_copy(update={"claims": held.claims | other}), path)
    shutil.rmtree(copy.report)
    build_report(copy)
    assert "judged by another rule than" in (copy.report / "claims" / "P1.html").read_text(encoding="utf-8")
    path.write_text("{")
    shutil.rmtree(copy.report)
    index = build_report(copy)
    assert "claims.lock is damaged" in index.read_text(encoding="utf-8")
    assert "were fixed" not in (copy.report / "claims" / "P1.html").read_text(encoding="utf-8")


def test_every_link_and_source_resolves_inside_the_site(made: RunFolders) -> None:
    """A local address names a file of the site, and its fragment an id of that file; nothing else is loaded."""
    ids = {path: {tag["id"] for tag in soup.find_all(id=True)} for path, soup in pages(made)}
    for path, soup in pages(made):
        for tag in soup.find_all(["a", "link", "script", "img"]):
            address = str(tag.get("href") or tag.get("src") or "")
            parts = urlsplit(address)
            if parts.scheme and tag.name == "a":
                continue
            assert not parts.scheme, f"{path.name} loads {address}"
            assert not parts.netloc, f"{path.name} loads {address}"
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            assert target.is_file(), f"{path.name} points to {address}"
            assert target.is_relative_to(made.report.resolve())
            if parts.fragment:
                assert parts.fragment in ids[target], f"{path.name} points to {address}"


def test_ids_are_unique_and_every_picture_has_alternative_text(made: RunFolders) -> None:
    """No id occurs twice on a page; no picture is mute; one heading of the first level a page."""
    for path, soup in pages(made):
        ids = [tag["id"] for tag in soup.find_all(id=True)]
        assert len(ids) == len(set(ids)), path.name
        assert all(str(image.get("alt", "")).strip() for image in soup.find_all("img")), path.name
        assert len(soup.find_all("h1")) == 1, path.name


def test_what_comes_from_data_is_shown_and_never_runs(made: RunFolders) -> None:
    """Scripts, handlers and javascript: addresses of outputs are gone; their text, where it is text, is there."""
    for path, soup in pages(made):
        root = "../" * (len(path.relative_to(made.report).parts) - 1)
        own = OWN_SCRIPTS.get(path.name, ())
        runs = [script for script in soup.find_all("script") if script.get("type") != "application/json"]
        assert sorted(script.get("src") for script in runs) == sorted(
            f"{root}static/{name}" for name in ("site.js", *own)
        )
        assert not soup.find_all(lambda tag: any(name.startswith("on") for name in tag.attrs))
        assert not soup.find_all(href=re.compile("^javascript:"))
        assert not soup.find_all("style")
    page = (made.report / "notebooks" / "01_focal_loss.html").read_text()
    assert "&lt;script&gt; costs $5 and $6" in page
    assert "&lt;script&gt;window.broken" in page
    assert "plain instead" in page
    assert "share of &lt;b&gt;things&lt;/b&gt;" in (made.report / "claims" / "F1.html").read_text()


def test_notebook_figures_are_the_sites_own_files(made: RunFolders) -> None:
    """The picture embedded in a notebook's output is the figure's file, stored once."""
    soup = BeautifulSoup((made.report / "notebooks" / "01_focal_loss.html").read_text(), "html.parser")
    sources = [str(image["src"]) for image in soup.select("article img")]
    assert not [source for source in sources if source.startswith("data:")]
    name = Path(sources[0]).name
    assert (made.report / "figures" / name).read_bytes() == (made.figures / name).read_bytes()


def test_a_claims_page_tells_all_of_its_row(made: RunFolders) -> None:
    """Statement, prediction, measurement, unit, verdict, rule, limit and links stand on the page."""
    for row in read_claims(made).claims:
        soup = BeautifulSoup((made.report / "claims" / f"{row.claim}.html").read_text(), "html.parser")
        text = " ".join(soup.get_text(" ").split())
        for words in (row.statement, row.prediction, row.unit, row.verdict, row.rule, row.limit or ""):
            told = BeautifulSoup(with_formulas(f"<p>{escape(words)}</p>"), "html.parser").get_text(" ")
            assert " ".join(told.split()) in text
        targets = {link["href"] for link in soup.find_all("a")}
        assert f"../notebooks/{row.notebook}.html" in targets
        assert len(soup.find_all("img")) == (row.figure is not None)


def test_an_unchanged_run_is_not_built_again(copy: RunFolders) -> None:
    """Building twice touches no file; a changed ledger builds again."""
    build_report(copy)
    before = snapshot(copy.report)
    build_report(copy)
    assert snapshot(copy.report) == before
    content = json.loads(copy.claims.read_text())
    content["profile"] = "smoke"
    copy.claims.write_text(json.dumps(content))
    build_report(copy)
    assert snapshot(copy.report) != before


def test_a_lost_page_and_an_altered_one_are_built_again(copy: RunFolders) -> None:
    """The site repairs itself, though nothing that it is made from has changed."""
    build_report(copy)
    page, front = copy.report / "claims" / "F1.html", copy.report / "index.html"
    whole = page.read_bytes(), front.read_bytes()
    page.unlink()
    front.write_bytes(front.read_bytes() + b"<script>alert(1)</script>")
    build_report(copy)
    assert (page.read_bytes(), front.read_bytes()) == whole


def test_a_forged_ledger_is_told_where_it_is_read(copy: RunFolders) -> None:
    """The report's front page and the command line name the claim whose row its notebook did not leave."""
    notebooks = {path.stem: path for path in copy.evidence.glob("*.json")}
    held = {**held_manifest(), "notebooks": dict.fromkeys(notebooks, ENTRY)}
    copy.manifest.write_text(json.dumps(held))
    content = json.loads(copy.claims.read_text())
    content["claims"][0]["measured"] = 12345.0
    copy.claims.write_text(json.dumps(content))
    build_report(copy)
    words = f"Claim {content['claims'][0]['claim']}: claims.json and its notebook's evidence differ in measured."
    assert str(escape(words)) in (copy.report / "index.html").read_text()
    assert CliRunner().invoke(app, ["claims", "--run", str(copy.results)]).stderr.count(words) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("figures/focal_modulation.svg", "Figure focal_modulation of notebook 01_focal_loss is missing"),
        ("notebooks/01_focal_loss.ipynb", "The executed notebook 01_focal_loss is missing"),
        ("claims.json", "made&#39; has no claims.json"),
    ],
)
def test_a_missing_piece_is_said(copy: RunFolders, damage: str, words: str) -> None:
    """Without the file the site is built, the front page says what is missing, and all links still resolve."""
    (copy.results / damage).unlink()
    build_report(copy)
    assert words in (copy.report / "index.html").read_text()
    test_every_link_and_source_resolves_inside_the_site(copy)


PLAIN = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="9pt">{}</svg>'
ACTIVE = [
    PLAIN.format("<script>alert(1)</script>"),
    PLAIN.format('<g onload="alert(1)"/>'),
    PLAIN.format('<a href="javascript:alert(1)"><path d="M 0 0"/></a>'),
    PLAIN.format('<use xlink:href="http://example.org/x.svg#a"/>'),
    PLAIN.format('<image href="data:image/svg+xml;base64,PHN2Zy8+"/>'),
    PLAIN.format("<foreignObject><p>x</p></foreignObject>"),
    PLAIN.format('<set attributeName="href" to="javascript:alert(1)"/>'),
    PLAIN.format("<style>@import 'http://example.org/x.css';</style>"),
    PLAIN.format('<path style="fill: u\\72l(http://example.org/x)"/>'),
    PLAIN.format('<path style="fill: url( http://example.org/x)"/>'),
    '<!DOCTYPE svg [<!ATTLIST svg onload CDATA "alert(1)">]>' + PLAIN.format(""),
    '<!DOCTYPE svg [<!ENTITY a "<script>alert(1)</script>">]>' + PLAIN.format("&a;"),
    '<?xml-stylesheet href="http://example.org/x.css"?>' + PLAIN.format(""),
    "<svg><path></svg>",
]


@pytest.mark.parametrize("svg", ACTIVE)
def test_a_picture_that_runs_or_fetches_something_is_none(svg: str) -> None:
    """Scripts, handlers, addresses, whatever an entity or a default brings in, and what no reader can parse."""
    assert not only_shows(svg.encode())


@pytest.mark.parametrize("inside", ["", '<path d="M 0 0" clip-path="url(#p1)"/><use xlink:href="#m1"/>'])
def test_a_mere_picture_is_one(inside: str) -> None:
    """What leads to a part of its own is harmless; so is every figure of the reference run."""
    assert only_shows(PLAIN.format(inside).encode())
    assert all(only_shows(path.read_bytes()) for path in RunFolders.of("reference").figures.glob("*.svg"))


def test_a_forged_picture_is_left_out_of_the_site_and_named(copy: RunFolders) -> None:
    """As a figure and as a cell's output; no file of the site holds it."""
    (copy.figures / "focal_modulation.svg").write_text(ACTIVE[0])
    build_report(copy)
    words = "Figure focal_modulation of notebook 01_focal_loss is missing, or is no mere picture"
    assert words in (copy.report / "index.html").read_text()
    pictures = Pictures(copy.report / "figures")
    shown = str(clean(f'<img src="data:image/svg+xml,{quote(ACTIVE[0])}" alt="one">', pictures))
    assert shown == "[picture: one]"
    assert not [path for path in copy.report.rglob("*.svg") if b"alert" in path.read_bytes()]


def test_a_run_of_the_past_is_compared_with_its_manifest(copy: RunFolders) -> None:
    """A file that differs from what the manifest recorded, and a notebook that has not finished, are named."""
    copy.manifest.write_text(json.dumps(held_manifest()))
    build_report(copy)
    page = (copy.report / "run.html").read_text()
    for words in (
        "claims.json, made by 01_focal_loss, is not the file",
        "04_aura_training has not finished",
        "&lt;1&gt;",
    ):
        assert words in page
    assert "ffffffffffff" in page


ENTRY = {"parameters": {}, "seeds": {}, "seconds": 1, "inputs": {}, "outputs": {}}
"""Of a notebook in a manifest."""


def held_manifest() -> dict[str, object]:
    """A manifest of one notebook, whose one output is not the file that is there."""
    recorded = {
        "01_focal_loss": {
            "parameters": {},
            "seeds": {},
            "seconds": 1,
            "inputs": {},
            "outputs": {"claims.json": "0" * 64},
        }
    }
    return {
        "run": "made",
        "request": {"profile": "full", "data": "aura", "overrides": {"rate": "<1>"}},
        "finished": "2026-01-02T03:04:05Z",
        "commit": {"hash": "f" * 40, "dirty": True},
        "device": {"accelerator": None, "cpus": 2, "threads": 2, "machine": "x", "system": "Linux"},
        "versions": {"python": "3.11"},
        "data": {"name": "aura", "files": {"a.csv": "1" * 64}},
        "unfinished": ["04_aura_training"],
        "notebooks": recorded,
    }


def test_a_failed_notebook_shows_what_was_executed(copy: RunFolders) -> None:
    """Its page says that it stopped, and ends with the error."""
    path = copy.notebooks / "01_focal_loss.ipynb"
    notebook = nbformat.read(path, as_version=4)
    error = nbformat.v4.new_output(
        "error", ename="ValueError", evalue="bad", traceback=["\x1b[31mValueError\x1b[0m: <bad>"]
    )
    notebook.cells[4].outputs.append(error)
    nbformat.write(notebook, path.with_name("01_focal_loss.failed.ipynb"))
    path.unlink()
    build_report(copy)
    page = (copy.report / "notebooks" / "01_focal_loss.html").read_text()
    assert "This notebook stopped with an error" in page
    assert "&lt;bad&gt;" in page


def test_there_is_no_report_of_no_run(tmp_path: Path) -> None:
    """A run that does not exist is an error that says so, and nothing is created."""
    with pytest.raises(StudyError, match=r"run 'none' has no claims\.json"):
        build_report(RunFolders.of(str(tmp_path / "none")))
    assert not (tmp_path / "none").exists()


def refusal(folders: RunFolders) -> str | None:
    """Why the ledger is refused, or ``None`` if it is not."""
    try:
        read_claims(folders)
    except StudyError as error:
        return str(error)
    return None


ROW_FIELDS = sorted(Row.model_fields)
JSON = st.none() | st.booleans() | st.floats() | st.text(max_size=5) | st.lists(st.integers(), max_size=2)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(field=st.sampled_from(ROW_FIELDS), value=JSON)
def test_a_damaged_row_is_one_error_that_names_file_and_place(made: RunFolders, field: str, value: object) -> None:
    """Any value in any field of a row is either valid or refused with the file's name, the row and the field."""
    content = json.loads(made.claims.read_text())
    content["claims"][1][field] = value
    path = made.results.parent / "fuzzed" / "claims.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content))
    words = refusal(RunFolders.of(str(path.parent)))
    assert words is None or words.startswith(f"{path} is damaged at claims.1.{field}")


@pytest.mark.slow
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    cut=st.integers(0, 4000),
    noise=st.binary(max_size=3),
    name=st.sampled_from(["claims", "evidence", "notebook", "table", "trajectory", "advice"]),
)
def test_a_truncated_or_noisy_file_never_crashes_the_report(
    copy: RunFolders, cut: int, noise: bytes, name: str
) -> None:
    """Whatever a run leaves, cut short and continued with noise: the site is built and says what is wrong."""
    table, trajectory, advice = with_data(copy)
    path = {
        "claims": copy.claims,
        "evidence": copy.evidence / "01_focal_loss.json",
        "notebook": copy.notebooks / "01_focal_loss.ipynb",
        "table": table,
        "trajectory": trajectory,
        "advice": advice,
    }[name]
    whole = path.read_bytes()
    broken = whole[: cut % len(whole)] + noise
    try:
        path.write_bytes(broken)
        build_report(copy)
        if not noise.isspace() or cut % len(whole) < len(whole) - 1:
            page = (copy.report / "index.html").read_text()
            assert "This report is not complete" in page
    finally:
        path.write_bytes(whole)


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (0.0, "0"), (-1.5, "−1.5"), (1e-9, "1 × 10<sup>−9</sup>"), (123456.0, "1.235 × 10<sup>5</sup>")],
)
def test_numbers_are_written_as_people_write_them(value: float | None, text: str) -> None:
    """Four significant digits, a true minus sign, powers of ten written out; the terminal shows the plain form."""
    assert spoken(value) == text
    assert number(value) == ("–" if value is None else f"{value:.4g}")


def row_of(claim: str, measured: float, low: float, high: float, predicted: float | None) -> Row:
    return CLAIMS[claim].decide(Measurement(measured, low, high, "unit", predicted, seeds=5))


def test_the_line_of_a_claim_places_what_the_rule_compares() -> None:
    """Values keep their order on the line; the accepted band holds exactly the intervals that the rule confirms."""
    inside = scale(row_of("K1", 1.01, 0.99, 1.015, 1.0))
    assert inside is not None
    assert inside.accepted is not None
    assert 0 < inside.accepted[0] < inside.low < inside.predicted < inside.measured < inside.high  # type: ignore[operator]
    assert inside.high < inside.accepted[1] < 100
    outside = scale(row_of("K1", 1.2, 1.1, 1.3, 1.0))
    assert outside is not None
    assert outside.accepted is not None
    assert outside.accepted[1] < outside.low
    assert outside.words == "Measured 1.2, interval 1.1 to 1.3, predicted 1; the rule accepts from 0.98 up to 1.02."


def test_a_one_sided_rule_accepts_to_the_end_of_the_line() -> None:
    """A bound from above leaves the lower end open."""
    line = scale(row_of("P1", 2e-7, 1e-9, 3e-7, 0.0))
    assert line is not None
    assert line.accepted is not None
    assert line.accepted[0] == 0
    assert line.high < line.accepted[1] < 100
    assert line.words.endswith("the rule accepts up to 1e-06.")


@pytest.mark.parametrize("key", sorted(CLAIMS))
def test_every_rules_zone_is_on_the_line(key: str) -> None:
    """Of any claim the accepted zone is drawn and told, with at least two numbers on its axis."""
    rules = [rule for rule in (CLAIMS[key].rule, CLAIMS[key].foretells) if isinstance(rule, Rule)]
    asked = [bound.quantity for rule in rules for bound in (rule.limit, *rule.gates) if bound]
    line = scale(CLAIMS[key].decide(Measurement(1.5, 1.1, 2.2, "unit", 1.3, seeds=5, limits=dict.fromkeys(asked, 1.0))))
    assert line is not None
    assert line.accepted is not None
    assert line.zone in line.words
    assert len(line.ticks) >= 2
    assert all(0 <= place <= 100 for place, _ in line.ticks)


def test_the_axis_counts_in_round_numbers() -> None:
    """Ticks stand where their numbers are, on the scale on which the interval is."""
    line = scale(row_of("K1", 1.01, 0.99, 1.015, 1.0))
    assert line is not None
    ticks = {float(text): place for place, text in line.ticks}
    assert ticks[1.0] == pytest.approx(line.predicted)
    assert line.low < ticks[1.0] < line.measured


def test_the_guides_own_number_stands_beside_the_prediction(made: RunFolders) -> None:
    """In the ledger and on the claim's page, for the claims that put one to the test, and only there."""
    numbered = {key: words for passage in GUIDE for key, words in passage.numbers.items()}
    assert numbered["F2"] == "90 %"
    index = BeautifulSoup((made.report / "index.html").read_text(encoding="utf-8"), "html.parser")
    cells = index.select('.ledger td[data-label="predicted"]')
    told = {cell.find_parent("tr").th.text: cell.text for cell in cells}
    for key in CLAIMS:
        page = (made.report / "claims" / f"{key}.html").read_text(encoding="utf-8")
        assert (f'<dt>The guide says</dt><dd class="big">{numbered.get(key)}</dd>' in page) == (key in numbered)
        assert told[key].endswith(f"the guide: {numbered[key]}") if key in numbered else "the guide" not in told[key]


def test_there_is_no_line_where_there_is_nothing_to_see() -> None:
    """An unbounded interval, or all values on one point, are told in numbers alone."""
    assert scale(row_of("K1", 1.0, -math.inf, math.inf, 1.0)) is None
    assert scale(row_of("P3", 0.0, 0.0, 0.0, 0.0)) is None


def test_a_claims_page_lists_the_works_that_it_leans_on(made: RunFolders) -> None:
    """Each with its authors, its title and its address; a claim that leans on none has no such list."""
    for key, claim in CLAIMS.items():
        soup = BeautifulSoup((made.report / "claims" / f"{key}.html").read_text(encoding="utf-8"), "html.parser")
        headings = [heading for heading in soup.find_all("h2") if heading.text == "What it leans on"]
        assert len(headings) == bool(claim.cites), key
        shown = headings[0].find_next("ul").find_all("li") if headings else []
        assert len(shown) == len(claim.cites)
        for item, cited in zip(shown, claim.cites, strict=True):
            work = works()[cited]
            assert item.text.startswith(work.authors)
            assert work.title in item.text
            assert [link["href"] for link in item.find_all("a")] == ([work.url] if work.url else [])


def test_each_page_says_which_run_it_is_and_the_first_what_differs(made: RunFolders) -> None:
    """Profile and data stand at the top of every page; verdicts that the reference has otherwise are named."""
    for path, soup in pages(made):
        which = soup.select_one("header .which")
        assert which, path.name
        assert which.get_text(" ", strip=True) == "Run made : profile full, aura data"
    here, there = read_claims(made).rows, read_claims(reference_run()).rows
    differing = {key for key in here.keys() & there.keys() if here[key].verdict != there[key].verdict}
    index = BeautifulSoup((made.report / "index.html").read_text(), "html.parser")
    told = {item.a.get_text(): item.get_text() for item in index.select(".changes li") if item.a}
    assert told.keys() == differing != set()
    statements = {
        key: BeautifulSoup(with_formulas(f"<p>{escape(here[key].statement)}</p>"), "html.parser") for key in told
    }
    assert all(statements[key].get_text() in text for key, text in told.items())


def test_the_tally_follows_the_introduction_and_counts_every_claim(made: RunFolders) -> None:
    """It interrupts no paragraph; a line for each kind."""
    index = BeautifulSoup((made.report / "index.html").read_text(), "html.parser")
    table = index.select_one(".hero .tally")
    assert table
    assert table.find_next("p").find_parent("figure")
    claims = read_claims(made).claims
    assert len(table.select("tbody tr")) == len({row.kind for row in claims})
    assert sum(int(chip.get_text()) for chip in table.select("tbody .chip")) == len(claims)


@pytest.mark.slow
def test_what_is_open_here_shows_the_references_answer(copy: RunFolders) -> None:
    """On its page, marked as the reference's; what the reference leaves open, or was asked in other words, has none.

    A claim that this run did not ask at all has it on the first page.
    """
    answers, locked = read_claims(reference_run()).rows, claims_lock.read(carried("claims.lock")).claims
    asked = {key: not locked[key].changed(claims_lock.digests(row.model_dump())) for key, row in answers.items()}
    answerable = {key for key, row in answers.items() if asked[key] and row.verdict in DECIDED}
    open_here = {key for key, row in read_claims(copy).rows.items() if row.verdict not in DECIDED}
    gone = sorted(answerable - open_here)[0]
    record = json.loads(copy.claims.read_text())
    record["claims"] = [row for row in record["claims"] if row["claim"] != gone]
    copy.claims.write_text(json.dumps(record))
    evidence = copy.evidence / f"{answers[gone].notebook}.json"
    held = json.loads(evidence.read_text())
    evidence.write_text(json.dumps(held | {"claims": [claim for claim in held["claims"] if claim["claim"] != gone]}))
    build_report(copy)
    said = "The reference run decides it: "
    shown = {path.stem: soup.get_text() for path, soup in pages(copy) if path.parent.name == "claims"}
    assert {key for key, text in shown.items() if said in text} == answerable & open_here != set()
    index = BeautifulSoup((copy.report / "index.html").read_text(), "html.parser").get_text()
    assert f"{CLAIMS[gone].statement} {said}{answers[gone].verdict}" in " ".join(index.split())


def test_the_ledger_has_intervals_and_seeds(made: RunFolders) -> None:
    """Beside each measured number its interval and how many seeds it rests on."""
    index = BeautifulSoup((made.report / "index.html").read_text(), "html.parser")
    cells = {
        row.th.get_text(strip=True): row.select_one("[data-label=measured]") for row in index.select(".ledger tbody tr")
    }
    for row in read_claims(made).claims:
        text = cells[row.claim].get_text(" ", strip=True)
        assert "5 seeds" in text
        if None not in row.interval:
            assert BeautifulSoup(str(interval(row)), "html.parser").get_text(" ", strip=True) in text


def with_data(folders: RunFolders) -> tuple[Path, Path, Path]:
    """A table of steps, a trajectory and the advice, as the reference has them, put into a run."""
    theirs = reference_run()
    names = ("tables/mlm_learning_curve.csv", "trajectories/balancer-dwa-PresentOnly-seed0.parquet")
    for name in (*names, f"tables/{ADVICE_TABLE}.csv"):
        (folders.results / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(theirs.results / name, folders.results / name)
    return folders.results / names[0], folders.results / names[1], folders.tables / f"{ADVICE_TABLE}.csv"


@pytest.mark.parametrize(
    ("place", "damaged", "words"),
    [
        (0, b"", "There is no page of this run beside reference: cannot read made/tables/mlm_learning_curve.csv"),
        (0, b"step,loss\n1,2\nx,3\n", "There is no page of this run beside reference: cannot read made/tables"),
        (1, b"PAR1 and no more", "There is no page of this run beside reference: cannot read made/trajectories"),
        (2, b"words\nClip.\n", "The advice is missing: cannot read made/tables/findings_advice.csv"),
    ],
)
def test_data_that_cannot_be_read_is_a_sentence(copy: RunFolders, place: int, damaged: bytes, words: str) -> None:
    """An empty table, one of steps that are none, a trajectory cut short, advice without its column; no link is dead.

    Those who set runs beside each other are refused, with the same words.
    """
    path = with_data(copy)[place]
    path.write_bytes(damaged)
    build_report(copy)
    page = BeautifulSoup((copy.report / "index.html").read_text(), "html.parser")
    assert words in page.find("section", attrs={"aria-labelledby": "incomplete"}).text
    assert (copy.report / "comparison.html").is_file() == (place == 2)
    test_every_link_and_source_resolves_inside_the_site(copy)
    if place < 2:
        asked = ["compare", str(copy.results), "reference", "--html", str(copy.results / "page")]
        with pytest.raises(StudyError, match=f"cannot read {path}"):
            CliRunner().invoke(app, asked, catch_exceptions=False)
        assert not (copy.results / "page").exists()


def test_a_damaged_file_is_told_once_and_without_the_machines_folders(copy: RunFolders) -> None:
    """Though the report and the check of the run's record both come upon it."""
    copy.manifest.write_text(json.dumps(held_manifest() | {"notebooks": {"01_focal_loss": ENTRY}}))
    (copy.evidence / "01_focal_loss.json").write_text("{")
    index = build_report(copy).read_text()
    assert str(copy.results) not in index
    assert index.count("cannot read made/evidence/01_focal_loss.json") == 1


def test_a_figure_leads_to_its_numbers_its_cell_and_its_command(copy: RunFolders) -> None:
    """On the claim's page and in the notebook: the table as CSV, the picture as PNG, the cell, the command."""
    path = copy.notebooks / "01_focal_loss.ipynb"
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[-2].source = 'curves = run.table("curves", make(p))\nrun.figure("focal_modulation", draw(curves))'
    cell = next(one for one in notebook.cells if "run.figure" in one.source)
    cell.cell_type, cell.outputs, cell.execution_count, cell.id = "code", [], None, "factor-figure"
    nbformat.write(notebook, path)
    evidence = copy.evidence / "01_focal_loss.json"
    evidence.write_text(json.dumps(json.loads(evidence.read_text()) | {"tables": [{"name": "curves", "rows": 1}]}))
    copy.tables.mkdir(exist_ok=True)
    (copy.tables / "curves.csv").write_text("x\n1\n")
    build_report(copy)
    for page in ("claims/F1.html", "notebooks/01_focal_loss.html"):
        found = BeautifulSoup((copy.report / page).read_text(), "html.parser").select_one("figure .sources")
        assert found, page
        links = {link["href"] for link in found.find_all("a")}
        wanted = {
            "../data/curves.csv",
            "../figures/focal_modulation.png",
            "../notebooks/01_focal_loss.html#cell-factor-figure",
        }
        assert wanted <= links
        assert "aura-study run 01_focal_loss" in found.get_text()
    assert (copy.report / "data" / "curves.csv").read_text() == "x\n1\n"
    assert 'id="cell-factor-figure"' in (copy.report / "notebooks" / "01_focal_loss.html").read_text()


@pytest.mark.parametrize("run", [reference_run(), RunFolders.of(REPETITION)], ids=lambda run: run.name)
def test_the_command_below_a_figure_is_taken_and_asks_for_what_the_run_asked(run: RunFolders) -> None:
    """Of every notebook of both committed runs, also of one that has not finished: no other notebook's parameters."""
    content = gather(run)
    assert content.manifest
    for entry in content.notebooks:
        command = shlex.split(content.again(entry.name))
        given = [command[place + 1] for place, word in enumerate(command) if word == "-p"]
        profile, data = (command[command.index(name) + 1] for name in ("--profile", "--data"))
        overrides = parse_assignments(given)
        asked = Request.of(parameter_classes(), [command[2]], profile, data, "again", overrides)  # type: ignore[arg-type]
        wanted = content.manifest.request.overrides.get(entry.name, {})
        held = content.manifest.notebooks.get(entry.name)
        found = asked.parameters[entry.name].model_dump(mode="json")
        assert wanted.keys() <= overrides.keys()
        assert {name: found[name] for name in overrides} == {
            name: (held.parameters if held else wanted)[name] for name in overrides
        }


def test_every_header_of_a_table_has_a_scope_and_no_list_a_foreign_role(made: RunFolders) -> None:
    for path, soup in pages(made):
        assert [cell for cell in soup.find_all("th") if cell.get("scope") not in ("col", "row")] == [], path.name
        assert soup.select("ul[role]") == [], path.name


def test_the_page_on_reproducibility_counts_what_the_run_holds(made: RunFolders) -> None:
    """Claims that are open, and those without seeds, are the ledger's."""
    text = " ".join(
        BeautifulSoup((made.report / "reproducibility.html").read_text(), "html.parser").main.get_text().split()
    )
    rows = read_claims(made).claims
    open_ = [row.claim for row in rows if row.verdict in ("inconclusive", "void")]
    assert f"{len(open_)} claims stay open: {', '.join(open_)}." in text
    assert f"of which this run has judged {len(rows)}" in text


def test_the_page_on_reproducibility_prices_every_open_claim(made: RunFolders) -> None:
    """A row each: what was measured, the spread that its interval tells, the seeds that would decide it."""
    soup = BeautifulSoup((made.report / "reproducibility.html").read_text(), "html.parser")
    cells = [[cell.get_text() for cell in row.find_all(["th", "td"])] for row in soup.select(".answers tbody tr")]
    rows = [row for row in read_claims(made).claims if row.verdict in ("inconclusive", "void")]
    assert [line[0] for line in cells] == [row.claim for row in rows]
    assert [line[4] for line in cells] == [number(deviation(row)) for row in rows]
    priced = [row for row in rows if row.price and row.price.seeds]
    assert priced
    assert {line[5] for line in cells} >= {number(row.price.seeds) for row in priced if row.price}
