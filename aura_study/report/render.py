"""Pages from templates, with the site's words for numbers."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from aura_study.report.formulas import with_formulas
from aura_study.runs import ledger, words

VERDICT_CLASSES = {
    "confirmed": "confirmed",
    "confirmed within limits": "limits",
    "refuted": "refuted",
    "inconclusive": "inconclusive",
    "void": "void",
}


class Renderer:
    """Jinja with the filters of the site; escaping is on for everything.

    Args:
        site: folder of the pages.
        shared: what every page may use; at least ``has_explorer``.
    """

    def __init__(self, site: Path, **shared: Any) -> None:
        self._site = site
        self._environment = Environment(
            loader=PackageLoader("aura_study.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
            lstrip_blocks=True,
        )  # fmt: skip
        self._environment.filters.update(
            number=number, interval=interval, duration=words.duration, compact=_compact, decimal=_decimal
        )
        self._environment.globals.update(verdict_class=VERDICT_CLASSES, **shared)

    def macro(self, name: str, *values: Any) -> str:
        """What a macro of the site makes."""
        return str(getattr(self._environment.get_template("macros.html").module, name)(*values))

    def page(self, template: str, target: str, **values: Any) -> None:
        """Render ``template`` to ``target``, a path relative to the site, its formulas set."""
        path = self._site / target
        path.parent.mkdir(parents=True, exist_ok=True)
        root = "../" * target.count("/")
        page = self._environment.get_template(template).render(root=root, target=target, **values)
        path.write_text(with_formulas(page), encoding="utf-8")


def number(value: float | None) -> Markup:
    """A number for people: four significant digits, a true minus, powers of ten written out."""
    text = words.number(value).replace("-", "\N{MINUS SIGN}")
    mantissa, exponent, power = text.partition("e")
    if not exponent:
        return Markup(text)
    sign = "\N{MINUS SIGN}" if power.startswith("\N{MINUS SIGN}") else ""
    return Markup("{} × 10<sup>{}{}</sup>").format(mantissa, sign, int(power.lstrip("+\N{MINUS SIGN}")))


def interval(row: ledger.Row) -> Markup:
    """The interval of a row, or a dash."""
    low, high = row.interval
    if low is None or high is None:
        return Markup(words.NONE)
    return Markup("{} to {}").format(number(low), number(high))


def _compact(value: Any) -> str:
    return (
        json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list | bool) or value is None else str(value)
    )


def _decimal(value: float) -> str:
    """A number without an exponent, as an input's bound is written."""
    return np.format_float_positional(value, trim="-")
