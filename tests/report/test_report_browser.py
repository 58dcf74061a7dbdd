"""The report in a real browser: nothing leaves the site, nothing complains, nothing overflows, everyone can read it."""

import http.server
import io
import itertools
import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

import pandas as pd
import pytest
from browsing import SIZES, Visit
from made_run import make_run
from PIL import Image

from aura_study.figures.formulas import with_formulas
from aura_study.paths import RunFolders
from aura_study.report import build_report

pytestmark = [pytest.mark.browser, pytest.mark.slow]

RAW_MATH = """() => {
  const copy = document.querySelector("main").cloneNode(true);
  const theirs = "pre, code, .dataframe td:not(:has(.formula))";
  for (const tag of copy.querySelectorAll(theirs)) tag.remove();
  return copy.textContent.includes("$") ? copy.textContent.match(/.{0,40}\\$.{0,40}/)[0] : "";
}"""
PICTURES = """async () => {
  const bad = [];
  for (const image of document.images) {
    image.loading = "eager";
    await image.decode().catch(() => {});
    if (image.src.includes("output-")) continue;  // a deliberately damaged picture
    if (!image.naturalWidth || !image.alt.trim()) bad.push(image.src);
  }
  return bad;
}"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> RunFolders:
    folders = make_run(tmp_path_factory.mktemp("browser") / "made")
    build_report(folders)
    return folders


@pytest.fixture(scope="module")
def address(site: RunFolders) -> Iterator[str]:
    """The site on a local server."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site.report)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def every_page(site: RunFolders) -> list[str]:
    return sorted(path.relative_to(site.report).as_posix() for path in site.report.rglob("*.html"))


def one_of_each() -> list[str]:
    return [
        "index.html",
        "guide.html",
        "negative.html",
        "methods.html",
        "reproducibility.html",
        "run.html",
        "explorer.html",
        "claims/P2.html",
        "notebooks/03_phantom_gradient.html",
    ]


def test_pages_from_the_file_system_ask_for_nothing_else_and_set_their_math(browser: Any, site: RunFolders) -> None:
    """On every page: only files of the site are loaded, the console is silent, no raw formula, no formula in error."""
    root = site.report.as_uri()
    with Visit(browser, f"{root}/index.html") as visit:
        for name in every_page(site):
            visit.open(f"{root}/{name}")
            assert [url for url in visit.requests if not url.startswith(f"{root}/")] == [], name
            assert visit.complaints == [], name
            assert visit.page.evaluate(RAW_MATH) == "", name
            assert visit.page.evaluate("document.querySelectorAll('merror').length") == 0, name
            assert visit.page.evaluate("window.broken") is None, name
            assert visit.page.evaluate(PICTURES) == [], name


def test_formulas_in_a_table_are_set_where_the_package_wrote_them(browser: Any, site: RunFolders) -> None:
    """The cell of a formula column holds a set formula; two prices in the next stay two prices."""
    with Visit(browser, f"{site.report.as_uri()}/notebooks/03_phantom_gradient.html") as visit:
        assert visit.page.evaluate("document.querySelectorAll('.dataframe .formula math').length") == 1
        cells = visit.page.evaluate("[...document.querySelectorAll('.dataframe td')].map(cell => cell.textContent)")
        assert "<b>$7 and $8</b>" in cells


def test_formula_columns_must_be_there() -> None:
    """A column that is not in the table is named, with those that are."""
    with pytest.raises(ValueError, match=r"no column \['why'\]; columns are \['what'\]"):
        with_formulas(pd.DataFrame({"what": [1]}), "why")


def test_pages_from_a_server_ask_only_that_server(browser: Any, site: RunFolders, address: str) -> None:
    """Served over http, the same holds."""
    for name in one_of_each():
        with Visit(browser, f"{address}/{name}") as visit:
            assert [url for url in visit.requests if not url.startswith(f"{address}/")] == [], name
            assert visit.complaints == [], name


