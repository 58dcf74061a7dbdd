"""An executed notebook as HTML: markdown, foldable code and cleaned outputs, ids unique, nothing that could run.

Everything that came out of a kernel is treated as data: scripts, styles, frames and event handlers are dropped,
pictures become files of the site, tables get a box of their own to scroll in.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import bleach
from bs4 import BeautifulSoup, Tag
from markupsafe import Markup, escape
from nbconvert.filters.ansi import ansi2html
from nbconvert.filters.markdown import markdown2html
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import Python3Lexer

from aura_study.report.images import Pictures

TAGS = bleach.ALLOWED_TAGS | {
    "br", "caption", "dd", "del", "details", "div", "dl", "dt", "figcaption", "figure", "h1", "h2", "h3", "h4", "h5",
    "h6", "hr", "img", "kbd", "p", "pre", "s", "small", "span", "sub", "summary", "sup", "table", "tbody", "td",
    "tfoot", "th", "thead", "tr", "u",
}  # fmt: skip
ATTRIBUTES = {
    "*": ["class", "title"],
    "a": ["href"],
    "img": ["src", "alt"],
    "td": ["colspan", "rowspan"],
    "th": ["colspan", "rowspan", "scope"],
}
WITH_CONTENT = ["script", "style", "iframe", "object", "embed", "svg", "math", "form", "template", "noscript", "title"]
SCROLL_BOX = {"tabindex": "0", "role": "group"}  # so that the keyboard can scroll it
FOLD_NAMES = {"parameters": "Default parameters", "injected-parameters": "Parameters of this run"}


@dataclass
class Heading:
    """An entry of the page's contents."""

    anchor: str
    text: str


@dataclass
class Body:
    """A rendered notebook: its first text, with the title, and the rest."""

    opening: Markup
    rest: Markup
    headings: list[Heading] = field(default_factory=list)


def render_cells(notebook: Any, pictures: Pictures) -> Body:
    """The cells of ``notebook`` in order."""
    parts: list[Markup] = []
    headings: list[Heading] = []
    used: set[str] = set()
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            soup = clean(markdown2html(cell.source), pictures)
            headings.extend(_anchor(soup, used))
            parts.append(Markup('<section class="prose">{}</section>').format(Markup(str(soup))))
        elif cell.cell_type == "code" and cell.source.strip():
            parts.append(_code(cell))
            parts.extend(_outputs(cell.get("outputs", []), pictures))
    leads = bool(notebook.cells) and notebook.cells[0].cell_type == "markdown"
    return Body(parts[0] if leads else Markup(), Markup("\n").join(parts[leads:]), headings)


def clean(html: str, pictures: Pictures) -> BeautifulSoup:
    """``html`` with only harmless elements left, and made fit for the page."""
    rough = BeautifulSoup(html, "html.parser")
    for element in rough(WITH_CONTENT):
        element.decompose()
    safe = bleach.clean(
        str(rough), tags=TAGS, attributes=ATTRIBUTES, protocols={"http", "https", "mailto", "data"}, strip=True
    )
    soup = BeautifulSoup(safe, "html.parser")
    for link in soup("a"):
        _fit_link(link)
    for image in soup("img"):
        _fit_image(image, pictures)
    for table in soup("table"):
        table.wrap(Tag(name="div", attrs={**SCROLL_BOX, "class": "scroll", "aria-label": "Table"}))
    for cell in soup("th"):
        if not cell.get_text(strip=True):
            cell.name = "td"  # an empty header names nothing
        elif not cell.get("scope"):
            cell["scope"] = "col" if cell.find_parent("thead") else "row"
    return soup


def _fit_link(link: Tag) -> None:
    target = str(link.get("href", ""))
    if "anchor-link" in (link.get("class") or []) or not target or target.startswith("data:"):
        link.decompose() if "anchor-link" in (link.get("class") or []) else link.unwrap()
    elif not re.match(r"[a-z]+:|#", target):
        link["href"] = re.sub(r"^(?:.*/)?(\w+)\.ipynb\b", r"\1.html", target)


def _fit_image(image: Tag, pictures: Pictures) -> None:
    picture = pictures.from_data(str(image.get("src", "")))
    if picture is None:
        image.replace_with(f"[picture: {image.get('alt') or 'not part of this report'}]")
        return
    image.attrs = {"src": f"../figures/{picture.file}", "alt": str(image.get("alt") or "Output of the cell above")}
    if picture.width and picture.height:
        image["width"], image["height"] = str(picture.width), str(picture.height)
    figure = image.find_parent("figure")
    if figure and picture.file in pictures.below:
        figure.append(BeautifulSoup(pictures.below[picture.file], "html.parser"))
    if picture.least:
        least = {"style": f"--least: {picture.least}px"}
        image.wrap(Tag(name="div", attrs={**SCROLL_BOX, "class": "pan", "aria-label": "Figure", **least}))


def _anchor(soup: BeautifulSoup, used: set[str]) -> Iterator[Heading]:
    """Give each heading an id that no other element of the page has; yield those of the second level."""
    for heading in soup(re.compile("^h[1-6]$")):
        text = heading.get_text().strip()
        base = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "part"
        anchor = next(name for name in _numbered(f"s-{base}") if name not in used)
        used.add(anchor)
        heading["id"] = anchor
        if heading.name == "h2":
            yield Heading(anchor, text)


def _numbered(base: str) -> Iterator[str]:
    yield base
    for number in range(2, 10_000):
        yield f"{base}-{number}"


def _code(cell: Any) -> Markup:
    tags = cell.metadata.get("tags", [])
    name = next((words for tag, words in FOLD_NAMES.items() if tag in tags), "Code")
    lines = cell.source.strip().count("\n") + 1
    source = highlight(cell.source.strip("\n"), Python3Lexer(), HtmlFormatter(nowrap=True))
    return Markup(
        '<details class="code" id="cell-{}"><summary>{} <span class="quiet">{} {}</span></summary>'
        '<pre tabindex="0"><code>{}</code></pre></details>'
    ).format(cell.id, name, lines, "line" if lines == 1 else "lines", Markup(source))


def _outputs(outputs: Iterable[Any], pictures: Pictures) -> Iterator[Markup]:
    for output in outputs:
        html = _output(output, pictures)
        if html:
            yield Markup('<div class="output">{}</div>').format(html)


def _output(output: Any, pictures: Pictures) -> Markup | None:
    if output.output_type == "stream":
        return _text(output.text, "stderr" if output.name == "stderr" else "stdout")
    if output.output_type == "error":
        return _text("\n".join(output.traceback) or f"{output.ename}: {output.evalue}", "error")
    data = output.get("data", {})
    if "text/html" in data:
        return Markup(str(clean(data["text/html"], pictures)))
    for kind in ("image/svg+xml", "image/png", "image/jpeg"):
        if kind in data:
            words = data.get("text/plain", "Output of the cell above")
            content = data[kind] if kind != "image/svg+xml" else _packed(data[kind])
            return Markup(str(clean(f'<img src="data:{kind};base64,{content}" alt="{escape(words)}">', pictures)))
    for kind in ("text/markdown", "text/latex"):
        if kind in data:
            return Markup(str(clean(markdown2html(data[kind]), pictures)))
    return _text(data["text/plain"], "stdout") if "text/plain" in data else None


def _text(text: str, kind: str) -> Markup | None:
    if not text.strip():
        return None
    return Markup('<pre class="{}" tabindex="0">{}</pre>').format(kind, Markup(ansi2html(text.rstrip())))


def _packed(svg: str) -> str:
    import base64

    return base64.b64encode(svg.encode()).decode()
