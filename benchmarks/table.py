"""Fills the README's results from ``results.json``, which the scripts write."""

import json
from pathlib import Path

from timing import RESULTS

README = Path(__file__).parent / "README.md"
BEGIN, END = "<!-- results: written by table.py -->", "<!-- end of results -->"


def tables() -> str:
    """One table a title, under the machine it was measured on."""
    lines = []
    for title, kept in json.loads(RESULTS.read_text()).items():
        lines += ["", f"### {title[0].upper()}{title[1:]}", "", f"{kept['machine']}.", ""]
        asked = any(row[2] for row in kept["rows"])
        lines += ["| what | measured | asked |", "|---|---|---|"] if asked else ["| what | measured |", "|---|---|"]
        lines += ["| " + " | ".join(row if asked else row[:2]) + " |" for row in kept["rows"]]
    return "\n".join([*lines, ""])


def filled(text: str) -> str:
    """The README with its results anew."""
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n{tables()}\n{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    README.write_text(filled(README.read_text()))
