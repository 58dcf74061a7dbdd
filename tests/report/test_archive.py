"""The archive of a run: complete, the same twice, described by what machines read, and refused where it would lie."""

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from aura_study.cli import app
from aura_study.errors import StudyError
from aura_study.paths import REFERENCE, RunFolders
from aura_study.report import archive
from aura_study.report.archive import CITED, write_archive
from aura_study.report.crate import APPLICATION, REPORT, ro_crate
from aura_study.runs.fingerprint import digest
from aura_study.runs.lock import locked
from aura_study.runs.manifest import read_manifest


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The reference run's archive, without building its report anew."""
    target = tmp_path_factory.mktemp("archive") / "reference.zip"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(archive, "build_report", lambda folders: folders.report / "index.html")
        write_archive(RunFolders.of(REFERENCE), target)
        again = target.with_name("again.zip")
        write_archive(RunFolders.of(REFERENCE), again)
    with zipfile.ZipFile(target) as one, zipfile.ZipFile(again) as other:
        named = "colab.ipynb"  # says what the file is called
        changed = {name for name in one.namelist() if one.read(name) != other.read(name)}
        assert changed <= {named, "ro-crate-metadata.json"}
    return zipfile.ZipFile(target)


def read(written: zipfile.ZipFile, name: str) -> Any:
    return json.loads(written.read(name))


def entities(written: zipfile.ZipFile) -> dict[str, Any]:
    graph = read(written, "ro-crate-metadata.json")["@graph"]
    assert len({entity["@id"] for entity in graph}) == len(graph)
    return {entity["@id"]: entity for entity in graph}


def test_what_the_manifest_lists_is_there_to_the_byte(written: zipfile.ZipFile) -> None:
    """Every output of every notebook, figures too, has the manifest's digest."""
    held = read_manifest(RunFolders.of(REFERENCE))
    assert held
    for record in held.notebooks.values():
        for name, expected in record.outputs.items():
            assert digest(written.read(f"run/{name}")) == expected, name


def test_the_code_is_the_checkouts_and_no_other_run_is_in_it(written: zipfile.ZipFile) -> None:
    """Package, notebooks, tests and what an installation needs; of the reference run the ledger alone."""
    names = {name for name in written.namelist() if name.startswith("code/")}
    for wanted in ("aura_study/__init__.py", "pyproject.toml", "claims.lock", "notebooks/03_phantom_gradient.ipynb"):
        assert f"code/{wanted}" in names
    assert {name for name in names if "/results/" in name or name.startswith("code/figures")} == {
        "code/results/reference/claims.json"
    }


def test_the_crate_describes_files_that_are_there_and_refers_to_nothing_else(written: zipfile.ZipFile) -> None:
    """Each reference of the graph is an entity of it; each file is in the archive, with its size."""
    found = entities(written)

    def references(value: Any) -> list[str]:
        if isinstance(value, dict):
            return (
                [value["@id"]]
                if set(value) == {"@id"}
                else [one for held in value.values() for one in references(held)]
            )
        return [one for held in value for one in references(held)] if isinstance(value, list) else []

    outside = {one for entity in found.values() for one in references(entity)} - found.keys()
    assert outside == {"https://w3id.org/ro/crate/1.1"}
    for name, entity in found.items():
        if "File" in entity["@type"]:
            assert written.getinfo(name).file_size == int(entity.get("contentSize", written.getinfo(name).file_size))
    assert {"code/", "run/report/"} <= set(written.namelist()) & found.keys()
    assert APPLICATION in found


def test_an_action_says_what_made_a_figure(written: zipfile.ZipFile) -> None:
    """Of a figure: its notebook, that notebook's parameters with their values, and the data it read."""
    found = entities(written)
    action = found["#run-04_aura_training"]
    assert action["instrument"]["@id"] == "code/notebooks/04_aura_training.ipynb"
    assert {"@id": "run/figures/sigma_trajectories.svg"} in action["result"]
    objects = {found[one["@id"]]["name"]: found[one["@id"]] for one in action["object"]}
    held = read_manifest(RunFolders.of(REFERENCE))
    assert held
    assert objects["lr_sigma"]["value"] == held.notebooks["04_aura_training"].parameters["lr_sigma"]
    assert objects["sst2/train.tsv"]["sha256"] == held.data.files["sst2/train.tsv"]


