"""Safe by default, and deterministic: no pickle, no network, no secrets; a notebook says the same however it is run."""

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from aura_study.experiments.aura_training.parameters import AuraTrainingParameters
from aura_study.paths import notebooks_folder, project_root
from aura_study.study.processes import environment

NOTEBOOK = "04_aura_training"
SMALL = {"before": 6, "absent_steps": 12, "after": 6, "rows": 64, "dev_rows": 16, "workers": 1}
SECRET = "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"
FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "shelve", "marshal", "cloudpickle", "tarfile", "zipfile"}
ARCHIVES = {("aura_study/data/wheels.py", "imports zipfile"), ("aura_study/report/archive.py", "imports zipfile")}
"""One reads a wheel's files by the names that the registry pins, and keeps them if their digests are right; the other
writes. Nothing is unpacked.
"""
FORBIDDEN_CALLS = {
    "extract",
    "eval",
    "exec",
    "read_pickle",
    "to_pickle",
    "unpack_archive",
    "extractall",
    "unsafe_load",
    "full_load",
}
REFUSE = """
import os, socket
def _refuse(name, host):
    if str(host) not in ("127.0.0.1", "localhost", "::1", "0.0.0.0", "", "None"):
        with open(os.environ["REFUSED"], "a") as log: log.write(f"{name} {host}\\n")
        raise OSError(f"network refused: {name} {host}")
_connect, _connect_ex, _lookup = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo
def connect(self, address):
    if self.family != socket.AF_UNIX: _refuse("connect", address[0])
    return _connect(self, address)
def connect_ex(self, address):
    if self.family != socket.AF_UNIX: _refuse("connect", address[0])
    return _connect_ex(self, address)
def getaddrinfo(host, *rest, **named):
    _refuse("look up", host)
    return _lookup(host, *rest, **named)
socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo = connect, connect_ex, getaddrinfo
"""


def sources() -> Iterator[tuple[str, str]]:
    """Name and code of every module and every notebook's code cells."""
    root = project_root()
    for path in sorted([*(root / "aura_study").rglob("*.py"), *(root / "benchmarks").glob("*.py")]):
        yield path.relative_to(root).as_posix(), path.read_text()
    for path in sorted(notebooks_folder().glob("*.ipynb")):
        cells = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
        yield path.name, "\n".join(cells)


def faults(code: str) -> Iterator[str]:
    """What in ``code`` could run what a file holds: readers of pickle, remote code, unsafe YAML, archives, shells."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
            yield from (f"imports {name}" for name in names if name.split(".")[0] in FORBIDDEN_MODULES)
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        options = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        method = called.rsplit(".", 1)[-1]
        if method in FORBIDDEN_CALLS and (method not in ("eval", "exec") or method == called):  # model.eval() is fine
            yield f"calls {called}"
        if called == "torch.load" and options.get("weights_only") != "True":
            yield "torch.load without weights_only=True"
        if called in ("joblib.load", "pickle.load", "pickle.loads", "yaml.load"):
            yield f"calls {called}"
        if any(options.get(name, "False") != "False" for name in ("trust_remote_code", "allow_pickle")):
            yield f"{called} with {options}"
        if options.get("shell", "False") != "False":
            yield f"{called} through a shell"
        if called.startswith("AutoModel") and method == "from_pretrained" and options.get("use_safetensors") != "True":
            yield f"{called} without use_safetensors=True"
        if called in ("torch.save", "joblib.dump"):
            yield f"calls {called}"


def test_nothing_reads_pickle_or_runs_what_a_file_holds() -> None:
    """No module and no notebook can be made to execute code by a data file, a checkpoint or an archive."""
    found = {name: [fault for fault in faults(code) if (name, fault) not in ARCHIVES] for name, code in sources()}
    assert len(found) > 50
    assert {name: told for name, told in found.items() if told} == {}


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from joblib.externals import cloudpickle",
        "torch.load(p)",
        "torch.load(p, weights_only=False)",
        "pd.read_pickle(p)",
        "np.load(p, allow_pickle=True)",
        "AutoModel.from_pretrained(n, use_safetensors=True, trust_remote_code=True)",
        "AutoModel.from_pretrained(n)",
        "yaml.load(t)",
        "subprocess.run(c, shell=True)",
        "eval(t)",
    ],
)
def test_the_scan_finds_what_it_looks_for(code: str) -> None:
    """Each of the faults is a fault to it."""
    assert list(faults(code))


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A real notebook by the command line, one thread, sockets beyond this machine refused, secrets set."""
    folder = tmp_path_factory.mktemp("safe")
    (folder / "site").mkdir()
    (folder / "site" / "sitecustomize.py").write_text(REFUSE)
    environment = {**os.environ, "PYTHONPATH": str(folder / "site"), "REFUSED": str(folder / "refused.log")}
    environment |= {"HF_TOKEN": SECRET, "AWS_SECRET_ACCESS_KEY": SECRET, "OMP_NUM_THREADS": "1"}
    done = command(folder / "run", environment)
    log = folder / "refused.log"
    return folder / "run", (log.read_text() if log.exists() else "") + done.stderr[-2000:] * bool(done.returncode)


