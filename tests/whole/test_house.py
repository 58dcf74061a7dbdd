"""The house: what lies where, which room may import which, and that a notebook's parts carry its name."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import grimp
import pytest

import aura_study
from aura_study.claims import CLAIMS
from aura_study.study.registry import notebook_names

PACKAGE = Path(aura_study.__file__).parent
TESTS = Path(__file__).parents[1]
LOOSE = {"__init__", "__main__", "errors", "paths"}
MOST_FILES = 21
"""In one folder: what a reader takes in at a glance, or little more."""

ARROWS: dict[str, set[str]] = {
    # the effect
    "losses": set(),
    "theory": set(),
    "dynamics": {"theory"},
    "data": {"paths"},
    "training": {"data", "errors", "losses", "paths", "runs"},
    # the study
    "claims": set(),
    "figures": set(),
    "experiments": {
        *(
            "audit",
            "balancing",
            "claims",
            "data",
            "diagnosis",
            "dynamics",
            "figures",
            "losses",
            "paths",
            "runs",
            "theory",
            "training",
        )
    },
    # the tools
    "audit": {"balancing", "data"},
    "balancing": set(),
    "diagnosis": {"errors", "theory"},
    # the plumbing
    "runs": {"claims", "data", "errors", "figures", "paths"},
    "study": {"data", "errors", "experiments", "paths", "runs"},
    "sweep": {"data", "dynamics", "errors", "losses", "paths", "runs", "study", "theory", "training"},
    "report": {"claims", "data", "errors", "experiments", "figures", "paths", "runs", "theory"},
    "cli": {"audit", "data", "diagnosis", "errors", "paths", "report", "runs", "study", "sweep", "training"},
}
"""Which room imports which, `paths` and `errors` among them."""


@cache
def imports() -> grimp.ImportGraph:
    """Every import of the package, those inside functions and those for types alone too."""
    return grimp.build_graph("aura_study", cache_dir=None)


def arrows(depth: int, within: str = "aura_study") -> Iterator[tuple[str, str]]:
    """Pairs of different parts of ``within``, ``depth`` names deep, of which the first imports the second."""
    graph = imports()
    for importer in graph.modules:
        for imported in graph.find_modules_directly_imported_by(importer):
            ends = [name.split(".") for name in (importer, imported) if name.startswith(f"{within}.")]
            if len(ends) == 2 and ends[0][:depth] != ends[1][:depth]:
                first, second = (".".join(end[:depth]) for end in ends)
                yield first, second


def test_every_module_is_in_a_room() -> None:
    """Beside the package's own two files only where things lie and how errors read is loose."""
    assert {path.stem for path in PACKAGE.glob("*.py")} == LOOSE
    rooms = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert rooms == set(ARROWS)


def test_a_room_imports_the_rooms_that_the_map_allows_and_no_other() -> None:
    """The map is exact: an arrow that it lacks is a breach, one that nobody draws any more is a lie."""
    found = defaultdict(set)
    for first, second in arrows(2):
        found[first.removeprefix("aura_study.")].add(second.removeprefix("aura_study."))
    assert {room: found[room] for room in ARROWS} == ARROWS


def test_nothing_imports_in_a_circle() -> None:
    """Neither rooms nor modules, whatever is imported late or for its types alone."""
    for depth in (2, 9):
        graph = defaultdict(set)
        for first, second in arrows(depth):
            graph[first].add(second)
        assert list(TopologicalSorter(graph).static_order())


def test_experiments_do_not_know_each_other() -> None:
    """What two notebooks need lies in a room below."""
    assert sorted(set(arrows(3, "aura_study.experiments"))) == []


def test_figures_draw_and_do_not_compute() -> None:
    """A notebook's figures import the look and nothing else of the project, nor what computes."""
    for path in (*PACKAGE.glob("experiments/*/*figures.py"), *PACKAGE.glob("figures/*.py")):
        nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
        names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
        names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
        own = {name for name in names if name.startswith("aura_study") and not name.startswith("aura_study.figures")}
        assert not own, path
        assert not names & {"torch", "scipy", "sklearn", "numba"}, path


@pytest.mark.parametrize("notebook", notebook_names())
def test_a_notebooks_parts_carry_its_name(notebook: str) -> None:
    """Experiment, figures, claims and tests of a notebook are found under its name."""
    name = notebook.split("_", 1)[1]
    for part in ("parameters", "figures"):
        assert (PACKAGE / "experiments" / name / f"{part}.py").is_file()
    assert (TESTS / "experiments" / f"test_{name}.py").is_file()
    decides = any(claim.notebook == notebook for claim in CLAIMS.values())
    assert (PACKAGE / "claims" / "notebooks" / f"{name}.py").is_file() == decides


def test_no_folder_is_too_full_to_take_in() -> None:
    """A folder that grows past this wants a room of its own in it."""
    folders = {path.parent for path in (*PACKAGE.rglob("*.py"), *TESTS.rglob("*.py"))}
    root = PACKAGE.parent
    full = {folder.relative_to(root).as_posix(): len(list(folder.glob("*.py"))) for folder in folders}
    assert {name: count for name, count in full.items() if count > MOST_FILES} == {}


def test_tests_lie_in_folders_that_mirror_the_rooms() -> None:
    """One folder a room, one for what takes the whole house, and one for the helpers."""
    folders = {path.name for path in TESTS.iterdir() if path.is_dir() and any(path.glob("*.py"))}
    assert folders <= {*ARROWS, "whole", "tools"}
