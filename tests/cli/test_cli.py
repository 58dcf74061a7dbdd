"""The command line: what each command prints, and that every mistake of a user is one sentence and an exit code."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import toy_study
import typer

import aura_study
from aura_study import cli
from aura_study.cli import options
from aura_study.cli.options import EXAMPLES
from aura_study.study import registry, runner

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the toy notebooks and two runs of them."""
    folder = tmp_path_factory.mktemp("project")
    notebooks = toy_study.write_notebooks(folder / "notebooks")
    toy_study.run(folder / "results" / "first", "steps=2", notebooks=notebooks)
    toy_study.run(folder / "results" / "second", "rate=0.5", notebooks=notebooks, only="03")
    return folder


@pytest.fixture
def command(project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Calls the command line on the toy study; returns exit code, standard output and standard error."""
    monkeypatch.setattr(registry, "notebooks_folder", lambda: project / "notebooks")
    monkeypatch.setattr(runner, "notebooks_folder", lambda: project / "notebooks")
    monkeypatch.setattr(registry, "parameter_classes", lambda: toy_study.REGISTRY)
    monkeypatch.setenv("COLUMNS", "200")

    def call(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["aura-study", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return call


def test_help_comes_without_loading_the_study() -> None:
    """``aura-study --help`` and ``python -m aura_study --help`` agree, name every command and import no torch."""
    code = (
        "import sys, aura_study.cli as c; sys.argv=['aura-study', '--help']\ntry: c.main()\nexcept SystemExit: pass\n"
    )
    code += "sys.exit('torch' in sys.modules or 'matplotlib' in sys.modules or 'papermill' in sys.modules)"
    first = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert first.returncode == 0, first.stderr
    second = subprocess.run([sys.executable, "-m", "aura_study", "--help"], capture_output=True, text=True)
    assert subprocess.run([sys.executable, "-m", "aura_study", "--version"], capture_output=True, text=True).stdout == (
        f"aura-study {aura_study.__version__}\n"
    )
    for name in ("run", "params", "claims", "report", "compare", "audit", "sweep", "verify", "data"):
        assert f"\n  {name} " in first.stdout
        assert f"\n  {name} " in second.stdout


def test_run_prints_ledger_and_report_and_says_when_nothing_changed(command: Command, project: Path) -> None:
    """The last line names the report; a run with nothing to do says so."""
    out = str(project / "results" / "first")
    code, printed, _ = command("run", "--profile", "smoke", "--out", out, "-p", "steps=2")
    assert code == 0
    assert "Nothing had changed" in printed
    assert len(printed.splitlines()) <= 12
    assert "exact" not in printed  # no row of a claim
    assert printed.rstrip().endswith(f"Report: {out}/report/index.html")


def test_run_of_named_notebooks_prints_their_claims_alone(command: Command, project: Path) -> None:
    """The row of what was asked for, and where its figures are; not the claims of the others."""
    out = str(project / "results" / "first")
    code, printed, _ = command("run", "3", "--profile", "smoke", "--out", out, "-p", "steps=2")
    assert code == 0
    assert "P1" in printed
    assert "F1" not in printed
    assert f"Figures: {out}/figures" in printed


@pytest.mark.slow
def test_a_parameter_that_some_notebooks_lack_is_said(command: Command, tmp_path: Path) -> None:
    """It reaches those that have it; of the others one line says that it changes nothing."""
    code, _, err = command("run", "--profile", "smoke", "--out", str(tmp_path / "run"), "-p", "seeds=0:3")
    assert code == 0
    assert "03_phantom_gradient: no parameter seeds, so it changes nothing there" in err
    held = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert held["notebooks"]["01_focal_loss"]["parameters"]["seeds"] == [0, 1, 2]


@pytest.mark.slow
def test_a_failed_notebook_gives_one_error_and_exit_code_1(command: Command, tmp_path: Path) -> None:
    """The error comes last, once, without a traceback."""
    code, _, words = command("run", "03", "--profile", "smoke", "--out", str(tmp_path / "x"), "-p", "mode=raise")
    assert code == 1
    assert words.count("error: notebook 03_phantom_gradient stopped in cell 'trouble'") == 1
    assert "Traceback" not in words


@pytest.mark.parametrize(("typed", "offered"), [("run 0", "03_phantom_gradient"), ("compare re", "reference")])
def test_the_shell_completes_notebooks_and_runs(typed: str, offered: str) -> None:
    """What typer's completion script asks for is answered with the names that are there."""
    asked = {"_AURA_STUDY_COMPLETE": "complete_bash", "COMP_WORDS": f"aura-study {typed}", "COMP_CWORD": "2"}
    done = subprocess.run(
        [sys.executable, "-m", "aura_study"], capture_output=True, text=True, env={**os.environ, **asked}
    )
    assert offered in done.stdout.split()


@pytest.mark.parametrize("typed", ["/tmp/ab", "../", "**", "*"])
def test_what_is_typed_is_no_pattern(typed: str) -> None:
    """A path, or a star, is the beginning of no run's and no notebook's name."""
    assert options._runs(typed) == options._notebooks(typed) == []


def test_examples_of_the_help_are_calls_that_parse() -> None:
    """Each example's command and options exist."""
    app: Any = typer.main.get_command(cli.app)
    for line in (line for lines in EXAMPLES.values() for line in lines):
        name, *words = shlex.split(line)[1:]
        command = app.commands[name]
        if hasattr(command, "commands"):
            command, words = command.commands[words[0]], words[1:]
        assert command.make_context(name, words)


def test_params_lists_name_range_profiles_and_meaning(command: Command) -> None:
    """Everything needed to choose a value is in one table."""
    code, printed, _ = command("params", "03")
    assert code == 0
    for word in (
        "steps",
        "integer, at least 1, at most 10000",
        "steps of 10 ms",
        "smoke",
        "quick",
        "full",
        "one of fine",
    ):
        assert word in printed


def test_claims_prints_the_ledger_as_table_and_as_json(command: Command, project: Path) -> None:
    """``--json`` prints claims.json itself."""
    run = str(project / "results" / "first")
    assert "With a loss of 0" in command("claims", "--run", run)[1] == command("claims", run)[1]
    code, printed, _ = command("claims", "--run", run, "--json")
    assert code == 0
    assert json.loads(printed) == json.loads((project / "results" / "first" / "claims.json").read_text())


def test_compare_shows_what_differs_on_a_screen(
    command: Command, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What both have and what differs, within 80 columns and 24 lines; as JSON; as a page with pictures."""
    runs = [str(project / "results" / name) for name in ("first", "second")]
    monkeypatch.setenv("COLUMNS", "80")
    code, printed, _ = command("compare", *runs, "--html", str(tmp_path / "page"))
    assert code == 0
    for word in ("first has 1 more", "rate (03)", "0.5", "Figures that differ: phantom_gradient"):
        assert word in printed
    assert "flag" not in printed
    assert printed.rstrip().endswith(f"Page: {tmp_path}/page/index.html")
    lines = printed.splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines[:-1])) <= 80
    assert (tmp_path / "page" / "compared" / "phantom_gradient-1.svg").is_file()
    code, printed, told = command("compare", *runs, "--json", "--html", str(tmp_path / "beside"))
    assert [one["name"] for one in json.loads(printed)["parameters"]] == ["rate"]
    assert told.strip() == f"Page: {tmp_path}/beside/index.html"
    assert (tmp_path / "beside" / "index.html").is_file()
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine.txt").write_text("")
    code, _, err = command("compare", *runs, "--html", str(tmp_path / "taken"))
    assert (code, "holds something else" in err) == (1, True)


def test_thin_says_when_there_is_nothing_to_thin(command: Command, project: Path) -> None:
    """The toy run has no trajectory."""
    code, printed, _ = command("thin", str(project / "results" / "first"))
    assert code == 0
    assert "Nothing was thinned" in printed


def test_a_training_is_refused_in_a_runs_folder(command: Command, tmp_path: Path) -> None:
    """Its checkpoints would lie among the run's files."""
    pytest.importorskip("accelerate")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "claims.json").write_text("{}")
    code, _, err = command("train", "--out", str(tmp_path / "run"), "-p", "steps=1", "--cpu")
    assert (code, "holds a run of the study; choose another name" in err) == (1, True)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["claims.json"]


def test_report_is_rebuilt_from_results_alone(command: Command, project: Path) -> None:
    """With the report deleted, ``aura-study report`` makes the same pages again without running anything."""
    run = project / "results" / "first"
    pages = {path.name: path.read_bytes() for path in (run / "report").rglob("*.html")}
    for path in (run / "report").rglob("*.html"):
        path.unlink()
    code, printed, _ = command("report", "--run", str(run))
    assert code == 0
    assert "report/index.html" in printed
    assert {path.name: path.read_bytes() for path in (run / "report").rglob("*.html")} == pages


@pytest.mark.parametrize(("target", "code"), [("UnmaskedKendallLoss", 1), ("MaskedKendallLoss", 0), ("NoSuchLoss", 2)])
def test_audit_keeps_its_exit_codes_and_options(command: Command, target: str, code: int) -> None:
    """The audit is mounted whole: its options reach it and its exit code comes back."""
    assert command("audit", f"aura_study.losses:{target}", "--tasks", "a,b", "--steps", "20")[0] == code


def test_data_status_tells_each_file(command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty data folder is told file by file; a run on real data is refused before it starts, with what to do."""
    monkeypatch.setenv("AURA_STUDY_DATA", str(tmp_path))
    code, printed, _ = command("data", "status")
    assert code == 0
    assert printed.count("  missing") == printed.count("bytes")
    code, _, err = command("run", "--data", "aura", "--out", str(tmp_path / "run"))
    assert code == 1
    assert "sst2/train.tsv (missing)" in err
    assert "aura-study data fetch" in err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["run", "--profile", "smoke", "-p", "stepz=1"],
            "unknown parameter 'stepz' of the chosen notebooks; did you mean",
        ),
        (["run", "99"], "unknown notebook '99'"),
        (["run", "-f", "nowhere.yml"], "cannot read parameters from nowhere.yml"),
        (["run", "--out", ".."], "'..' is not a run name"),
        (["params", "nothing"], "unknown notebook 'nothing'"),
        (["claims", "--run", "./nowhere"], "run 'nowhere' has no claims.json"),
        (["report", "--run", "./nowhere"], "run 'nowhere' has no claims.json"),
        (["claims", "./one", "--run", "./other"], "one run at a time: got './one' and --run './other'"),
        (["sweep", "dynamics", "--workers", "2", "--cluster", "local:2"], "--workers counts processes of this machine"),
        (["compare", "./nowhere", "./nowhere"], "run 'nowhere' has no claims.json"),
    ],
)
def test_a_mistake_is_one_sentence(command: Command, words: list[str], sentence: str) -> None:
    """Exit code 1, the sentence on standard error, nothing else there, and no folder is made."""
    code, _, err = command(*words)
    assert code == 1
    assert err.startswith("error: ")
    assert sentence in err
    assert not Path("nowhere").exists()


@pytest.mark.parametrize(
    "words", [["run", "--profile", "huge"], ["run", "--data", "other"], ["nothing"], ["run", "--x"]]
)
def test_a_usage_error_names_the_valid_choices(command: Command, words: list[str]) -> None:
    """Options of the command line itself are refused by the parser, with exit code 2."""
    code, _, err = command(*words)
    assert code == 2
    assert "Usage: aura-study" in err
