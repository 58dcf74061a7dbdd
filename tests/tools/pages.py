"""Code in Markdown pages: what stands between fences, and what stands right below."""

import re
import textwrap
from pathlib import Path
from typing import NamedTuple

FENCED = re.compile(r"^(?P<indent> *)```(?P<language>[^\n`]*)\n(?P<code>.*?)^(?P=indent)```$", re.DOTALL | re.MULTILINE)


class Block(NamedTuple):
    """A block of code, and the output that the page says it has, if it says so."""

    language: str
    code: str
    output: str | None


def blocks(page: Path) -> list[Block]:
    """All fenced blocks of ``page`` but the outputs; a block of language ``text`` is that of the block before it."""
    found: list[Block] = []
    for match in FENCED.finditer(page.read_text(encoding="utf-8")):
        code = textwrap.dedent(match["code"])
        if match["language"] == "text" and found:
            found[-1] = found[-1]._replace(output=code)
        else:
            found.append(Block(match["language"], code, None))
    return found


def snippets(page: Path, language: str) -> list[str]:
    """The blocks of one language."""
    return [block.code for block in blocks(page) if block.language == language]
