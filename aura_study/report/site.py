"""Builds the site of a run: pages from templates, pictures, styles and MathJax, put in place in one step."""

import json
import shutil
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from aura_study.claims import CLAIMS
from aura_study.claims.guide import GUIDE, SECTIONS, by_section
from aura_study.experiments.phase_diagram import maps
from aura_study.paths import RunFolders, carried
from aura_study.report import explorer
from aura_study.report.cells import Body, render_cells
from aura_study.report.content import NotebookContent, RunContent, gather, inputs_digest
from aura_study.report.images import Pictures
from aura_study.report.methods import DEVIATIONS, KINDS, THREATS
from aura_study.report.references import works
from aura_study.report.scale import scale
from aura_study.runs import ledger, words
from aura_study.runs.fingerprint import code_digest, digest, digest_file
from aura_study.runs.records import unfinished
from aura_study.theory.forms import FORMS

HEADLINE_FIGURE = "sigma_trajectories"
PHASE_FIGURE = "phase_diagram"
RECORD = "build.json"
CARRIED = ("claims.lock", "references.bib")
"""What pages say beside the run."""

GROWN_PHANTOMS = (0.01, 0.1, 0.3, 1.0, 3.0)
GROWN_STEPS = 400
"""Absences of the table of growth on the first page."""
VERDICT_CLASSES = {
    "confirmed": "confirmed",
    "confirmed within limits": "limits",
    "refuted": "refuted",
    "inconclusive": "inconclusive",
    "void": "void",
}


def build_report(folders: RunFolders) -> Path:
    """Build ``report/index.html`` and its pages, unless they are up to date; return its path.

    Raises:
        StudyError: there is no such run.
    """
    inputs = digest(inputs_digest(folders, code_digest(["import aura_study.report"]) + _package_files()).encode())
    index = folders.report / "index.html"
    if _built_from(folders.report) == inputs:
        return index
    content = gather(folders)
    new, old = (unfinished(folders.results / f"report-{word}") for word in ("new", "old"))
    new.mkdir()
    _write_site(content, new)
    (new / RECORD).write_text(json.dumps({"inputs": inputs, "files": _files(new)}, indent=1) + "\n", encoding="utf-8")
    if folders.report.exists():
        folders.report.replace(old)
    new.replace(folders.report)
    shutil.rmtree(old, ignore_errors=True)
    return index


def _write_site(content: RunContent, site: Path) -> None:
    pictures = Pictures(site / "figures")
    for name, (notebook, figure) in content.figures.items():
        if not pictures.add_figure(figure, content.folders.figures / f"{name}.svg"):
            content.problems.append(f"Figure {name} of notebook {notebook} is missing.")
    bodies = {entry.name: _body(entry, pictures, content.problems) for entry in content.notebooks}
    static = Path(__file__).parent / "static"
    shutil.copytree(static, site / "static")
    mathjax = _mathjax()
    if mathjax:
        shutil.copyfile(mathjax, site / "static" / "mathjax.js")
    else:
        content.problems.append("MathJax is not installed (package sphinx-mathjax-offline): formulas show as LaTeX.")
    plotting = explorer.plotting_files()
    for file in plotting or ():
        shutil.copyfile(file, site / "static" / file.name)
    if not plotting:
        content.problems.append("uPlot is not installed (package uplot-python): the report has no explorer.")
    render = _Renderer(content, pictures, site, has_math=mathjax is not None, has_explorer=plotting is not None)
    render.page("index.html", "index.html", headline=_headline(content, pictures), **_growth())
    render.page("run.html", "run.html")
    render.page("guide.html", "guide.html", guide=by_section(), sections=SECTIONS, rows=content.ledger.rows)
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


class _Renderer:
    """Jinja with the filters of the site; escaping is on for everything."""

    def __init__(self, content: RunContent, pictures: Pictures, site: Path, has_math: bool, has_explorer: bool) -> None:
        self._site = site
        self._environment = Environment(
            loader=PackageLoader("aura_study.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
            lstrip_blocks=True,
        )  # fmt: skip
        self._environment.filters.update(
            number=number, interval=interval, duration=words.duration, compact=_compact, decimal=_decimal
        )
        self._environment.globals.update(
            content=content,
            pictures=pictures,
            has_math=has_math,
            has_explorer=has_explorer,
            seeds=ledger.seeds,
            open_because=content.open_because,
            kind_words=KINDS,
            verdict_class=VERDICT_CLASSES,
            titles={entry.name: entry.title for entry in content.notebooks},
        )

    def page(self, template: str, target: str, **values: Any) -> None:
        """Render ``template`` to ``target``, a path relative to the site."""
        path = self._site / target
        path.parent.mkdir(parents=True, exist_ok=True)
        root = "../" * target.count("/")
        path.write_text(self._environment.get_template(template).render(root=root, target=target, **values), "utf-8")


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
    available = [name for name in content.figures if pictures.figure(name)]
    return HEADLINE_FIGURE if HEADLINE_FIGURE in available else available[0] if available else None


def _growth() -> dict[str, Any]:
    """Rows of the table of growth, as notebook 06 makes them, and the coefficients of variation of its columns."""
    return {
        "growth": maps.growth(GROWN_PHANTOMS, [GROWN_STEPS]).to_dict("records"),
        "variations": maps.VARIATIONS,
    }


def _neighbours(names: list[str], position: int) -> dict[str, str | None]:
    before = names[position - 1] if position else None
    return {"before": before, "after": names[position + 1] if position + 1 < len(names) else None}


def _mathjax() -> Path | None:
    try:
        files = metadata.files("sphinx-mathjax-offline") or ()
    except metadata.PackageNotFoundError:
        return None
    found = [Path(str(file.locate())) for file in files if file.name == "tex-svg-full.js"]
    return found[0] if found and found[0].is_file() else None


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
