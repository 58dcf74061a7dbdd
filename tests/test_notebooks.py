"""The notebooks: thin, clean and readable as they are stored, and right in what they find when they run."""

import ast
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from aura_study.claims import CLAIMS
from aura_study.ledger import read_claims, read_evidence
from aura_study.paths import RunFolders, notebooks_folder
from aura_study.study.registry import notebook_names, parameter_classes
from aura_study.study.request import Request
from aura_study.study.runner import run_study

NAMES = notebook_names()
CODE_LINES = 6


@cache
def cells_of(name: str) -> list[dict[str, Any]]:
    content: dict[str, Any] = json.loads((notebooks_folder() / f"{name}.ipynb").read_text(encoding="utf-8"))
    assert (content["nbformat"], content["nbformat_minor"]) == (4, 5), name
    cells: list[dict[str, Any]] = content["cells"]
    for cell in cells:
        cell["source"] = "".join(cell["source"])
    return cells


def code(name: str) -> list[dict[str, Any]]:
    return [cell for cell in cells_of(name) if cell["cell_type"] == "code"]


def parameters_cell(name: str) -> dict[str, Any]:
    (cell,) = [cell for cell in cells_of(name) if "parameters" in cell["metadata"].get("tags", [])]
    return cell


def test_there_is_a_notebook_for_each_claim_and_a_class_for_each_notebook() -> None:
    """Every claim names a notebook that exists; every notebook has its parameters declared once."""
    assert {claim.notebook for claim in CLAIMS.values()} <= set(NAMES)
    assert set(NAMES) == set(parameter_classes())


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_is_stored_clean(name: str) -> None:
    """No outputs, no execution counts, cell ids readable and unique: a difference in git is a difference in content."""
    for cell in code(name):
        assert cell["outputs"] == []
        assert cell["execution_count"] is None
    ids = [cell["id"] for cell in cells_of(name)]
    assert len(ids) == len(set(ids))
    assert not [cell_id for cell_id in ids if re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f-]+)?|[0-9a-f-]{36}", cell_id)]


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_defines_nothing_and_stays_thin(name: str) -> None:
    """No function, class or lambda is defined, and no cell but the parameters holds more than six lines of code."""
    for cell in code(name):
        defined = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
        assert not [node for node in ast.walk(ast.parse(cell["source"])) if isinstance(node, defined)], cell["id"]
        lines = [line for line in cell["source"].splitlines() if line.strip() and not line.lstrip().startswith("#")]
        assert len(lines) <= CODE_LINES or cell is parameters_cell(name), cell["id"]


@pytest.mark.parametrize("name", NAMES)
def test_the_parameters_cell_is_the_class_in_names_order_and_values(name: str) -> None:
    """What the cell assigns is what the class declares for the quick profile, ``out`` last; literals alone."""
    declared = {key: field.default for key, field in parameter_classes()[name].model_fields.items()}
    declared["out"] = declared.pop("out")
    assigned = {}
    for statement in ast.parse(parameters_cell(name)["source"]).body:
        assert isinstance(statement, ast.Assign), ast.dump(statement)
        (target,) = statement.targets
        assert isinstance(target, ast.Name)
        assigned[target.id] = ast.literal_eval(statement.value)
    assert [(key, json.dumps(value)) for key, value in assigned.items()] == [
        (key, json.dumps(value)) for key, value in declared.items()
    ]


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_opens_with_its_question_and_leads_up_to_each_figure(name: str) -> None:
    """A title first, then the parameters; text stands before each figure, with no more than two cells between them."""
    cells = cells_of(name)
    assert cells[0]["cell_type"] == "markdown"
    assert cells[0]["source"].startswith("# ")
    assert cells[1] is parameters_cell(name)
    for index, cell in enumerate(cells):
        if cell["cell_type"] == "code" and "run.figure(" in cell["source"]:
            before = [other["cell_type"] for other in cells[max(index - 3, 0) : index]]
            assert "markdown" in before, cell["id"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolders:
    """Every notebook at the smoke profile."""
    out = tmp_path_factory.mktemp("study") / "smoke"
    request = Request.of(parameter_classes(), profile="smoke", out=str(out))
    run_study(request, Console(quiet=True))
    return request.folders


@pytest.mark.slow
def test_the_study_decides_every_claim(run: RunFolders) -> None:
    """At the smoke profile each claim has a row with a finite measurement and one of the four verdicts, in order."""
    rows = read_claims(run).claims
    assert [row.claim for row in rows] == list(CLAIMS)
    for row in rows:
        assert row.measured is not None, row.claim
        assert row.rule == CLAIMS[row.claim].rule.text()


@pytest.mark.slow
def test_what_needs_no_seeds_is_right_even_at_smoke(run: RunFolders) -> None:
    """Exact claims, which no amount of computing can improve, are confirmed at the smallest profile already."""
    rows = read_claims(run).rows
    for key in {"F1", "P1", "P2", "P3", "P4"}:
        assert rows[key].verdict.startswith("confirmed"), (key, rows[key].measured, rows[key].interval)


@pytest.mark.slow
def test_every_notebook_leaves_figures_with_words(run: RunFolders) -> None:
    """Each figure is there as PNG and SVG, with a caption and alternative text; the figure of a claim is among them."""
    evidence = {entry.notebook: entry for entry in read_evidence(run)}
    assert set(evidence) == set(NAMES)
    for entry in evidence.values():
        assert entry.figures
        for figure in entry.figures:
            assert len(figure.caption) > 20, figure.name
            assert len(figure.alt) > 10, figure.name
            for kind in ("png", "svg"):
                assert (run.figures / f"{figure.name}.{kind}").stat().st_size > 1000
    for claim in CLAIMS.values():
        names = {figure.name for figure in evidence[claim.notebook].figures}
        assert claim.figure is None or claim.figure in names, claim.key


@pytest.mark.slow
def test_executed_notebooks_are_free_of_warnings_and_paths(run: RunFolders) -> None:
    """Nothing was written to standard error, and no path of this machine is in any output."""
    for path in sorted(run.notebooks.glob("*.ipynb")):
        text = path.read_text(encoding="utf-8")
        for cell in json.loads(text)["cells"]:
            noise = [output for output in cell.get("outputs", []) if output.get("name") == "stderr"]
            assert noise == [], f"{path.stem}, cell {cell['id']}: {noise[0]['text']}"
        assert str(Path(__file__).resolve().parents[1]) not in text
