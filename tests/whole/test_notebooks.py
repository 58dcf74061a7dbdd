"""The notebooks: thin, clean and readable as they are stored, and right in what they find when they run."""

import ast
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from fixed_sentences import SENTENCES
from rich.console import Console

from aura_study.claims import CLAIMS
from aura_study.paths import REFERENCE, RunFolders, notebooks_folder
from aura_study.runs.ledger import read_claims, read_evidence
from aura_study.runs.parameters import SummaryParameters
from aura_study.study.registry import notebook_names, parameter_classes
from aura_study.study.request import Request
from aura_study.study.runner import run_study

NAMES = notebook_names()
CODE_LINES = 15
IN_THE_OPEN = {  # what a notebook studies, made and called where the reader sees it
    "01_focal_loss": {"focal_loss"},
    "02_kendall_weighting": {"MaskedKendallLoss", "backward"},
    "03_phantom_gradient": {"UnmaskedKendallLoss", "MaskedKendallLoss", "backward"},
    "04_aura_training": {"MaskedKendallLoss", "model", "clip_grad_norm_", "backward"},
    "08_beyond_the_mask": {"MaskedKendallLoss", "FrozenKendallLoss", "grad", "backward"},
    "09_audit_survey": {"audit", "UnmaskedKendallLoss"},
    "15_balancers": {"MGDA", "PresentOnly"},
}
ALWAYS = ("01_focal_loss",)  # the others train or simulate for longer: ``make test-all`` runs them
EXACT = {"F1", "P1", "P2", "P3", "P4"}  # no amount of computing can improve these


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
    """No function, class or lambda is defined, and no cell but the parameters holds more than fifteen lines."""
    for cell in code(name):
        defined = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
        assert not [node for node in ast.walk(ast.parse(cell["source"])) if isinstance(node, defined)], cell["id"]
        lines = [line for line in cell["source"].splitlines() if line.strip() and not line.lstrip().startswith("#")]
        assert len(lines) <= CODE_LINES or cell is parameters_cell(name), cell["id"]


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_that_trains_lists_what_it_trained(name: str) -> None:
    """Whoever hands out the folder of trajectories keeps the files that come back."""
    text = "\n".join(cell["source"] for cell in code(name))
    assert ("run.folders.trajectories" in text) == ("run.keep(" in text)


@pytest.mark.parametrize("name", NAMES)
def test_the_parameters_cell_is_the_class_in_names_order_and_values(name: str) -> None:
    """The cell assigns what the class declares for the quick profile, as literals; ``out`` may stand anywhere."""
    declared = {key: field.default for key, field in parameter_classes()[name].model_fields.items()}
    assigned = {}
    for statement in ast.parse(parameters_cell(name)["source"]).body:
        assert isinstance(statement, ast.Assign), ast.dump(statement)
        (target,) = statement.targets
        assert isinstance(target, ast.Name)
        assigned[target.id] = ast.literal_eval(statement.value)
    assert assigned.pop("out") == declared.pop("out")
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


