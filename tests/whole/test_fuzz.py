"""Bad input of every kind: one clear error or a right result, never a traceback, never a silently wrong result."""

import csv
import hashlib
import io
import json
import random
import shutil
import socketserver
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy_study
import toy_sweep
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aura_study import cli, study
from aura_study.data import encoders, sources
from aura_study.data.readers import class_labels, multi_hot, read_csv, read_tsv, texts
from aura_study.data.sources import DataError, DataFile, MissingDataError
from aura_study.errors import StudyError
from aura_study.paths import DATA_VARIABLE, RunFolders
from aura_study.runs.ledger import read_claims
from aura_study.runs.manifest import read_manifest
from aura_study.study import registry
from aura_study.study import verify as verification
from aura_study.study.request import Request, read_parameter_file
from aura_study.sweep import runner as sweep_runner
from aura_study.sweep.grid import Grid

Command = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def project(toy_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy notebooks and a finished run of them."""
    return shutil.copytree(toy_project, tmp_path_factory.mktemp("fuzz") / "project")


@pytest.fixture
def command(project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """The command line on the toy study, nothing long and no download ever started; exit code and standard error."""

    def refuse(*arguments: object, **options: object) -> None:
        raise StudyError("accepted")

    for module in (registry, verification):
        monkeypatch.setattr(module, "notebooks_folder", lambda: project / "notebooks")
    monkeypatch.setattr(registry, "parameter_classes", lambda: toy_study.REGISTRY)
    monkeypatch.setattr(study, "run_study", refuse)
    monkeypatch.setattr(sweep_runner, "run_sweep", refuse)
    monkeypatch.setattr(sources, "fetch_all", refuse)
    monkeypatch.setattr(encoders, "fetch_encoder", refuse)

    def call(*words: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["aura-study", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return int(ended.value.code or 0), capsys.readouterr().err

    return call


COMMANDS = """
    run params claims report compare sweep verify data status fetch training dynamics 01 03 --profile smoke --data aura
    --out -p steps=3 rate=-1 -f --run --budget 0 --json --cluster local:2 --workers -1 -- ~nobody/x ./no/run
"""
WORDS = st.sampled_from(COMMANDS.split()) | st.text(st.characters(exclude_characters="\0"), max_size=12)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(words=st.lists(WORDS, min_size=1, max_size=6))
def test_any_command_line_ends_with_an_exit_code_and_no_traceback(command: Command, words: list[str]) -> None:
    """Whatever is typed, no exception leaves the program, and a failure says something."""
    if words[0] not in ("audit", "report"):  # these two go on to run what they are told, which is not the question here
        code, told = command(*words)
        assert code in (0, 1, 2)
        assert code == 0 or told.strip()
        assert "Traceback" not in told


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(["steps", "rate", "mode", "flag", "seeds", "03_phantom_gradient", "policy", "loss", "presence"])


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(content=st.dictionaries(NAMES, PLAIN, max_size=3))
def test_any_parameter_file_is_valid_or_refused(project: Path, tmp_path: Path, content: dict[str, Any]) -> None:
    """Values of any type and depth, for a study and for a sweep; what is accepted lies in range."""
    path = tmp_path / "p.yml"
    path.write_text(yaml.safe_dump(content))
    try:
        asked = Request.of(
            toy_study.REGISTRY, overrides=read_parameter_file(path), folder=project / "notebooks", out="x"
        )
        assert 1 <= asked.parameters["03_phantom_gradient"].model_dump()["steps"] <= 10_000
    except StudyError:
        pass
    try:
        grid = Grid.of("dynamics", given=read_parameter_file(path))
        assert all(0 < node.job.model_dump()["point"]["presence"] <= 1 for node in grid.nodes)
    except StudyError:
        pass


@pytest.mark.parametrize(
    "content",
    [
        b"a: " + b"[" * 600,
        b"a: " + b"1" * 5000,
        b"a: 2020-99-99",
        b"a: !!timestamp x",
        b"a: !!int x",
        b"a: 0x_",
        b"a: &x [1]\nb: [*x, *x]",
        b"a: &a [*a]",
        b"a: \xed\xa0\x80",
        b"a\x00b: 1",
        b"\xff\xfea: 1",
    ],
)
def test_yaml_that_breaks_its_parser_is_one_error(tmp_path: Path, content: bytes) -> None:
    """Too deep, too long, impossible dates, anchors, wrong encodings: the file is named."""
    path = tmp_path / "p.yml"
    path.write_bytes(content)
    with pytest.raises(StudyError, match=r"cannot read parameters from .*p\.yml"):
        read_parameter_file(path)


def leaves(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield place
    if isinstance(value, dict | list):
        for key, entry in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(entry, (*place, key))


def put(value: Any, place: tuple[Any, ...], entry: Any) -> Any:
    if not place:
        return entry
    inner = value
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = entry
    return value


@pytest.mark.slow
@pytest.mark.parametrize("name", ["claims.json", "manifest.json", "evidence/03_phantom_gradient.json"])
def test_a_damaged_record_is_named_or_harmless(command: Command, project: Path, tmp_path: Path, name: str) -> None:
    """Bytes cut, changed or wrong in encoding, values of another type, entries gone: reading commands never crash."""
    run = shutil.copytree(project / "run", tmp_path / "run")
    path = run / name
    whole = path.read_bytes()
    chance = random.Random(name)
    damaged = [
        whole[: len(whole) // 2],
        b"",
        b"null",
        b"[]",
        b"\xff\xfe" + whole,
        b"[" * 5000,
        whole.replace(b"0", b"NaN"),
    ]
    for place in chance.sample(list(leaves(json.loads(whole))), 12):
        for entry in (None, -1, "../../etc/passwd", [], {"x": 1}, 1e999):
            damaged.append(json.dumps(put(json.loads(whole), place, entry)).encode())
    damaged += [bytes(b ^ (chance.random() < 0.01) * 255 for b in whole) for _ in range(5)]
    for content in damaged:
        path.write_bytes(content)
        for words in (
            ["claims", "--run", str(run)],
            ["compare", str(run), str(project / "run")],
            ["verify", str(run), "--budget", "0"],
        ):
            code, told = command(*words)
            assert code in (0, 1, 2)
            if told:
                assert told.startswith(("error: ", "note: "))
                assert name.rsplit("/", 1)[-1] in told
    path.write_bytes(whole)
    assert read_manifest(RunFolders.of(str(run))) is not None
    assert len(read_claims(RunFolders.of(str(run))).claims) == 2


def test_a_record_cannot_name_a_file_outside_its_run(project: Path, tmp_path: Path, command: Command) -> None:
    """Names that become paths are names: no separators, no dots that lead up."""
    run = shutil.copytree(project / "run", tmp_path / "run")
    path = run / "claims.json"
    whole = json.loads(path.read_text())
    for field in ("claim", "notebook", "figure"):
        path.write_text(json.dumps(put(json.loads(json.dumps(whole)), ("claims", 0, field), "../../secret")))
        code, told = command("claims", "--run", str(run))
        assert code == 1
        assert f"claims.0.{field}" in told
        assert "'../../secret'" in told


LABELS = st.sampled_from(["0", "1", "0,3", "7", "-1", "nan", "", "1.0"]) | st.text(max_size=3)
ROWS = st.lists(st.tuples(st.text(max_size=12), LABELS), min_size=1, max_size=6)
LINES = st.lists(st.sampled_from([b"a\t1\tx\n", b"b\t0,6\ty\n", b"\t1\tz\n", b"c\t9\tw\n", b"d\n"])).map(b"".join)


def named(error: DataError, path: Path) -> None:
    """A refusal must say which file."""
    assert path.name in str(error)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(rows=ROWS, damage=st.sampled_from(["none", "truncate", "latin-1", "header"]))
def test_any_table_is_read_right_or_refused_with_its_name(
    tmp_path: Path, rows: list[tuple[str, str]], damage: str
) -> None:
    """What is accepted is what was written, row by row; anything else is a DataError that names the file."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(["text", "label"] if damage != "header" else ["words", "label"])
    writer.writerows(rows)
    content = buffer.getvalue().encode("latin-1" if damage == "latin-1" else "utf-8", errors="replace")
    path = tmp_path / "rows.csv"
    path.write_bytes(content[: len(content) - 2 if damage == "truncate" else None])
    try:
        frame = read_csv(path, ("text", "label"))
        found, labels = texts(frame, path), class_labels(frame, path)
    except DataError as error:
        return named(error, path)
    assert damage != "header"
    assert len(found) == len(labels) <= len(rows)
    assert set(labels.tolist()) <= {0, 1}
    if damage == "none":
        expected = [(text, label) for text, label in rows if text or label]
        normal = [text.replace("\r\n", "\n").replace("\r", "\n").strip() for text, _ in expected]
        assert [text.replace("\r\n", "\n").replace("\r", "\n") for text in found] == normal
        assert labels.tolist() == [int(label) for _, label in expected]


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(content=st.binary(max_size=40) | LINES)
def test_any_bytes_as_a_tsv_are_read_or_refused(tmp_path: Path, content: bytes) -> None:
    """Multi-hot labels come out only for rows whose every index is one of the classes."""
    path = tmp_path / "rows.tsv"
    path.write_bytes(content)
    try:
        frame = read_tsv(path, ("text", "labels", "id"))
        found, labels = texts(frame, path), multi_hot(frame, path, "labels", 7)
    except DataError as error:
        return named(error, path)
    assert labels.shape == (len(found), 7)
    assert np.isin(labels, (0, 1)).all()
    assert (labels.sum(1) >= 1).all()


@pytest.mark.parametrize("manner", ["half", "hang", "silent"])
def test_a_server_that_misbehaves_leaves_one_error_and_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, manner: str
) -> None:
    """It sends half of what it promised and closes, or stops in the middle, or never answers at all."""
    content = b"a fine film\t1\n" * 200
    stop = threading.Event()

    class Server(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(4096)
            if manner != "silent":
                head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(content)}\r\n\r\n".encode()
                self.request.sendall(head + content[:1000])
            if manner != "half":
                stop.wait(10)

    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(sources, "SILENCE_SECONDS", 0.3)
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Server) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        address = f"http://127.0.0.1:{server.server_address[1]}/dev.tsv"
        digest = hashlib.sha256(content).hexdigest()
        monkeypatch.setattr(sources, "REGISTRY", {"sst2/dev.tsv": DataFile("sst2/dev.tsv", address, digest, "MIT")})
        with pytest.raises(MissingDataError, match=r"sst2/dev.tsv could not be downloaded from http://127"):
            sources.fetch("sst2/dev.tsv", download=True)
        stop.set()
        server.shutdown()
        thread.join()
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_a_record_whose_numbers_were_altered_is_named_and_made_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The file is whole and another number stands in it: the sweep does not believe it."""
    out = tmp_path / "out"
    toy_sweep.run(out, "number=1")
    path = next((out / "records").iterdir())
    content = path.read_bytes()
    path.write_bytes(content.replace(b'"square": 1.0', b'"square": 3.0'))
    assert path.read_bytes() != content
    assert toy_sweep.run(out, "number=1").summary["square"].tolist() == [1]
    assert f"{path.name} was altered" in capsys.readouterr().err
    assert path.read_bytes() == content