def test_the_citation_is_told_in_each_form(written: zipfile.ZipFile) -> None:
    """Title, licence and every cited work stand in CodeMeta's and in Zenodo's form, as in the crate."""
    code, deposit, found = read(written, "codemeta.json"), read(written, ".zenodo.json"), entities(written)
    citation = written.read("CITATION.cff").decode()
    assert "Kendall" in citation
    assert (
        len(code["citation"]) == len(deposit["references"]) == len(found["./"]["citation"]) == citation.count("- type:")
    )
    assert code["version"] == deposit["version"] == found["./"]["version"]
    assert code["license"] == found["./"]["license"]["@id"] == "https://spdx.org/licenses/MIT"
    assert deposit["creators"] == [{"name": "The aura_study developers"}]


@pytest.fixture
def small(toy_project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolders:
    """A copy of the toy study's run, to be packed with its citation and licence as all the code."""
    code = {name: path for name, path in archive._code().items() if name in {f"code/{cited}" for cited in CITED}}
    monkeypatch.setattr(archive, "_code", lambda: code)
    shutil.copytree(toy_project / "run", tmp_path / "run")
    return RunFolders.of(str(tmp_path / "run"))


def test_an_archive_in_the_runs_folder_does_not_hold_itself(small: RunFolders) -> None:
    """Written again over the first it is the same file."""
    target = small.results / "run.zip"
    first = write_archive(small, target).read_bytes()
    assert write_archive(small, target, replace=True).read_bytes() == first
    with zipfile.ZipFile(target) as file:
        assert not [name for name in file.namelist() if name.endswith(".zip")]


def test_all_of_an_archive_is_read_while_nobody_may_write(small: RunFolders, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the ledger that is described to the bytes that are packed, the run's folder is held."""
    refused = []

    def watched(name: str) -> None:
        original = getattr(archive, name)

        def tried(*given: Any) -> Any:
            with pytest.raises(StudyError, match="another run is writing"), locked(small):
                pass
            refused.append(name)
            return original(*given)

        monkeypatch.setattr(archive, name, tried)

    for name in ("read_manifest", "build_report", "_zip"):
        watched(name)
    write_archive(small, small.results.with_name("small.zip"))
    assert refused == ["read_manifest", "build_report", "_zip"]


def test_an_archive_is_refused_where_it_would_lie_or_destroy(tmp_path: Path) -> None:
    """No such run, one without a manifest, a file in the way, and a name that is no zip's: one error each."""
    bare = tmp_path / "bare"
    (bare / "evidence").mkdir(parents=True)
    (bare / "evidence" / "x.json").write_text('{"notebook": "x", "claims": [], "figures": [], "tables": []}')
    taken = tmp_path / "taken.zip"
    taken.write_text("mine")
    for run, target, words in (
        ("nowhere", tmp_path / "a.zip", "no claims.json"),
        (f"{bare}", tmp_path / "a.zip", "no manifest"),
        (REFERENCE, taken, "exists"),
        (REFERENCE, tmp_path / "a.tar", r"ends in \.zip"),
    ):
        with pytest.raises(StudyError, match=words):
            write_archive(RunFolders.of(run), target)
    assert taken.read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bare", "taken.zip"]
    assert "no claims.json" in str(CliRunner().invoke(app, ["archive", "nowhere"]).exception)


def test_a_crate_lists_no_result_that_is_not_there() -> None:
    """Without its files a run's actions have no results, and of the run nothing is said to be part."""
    subject = archive.Subject(
        {"title": "t", "license": "MIT", "version": "1", "authors": [{"name": "a"}], "references": []},
        read_manifest(RunFolders.of(REFERENCE)),  # type: ignore[arg-type]
        archive.ledger.read_claims(RunFolders.of(REFERENCE)),
        {},
    )
    graph = ro_crate(subject)["@graph"]
    assert all(entity["result"] == [] for entity in graph if entity["@type"] == "CreateAction")
    parts = next(entity["hasPart"] for entity in graph if entity["@id"] == "./")
    assert {one["@id"].split("/")[0] for one in parts if one["@id"] != REPORT} == {"code"}
