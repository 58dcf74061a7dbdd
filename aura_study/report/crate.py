"""What machines read of an archive: an RO-Crate of the run, CodeMeta and Zenodo's form of the citation."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import PurePosixPath
from typing import Any

from aura_study.runs.ledger import Ledger
from aura_study.runs.manifest import DISTRIBUTION, Manifest

CRATE = "https://w3id.org/ro/crate/1.1"
PROCESS = "https://w3id.org/ro/wfrun/process/0.5"
"""Profile of crates that say which program made which file from what."""
SHA256 = "http://schema.org/sha256"
"""A property of files that RO-Crate 1.1's own context does not have yet."""
FORMATS = {
    ".json": "application/json",
    ".ipynb": "application/x-ipynb+json",
    ".csv": "text/csv",
    ".parquet": "application/vnd.apache.parquet",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".md": "text/markdown",
    ".cff": "text/yaml",
}
CODE = "code/"
RUN = "run/"
REPORT = "run/report/"
APPLICATION = "#aura-study"


@dataclass(frozen=True)
class Subject:
    """What is described: the citation's content, the run's manifest and ledger, size of each file by name."""

    citation: Mapping[str, Any]
    manifest: Manifest
    ledger: Ledger
    sizes: Mapping[str, int]

    @property
    def title(self) -> str:
        """Of the archive."""
        return f"{self.citation['title']}: run {self.manifest.run}"

    @property
    def description(self) -> str:
        """In three sentences, all of it read from the run."""
        request, held = self.manifest.request, self.manifest
        return (
            f"Results, report and code of a reproduction study: {request}. {len(held.notebooks)} notebooks decided "
            f"{len(self.ledger.claims)} claims. The data files are not part of it; the manifest has their digests."
        )

    @property
    def licence(self) -> str:
        """Address of the licence."""
        return f"https://spdx.org/licenses/{self.citation['license']}"


def ro_crate(subject: Subject) -> dict[str, Any]:
    """``ro-crate-metadata.json``: RO-Crate 1.1, a Process Run Crate with one action a notebook."""
    held = subject.manifest
    files = [_file(name, subject) for name in sorted(subject.sizes) if not name.startswith((CODE, REPORT))]
    sources = [_source(name, subject) for name in held.notebooks]
    data = {name: _data(name, digest) for name, digest in held.data.files.items()}
    actions = [_action(name, subject, list(data)) for name in held.notebooks]
    works, authors = [_work(*pair) for pair in _numbered(subject)], _authors(subject, "#author-")
    folders = [
        _folder(CODE, "Code", f"The package and its tests as they were when the archive was made, {_version(subject)}"),
        _folder(REPORT, "Report", "The run as a site; begin at index.html"),
    ]
    root = {
        "@id": "./",
        "@type": "Dataset",
        "name": subject.title,
        "description": subject.description,
        "datePublished": _moment(held),
        "license": {"@id": subject.licence},
        "author": _single(_ids(authors)),
        "publisher": _ids(authors)[0],
        "version": _version(subject),
        "conformsTo": {"@id": PROCESS},
        "hasPart": _ids([*files, *sources, *folders]),
        "mentions": _ids([*actions, *data.values()]),
        "citation": _ids(works),
    }
    described = {
        "@id": "ro-crate-metadata.json",
        "@type": "CreativeWork",
        "about": {"@id": "./"},
        "conformsTo": {"@id": CRATE},
    }
    about = [
        {"@id": PROCESS, "@type": "CreativeWork", "name": "Process Run Crate", "version": "0.5"},
        {
            "@id": subject.licence,
            "@type": "CreativeWork",
            "name": subject.citation["license"],
            "description": "Licence",
        },
        _application(subject),
    ]
    parameters = [entity for name in held.notebooks for entity in _parameters(name, subject)]
    entities = [described, root, *about, *authors, *works, *folders, *files, *sources, *data.values(), *parameters]
    return {"@context": [f"{CRATE}/context", {"sha256": SHA256}], "@graph": [*entities, *actions]}


def codemeta(subject: Subject) -> dict[str, Any]:
    """``codemeta.json``, CodeMeta 3.0."""
    described = metadata.metadata(DISTRIBUTION)
    return {
        "@context": "https://w3id.org/codemeta/3.0",
        "type": "SoftwareSourceCode",
        "name": DISTRIBUTION,
        "description": described["Summary"],
        "version": _version(subject),
        "datePublished": str(subject.citation["date-released"]),
        "license": subject.licence,
        "author": _authors(subject, "_:author-"),
        "keywords": (described["Keywords"] or "").split(","),
        "programmingLanguage": "Python",
        "runtimePlatform": f"Python {described['Requires-Python']}",
        "softwareRequirements": [line for line in metadata.requires(DISTRIBUTION) or () if "extra ==" not in line],
        "citation": [_work(*pair) for pair in _numbered(subject)],
    }


