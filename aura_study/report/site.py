"""Builds the site of a run: pages from templates, pictures, styles and scripts, put in place in one step."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from aura_study.claims import CLAIMS
from aura_study.claims.guide import GUIDE, SECTIONS, SOLVED, by_section, said
from aura_study.claims.model import DECIDED
from aura_study.data.scratch import scratch
from aura_study.errors import StudyError
from aura_study.experiments.phase_diagram import maps
from aura_study.paths import RunFolders, carried, home, reference_run
from aura_study.report import explorer
from aura_study.report.cells import Body, render_cells
from aura_study.report.comparison import FOLDER, write_page
from aura_study.report.content import (
    ADVICE_TABLE,
    HEADLINE_FIGURE,
    PRICE_FIGURE,
    NotebookContent,
    RunContent,
    gather,
    inputs_digest,
)
from aura_study.report.images import Pictures
from aura_study.report.methods import DEVIATIONS, KINDS, QUESTIONS, THREATS
from aura_study.report.references import works
from aura_study.report.render import Renderer
from aura_study.report.scale import scale
from aura_study.runs import ledger
from aura_study.runs.comparison import Comparison
from aura_study.runs.fingerprint import code_digest, digest, digest_file
from aura_study.runs.manifest import seconds_taken
from aura_study.runs.records import UNFINISHED
from aura_study.theory.forms import FORMS

PHASE_FIGURE = "phase_diagram"
RECORD = "build.json"
CARRIED = ("claims.lock", "references.bib")
"""What pages say beside the run."""
MANUAL = "build/docs"

SHORT = 60
"""Seconds that a notebook takes which one runs again without thinking."""
GROWN_PHANTOMS = (0.01, 0.1, 0.3, 1.0, 3.0)
GROWN_STEPS = 400
"""Absences of the table of growth on the first page."""


def build_report(folders: RunFolders) -> Path:
    """Build ``report/index.html`` and its pages, unless they are up to date; return its path.

    Raises:
        StudyError: there is no such run.
    """
    code = code_digest(["import aura_study.report"]) + _package_files()
    beside = [path for path in (reference_run().claims, reference_run().manifest) if path.is_file()]
    manual = _manual(folders)
    beside += sorted(path for path in manual.rglob("*") if path.is_file()) if manual else []
    inputs = digest(inputs_digest(folders, code + "".join(map(digest_file, beside))).encode())
    index = folders.report / "index.html"
    if _built_from(folders.report) == inputs:
        return index
    content = gather(folders)
    with _replaced(folders.report) as new:
        _write_site(content, new)
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


def build_comparison(comparison: Comparison, folder: Path) -> Path:
    """Write the page of a comparison into ``folder`` with all that it needs; return its path.

    Raises:
        StudyError: the folder holds something else.
    """
    index = folder / "index.html"
    if folder.exists() and any(folder.iterdir()) and not (index.is_file() and (folder / FOLDER).is_dir()):
        raise StudyError(f"{folder} holds something else; name a folder that is empty or not there")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _replaced(folder) as new:
        plotting = _lay_static(new)
        write_page(comparison, Renderer(new, has_explorer=plotting), new, "index.html", alone=True)
    return index


def _write_site(content: RunContent, site: Path) -> None:
    pictures = Pictures(site / "figures")
    for name, (notebook, figure) in content.figures.items():
        if not pictures.add_figure(figure, content.folders.figures / f"{name}.svg"):
            content.problems.append(f"Figure {name} of notebook {notebook} is missing, or is no mere picture.")
    data = _lay_tables(content, site / "data")
    plotting = _lay_static(site)
    if not plotting:
        content.problems.append("uPlot is not installed (package uplot-python): the report has no explorer.")
    beside, manual = _beside_reference(content), _manual(content.folders)
    if manual:
        shutil.copytree(manual, site / "manual")
    render = Renderer(
        site,
        content=content,
        pictures=pictures,
        has_explorer=plotting,
        has_comparison=beside is not None,
        has_manual=manual is not None,
        is_reference=content.folders.results == reference_run().results,
        data=data,
        seeds=ledger.seeds,
        said=said,
        open_because=content.open_because,
        answered=_answered(content) if beside else {},
        kind_words=KINDS,
        titles={entry.name: entry.title for entry in content.notebooks},
    )
    pictures.below = {
        picture.file: render.macro("sources", name, "../")
        for name in reversed(content.figures)  # of equal pictures the first gave the file its name
        if (picture := pictures.figure(name))
    }
    bodies = {entry.name: _body(entry, pictures, content.problems) for entry in content.notebooks}
    if beside:
        write_page(beside, render, site)
    answer = {"headline": _headline(content, pictures), "price": PRICE_FIGURE, "advice": _advice(content)}
    render.page("index.html", "index.html", beside=beside, **answer, **_growth())
    render.page("run.html", "run.html")
    render.page(
        "guide.html", "guide.html", guide=by_section(), sections=SECTIONS, solved=SOLVED, rows=content.ledger.rows
    )
    render.page("negative.html", "negative.html", rows=content.ledger.rows)
    render.page("reproducibility.html", "reproducibility.html", questions=QUESTIONS, **_effort(content))
    render.page(
        "methods.html",
        "methods.html",
        deviations=DEVIATIONS,
        threats=THREATS,
        statements=len(GUIDE),
        claims=CLAIMS,
    )
    if plotting:
        render.page("explorer.html", "explorer.html", **_explorer(content))
    for position, entry in enumerate(content.notebooks):
        around = _neighbours([other.name for other in content.notebooks], position)
        render.page(
            "notebook.html", f"notebooks/{entry.name}.html", entry=entry, body=bodies[entry.name], around=around
        )
    keys = [row.claim for row in content.ledger.claims]
    for position, row in enumerate(content.ledger.claims):
        render.page(
            "claim.html",
            f"claims/{row.claim}.html",
            row=row,
            line=scale(row),
            around=_neighbours(keys, position),
            works=[works()[key] for key in CLAIMS[row.claim].cites] if row.claim in CLAIMS else [],
        )


def _lay_tables(content: RunContent, folder: Path) -> set[str]:
    """Copy the tables of the run's notebooks into ``folder``; returns the names of those that are there."""
    folder.mkdir()
    sources = {
        table.name: content.folders.tables / f"{table.name}.csv" for e in content.notebooks for table in e.tables
    }
    found = {name: path for name, path in sources.items() if path.is_file()}
    for name, path in found.items():
        shutil.copyfile(path, folder / f"{name}.csv")
    return set(found)


