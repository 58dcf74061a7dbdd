"""Data files: found, verified, fetched, or refused with one clear error."""

import hashlib
import os
import subprocess
import sys
import threading
import time
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from aura_study.data import sources as sources_module
from aura_study.data.readers import class_labels, multi_hot, read_csv, read_tsv, texts
from aura_study.data.sources import (
    REGISTRY,
    DataError,
    DataFile,
    MissingDataError,
    fetch,
    fetch_all,
    later_log,
    sha256,
    status,
    training_log,
)
from aura_study.paths import DATA_VARIABLE

NAME = "sst2/dev.tsv"
CONTENT = b"a fine film\t1\n"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data cache, and a registry of one small file."""
    folder = tmp_path / "cache"
    monkeypatch.setenv(DATA_VARIABLE, str(folder))
    file = DataFile(NAME, "http://localhost:9/nothing", hashlib.sha256(CONTENT).hexdigest(), "MIT")
    monkeypatch.setattr(sources_module, "REGISTRY", {NAME: file})
    return folder


@pytest.fixture
def server(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch):
    """A local web server; yields the file that it serves as the registered one's public copy."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    public = tmp_path / "public"
    public.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(public))) as httpd:
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        file = DataFile(
            NAME, f"http://127.0.0.1:{httpd.server_port}/dev.tsv", hashlib.sha256(CONTENT).hexdigest(), "MIT"
        )
        monkeypatch.setattr(sources_module, "REGISTRY", {NAME: file})
        yield public / "dev.tsv"
        httpd.shutdown()
        thread.join()


def put(cache: Path, content: bytes) -> Path:
    path = cache / NAME
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return path


def test_every_file_has_a_public_address_at_a_fixed_commit_and_a_digest():
    """No entry can be fetched unverified, or from a moving branch."""
    for name, file in REGISTRY.items():
        host, owner, repository, commit, *rest = file.url.removeprefix("https://").split("/")
        assert (host, bool(owner), bool(repository)) == ("raw.githubusercontent.com", True, True)
        assert len(commit) == 40
        assert int(commit, 16)
        assert rest
        assert len(file.sha256) == 64
        assert int(file.sha256, 16)
        assert file.name == name


def test_a_good_file_is_found(cache):
    """A present file with the right digest is handed back; its status says so."""
    path = put(cache, CONTENT)
    assert fetch(NAME) == path
    (state,) = status()
    assert (state.name, state.present, state.verified, state.bytes, state.licence) == (
        NAME,
        True,
        True,
        len(CONTENT),
        "MIT",
    )


def test_a_missing_file_says_which_where_and_what_to_do(cache):
    """The error names the file, the place looked in and the command; nothing is downloaded unasked."""
    with pytest.raises(MissingDataError) as error:
        fetch(NAME)
    assert NAME in str(error.value)
    assert str(cache / NAME) in str(error.value)
    assert "aura-study data fetch" in str(error.value)
    assert not cache.exists()
    (state,) = status()
    assert (state.present, state.verified, state.bytes) == (False, False, 0)


@pytest.mark.parametrize("content", [CONTENT[:5], b"another text\t1\n", b""], ids=["truncated", "other", "empty"])
def test_a_wrong_digest_is_one_error_with_both_digests(cache, content):
    """A truncated or different file is refused, and left as it is, downloads allowed or not."""
    path = put(cache, content)
    for download in (False, True):
        with pytest.raises(DataError) as error:
            fetch(NAME, download=download)
        assert str(path) in str(error.value)
        assert hashlib.sha256(CONTENT).hexdigest() in str(error.value)
        assert hashlib.sha256(content).hexdigest() in str(error.value)
    assert path.read_bytes() == content
    (state,) = status()
    assert (state.present, state.verified) == (True, False)


def test_an_unknown_file_lists_the_known_ones(cache):
    """The registry's names are in the error."""
    with pytest.raises(ValueError, match=r"unknown data file 'sst3'; registered: \['sst2/dev.tsv'\]"):
        fetch("sst3")


def test_a_download_is_verified_and_kept(server, cache):
    """A missing file is downloaded under its name, then found without a download."""
    server.write_bytes(CONTENT)
    assert fetch_all() == [cache / NAME]
    server.unlink()
    assert fetch(NAME).read_bytes() == CONTENT


