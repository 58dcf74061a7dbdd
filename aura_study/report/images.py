"""Pictures of the site: each stored once, with its size, so that a page does not jump while it loads."""

import base64
import binascii
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote_to_bytes
from xml.parsers import expat

from aura_study.runs.fingerprint import digest
from aura_study.runs.ledger import FigureEntry

SUFFIXES = {"image/svg+xml": "svg", "image/png": "png", "image/jpeg": "jpg", "image/gif": "gif", "image/webp": "webp"}
DATA_URI = re.compile(r"data:(?P<type>[\w/+.-]+)(?P<options>(?:;[\w=-]+)*),(?P<content>.*)", re.DOTALL)
SVG_SIZE = re.compile(
    rb'<svg[^>]*?\swidth="([\d.]+)pt"[^>]*?\sheight="([\d.]+)pt"|<svg[^>]*?\sheight="([\d.]+)pt"[^>]*?\swidth="([\d.]+)pt"'
)
SVG_LETTERS = re.compile(rb"scale\((0?\.\d+) -0?\.\d+\)")
"""What matplotlib scales the outlines of a word by: a hundredth of its size in points."""
DRAWN = {
    "svg", "metadata", "title", "desc", "defs", "style", "g", "path", "use", "image", "rect", "circle", "ellipse",
    "line", "polyline", "polygon", "text", "tspan", "clipPath", "mask", "linearGradient", "radialGradient", "stop",
    "pattern", "symbol", "marker", "RDF", "Work", "type", "format", "creator", "date", "Agent",
}  # fmt: skip
"""Elements of a picture that shows and does nothing else, those of its own description among them."""
REACHES = re.compile(r"url\s*\((?!\s*['\"]?#)|@import|\\", re.IGNORECASE)
"""Style that fetches something."""
POINT = 96 / 72  # CSS pixels
WIDE = 1.9  # width over height
LEGIBLE = 9  # CSS pixels of the smallest letters


@dataclass(frozen=True)
class Picture:
    """A picture in the site: file name in ``figures/``, or below the site in a comparison, size in CSS pixels, and
    least width that keeps its words legible, where they are known.
    """

    file: str
    width: int | None = None
    height: int | None = None
    least: int | None = None

    @property
    def wide(self) -> bool:
        """Whether it is a row of panels, which the first page gives its whole width."""
        return bool(self.width and self.height and self.width > WIDE * self.height)


class Pictures:
    """The site's ``figures/`` folder. A picture that is stored twice is written once, under its figure's name."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._folder.mkdir(parents=True, exist_ok=True)
        self._by_digest: dict[str, Picture] = {}
        self._by_name: dict[str, Picture] = {}
        self.with_png: set[str] = set()
        self.below: dict[str, str] = {}
        """By file of a figure: HTML to follow it in its notebook's page."""

    def add_figure(self, figure: FigureEntry, source: Path) -> bool:
        """Copy the SVG of a figure, and its PNG beside it; ``False`` if there is none, or none that only shows."""
        if not source.is_file() or not only_shows(content := source.read_bytes()):
            return False
        self._by_name[figure.name] = self._store(content, f"{figure.name}.svg")
        if source.with_suffix(".png").is_file():
            shutil.copyfile(source.with_suffix(".png"), self._folder / f"{figure.name}.png")
            self.with_png.add(figure.name)
        return True

    def figure(self, name: str | None) -> Picture | None:
        """The picture of figure ``name``, if it is there."""
        return self._by_name.get(name or "")

    def from_data(self, uri: str) -> Picture | None:
        """The picture inside a ``data:`` address, or ``None`` if it is not a picture."""
        match = DATA_URI.fullmatch(uri.strip())
        if not match or match["type"] not in SUFFIXES:
            return None
        try:
            packed = ";base64" in match["options"]
            content = base64.b64decode(match["content"]) if packed else unquote_to_bytes(match["content"])
        except (binascii.Error, ValueError):
            return None
        if SUFFIXES[match["type"]] == "svg" and not only_shows(content):
            return None
        return self._store(content, f"output-{digest(content)[:12]}.{SUFFIXES[match['type']]}")

    def _store(self, content: bytes, file: str) -> Picture:
        key = digest(content)
        if key not in self._by_digest:
            (self._folder / file).write_bytes(content)
            width, height = size_of(content)
            self._by_digest[key] = Picture(file, width, height, _least(content, width))
        return self._by_digest[key]


def only_shows(svg: bytes) -> bool:
    """Whether a picture, opened by itself, runs nothing and fetches nothing: no script, no handler, no address."""
    harmless, styles = True, False

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal harmless, styles
        local = name.rsplit(":", 1)[-1]
        styles = local == "style"
        harmless = harmless and local in DRAWN and all(_is_still(*held) for held in attributes.items())

    def text(words: str) -> None:
        nonlocal harmless
        harmless = harmless and not (styles and REACHES.search(words))

    def refuse(*_: object) -> None:
        nonlocal harmless
        harmless = False

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler, parser.CharacterDataHandler = start, text
    parser.EntityDeclHandler = parser.ProcessingInstructionHandler = refuse
    try:
        parser.Parse(svg, True)
    except expat.ExpatError:
        return False
    return harmless


def _is_still(name: str, value: str) -> bool:
    """Whether an attribute starts nothing and leads to nothing but a part of its own picture, or a packed one."""
    local = name.rsplit(":", 1)[-1].lower()
    if local == "href":
        return value.startswith(("#", "data:image/png;", "data:image/jpeg;"))
    return not local.startswith("on") and not REACHES.search(value)


def size_of(content: bytes) -> tuple[int | None, int | None]:
    """Width and height of an SVG in CSS pixels, where it says so."""
    match = SVG_SIZE.search(content[:2000])
    if not match:
        return None, None
    width, height = (match[1], match[2]) if match[1] else (match[4], match[3])
    return round(float(width) * POINT), round(float(height) * POINT)


def _least(svg: bytes, width: int | None) -> int | None:
    letters = [float(size) for size in SVG_LETTERS.findall(svg)] if width else []
    return round((width or 0) * LEGIBLE / (100 * POINT * min(letters))) if letters else None
