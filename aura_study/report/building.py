"""Puts a site in place in one step, where what it is made from has changed; only then is what writes it imported."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from aura_study.data.scratch import scratch
from aura_study.errors import StudyError
from aura_study.paths import REPETITION, RunFolders, carried, home, reference_run
from aura_study.runs.fingerprint import code_digest, digest, digest_file, digest_json
from aura_study.runs.records import UNFINISHED

if TYPE_CHECKING:
    from aura_study.runs.comparison import Comparison

RECORD = "build.json"
CARRIED = ("claims.lock", "references.bib")
"""What pages say beside the run."""
MANUAL = "build/docs"


def build_report(folders: RunFolders, begin: Callable[[], None] = lambda: None) -> Path:
    """Build ``report/index.html`` and its pages, unless they are up to date; return its path.

    Args:
        folders: of the run.
        begin: called before the work, if there is any.

    Raises:
        StudyError: there is no such run.
    """
    manual = _manual(folders)
    inputs = _inputs(folders, manual)
    index = folders.report / "index.html"
    if _built_from(folders.report) == inputs:
        return index
    begin()
    from aura_study.report.content import gather
    from aura_study.report.site import write_site

    content = gather(folders)
    with _replaced(folders.report) as new:
        write_site(content, new, manual)
        record = {"inputs": inputs, "files": _files(new)}
        (new / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return index


@contextmanager
def _replaced(folder: Path) -> Iterator[Path]:
    """An empty folder to fill, which takes the place of ``folder`` when it is whole; till then that stays as it is."""
    with scratch(f"{UNFINISHED}{folder.name}-", folder.parent) as place:
        new = place / "new"
        new.mkdir()
        yield new
        if folder.exists():
            folder.replace(place / "old")
        new.replace(folder)


def build_comparison(comparison: "Comparison", folder: Path) -> Path:
    """Write the page of a comparison into ``folder`` with all that it needs; return its path.

    Raises:
        StudyError: the folder holds something else.
    """
    from aura_study.report.comparison import FOLDER
    from aura_study.report.site import write_comparison

    index = folder / "index.html"
    held = {path.name for path in folder.iterdir()} if folder.exists() else set()
    ours = {index.name, FOLDER, "static"}
    if held and held != ours:  # it is replaced as a whole, with whatever else is in it
        told = ", ".join(sorted(held - ours or held))
        raise StudyError(f"{folder} holds something else ({told}); name a folder that is empty or not there")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _replaced(folder) as new:
        write_comparison(comparison, new)
    return index


def _manual(folders: RunFolders) -> Path | None:
    """The manual, where ``make docs`` has built it; not for the reference, whose report is committed."""
    built = home() / MANUAL
    return built if (built / "index.html").is_file() and folders.results != reference_run().results else None


def _inputs(folders: RunFolders, manual: Path | None) -> str:
    """Digest of everything the site is made from or speaks of, to tell whether it has to be built again."""
    paths: list[Path] = [folders.claims, folders.manifest]
    kinds = ((folders.evidence, "*.json"), (folders.notebooks, "*.ipynb"), (folders.figures, "*.[sp][vn]g"))
    for folder, pattern in (*kinds, (folders.tables, "*.csv"), (folders.trajectories, "*.parquet")):
        paths.extend(path for path in sorted(folder.glob(pattern)) if not path.name.startswith("."))
    digests = {f"{path.parent.name}/{path.name}": digest_file(path) for path in paths if path.is_file()}
    others = (reference_run(), RunFolders.of(REPETITION))
    beside = [path for other in others for path in (other.claims, other.manifest) if path.is_file()]
    beside += sorted(path for path in manual.rglob("*") if path.is_file()) if manual else []
    code = [code_digest(["import aura_study.report"]), _package_files()]
    return digest_json([code, list(map(digest_file, beside)), digests])


def _package_files() -> str:
    folder = Path(__file__).parent
    files = sorted(path for name in ("templates", "static") for path in (folder / name).rglob("*") if path.is_file())
    return digest(b"".join(path.read_bytes() for path in [*files, *map(carried, CARRIED)] if path.is_file()))


def _built_from(report: Path) -> str | None:
    """Digest of what the site was built from; ``None`` where there is none, or a file of it was lost or altered."""
    try:
        record = json.loads((report / RECORD).read_text(encoding="utf-8"))
        return str(record["inputs"]) if record["files"] == _files(report) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _files(site: Path) -> dict[str, str]:
    """Digest of every file of the site but the record."""
    paths = sorted(path for path in site.rglob("*") if path.is_file() and path.name != RECORD)
    return {path.relative_to(site).as_posix(): digest_file(path) for path in paths}
