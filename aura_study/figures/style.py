"""One look for all figures: a colour per task, a line style per policy, and the plate that carries the words."""

import base64
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import escape
from typing import Any

import matplotlib as mpl
from cycler import cycler
from matplotlib.figure import Figure
from PIL import Image

# Okabe and Ito's colour-blind safe palette.
TASK_COLOURS = {"toxicity": "#D55E00", "emotion": "#009E73", "sentiment": "#0072B2", "reporting": "#CC79A7"}
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
THEORY_COLOUR = "#1a1a1a"
ABSENT_COLOUR = "#f0e442"
POLICY_STYLES: dict[str, Any] = {"unmasked": "-", "masked": "--", "frozen": (0, (1, 1.2))}
POLICY_LABELS = {"unmasked": "unmasked (V10.1)", "masked": "masked (V10.2)", "frozen": "frozen (ours)"}

_NUMBER = re.compile(rb"-?\d+\.\d+")
_SPACE = re.compile(rb"\s+")
_INDENT = re.compile(rb"\n[ \n]+")
_PATHS = re.compile(rb' d="[^"]*"')
_PLACES = re.compile(rb' [xy]="[^"]*"|translate\([^)]*\)')

SETTINGS: Any = {
    "figure.constrained_layout.use": True,
    "figure.dpi": 100,
    "savefig.dpi": 200,
    "savefig.facecolor": "white",
    "svg.hashsalt": "aura_study",  # equal results give equal files
    "svg.fonttype": "path",
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.prop_cycle": cycler(color=COLOURS),
    "grid.alpha": 0.25,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.6,
    "legend.frameon": False,
    "legend.fontsize": 9,
}


@contextmanager
def style() -> Iterator[None]:
    """The study's matplotlib settings, for the duration of a ``with`` block or a decorated function."""
    with mpl.rc_context(SETTINGS):
        yield


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
