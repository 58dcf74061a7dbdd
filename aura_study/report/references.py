"""The works that claims cite, as their pages show them, read from ``references.bib``."""

from dataclasses import dataclass
from functools import cache

from pybtex.database import Entry, parse_file

from aura_study.paths import carried

MOST_AUTHORS = 3
"""More are their first and "et al."."""


@dataclass(frozen=True)
class Work:
    """A work as a reader meets it."""

    authors: str
    year: str
    title: str
    venue: str
    url: str


@cache
def works() -> dict[str, Work]:
    """Every work by its key."""
    return {key: _work(entry) for key, entry in parse_file(carried("references.bib"), "bibtex").entries.items()}


def _work(entry: Entry) -> Work:
    fields = entry.fields
    names = [" ".join([*person.prelast_names, *person.last_names]) for person in entry.persons["author"]]
    few = len(names) <= MOST_AUTHORS and names[-1] != "others"
    venue = next((fields[name] for name in ("booktitle", "journal", "howpublished") if name in fields), "")
    eprint, doi = fields.get("eprint"), fields.get("doi")
    url = f"https://arxiv.org/abs/{eprint}" if eprint else f"https://doi.org/{doi}" if doi else fields.get("url", "")
    return Work(
        " and ".join(filter(None, [", ".join(names[:-1]), names[-1]])) if few else f"{names[0]} et al.",
        fields.get("year", ""),
        fields["title"],
        venue.replace("--", "–"),
        url,
    )
