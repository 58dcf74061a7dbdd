"""The READMEs' numbers are those of the reference run, and what pages tell a reader to type works."""

import re
import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pages
import pytest
import torch
import typer.main

from aura_study.claims import CLAIMS
from aura_study.claims.questions import QUESTIONS
from aura_study.cli import app
from aura_study.errors import StudyError
from aura_study.experiments.phase_diagram.maps import growth
from aura_study.losses import UnmaskedKendallLoss
from aura_study.paths import RunFolders, project_root
from aura_study.report import readme
from aura_study.study.registry import parameter_classes
from aura_study.study.request import Request, parse_assignments

ROOT = project_root()
README = "README.md"
PACKAGE = Path("aura_study")
ROOMS = [(PACKAGE / room / "README.md").as_posix() for room in ("audit", "data", "diagnosis", "sweep")]
MANUAL = [page.relative_to(ROOT).as_posix() for page in sorted((ROOT / PACKAGE / "manual").glob("*.md"))]


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def fill(page: str, text: str) -> str:
    return readme.fill(page, text, readme.run_of(page), ROOT)


def snippets(page: str, language: str) -> list[str]:
    return pages.snippets(ROOT / page, language)


@pytest.mark.parametrize("page", readme.PAGES)
def test_a_page_is_filled_from_the_reference_run(page: str) -> None:
    """A block that differs from what the run says is stale: run `python -m aura_study.report.readme`."""
    assert fill(page, text_of(page)) == text_of(page)


@pytest.mark.parametrize("page", readme.PAGES)
def test_a_stale_number_is_noticed(page: str) -> None:
    """Filling repairs every block that was changed by hand."""
    for name in readme.PAGES[page]:
        stale = re.sub(rf"(?<=<!-- {name} -->\n).*?(?=<!-- /{name} -->)", "42\n", text_of(page), flags=re.DOTALL)
        assert stale != text_of(page)
        assert fill(page, stale) == text_of(page)


def test_missing_blocks_and_runs_are_named(tmp_path: Any) -> None:
    """A README without a block, and a run that is not there, are one clear error each."""
    with pytest.raises(StudyError, match=r"README\.md has no block 'headline'"):
        fill(README, "no blocks")
    with pytest.raises(StudyError, match="has no figure"):
        readme.fill(README, text_of(README), RunFolders.of(f"{tmp_path}/nothing"), ROOT)


def test_the_rule_of_thumb_has_its_number_from_the_closed_form() -> None:
    """What a phantom number of a tenth does to the weight under SGD."""
    told = re.search(r"At\s+([\d.]+) it is (\d+) %", text_of(README))
    assert told
    assert round(100 * (growth([float(told[1])], [400])["sgd"].item() - 1)) == int(told[2])


def test_rows_of_an_older_rule_are_named() -> None:
    """Of a run that was not made again since a rule changed."""
    folders = RunFolders.of(readme.REPETITION)
    rows = readme.ledger.read_claims(folders).rows
    changed = [key for key, row in rows.items() if row.rule != CLAIMS[key].rule_text()]
    told = readme.repeated(folders, ROOT).splitlines()[0]
    assert ("rules that have changed since" in told) == bool(changed)
    assert all(key in told.split("since: ")[-1] for key in changed)


def test_each_question_is_answered_by_a_claim_of_its_own() -> None:
    """What stands for a question in the README is one of that question's claims."""
    assert readme.TOLD.keys() == QUESTIONS.keys()
    for name, claim in readme.TOLD.items():
        assert claim in QUESTIONS[name].claims


def test_the_readme_names_every_notebook_and_stays_short() -> None:
    """The reading order is the notebooks' folder; a reader is through in ten minutes."""
    text = text_of(README)
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        assert f"`{path.stem}`" in text
    assert len(text.splitlines()) <= 190
    assert len(text.split()) <= 1900


