"""Tables with columns of formulas that this package wrote: the report sets these, and leaves all other cells alone."""

from dataclasses import dataclass
from html import escape

import pandas as pd


@dataclass(frozen=True)
class FormulaTable:
    r"""A table as a notebook shows it, with LaTeX between ``$`` in some columns.

    The report takes a ``$`` in a table for money, since what stands there may come from data. Name only columns whose
    text is the package's own.

    Args:
        frame: the table.
        columns: those with formulas.
    """

    frame: pd.DataFrame
    columns: tuple[str, ...]

    def __post_init__(self) -> None:
        if missing := [name for name in self.columns if name not in self.frame]:
            raise ValueError(f"no column {missing}; columns are {list(self.frame)}")

    def _repr_html_(self) -> str:
        texts = [name for name in self.frame if not pd.api.types.is_numeric_dtype(self.frame[name])]
        formatters = {name: _formula if name in self.columns else _text for name in texts}
        html: str = self.frame.to_html(formatters=formatters, escape=False, index=False)
        return html

    def __repr__(self) -> str:
        return self.frame.to_string(index=False)


def with_formulas(frame: pd.DataFrame, *columns: str) -> FormulaTable:
    """``frame`` for display, its ``columns`` set as formulas.

    Raises:
        ValueError: a column that is not there.
    """
    return FormulaTable(frame, columns)


def _formula(value: object) -> str:
    return f'<span class="formula">{_text(value)}</span>'


def _text(value: object) -> str:
    return escape(str(value))
