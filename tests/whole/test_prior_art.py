"""What others found is theirs: every work that is named is listed, and nothing of it is called ours or new."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import nbformat
import pytest
import yaml
from pybtex.database import Entry, Person, parse_file

from aura_study.claims import CLAIMS
from aura_study.paths import project_root
from aura_study.report.references import works

ROOT = project_root()
KINDS = {"inproceedings": "conference-paper", "article": "article", "misc": "generic"}
OTHERS = "others"
PUBLISHED = re.compile(
    r"\bmask\w*|\bfrozen\b|\bno step\b|1/p\b|inflat\w+|\banalytic\w*|collaps\w+|phantom gradient", re.I
)
"""What was there before: ways to leave a task out, the inflation, weights without learning, the collapse, the name."""
CLAIMED = re.compile(r"\b(ours|new|novel)\b", re.I)
DENIED = re.compile(r"\b(not|nor|no|never)\b", re.I)


@cache
def entries() -> dict[str, Entry]:
    return dict(parse_file(ROOT / "references.bib", "bibtex").entries)


@cache
def texts() -> dict[str, str]:
    """Prose, notebooks' cells, and what Python files say in strings, by path."""
    found = {}
    for pattern in ("*.md", "aura_study/**/*.md", "benchmarks/*.md", "aura_study/**/*.html"):
        found |= {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in ROOT.glob(pattern)}
    for path in ROOT.glob("notebooks/*.ipynb"):
        found[path.name] = "\n\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells)
    for path in ROOT.glob("aura_study/**/*.py"):
        nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        said = [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]
        found[str(path.relative_to(ROOT))] = "\n\n".join(said)
    return found


def names(entry: Entry) -> set[str]:
    """Family names of its authors, also as they are spelt without umlauts."""
    known = {" ".join([*person.prelast_names, *person.last_names]) for person in entry.persons["author"]} - {OTHERS}
    return known | {name.replace("ö", "oe") for name in known}


def person(author: Person) -> dict[str, str]:
    family = " ".join([*author.prelast_names, *author.last_names])
    given = " ".join([*author.first_names, *author.middle_names])
    return {"family-names": family, "given-names": given} if given else {"name": family}


def citation(entry: Entry) -> dict[str, Any]:
    """The entry as a reference of a CITATION.cff."""
    fields, work = entry.fields, works()[entry.key]
    told = {
        "type": KINDS[entry.type],
        "title": fields["title"],
        "authors": [person(author) for author in entry.persons["author"]],
        "year": int(fields["year"]) if "year" in fields else None,
        "collection-title": fields.get("booktitle"),
        "journal": fields.get("journal"),
        "publisher": {"name": fields["howpublished"]} if "howpublished" in fields else None,
        "url": work.url,
    }
    return {name: value for name, value in told.items() if value}


def mentions() -> Iterator[tuple[str, str, str]]:
    """Path, name and year wherever a text says "Name et al., year" or "One and Other (year)"."""
    pattern = re.compile(
        r"([A-ZÀ-Þ][\w-]+)(?: et al\.| and [A-ZÀ-Þ]\w+)[,]? [(\[]{0,2}(?:[A-Z][A-Za-z]+ )?((?:19|20)\d\d)\b"
    )
    for path, text in texts().items():
        for name, year in pattern.findall(re.sub(r"\s+", " ", text)):
            yield path, name, year


def test_every_key_beside_a_claim_resolves() -> None:
    """A claim cites what references.bib holds."""
    assert {key for claim in CLAIMS.values() for key in claim.cites} <= set(entries())


def test_every_work_that_a_text_names_is_listed() -> None:
    """By name and year, and by its number on arXiv."""
    listed = {(name, entry.fields.get("year")) for entry in entries().values() for name in names(entry)}
    assert {mention for mention in mentions() if mention[1:] not in listed} == set()
    numbers = {entry.fields["eprint"] for entry in entries().values() if "eprint" in entry.fields}
    for path, text in texts().items():
        assert set(re.findall(r"arxiv(?:\.org/abs/|:)(\d{4}\.\d{4,5})", text, re.I)) <= numbers, path


def test_every_listed_work_is_cited() -> None:
    """Beside a claim, by its address, or by name and year."""
    keys = {key for claim in CLAIMS.values() for key in claim.cites}
    named = {(name, year) for _, name, year in mentions()}
    text = "\n".join(texts().values())
    for key, entry in entries().items():
        by_name = {(name, entry.fields.get("year")) for name in names(entry)} & named
        assert key in keys or by_name or (works()[key].url and works()[key].url in text), key


def test_works_say_who_wrote_them_and_where_they_stand() -> None:
    """An author, a title, and no entry or number twice."""
    for key, entry in entries().items():
        assert entry.persons["author"], key
        assert entry.fields["title"], key
    numbers = [entry.fields["eprint"] for entry in entries().values() if "eprint" in entry.fields]
    assert len(numbers) == len(set(numbers))


def test_the_citation_file_refers_to_every_work() -> None:
    """CITATION.cff says of each what references.bib says, in its order."""
    told = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert told["references"] == [citation(entry) for entry in entries().values()]


def claimed(text: str) -> list[str]:
    """Sentences that call something published ours or new."""
    sentences = re.split(r"(?<=[.:;!?])\s+|\n\s*\n|\n[-|*]", text)
    found = []
    for sentence in sentences:
        word = CLAIMED.search(sentence)
        if word and PUBLISHED.search(sentence) and not DENIED.search(sentence[: word.start()]):
            found.append(sentence)
    return found


def test_nothing_published_is_called_ours_or_new() -> None:
    """The mask, no step, the inflation, analytic weights, the collapse and the name belong to others."""
    assert {path: found for path, text in texts().items() if (found := claimed(text))} == {}


@pytest.mark.parametrize("sentence", ["frozen (ours)", "A new mask for absent tasks.", "We give a novel 1/p law."])
def test_what_the_search_finds(sentence: str) -> None:
    """It can fail, and a denial is none of its business."""
    assert claimed(sentence)
    assert not claimed("The mask is not new. Nor is frozen (no step) ours. A new balancer is an entry.")
