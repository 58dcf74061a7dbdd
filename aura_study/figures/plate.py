"""The plate: a figure with its words, and how it is written."""

import base64
import io
import re
from dataclasses import dataclass, field
from html import escape
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from PIL import Image

from aura_study.figures.style import SETTINGS

_NUMBER = re.compile(rb"-?\d+\.\d+")
_SPACE = re.compile(rb"\s+")
_INDENT = re.compile(rb"\n[ \n]+")
_PATHS = re.compile(rb' d="[^"]*"')
_PLACES = re.compile(rb' [xy]="[^"]*"|translate\([^)]*\)')


@dataclass(frozen=True)
class Plate:
    """A figure with its words. Displays itself in a notebook as a sharp SVG with caption and alternative text.

    Attributes:
        figure: the picture.
        caption: what is drawn and what to see, one or two sentences.
        alt: what the picture shows, for a reader who cannot see it.
    """

    figure: Figure
    caption: str
    alt: str
    _encoded: dict[str, bytes] = field(default_factory=dict, init=False, repr=False, compare=False)

    def encode(self, kind: str) -> bytes:
        """The picture as ``"svg"`` or ``"png"``, equal bytes for equal figures.

        Drawn once per kind: a second drawing moves the axes by a last bit, and with it the ids in the file.
        """
        if kind not in self._encoded:
            stream = io.BytesIO()
            stamp = {"Date": None} if kind == "svg" else {"Software": None}
            with mpl.rc_context(SETTINGS):
                self.figure.savefig(stream, format=kind, metadata=stamp)
            shorten = {"png": _with_palette, "svg": _with_short_numbers}[kind]
            self._encoded[kind] = shorten(stream.getvalue())
        return self._encoded[kind]

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        """HTML with the SVG embedded as an image, so that ids of several figures on a page cannot clash."""
        data = base64.b64encode(self.encode("svg")).decode()
        return {
            "text/html": (
                f'<figure><img src="data:image/svg+xml;base64,{data}" alt="{escape(self.alt)}">'
                f"<figcaption>{escape(self.caption)}</figcaption></figure>"
            ),
            "text/plain": f"Figure: {self.caption}",
        }


def _with_palette(png: bytes) -> bytes:
    """The picture in 256 colours, a third of the size; plots have few."""
    stream = io.BytesIO()
    with Image.open(io.BytesIO(png)) as picture:
        picture.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(
            stream, "PNG", optimize=True, dpi=picture.info.get("dpi")
        )
    return stream.getvalue()


def _with_short_numbers(svg: bytes) -> bytes:
    """The drawing with its places to a hundredth of a point, four fifths of the size; what scales is left exact."""
    for places in (_PATHS, _PLACES):
        svg = places.sub(lambda found: _shortened(_SPACE.sub(b" ", found.group())), svg)
    return _INDENT.sub(b"\n", svg)


def _shortened(text: bytes) -> bytes:
    return _NUMBER.sub(lambda found: f"{float(found.group()):.2f}".rstrip("0").rstrip(".").encode(), text)