@pytest.mark.parametrize("served", [CONTENT[:5], None], ids=["truncated", "absent"])
def test_a_bad_download_leaves_no_file(server, cache, served):
    """A download that is truncated or fails is an error naming file and address, and nothing takes the file's place."""
    if served is not None:
        server.write_bytes(served)
    with pytest.raises(MissingDataError, match=r"sst2/dev.tsv could not be downloaded from http://127.0.0.1"):
        fetch(NAME, download=True)
    assert not (cache / NAME).exists()


def test_the_training_log_ships_with_the_package():
    """14 epochs of AURA's V10.2 run; the reporting weight rises throughout."""
    log = training_log()
    assert log["epoch"].tolist() == list(range(1, 15))
    assert log["weight_reporting"].is_monotonic_increasing
    assert log["weight_reporting"].iloc[[0, -1]].tolist() == [1.437, 1.639]


def test_the_packaged_training_log_is_the_public_one(real_data):
    """Byte for byte."""
    packaged = Path(sources_module.__file__).with_name("v10_2_training_log.csv")
    assert packaged.read_bytes() == (real_data / "aura" / "v10_2_training_log.csv").read_bytes()


def test_quotation_marks_in_a_tsv_are_text(tmp_path):
    """A stray quotation mark does not swallow the rows after it, and "null" is a text."""
    path = tmp_path / "quotes.tsv"
    path.write_text('"a stray mark\t1\nit\'s "fine"\t0\nnull\t1\nNA\t0\n', encoding="utf-8")
    frame = read_tsv(path, ("text", "label"))
    assert texts(frame, path) == ['"a stray mark', 'it\'s "fine"', "null", "NA"]
    np.testing.assert_array_equal(class_labels(frame, path), [1, 0, 1, 0])


def test_missing_columns_are_named(tmp_path):
    """CSV: the header lacks a column; TSV: another number of columns."""
    path = tmp_path / "short.csv"
    path.write_text("text,label\nhello,1\n")
    with pytest.raises(DataError, match=r"short.csv: missing columns \['source'\]; found \['text', 'label'\]"):
        read_csv(path, ("text", "label", "source"))
    path.write_text("hello\t1\n")
    with pytest.raises(DataError, match=r"short.csv: expected 3 columns .* found 2"):
        read_tsv(path, ("text", "label", "id"))


@pytest.mark.parametrize("content", ["", "text,label\na,1\nb,1,2,3\n"], ids=["empty", "ragged"])
def test_an_unreadable_table_is_one_error(tmp_path, content):
    """The error names the file."""
    path = tmp_path / "broken.csv"
    path.write_text(content)
    with pytest.raises(DataError, match=r"broken.csv: not a readable table"):
        read_csv(path, ("text", "label"))


@pytest.mark.parametrize("value", ["2", "-1", "x", "", "1.0"])
def test_a_label_out_of_range_names_file_row_and_value(tmp_path, value):
    """The first bad row is named, counting data rows from 1."""
    path = tmp_path / "labels.csv"
    path.write_text(f"text,label\ngood,1\nbad,{value}\n")
    with pytest.raises(DataError, match=rf"labels.csv, row 2: label must be one of \[0, 1\], got '{value}'"):
        class_labels(read_csv(path, ("text", "label")), path)


def test_multi_hot_labels_and_their_range(tmp_path):
    """Comma-separated ids become ones; an id out of range is named."""
    path = tmp_path / "emotions.tsv"
    path.write_text("a\t0,2\tx\nb\t1\ty\n")
    np.testing.assert_array_equal(
        multi_hot(read_tsv(path, ("text", "labels", "id")), path, "labels", 3), [[1, 0, 1], [0, 1, 0]]
    )
    path.write_text("a\t0,7\tx\n")
    with pytest.raises(DataError, match=r"row 1: labels must be one of \[0, 1, 2\], got '7'"):
        multi_hot(read_tsv(path, ("text", "labels", "id")), path, "labels", 3)


@pytest.mark.parametrize("content", ["text,label\na,1\n,0\n", "text,label\na,1\n  ,0\n"])
def test_a_missing_text_names_file_and_row(tmp_path, content):
    """An empty or blank text is refused."""
    path = tmp_path / "texts.csv"
    path.write_text(content)
    with pytest.raises(DataError, match=r"texts.csv, row 2: text is missing"):
        texts(read_csv(path, ("text", "label")), path)


