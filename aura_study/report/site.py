"""Writes the site of a run: pages from templates, pictures, styles and scripts."""

import math
import shutil
from pathlib import Path
from typing import Any

from scipy.stats import t as student_t

from aura_study.claims import CLAIMS
from aura_study.claims.guide import GUIDE, SECTIONS, SOLVED, by_section, said
from aura_study.claims.model import DECIDED
from aura_study.errors import StudyError
from aura_study.experiments.phase_diagram import maps
from aura_study.paths import REPETITION, RunFolders, reference_run
from aura_study.report import explorer
from aura_study.report.cells import Body, render_cells
from aura_study.report.comparison import write_page
from aura_study.report.content import HEADLINE_FIGURE, PRICE_FIGURE, NotebookContent, RunContent, advice, public
from aura_study.report.images import Pictures
from aura_study.report.methods import DEVIATIONS, KINDS, QUESTIONS, THREATS
from aura_study.report.references import works
from aura_study.report.render import Renderer
from aura_study.report.scale import scale
from aura_study.runs import ledger
from aura_study.runs.comparison import Comparison
from aura_study.runs.manifest import seconds_taken
from aura_study.theory.forms import FORMS

PHASE_FIGURE = "phase_diagram"
SHORT = 60
"""Seconds that a notebook takes which one runs again without thinking."""
FEW = 6
"""Claims of another verdict that the first page lists; of more it opens a list."""
GROWN_PHANTOMS = (0.01, 0.1, 0.3, 1.0, 3.0)
GROWN_STEPS = 400
"""Absences of the table of growth on the first page."""


def write_comparison(comparison: Comparison, site: Path) -> None:
    """Fill the empty folder ``site`` with the page of a comparison and all that it needs."""
    write_page(comparison, Renderer(site, has_explorer=_lay_static(site)), site, "index.html", alone=True)


def write_site(content: RunContent, site: Path, manual: Path | None) -> None:
    """Fill the empty folder ``site`` with the pages of a run, and the manual beside them, if there is one."""
    pictures = Pictures(site / "figures")
    for name, (notebook, figure) in content.figures.items():
        if not pictures.add_figure(figure, content.folders.figures / f"{name}.svg"):
            content.problems.append(f"Figure {name} of notebook {notebook} is missing, or is no mere picture.")
    data = _lay_tables(content, site / "data")
    plotting = _lay_static(site)
    if not plotting:
        content.problems.append("uPlot is not installed (package uplot-python): the report has no explorer.")
    is_reference = content.folders.results == reference_run().results
    beside = _beside(content, RunFolders.of(REPETITION) if is_reference else reference_run())
    if manual:
        shutil.copytree(manual, site / "manual")
    render = Renderer(
        site,
        content=content,
        pictures=pictures,
        has_explorer=plotting,
        has_comparison=beside is not None,
        has_manual=manual is not None,
        is_reference=is_reference,
        data=data,
        seeds=ledger.seeds,
        said=said,
        open_because=content.open_because,
        answered=_answered(content) if beside and not is_reference else {},
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
    render.page("index.html", "index.html", beside=beside, few=FEW, **answer, **_growth())
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


def _beside(content: RunContent, other: RunFolders) -> Comparison | None:
    """This run and another, unless there is nothing to compare, or what there is cannot be read."""
    try:
        comparison = Comparison([content.folders, other])
    except StudyError:
        return None
    try:
        _ = comparison.numbers, comparison.overlays.shown  # read here, for a page half written is none
    except StudyError as error:
        told = public(public(str(error), content.folders), other)
        content.problems.append(f"There is no page of this run beside {other.name}: {told}")
        return None
    return comparison


def _advice(content: RunContent) -> list[str]:
    try:
        return advice(content.folders)
    except StudyError as error:
        content.problems.append(f"The advice is missing: {public(str(error), content.folders)}")
        return []


def _answered(content: RunContent) -> dict[str, ledger.Row]:
    """The reference's rows of claims that this run leaves open, and that the reference decides, by today's wording."""
    decided = {row.claim for row in content.ledger.claims if row.verdict in DECIDED}
    return {
        claim: row
        for claim, row in ledger.read_claims(reference_run()).rows.items()
        if claim not in decided and row.verdict in DECIDED and not content.reworded(row)
    }


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


def _growth() -> dict[str, Any]:
    """Rows of the table of growth, as notebook 06 makes them, and the coefficients of variation of its columns."""
    return {
        "growth": maps.growth(GROWN_PHANTOMS, [GROWN_STEPS]).to_dict("records"),
        "variations": maps.VARIATIONS,
    }


def deviation(row: ledger.Row) -> float | None:
    """Standard deviation over seeds that the row's t interval tells, of logarithms where it is one of logarithms.

    s = half the interval's width * sqrt(n) / t(n - 1). None where there is no such interval.
    """
    low, high = row.interval
    if row.seeds < 2 or row.p is None or low is None or high is None:
        return None
    width = math.log(high / low) if row.logarithmic else high - low
    return float(width / 2 * math.sqrt(row.seeds) / student_t.ppf(0.975, row.seeds - 1))


def _effort(content: RunContent) -> dict[str, Any]:
    """What the page on reproducibility counts: seconds by notebook, longest first, and claims that are open."""
    seconds = seconds_taken(content.folders) if content.manifest else {}
    return {
        "seconds": dict(sorted(seconds.items(), key=lambda pair: -pair[1])),
        "short": sum(value < SHORT for value in seconds.values()),
        "statements": len(GUIDE),
        "exact": [row for row in content.ledger.claims if not row.seeds and row.verdict in DECIDED],
        "unsettled": [row for row in content.ledger.claims if row.verdict not in DECIDED],
        "deviation": deviation,
    }


def _neighbours(names: list[str], position: int) -> dict[str, str | None]:
    before = names[position - 1] if position else None
    return {"before": before, "after": names[position + 1] if position + 1 < len(names) else None}
