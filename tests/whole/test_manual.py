"""The manual: it is built without a complaint, has a place for all that is public, and its code does what it says."""

import doctest
import re
import subprocess
import sys
from importlib import import_module
from inspect import isclass, isfunction
from pathlib import Path
from pkgutil import iter_modules

import pytest
from pages import blocks, snippets
from sphinx.util.inventory import InventoryFile

import aura_study

PACKAGE = Path(aura_study.__file__).parent
ROOT = PACKAGE.parent
MANUAL = PACKAGE / "manual"
ROOMS = ("losses", "theory", "balancing", "audit")
MODULES = [f"aura_study.{room}.{found.name}" for room in ROOMS for found in iter_modules([str(PACKAGE / room)])]
PAGES = [page.stem for page in sorted(MANUAL.glob("*.md")) if any(snippets(page, "python"))]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The manual, built by the command of the Makefile; a warning is an error."""
    built = tmp_path_factory.mktemp("build")
    (line,) = re.findall(r"-m (sphinx .* build/docs)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    command = [sys.executable, "-m", *line.replace("build/", f"{built}/").split()]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return built / "docs"


@pytest.mark.slow
def test_every_public_name_has_its_place(site: Path) -> None:
    """What a room's ``__all__`` names, and what the closed forms' modules define, can be looked up."""
    held = InventoryFile.loads((site / "objects.inv").read_bytes(), uri="").data
    names = [name.split(".") for kind, entries in held.items() if kind.startswith("py:") for name in entries]
    known = {(name[1], name[-1]) for name in names if len(name) > 2}
    wanted = {(room, name) for room in ROOMS for name in getattr(import_module(f"aura_study.{room}"), "__all__", ())}
    for module in (import_module(name) for name in MODULES if name.startswith("aura_study.theory.")):
        made = [value for value in vars(module).values() if isfunction(value) or isclass(value)]
        wanted |= {("theory", one.__name__) for one in made if one.__module__ == module.__name__}
    assert {(room, name) for room, name in wanted if not name.startswith("_")} <= known


@pytest.mark.slow
def test_the_manual_needs_no_network_and_its_formulas_no_script(site: Path) -> None:
    """Nothing is loaded from elsewhere, and each formula is MathML in the page."""
    for page in site.glob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert not re.findall(r'(?:src|<link[^>]* href)="(?:https?:)?//', text), page.name
        assert 'class="math notranslate' not in text
    assert (site / "theory.html").read_text(encoding="utf-8").count("<math") > 50


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_code_runs_as_it_stands_and_prints_what_the_page_says(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """In order, in one namespace, in an empty folder; a script is started as the page starts it."""
    if page == "balancing":
        pytest.importorskip("torchjd")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    names = {"__name__": "__main__"}
    for block in blocks(MANUAL / f"{page}.md"):
        if block.language == "sh" and block.code.startswith("torchrun"):
            run = [sys.executable, "-m", "torch.distributed.run", *block.code.split()[1:]]
            done = subprocess.run(run, capture_output=True, text=True, timeout=300)
            assert done.returncode == 0, done.stderr
            printed = done.stdout
        elif block.language == "python" and (script := re.match(r"# (\w+\.py)\n", block.code)):
            (tmp_path / script[1]).write_text(block.code)
            continue
        elif block.language == "python":
            exec(compile(block.code, f"{page}.md", "exec"), names)
            printed = capfd.readouterr().out
        else:
            continue
        assert printed.endswith(block.output or ""), printed


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_hold(name: str) -> None:
    """Doctests of the rooms that the manual documents."""
    assert doctest.testmod(import_module(name)).failed == 0


def test_there_are_examples_to_hold() -> None:
    """Of the closed forms, the audit and the balancers."""
    find = doctest.DocTestFinder(exclude_empty=True).find
    rooms = {name.split(".")[1] for name in MODULES if any(one.examples for one in find(import_module(name)))}
    assert {"theory", "audit", "balancing"} <= rooms
