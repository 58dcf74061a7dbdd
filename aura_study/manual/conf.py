"""How Sphinx builds the manual (``make docs``): pages are the Markdown files beside this one, the API is docstrings."""

from importlib import metadata
from pathlib import Path
from typing import Any

from docutils.nodes import SkipNode
from numpy import float64
from numpy.typing import ArrayLike, NDArray
from sphinx.util.typing import stringify_annotation

from aura_study.report.formulas import mathml_of

project, author, release = "aura_study", "The aura_study developers", metadata.version("aura-study")
extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "myst_parser"]
default_role = "py:obj"  # `name` in a docstring links to what it names
myst_heading_anchors = 3

autodoc_default_options = {"members": True}
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
add_module_names = False

html_theme = "furo"
html_title = "aura_study"
html_copy_source = html_show_sourcelink = html_show_copyright = False
html_math_renderer = "mathml"


SHORT = {"ArrayLike": ArrayLike, "Array": NDArray[float64]}
"""Types that a reader knows by a name, and Python writes out."""
ACCESSIBLE = {
    '<p class="caption" role="heading">': '<p class="caption" role="heading" aria-level="2">',
    '<aside class="sidebar-drawer">': '<aside class="sidebar-drawer" aria-label="Pages">',
    "<pre>": '<pre tabindex="0">',
    'class="math-wrapper docutils container"': 'class="math-wrapper docutils container" tabindex="0"',
    'class="table-wrapper docutils container"': 'class="table-wrapper docutils container" tabindex="0"',
    '<th class="head"><p></p></th>': '<td class="head"></td>',
}
"""What Sphinx and the theme leave to be desired by those who read with a keyboard or by ear."""


def setup(app: Any) -> None:
    """Make formulas MathML here and now, so that the pages need neither a script nor a network for them."""
    app.add_html_math_renderer("mathml", (_inline, None), (_displayed, None))
    app.connect("autodoc-process-signature", _shorten)
    app.connect("build-finished", _make_accessible)


def _shorten(app: Any, what: str, name: str, value: Any, options: Any, *parts: str | None) -> tuple[str | None, ...]:
    for word, annotation in SHORT.items():
        written = stringify_annotation(annotation, "smart")
        parts = tuple(part and part.replace(written, word) for part in parts)
    return parts


def _inline(writer: Any, node: Any) -> None:
    writer.body.append(mathml_of(node.astext(), display=False))
    raise SkipNode


def _displayed(writer: Any, node: Any) -> None:
    writer.body.append(f'<div class="math">{mathml_of(node.astext(), display=True)}</div>')
    raise SkipNode


def _make_accessible(app: Any, error: Exception | None) -> None:
    for page in Path(app.outdir).glob("*.html"):
        text = page.read_text(encoding="utf-8")
        for written, wanted in ACCESSIBLE.items():
            text = text.replace(written, wanted)
        page.write_text(text, encoding="utf-8")