@pytest.mark.parametrize("name", IN_THE_OPEN)
def test_a_notebook_shows_what_it_studies(name: str) -> None:
    """The classes and functions under study are made and called in its own cells, not only behind an experiment."""
    used = set()
    for cell in code(name):
        nodes = list(ast.walk(ast.parse(cell["source"])))
        used |= {node.id for node in nodes if isinstance(node, ast.Name)}
        used |= {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    assert used >= IN_THE_OPEN[name]


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_ends_with_what_to_change(name: str) -> None:
    """The last cell names two of the notebook's parameters at least, as one would set them, and says what theory then
    predicts. A summary, which has none of its own, names those of a notebook that it reads.
    """
    last = cells_of(name)[-1]
    assert last["cell_type"] == "markdown"
    assert last["source"].startswith("## Change this\n")
    classes = parameter_classes()
    summary = issubclass(classes[name], SummaryParameters)
    fields = {
        key: field
        for cls in (classes.values() if summary else [classes[name]])
        for key, field in cls.model_fields.items()
    }
    named = set(re.findall(r"-p (\w+)=" if summary else r"`(\w+) = ", last["source"]))
    assert len(named & fields.keys()) >= 2, named
    assert named <= fields.keys(), named - fields.keys()


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_opens_its_run_and_says_at_last_where_it_is(name: str) -> None:
    """Whoever runs it by hand is told by its last line where everything went."""
    assert any("run = NotebookRun.open(p)" in cell["source"] for cell in code(name))
    assert code(name)[-1]["source"] == "run.close()"


@pytest.mark.parametrize(
    "name", [name if name in ALWAYS else pytest.param(name, marks=pytest.mark.slow) for name in NAMES]
)
def test_a_notebook_finds_what_it_claims_at_the_smallest_profile(name: str, tmp_path: Path) -> None:
    """Run through papermill, each claim of the notebook is decided by its rule; exact claims are confirmed already.

    What has no number, such as a median that most runs were not watched for, has no verdict that needs one.
    """
    folders = run_smoke(name, tmp_path / "smoke")
    rows = read_claims(folders).claims
    assert [row.claim for row in rows] == [key for key, claim in CLAIMS.items() if claim.notebook == name]
    for row in rows:
        assert row.measured is not None or row.verdict in ("inconclusive", "void"), row.claim
        assert row.rule == CLAIMS[row.claim].rule_text()
        assert row.claim not in EXACT or row.verdict in ("confirmed", "confirmed within limits"), row
    assert_sentences_agree(folders, name)
    assert_figures_have_words(folders, name)
    assert_no_noise(folders.notebooks / f"{name}.ipynb")


def run_smoke(name: str, out: Path) -> RunFolders:
    request = Request.of(parameter_classes(), [name], profile="smoke", out=str(out))
    run_study(request, Console(quiet=True))
    return request.folders


def assert_sentences_agree(folders: RunFolders, name: str) -> None:
    """What is typed in any notebook is what this one found."""
    for sentence in SENTENCES:
        assert sentence.by != name or sentence.agrees(folders), f"{sentence.notebook}, {sentence.cell}: {sentence.says}"


@pytest.mark.parametrize("name", sorted({sentence.by for sentence in SENTENCES}))
def test_typed_sentences_agree_with_the_committed_run(name: str) -> None:
    """They stand where they are said to stand, and the committed run, another profile on other data, agrees."""
    for sentence in SENTENCES:
        (source,) = [cell["source"] for cell in cells_of(sentence.notebook) if cell["id"] == sentence.cell]
        assert sentence.says in source
    assert_sentences_agree(RunFolders.of(REFERENCE), name)


def test_no_typed_text_says_a_verdict() -> None:
    """A claim's verdict is generated: no sentence names a claim and says what became of it."""
    said = re.compile(r"\b[FKPQSBNA]\d+[a-h]?\b[^.|]*\b(?:is|are|was|were)\s+(?:confirmed|refuted|inconclusive|void)\b")
    found = {
        (name, cell["id"]): match[0]
        for name in NAMES
        for cell in cells_of(name)
        if cell["cell_type"] == "markdown" and (match := said.search(cell["source"]))
    }
    assert found == {}


def assert_figures_have_words(folders: RunFolders, name: str) -> None:
    """Each figure is there as PNG and SVG, with caption and alternative text; those of the claims are among them."""
    (evidence,) = read_evidence(folders)
    assert evidence.figures
    for figure in evidence.figures:
        assert len(figure.caption) > 20, figure.name
        assert len(figure.alt) > 10, figure.name
        for kind in ("png", "svg"):
            assert (folders.figures / f"{figure.name}.{kind}").stat().st_size > 1000
    wanted = {claim.figure for claim in CLAIMS.values() if claim.notebook == name and claim.figure}
    assert wanted <= {figure.name for figure in evidence.figures}


def assert_no_noise(executed: Path) -> None:
    """Nothing was written to standard error, and no path of this machine is in any output."""
    text = executed.read_text(encoding="utf-8")
    for cell in json.loads(text)["cells"]:
        noise = [output for output in cell.get("outputs", []) if output.get("name") == "stderr"]
        assert noise == [], f"cell {cell['id']}: {noise[0]['text']}"
    assert str(Path(__file__).resolve().parents[2]) not in text