@pytest.mark.parametrize("page", [*readme.PAGES, *ROOMS])
def test_links_lead_somewhere(page: str) -> None:
    """Every relative link of a page is a file or a folder of the project."""
    folder = (ROOT / page).parent
    for target in re.findall(r"\]\(([^)#]+)", text_of(page)):
        assert "://" in target or (folder / target).exists(), target


def readers_names() -> dict[str, Any]:
    """What the snippets take for granted: a model, the losses of a batch without *normals*, somebody's weighting."""

    class MyWeighting(UnmaskedKendallLoss):
        def __init__(self, names: tuple[str, ...] = ("depth", "normals")) -> None:
            super().__init__(names)

    model = torch.nn.Linear(2, 1)
    loss = model(torch.ones(1, 2)).square().mean()
    return {
        "torch": torch,
        "model": model,
        "losses": {"depth": loss},
        "loss": loss,
        "depth_loss": loss,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.1),
        "trainer": SimpleNamespace(callback_handler=SimpleNamespace(callbacks=[])),
        "MyWeighting": MyWeighting,
    }


@pytest.mark.parametrize("side", ["-", "+"])
def test_both_sides_of_the_diff_train(side: str) -> None:
    """A plain sum before, Kendall's masked weighting after: each side runs a step, and only the second has a sigma."""
    (diff,) = snippets(README, "diff")
    names = readers_names()
    lines = [line[1:] for line in diff.splitlines() if line[0] in (" ", side)]
    exec("\n".join(lines), names)
    assert names["total"].isfinite()
    assert all(parameter.grad is not None for parameter in names["model"].parameters())
    if side == "+":
        assert names["weigh"].theta.grad.tolist()[1] == 0


@pytest.mark.slow
@pytest.mark.parametrize("page", [*readme.PAGES, "aura_study/audit/README.md"])
def test_python_snippets_run_in_order(page: str) -> None:
    """Each page's snippets, one after the other in one namespace; a reader's optimiser holds the weighting."""
    names = readers_names()
    for snippet in snippets(page, "python"):
        if "torchjd" in snippet:
            pytest.importorskip("torchjd")
        exec(snippet, names)
        if "weigh" in names:
            names["optimizer"] = torch.optim.SGD([*names["model"].parameters(), *names["weigh"].parameters()], lr=0.1)
    if "weigh" in names:
        assert names["weigh"](names["losses"]).isfinite()


def commands() -> list[list[str]]:
    shown = [code for page in (*readme.PAGES, *MANUAL) for code in snippets(page, "sh")]
    lines = [line for code in shown for line in code.splitlines() if not line.startswith("torchrun")]
    return [shlex.split(line, comments=True) for line in lines]


@pytest.mark.parametrize("words", commands(), ids=shlex.join)
def test_commands_are_understood(words: list[str]) -> None:
    """Targets of make exist; options and parameters of `aura-study` pass its checks; papermill's file is there."""
    program, *arguments = words
    if program == "make":
        assert re.search(rf"^{arguments[0]}:", text_of("Makefile"), re.MULTILINE)
    elif program.endswith("papermill"):
        assert (ROOT / arguments[0]).is_file()
        pairs = zip(arguments[2::3], arguments[3::3], arguments[4::3], strict=True)
        given = {name: value for option, name, value in pairs if option == "-p"}
        parameter_classes()[arguments[0][len("notebooks/") : -len(".ipynb")]].from_namespace(given)
    else:
        assert program.endswith("aura-study")
        command = typer.main.get_command(app).commands[arguments[0]]  # type: ignore[attr-defined]
        context = command.make_context(arguments[0], arguments[1:])
        if arguments[0] == "run":
            given = context.params
            overrides = parse_assignments(given.pop("parameter"))
            asked = {name: given[name] for name in ("notebooks", "profile", "data", "out")}
            assert Request.of(parameter_classes(), **asked, overrides=overrides).parameters
