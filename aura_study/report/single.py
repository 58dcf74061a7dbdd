"""Several pages of a site as one file that needs no other, and that file on paper."""

import base64
import mimetypes
import posixpath
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bs4 import BeautifulSoup, Tag

from aura_study.data.scratch import scratch
from aura_study.errors import StudyError
from aura_study.paths import RunFolders
from aura_study.report.images import WIDE
from aura_study.runs.records import write_atomically

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
TALL = 1.25
"""Width over height below which a printed figure has the page's width to itself, as those above `WIDE` have."""
PRINTING = 300
"""Seconds that a browser may take to print."""
TOLD = ("index.html", "guide.html", "negative.html", "methods.html", "reproducibility.html")
PRINTED = ("index.html", "methods.html")
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
LEFT_OUT = "nav, button, .button, .skip, .crumbs, noscript, [aria-labelledby=notebooks], [aria-labelledby=beside]"
"""What leads to pages that are not there."""


def write_one_file(folders: RunFolders) -> Path:
    """Write story and claims, from the run's site, into ``report.html`` beside it; return its path."""
    claims = sorted(path.relative_to(folders.report).as_posix() for path in folders.report.glob("claims/*.html"))
    return _write(_joined(folders.report, [*TOLD, *claims]), folders.results / "report.html")


def write_pdf(folders: RunFolders) -> Path:
    """Print story, ledger, methods and every notebook's figures, from the run's site, into ``report.pdf`` beside it.

    Raises:
        StudyError: no browser, or one that did not print.
    """
    program = browser()
    page = _joined(folders.report, PRINTED)
    for path in sorted(folders.report.glob("notebooks/*.html")):
        gallery = _gallery(folders.report, path.relative_to(folders.report).as_posix())
        page.main.append(gallery)  # type: ignore[union-attr]
    target = folders.results / "report.pdf"
    with scratch("aura-report-") as folder:
        source, made = _write(page, folder / "report.html"), folder / "report.pdf"
        command = [program, *FLAGS, f"--user-data-dir={folder}/profile", "--no-pdf-header-footer"]
        try:
            subprocess.run(
                [*command, f"--print-to-pdf={made}", source.as_uri()], capture_output=True, timeout=PRINTING, check=True
            )
        except (subprocess.SubprocessError, OSError) as error:
            raise StudyError(f"{program} could not print the report: {error}") from None
        if not made.is_file():
            raise StudyError(f"{program} printed nothing")
        return write_atomically(target, lambda path: shutil.copyfile(made, path))


def browser() -> str:
    """Program of a Chromium.

    Raises:
        StudyError: there is none.
    """
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        raise StudyError(
            f"a PDF is printed by Chromium, and none of {', '.join(BROWSERS)} is installed; "
            "--one-file writes a page that any browser prints"
        )
    return found


def _joined(site: Path, pages: Sequence[str]) -> BeautifulSoup:
    """The main parts of ``pages``, one after another, in the first one's frame, without scripts or other files."""
    whole = _soup(site, pages[0])
    styles = [unquote(str(link["href"])) for link in whole.select("link[rel=stylesheet]")]
    for tag in whole.select("head link, script, .top, .bottom, .skip"):
        tag.decompose()
    whole.find("meta", attrs={"http-equiv": True})["content"] = POLICY  # type: ignore[index]
    style = whole.new_tag("style")
    style.string = "\n".join((site / name).read_text(encoding="utf-8") for name in styles)
    whole.head.append(style)  # type: ignore[union-attr]
    main = whole.new_tag("main", id="main", attrs={"class": "single"})
    shown: set[str] = set()
    parts = [_part(site, page, pages, shown) for page in pages]
    whole.body.clear()  # type: ignore[union-attr]
    whole.body.append(main)  # type: ignore[union-attr]
    main.extend(parts)
    return whole


def _part(site: Path, page: str, pages: Sequence[str], shown: set[str]) -> Tag:
    part = _soup(site, page).main
    assert part is not None
    for tag in part.select(LEFT_OUT):
        tag.decompose()
    if page != pages[0]:
        for level in (3, 2, 1):
            for heading in part.find_all(f"h{level}"):
                heading.name = f"h{level + 1}"
    for tag in part.select("[id]"):
        tag["id"] = _anchor(page, str(tag["id"]))
    for tag in part.select("[aria-labelledby]"):
        tag["aria-labelledby"] = _anchor(page, str(tag["aria-labelledby"]))
    for link in part.find_all("a"):
        _lead_inside(link, page, pages)
    for figure in part.find_all("figure"):
        _carry(figure, site, page, shown)
    part.name, part["id"] = "article", _anchor(page)
    return part


def _lead_inside(link: Tag, page: str, pages: Sequence[str]) -> None:
    """Let a link lead to a part of the file; one to another file becomes its words."""
    address = urlsplit(str(link.get("href", "")))
    if address.scheme:
        return
    target = (
        posixpath.normpath(posixpath.join(posixpath.dirname(page), unquote(address.path))) if address.path else page
    )
    if target in pages:
        link["href"] = "#" + _anchor(target, address.fragment)
    else:
        link.unwrap()


def _carry(figure: Tag, site: Path, page: str, shown: set[str]) -> None:
    """Put the picture of a figure into the file where it is shown first; later it is named."""
    for words in figure.select(".sources"):
        words.decompose()
    for image in figure.find_all("img"):
        path = (site / posixpath.dirname(page) / unquote(str(image["src"]))).resolve()
        if path.stem in shown:
            image.replace_with(BeautifulSoup(f'<a href="#figure-{path.stem}">Figure {path.stem}</a>', "html.parser"))
            continue
        shown.add(path.stem)
        kind = mimetypes.guess_type(path.name)[0]
        image["src"] = f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"
        figure["id"] = f"figure-{path.stem}"


def _gallery(site: Path, page: str) -> Tag:
    """A notebook's figures beneath its title."""
    notebook = _soup(site, page)
    part = notebook.new_tag("article", attrs={"class": "gallery"})
    part.append(BeautifulSoup(f"<h2>{notebook.h1.decode_contents() if notebook.h1 else page}</h2>", "html.parser"))
    for figure in notebook.select("main figure"):
        _carry(figure, site, page, set())
        width, height = (int(str(figure.img.get(name, "0"))) if figure.img else 0 for name in ("width", "height"))
        figure["class"] = "wide" if width > WIDE * height else "tall" if width < TALL * height else ""
        part.append(figure)
    return part


def _anchor(page: str, fragment: str = "") -> str:
    return "-".join(filter(None, [page.removesuffix(".html").replace("/", "-"), fragment]))


def _soup(site: Path, page: str) -> BeautifulSoup:
    return BeautifulSoup((site / page).read_text(encoding="utf-8"), "html.parser")


def _write(page: BeautifulSoup, target: Path) -> Path:
    return write_atomically(target, lambda path: path.write_text(str(page), encoding="utf-8"))