def zenodo(subject: Subject) -> dict[str, Any]:
    """``.zenodo.json``: the metadata of a deposit."""
    urls = [work["url"] for work in subject.citation["references"] if "url" in work]
    return {
        "title": subject.title,
        "upload_type": "software",
        "description": subject.description,
        "creators": [{"name": _name(author)} for author in subject.citation["authors"]],
        "access_right": "open",
        "license": subject.citation["license"],
        "version": _version(subject),
        "publication_date": subject.manifest.finished[:10],
        "keywords": (metadata.metadata(DISTRIBUTION)["Keywords"] or "").split(","),
        "related_identifiers": [{"identifier": url, "relation": "cites", "scheme": "url"} for url in urls],
        "references": [
            f"{_names(work)} ({work.get('year', 'no year')}): {work['title']}"
            for work in subject.citation["references"]
        ],
    }


def _action(name: str, subject: Subject, data: list[str]) -> dict[str, Any]:
    """What one notebook did."""
    held = subject.manifest
    record = held.notebooks[name]
    commit = (record.commit or held.commit).hash or "unknown"
    reads = data if "data" in record.parameters else []
    made = [f"{RUN}{output}" for output in record.outputs if f"{RUN}{output}" in subject.sizes]
    return {
        "@id": f"#run-{name}",
        "@type": "CreateAction",
        "name": f"Run of the notebook {name}",
        "description": f"{record.seconds} s, at commit {commit}",
        "instrument": {"@id": _source(name, subject)["@id"]},
        "agent": _ids(_authors(subject, "#author-"))[0],
        "endTime": _moment(held),
        "actionStatus": "http://schema.org/CompletedActionStatus",
        "object": [*_ids(_parameters(name, subject)), *({"@id": f"#data-{_slug(one)}"} for one in reads)],
        "result": [{"@id": one} for one in made],
    }


def _parameters(notebook: str, subject: Subject) -> list[dict[str, Any]]:
    return [
        {"@id": f"#{notebook}-{name}", "@type": "PropertyValue", "name": name, "value": _told(value)}
        for name, value in subject.manifest.notebooks[notebook].parameters.items()
    ]


def _told(value: Any) -> Any:
    return value if isinstance(value, bool | int | float | str) else str(value)


def _file(name: str, subject: Subject) -> dict[str, Any]:
    form = FORMATS.get(PurePosixPath(name).suffix, "text/plain")
    found = {"@id": name, "@type": "File", "name": PurePosixPath(name).name, "encodingFormat": form}
    found["contentSize"] = str(subject.sizes[name])
    inside = name.removeprefix(RUN)
    known = {digest for record in subject.manifest.notebooks.values() if (digest := record.outputs.get(inside))}
    return {**found, "sha256": known.pop()} if len(known) == 1 else found


def _source(name: str, subject: Subject) -> dict[str, Any]:
    return {
        "@id": f"{CODE}notebooks/{name}.ipynb",
        "@type": ["File", "SoftwareSourceCode"],
        "name": f"Notebook {name}",
        "encodingFormat": FORMATS[".ipynb"],
        "programmingLanguage": "Python",
        "version": _version(subject),
        "isPartOf": {"@id": CODE},
    }


def _data(name: str, digest: str) -> dict[str, Any]:
    return {"@id": f"#data-{_slug(name)}", "@type": "CreativeWork", "name": name, "sha256": digest}


def _folder(name: str, title: str, words: str) -> dict[str, Any]:
    return {"@id": name, "@type": "Dataset", "name": title, "description": words}


def _application(subject: Subject) -> dict[str, Any]:
    return {
        "@id": APPLICATION,
        "@type": "SoftwareApplication",
        "name": DISTRIBUTION,
        "softwareVersion": subject.manifest.versions.get(DISTRIBUTION, _version(subject)),
    }


def _authors(subject: Subject, prefix: str) -> list[dict[str, Any]]:
    return [
        {"@id": f"{prefix}{place}", "@type": "Organization" if "name" in author else "Person", "name": _name(author)}
        for place, author in enumerate(subject.citation["authors"], 1)
    ]


def _numbered(subject: Subject) -> list[tuple[int, Mapping[str, Any]]]:
    return list(enumerate(subject.citation["references"], 1))


def _work(place: int, work: Mapping[str, Any]) -> dict[str, Any]:
    kind = "CreativeWork" if work["type"] == "generic" else "ScholarlyArticle"
    found = {"@id": work.get("url", f"#work-{place}"), "@type": kind, "name": work["title"]}
    return {**found, "author": _names(work), **({"datePublished": str(work["year"])} if "year" in work else {})}


def _names(work: Mapping[str, Any]) -> str:
    return ", ".join(_name(author) for author in work["authors"])


def _name(author: Mapping[str, Any]) -> str:
    return str(author.get("name") or f"{author['family-names']}, {author['given-names']}")


def _version(subject: Subject) -> str:
    return str(subject.citation["version"])


def _moment(held: Manifest) -> str:
    return held.finished.replace("Z", "+00:00")


def _single(entities: list[dict[str, str]]) -> Any:
    return entities[0] if len(entities) == 1 else entities


def _slug(name: str) -> str:
    return re.sub(r"[^\w.-]", "-", name)


def _ids(entities: list[dict[str, Any]]) -> list[dict[str, str]]:
    return [{"@id": entity["@id"]} for entity in entities]
