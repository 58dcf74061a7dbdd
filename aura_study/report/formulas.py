r"""Formulas between ``$`` as MathML, when a page is written: they are read without scripts, and by screen readers.

``$`` in code, in outputs as text and in tables of data is money; see `aura_study.figures.formulas` for the exception.
"""

import re
from functools import cache

import bleach
from bs4 import BeautifulSoup, NavigableString, PageElement
from bs4.formatter import HTMLFormatter
from latex2mathml.converter import convert
from markupsafe import escape

FORMULA = re.compile(
    r"(?<![\\$])(?:\$\$(?P<display>[^$]+)\$\$|"
    r"(?P<before>[(\[“‘]*)(?<!\\)\$(?!\s)(?P<inline>[^$]+)(?<![\s\\])\$(?!\d)(?P<after>[.,;:!?)\]’”]*))"
)
LEFT_ALONE = {"code", "pre", "script", "style", "textarea", "title", "option"}
DATA_TABLE, SET_THERE = "dataframe", "formula"
LONG = 30
"""Characters of LaTeX beyond which a formula inside a line may be wider than a phone, and gets a box to scroll in."""

AS_JINJA = HTMLFormatter(entity_substitution=lambda text: str(escape(text)))
"""Escapes what it writes as the templates do."""

TAGS = {
    "math", "menclose", "mfrac", "mi", "mn", "mo", "mover", "mpadded", "mphantom", "mroot", "mrow", "mspace", "msqrt",
    "mstyle", "msub", "msubsup", "msup", "mtable", "mtd", "mtext", "mtr", "munder", "munderover",
}  # fmt: skip
ATTRIBUTES = {
    "*": [
        "accent", "columnalign", "depth", "display", "displaystyle", "fence", "form", "height", "linethickness",
        "lspace", "mathvariant", "maxsize", "minsize", "movablelimits", "rspace", "scriptlevel", "separator",
        "stretchy", "width",
    ]
}  # fmt: skip
"""What of MathML may stand in a page: no address, no style, nothing that runs."""

_BEFORE_FUNCTION = re.compile(r"(?<=[\w}])\s*(?=\\(?:log|ln|exp|max|min)\b)")
_AFTER_FUNCTION = re.compile(r"(\\(?:log|ln|exp))(?![A-Za-z])\s*(?=\\?[A-Za-z\d])(?!\\(?:left|big))")
_RAISED_NORM = re.compile(r"(\\lVert(?:(?!\\lVert).)*?\\rVert|\\\|(?:(?!\\\|).)*\\\|)(?=\s*[\^_])")
"""The converter would raise, or lower, at the closing bar alone, which browsers stretch to the exponent's height."""
_GREEK_CAPITAL = re.compile(r"<mi>(?=&#x003(?:9[1-9A-F]|A[0-9]);</mi>)")
_SLASH = re.compile(r"<mo>(?=&#x0002F;</mo>)")


def with_formulas(page: str) -> str:
    """The HTML of ``page`` with its formulas set; what is none, or cannot be read as LaTeX, stays as it is."""
    if "$" not in page:
        return page
    soup = BeautifulSoup(page, "html.parser")
    for text in soup.find_all(string=FORMULA):
        if type(text) is NavigableString and not _is_left_alone(text):
            parts = FORMULA.sub(lambda found: "\0" + found.group() + "\0", text).split("\0")
            text.replace_with(*(node for part in parts if part for node in _nodes(part)))
    return soup.decode(formatter=AS_JINJA)


def _is_left_alone(text: NavigableString) -> bool:
    for around in text.parents:
        if around.name in LEFT_ALONE or DATA_TABLE in around.get_attribute_list("class"):
            return True
        if SET_THERE in around.get_attribute_list("class"):
            return False
    return False


def _nodes(text: str) -> list[PageElement]:
    found = FORMULA.fullmatch(text)
    mathml = mathml_of(found["display"] or found["inline"], bool(found["display"])) if found else None
    if not found or not mathml:
        return [NavigableString(text)]
    before, after = (escape(found[name] or "") for name in ("before", "after"))
    mathml = f"{before}{mathml}{after}"
    if (before or after) and "<span" not in mathml:  # a browser would part a formula and its punctuation
        mathml = f'<span class="together">{mathml}</span>'
    return list(BeautifulSoup(mathml, "html.parser").children)


@cache
def mathml_of(latex: str, display: bool) -> str | None:
    """A formula as MathML, in a box to scroll in if it may be wide; ``None`` if it is not LaTeX."""
    spaced = _AFTER_FUNCTION.sub(r"\1\\,", _BEFORE_FUNCTION.sub(r"\\,", latex))
    spaced = _RAISED_NORM.sub(r"{\1}", spaced)
    try:
        made = convert(spaced, display="block" if display else "inline")
    except Exception:  # the converter has no common class of errors, and raises others besides
        return None
    clean = bleach.clean(made, tags=TAGS, attributes=ATTRIBUTES, strip=False)
    for pattern, words in ((_GREEK_CAPITAL, '<mi mathvariant="normal">'), (_SLASH, '<mo lspace="0" rspace="0">')):
        clean = pattern.sub(words, clean)
    if not display and len(latex) <= LONG:
        return clean
    kind = "display" if display else "wide"
    return f'<span class="{kind}" tabindex="0" role="group" aria-label="Formula">{clean}</span>'