def test_nothing_is_wider_than_a_phone(browser: Any, site: RunFolders) -> None:
    """At 390 pixels no page scrolls sideways, folded or unfolded; wide tables scroll inside their own box."""
    with Visit(browser, f"{site.report.as_uri()}/index.html", "phone") as visit:
        for name in every_page(site):
            visit.open(f"{site.report.as_uri()}/{name}")
            visit.unfold()
            assert visit.page.evaluate("document.documentElement.scrollWidth") == 390, name
        visit.open(f"{site.report.as_uri()}/notebooks/01_focal_loss.html")
        wide = "(box => box.scrollWidth > box.clientWidth)(document.querySelector('.scroll:has(.dataframe)'))"
        assert visit.page.evaluate(wide)


def test_the_accessibility_checker_finds_nothing(browser: Any, site: RunFolders) -> None:
    """axe-core reports no violation, contrast included, at either size, by day and by night."""
    for size, name in itertools.product(SIZES, one_of_each()):
        with Visit(browser, f"{site.report.as_uri()}/{name}", size) as visit:
            visit.unfold()
            assert visit.violations() == [], f"{name}, {size}"


def test_code_unfolds_with_one_button_and_links_lead_on(browser: Any, site: RunFolders) -> None:
    """The button opens and closes all code; from the front page a reader gets to a claim, its notebook, and back."""
    with Visit(browser, f"{site.report.as_uri()}/index.html") as visit:
        page = visit.page
        page.click("table.ledger a >> text=P1")
        page.click("main a >> text=The title")
        assert page.url.endswith("notebooks/03_phantom_gradient.html")
        assert not page.locator("details.code pre").first.is_visible()
        page.click("#fold")
        assert page.locator("details.code pre").first.is_visible()
        page.click("#fold")
        assert not page.locator("details.code pre").first.is_visible()
        page.click("header a >> text=Story")
        assert page.url.endswith("index.html")


def test_the_page_reads_without_scripts(browser: Any, site: RunFolders) -> None:
    """With scripts off everything is there, the formulas as well, and each cell still folds."""
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{site.report.as_uri()}/index.html")
    assert page.locator("math").first.bounding_box()["height"] > 8
    page.goto(f"{site.report.as_uri()}/notebooks/01_focal_loss.html")
    assert page.locator("h1").is_visible()
    page.locator("details.code summary").first.click()
    assert page.locator("details.code pre").first.is_visible()
    context.close()


def test_printing_shows_the_text_and_leaves_the_controls_out(browser: Any, site: RunFolders) -> None:
    """On paper the navigation and the button are gone and the figures are there."""
    with Visit(browser, f"{site.report.as_uri()}/notebooks/01_focal_loss.html") as visit:
        visit.page.emulate_media(media="print")
        assert not visit.page.locator("#fold").is_visible()
        assert not visit.page.locator("header nav").is_visible()
        assert visit.page.locator("article figure img").first.is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_figures_paper_is_that_of_the_scheme(browser: Any, site: RunFolders, scheme: str) -> None:
    """Dark ink on light paper by day, light ink on dark paper by night; a printed one is by day in either."""
    with Visit(browser, f"{site.report.as_uri()}/index.html", scheme=scheme) as visit:
        assert paper_and_ink(visit) == ("light", "dark") if scheme == "light" else ("dark", "light")
        visit.page.emulate_media(media="print")
        assert paper_and_ink(visit) == ("light", "dark")


def paper_and_ink(visit: Visit) -> tuple[str, str]:
    picture = Image.open(io.BytesIO(visit.page.locator(".plate .card").first.screenshot())).convert("L")
    counts = picture.histogram()
    paper = max(range(256), key=counts.__getitem__)
    ink = max((tone for tone in range(256) if counts[tone]), key=lambda tone: abs(tone - paper))
    return ("light", "dark") if paper > ink else ("dark", "light")


def test_letters_of_figures_stay_legible_on_a_phone(browser: Any, site: RunFolders) -> None:
    """Each figure is at least as wide as its smallest letters ask for, and scrolls in its card."""
    read = "[one.clientWidth, getComputedStyle(one).getPropertyValue('--least')]"
    widths = f"[...document.querySelectorAll('main figure img')].map(one => {read})"
    with Visit(browser, f"{site.report.as_uri()}/notebooks/01_focal_loss.html", "phone") as visit:
        drawn = [(width, int(least)) for width, css in visit.page.evaluate(widths)
                 if (least := css.strip(" px"))]  # fmt: skip
        assert drawn
        assert all(width >= least for width, least in drawn)
