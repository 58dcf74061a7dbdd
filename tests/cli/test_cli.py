"""The command line: what each command prints, and that every mistake of a user is one sentence and an exit code."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import toy_study

from aura_study import cli
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
    for name in ("run", "params", "claims", "report", "compare", "audit", "sweep", "verify", "data"):
        assert f"\n  {name} " in first.stdout
        assert f"\n  {name} " in second.stdout


def test_run_prints_ledger_and_report_and_says_when_nothing_changed(command: Command, project: Path) -> None:
    """The last line names the report; a run with nothing to do says so."""
    out = str(project / "results" / "first")
    code, printed, _ = command("run", "--profile", "smoke", "--out", out, "-p", "steps=2")
    assert code == 0
    assert "Nothing had changed" in printed
    assert "confirmed" in printed
    assert printed.rstrip().endswith(f"Report: {out}/report/index.html")


def test_a_failed_notebook_gives_one_error_and_exit_code_1(command: Command, tmp_path: Path) -> None:
    """The error comes last, once, without a traceback."""
    code, _, words = command("run", "03", "--profile", "smoke", "--out", str(tmp_path / "x"), "-p", "mode=raise")
    assert code == 1
    assert words.count("error: notebook 03_phantom_gradient stopped in cell 'trouble'") == 1
    assert "Traceback" not in words


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
    assert "With a loss of 0" in command("claims", "--run", run)[1]
    code, printed, _ = command("claims", "--run", run, "--json")
    assert code == 0
    assert json.loads(printed) == json.loads((project / "results" / "first" / "claims.json").read_text())


def test_compare_shows_what_differs(command: Command, project: Path) -> None:
    """Parameters that differ, claims of either run, and figures that differ stand side by side."""
    code, printed, _ = command("compare", str(project / "results" / "first"), str(project / "results" / "second"))
    assert code == 0
    for word in (
        "03_phantom_gradient: rate",
        "0.01",
        "0.5",
        "not decided",
        "same verdict",
        "figures/phantom_gradient.svg",
    ):
        assert word in printed
    assert "03_phantom_gradient: flag" not in printed


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