def _lay_static(site: Path) -> bool:
    """Copy styles and scripts into ``site``; returns whether uPlot is among them."""
    shutil.copytree(Path(__file__).parent / "static", site / "static")
    plotting = explorer.plotting_files()
    for file in plotting or ():
        shutil.copyfile(file, site / "static" / file.name)
    return plotting is not None


def _beside_reference(content: RunContent) -> Comparison | None:
    """This run and the reference, unless it is the reference, or there is nothing to compare."""
    reference = reference_run()
    if content.folders.results == reference.results or not content.folders.claims.parent.is_dir():
        return None
    try:
        return Comparison([content.folders, reference])
    except StudyError:
        return None


def _answered(content: RunContent) -> dict[str, ledger.Row]:
    """The reference's rows of claims that this run leaves open, and that the reference decides, by today's wording."""
    decided = {row.claim for row in content.ledger.claims if row.verdict in DECIDED}
    return {
        claim: row
        for claim, row in ledger.read_claims(reference_run()).rows.items()
        if claim not in decided and row.verdict in DECIDED and not content.reworded(row)
    }


def _manual(folders: RunFolders) -> Path | None:
    """The manual, where ``make docs`` has built it; not for the reference, whose report is committed."""
    built = home() / MANUAL
    return built if (built / "index.html").is_file() and folders.results != reference_run().results else None


def _explorer(content: RunContent) -> dict[str, Any]:
    """What the explorer's page is rendered from."""
    figure = content.figures.get(PHASE_FIGURE)
    return {
        "settings": explorer.settings(),
        "controls": {control.name: control for control in explorer.controls()},
        "forms": FORMS,
        "regimes": explorer.regimes(),
        "diagram": f"notebooks/{figure[0]}.html" if figure else "index.html#notebooks",
    }


def _body(entry: NotebookContent, pictures: Pictures, problems: list[str]) -> Body | None:
    if entry.notebook is None:
        return None
    try:
        return render_cells(entry.notebook, pictures)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        problems.append(f"The executed notebook {entry.name} cannot be shown: {type(error).__name__}: {error}")
        return None


def _headline(content: RunContent, pictures: Pictures) -> str | None:
    available = [name for name in content.figures if name != PRICE_FIGURE and pictures.figure(name)]
    return HEADLINE_FIGURE if HEADLINE_FIGURE in available else available[0] if available else None


def _advice(content: RunContent) -> list[str]:
    """The sentences on what to do about the price; none where nobody asked."""
    path = content.folders.tables / f"{ADVICE_TABLE}.csv"
    return list(pd.read_csv(path)["sentence"]) if path.is_file() else []


def _growth() -> dict[str, Any]:
    """Rows of the table of growth, as notebook 06 makes them, and the coefficients of variation of its columns."""
    return {
        "growth": maps.growth(GROWN_PHANTOMS, [GROWN_STEPS]).to_dict("records"),
        "variations": maps.VARIATIONS,
    }


def _effort(content: RunContent) -> dict[str, Any]:
    """What the page on reproducibility counts: seconds by notebook, longest first, and claims that are open."""
    seconds = seconds_taken(content.folders) if content.manifest else {}
    return {
        "seconds": dict(sorted(seconds.items(), key=lambda pair: -pair[1])),
        "short": sum(value < SHORT for value in seconds.values()),
        "statements": len(GUIDE),
        "exact": [row for row in content.ledger.claims if not row.seeds and row.verdict in DECIDED],
        "unsettled": [row for row in content.ledger.claims if row.verdict not in DECIDED],
    }


def _neighbours(names: list[str], position: int) -> dict[str, str | None]:
    before = names[position - 1] if position else None
    return {"before": before, "after": names[position + 1] if position + 1 < len(names) else None}


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