def test_a_row_without_label_is_refused(tmp_path):
    """A row cut short has no label."""
    path = tmp_path / "short.tsv"
    path.write_text("a\t1\nb\n")
    with pytest.raises(DataError, match=r"row 2: label must be one of"):
        class_labels(read_tsv(path, ("text", "label")), path)


@pytest.mark.parametrize(("version", "epochs"), [("V11.3", 8), ("V11.4", 9), ("V11.5", 10), ("V11.6", 9)])
def test_the_later_logs_ship_with_the_package_and_are_the_public_files(version, epochs):
    """The packaged bytes have the registered digest; every run starts at equal weights."""
    name = f"aura_{version.lower()}_history.json"
    assert sha256(Path(sources_module.__file__).with_name(name)) == REGISTRY[f"aura/{name}"].sha256
    log = later_log(version)
    assert log["epoch"].tolist() == list(range(1, epochs + 1))
    weights = log.filter(like="weight_")
    assert list(weights) == [f"weight_{task}" for task in ("toxicity", "emotion", "sentiment", "reporting")]
    assert (weights.iloc[0] == 1).all()
    assert log.notna().all().all()


KILLED = """
import sys
from aura_study.data import sources
file = sources.DataFile(sys.argv[1], sys.argv[2], sys.argv[3], "MIT")
sources.REGISTRY = {file.name: file}
sources.fetch(file.name, download=True)
"""


class Half(BaseHTTPRequestHandler):
    """Sends half of what it promises, and then waits to be killed with whoever asked."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(2**21))
        self.end_headers()
        self.wfile.write(bytes(2**20))
        self.rfile.read(1)


def test_a_download_that_was_killed_leaves_nothing_behind_the_next(cache: Path, server: Path) -> None:
    """SIGKILL in the middle of a download; the next one removes what it had got, and only the file is there."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Half) as half:
        half.daemon_threads = True
        threading.Thread(target=half.serve_forever, daemon=True).start()
        words = (NAME, f"http://127.0.0.1:{half.server_port}/dev.tsv", "0" * 64)
        process = subprocess.Popen([sys.executable, "-c", KILLED, *words], env=dict(os.environ))
        folder = (cache / NAME).parent
        while process.poll() is None and not any(path.is_file() and path.stat().st_size for path in folder.rglob("*")):
            time.sleep(0.02)
        process.kill()
        process.wait()
        half.shutdown()
    assert list(folder.iterdir())
    server.write_bytes(CONTENT)
    fetch(NAME, download=True)
    assert list(folder.iterdir()) == [cache / NAME]


HOSTILE = {
    "ten megabytes in a line": b"text,label\n" + b"a" * 10**7 + b",1\n",
    "an open quote for ten megabytes": b'text,label\n"' + b"a\n" * 5 * 10**6,
    "a null character": b"text,label\na\0b,1\n",
    "utf-16": "text,label\nfine,1\n".encode("utf-16"),
    "utf-8 with a mark": b"\xef\xbb\xbftext,label\nfine,1\n",
    "half a character": b"text,label\nfine \xc3,1\n",
    "a lone surrogate": b"text,label\nfine \xed\xa0\x80,1\n",
    "carriage returns": b"text,label\rfine,1\r",
    "ten thousand columns": b"text,label" + b",x" * 10_000 + b"\nfine,1\n",
    "a label of four hundred digits": b"text,label\nfine," + b"9" * 400 + b"\n",
    "nothing": b"",
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_table_is_read_whole_or_refused_by_name(tmp_path: Path, what: str) -> None:
    """Never half, never with a character that stands for another, and in seconds."""
    path = tmp_path / "rows.csv"
    path.write_bytes(HOSTILE[what])
    begun = time.process_time()
    told, found = "", []
    try:
        frame = read_csv(path, ("text", "label"))
        found = list(zip(texts(frame, path), class_labels(frame, path), strict=True))
    except DataError as error:
        told = str(error)
    assert path.name in told or found in ([("fine", 1)], [("a\0b", 1)], [("a" * 10**7, 1)])
    assert time.process_time() - begun < 10
