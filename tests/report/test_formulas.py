"""Formulas of a page as MathML: all that the study writes convert, nothing that runs comes through."""

import re
from xml.etree import ElementTree

import nbformat
import pytest
from bs4 import BeautifulSoup

from aura_study.claims import CLAIMS
from aura_study.paths import project_root
from aura_study.report.formulas import FORMULA, with_formulas

CODE = re.compile(r"```.*?```|`[^`]*`", re.DOTALL)


def written() -> set[str]:
    """Every formula of notebooks, templates and claims, with its ``$``."""
    root = project_root()
    texts = [path.read_text(encoding="utf-8") for path in (root / "aura_study/report/templates").glob("*.html")]
    texts += [words for claim in CLAIMS.values() for words in (claim.statement, claim.prediction)]
    for path in (root / "notebooks").glob("*.ipynb"):
        cells = nbformat.read(path, as_version=4).cells
        texts += [CODE.sub("", cell.source) for cell in cells if cell.cell_type == "markdown"]
    return {found.group() for text in texts for found in FORMULA.finditer(text)}


def test_every_formula_of_the_study_converts() -> None:
    """Each becomes well-formed MathML without a command left over; there are hundreds."""
    formulas = written()
    assert len(formulas) > 300
    for formula in formulas:
        page = with_formulas(f"<p>{formula.replace('&', '&amp;').replace('<', '&lt;')}</p>")
        assert "<math" in page, formula
        assert "\\" not in "".join(ElementTree.fromstring(page).itertext()), formula


@pytest.mark.parametrize(
    "text",
    [
        "It costs $5 and $6.",
        r"an escaped \$x$ and a lone $",
        r"<code>$x$</code>",
        r"<pre>$x$ and $$y$$</pre>",
        r'<table class="dataframe"><tr><td>$x$</td></tr></table>',
        r"broken: $\left($ and $x^$",
    ],
)
def test_what_is_no_formula_stays_as_it_is(text: str) -> None:
    """Money, code, data, and what is not LaTeX."""
    page = f"<div>{text}</div>"
    assert with_formulas(page) == page


@pytest.mark.parametrize(
    "latex",
    [r"\text{<script>alert(1)</script>}", r"\href{javascript:alert(1)}{x}", r"\style{color:red}{x}", r"\class{a}{x}"],
)
def test_nothing_that_runs_leads_or_paints_comes_out_of_a_formula(latex: str) -> None:
    """Elements, addresses, styles and classes of a formula are words or gone."""
    page = BeautifulSoup(with_formulas(f"<p>${latex.replace('<', '&lt;')}$</p>"), "html.parser")
    assert page.math
    assert not page.math.find_all(["script", "a", "img"])
    assert not page.math.find_all(lambda tag: {"href", "style", "class"} & set(tag.attrs))


def test_a_formula_keeps_its_punctuation_and_a_long_one_scrolls() -> None:
    """Brackets and commas around it do not part from it; what may be wider than a phone is in a box of its own."""
    page = BeautifulSoup(
        with_formulas(r"<p>so ($a$), and $$b$$ or $" + "+".join("abcdefghijklmnop") + "$.</p>"), "html.parser"
    )
    assert page.find(class_="together").text == "(a),"
    assert page.find(class_="display")["tabindex"] == page.find(class_="wide")["tabindex"] == "0"
    assert page.find(class_="display").math["display"] == "block"


def test_the_words_around_a_formula_stay_in_their_order() -> None:
    """A comma behind a formula with a box of its own comes before the words that follow."""
    page = BeautifulSoup(
        with_formulas(rf"<p>once ${'+'.join('abcdefghijklmnop')}$, it goes ($q$) on.</p>"), "html.parser"
    )
    for formula in page.find_all("math"):
        formula.replace_with("M")
    assert page.text == "once M, it goes (M) on."


def test_functions_stand_off_and_greek_capitals_upright() -> None:
    """As LaTeX sets them: a thin space about log, none before its bracket, Lambda not slanted, a slash without air."""
    page = with_formulas(r"<p>$p \log p$ $\log(1)$ $\Lambda/2$</p>")
    space = '<mspace width="0.167em"></mspace>'
    assert f"<mi>p</mi>{space}<mi>log</mi>{space}<mi>p</mi>" in page
    assert '<mi>log</mi><mo stretchy="false">(' in page
    assert '<mi mathvariant="normal">Λ</mi><mo lspace="0" rspace="0">/</mo>' in page


@pytest.mark.parametrize("latex", [r"\lVert g \rVert^2", r"\|g\|_1", r"\|f\| + \|g\|^2"])
def test_an_exponent_belongs_to_the_whole_norm(latex: str) -> None:
    """Not to its closing bar, which a browser would stretch."""
    math = BeautifulSoup(with_formulas(f"<p>${latex}$</p>"), "html.parser").math
    assert math is not None
    assert [raised.find().text for raised in math.find_all(["msup", "msub"])] == ["‖g‖"]