def command(out: Path, environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    words = ["-m", "aura_study", "run", NOTEBOOK, "--profile", "smoke", "--out", str(out)]
    words += [word for name, value in SMALL.items() for word in ("-p", f"{name}={value}")]
    return subprocess.run([sys.executable, *words], env=environment, capture_output=True, text=True, timeout=300)


@pytest.mark.slow
def test_no_network_is_used_unless_asked(refused: tuple[Path, str]) -> None:
    """Trained, drawn and reported without one look-up or connection beyond this machine."""
    out, told = refused
    assert told == ""
    assert json.loads((out / "manifest.json").read_text())["unfinished"] == []


def test_the_refusal_works(tmp_path: Path) -> None:
    """The same guard stops a program that does look something up."""
    (tmp_path / "sitecustomize.py").write_text(REFUSE)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "REFUSED": str(tmp_path / "log")}
    code = "import urllib.request; urllib.request.urlopen('http://example.org', timeout=5)"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert "network refused" in done.stderr
    assert (tmp_path / "log").read_text() == "look up example.org\n"


@pytest.mark.slow
def test_no_secret_and_no_absolute_path_is_in_any_file_of_a_run(refused: tuple[Path, str]) -> None:
    """Manifest, ledger, notebooks, tables, figures, trajectories, report: none says who, where, or with what key."""
    out, _ = refused
    words = [SECRET, str(out.parent), str(project_root()), str(Path.home()) + "/", sys.prefix]
    files = [path for path in out.rglob("*") if path.is_file() and "static" not in path.parts]
    assert len(files) > 15
    told = [(path.name, word) for path in files for word in words if word.encode() in path.read_bytes()]
    assert told == []


def contents(run: Path) -> dict[str, bytes]:
    """Trajectories, tables and figures of a run."""
    wanted = [path for name in ("trajectories", "tables", "figures") for path in (run / name).rglob("*")]
    return {path.relative_to(run).as_posix(): path.read_bytes() for path in wanted if path.is_file()}


@pytest.mark.slow
def test_by_hand_and_with_two_threads_a_notebook_says_the_same(
    refused: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run cell by cell, as in Jupyter, on two threads: trajectories, tables and figures are equal byte for byte."""
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    notebook = nbformat.read(notebooks_folder() / f"{NOTEBOOK}.ipynb", as_version=4)
    values = AuraTrainingParameters.for_profile("smoke", **SMALL, out=str(tmp_path / "run")).model_dump()
    cell = next(cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", []))
    cell.source = "\n".join(f"{name} = {value!r}" for name, value in values.items())
    NotebookClient(notebook, kernel_name="python3", resources={"metadata": {"path": str(notebooks_folder())}}).execute()
    first, second = contents(refused[0]), contents(tmp_path / "run")
    assert {"parquet", "svg", "png", "csv"} <= {name.rsplit(".", 1)[-1] for name in first}
    assert [name for name in first.keys() | second.keys() if first.get(name) != second.get(name)] == []
