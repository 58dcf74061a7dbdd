"""The reference run's ledger is one call away, from a checkout and from an installed wheel."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import aura_study
from aura_study.paths import REFERENCE, REPETITION, RunFolders, project_root
from aura_study.runs.consistency import doubts
from aura_study.runs.fingerprint import digest_file
from aura_study.runs.ledger import Row, read_claims
from aura_study.runs.manifest import read_manifest


def python(code: str, folder: Path, package: Path) -> str:
    """What a fresh interpreter prints, with ``package`` first on its path and ``folder`` as its working directory."""
    environment = {**os.environ, "PYTHONPATH": str(package)}
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_reference_is_the_ledger_of_the_reference_run() -> None:
    """One row per claim, in the ledger's order, with the fields of its rows."""
    frame = aura_study.reference()
    rows = read_claims(RunFolders.of("reference")).rows
    assert list(frame.index) == list(rows)
    assert {frame.index.name, *frame.columns} == Row.model_fields.keys()
    for claim, row in rows.items():
        assert frame.loc[claim, "verdict"] == row.verdict
        assert tuple(frame.loc[claim, "interval"]) == row.interval


@pytest.mark.parametrize("run", [REFERENCE, REPETITION])
def test_a_committed_run_is_what_it_left(run: str) -> None:
    """Every file that its manifest lists is there as it was written, and its notebooks ran at clean commits."""
    folders = RunFolders.of(run)
    held = read_manifest(folders)
    assert held is not None
    assert doubts(folders, read_claims(folders)) == []
    for name, entry in held.notebooks.items():
        assert entry.commit is not None, name
        assert not entry.commit.dirty, name
        for output, digest in entry.outputs.items():
            kind, _, file = output.partition("/")
            path = folders.figures / file if kind == "figures" else folders.results / output
            assert digest_file(path) == digest, path


def test_the_reference_was_made_in_one_piece() -> None:
    """All of its notebooks ran at one commit."""
    held = read_manifest(RunFolders.of(REFERENCE))
    assert held is not None
    assert len(held.commits) == 1, held.commits


def test_the_references_report_has_its_repetition_beside_it() -> None:
    """Reached from every page, and named on the first one."""
    report = RunFolders.of(REFERENCE).report
    assert "reference beside reference-gpu" in (report / "comparison.html").read_text(encoding="utf-8")
    for page in ("index.html", "run.html", "claims/P9.html"):
        assert "On a GPU" in (report / page).read_text(encoding="utf-8")


def test_a_wheel_carries_the_reference(tmp_path: Path) -> None:
    """Built, unpacked far from any checkout and called there, it hands out the same frame."""
    build = f"import hatchling.build; print(hatchling.build.build_wheel({str(tmp_path)!r}))"
    wheel = tmp_path / python(build, project_root(), project_root())
    unpacked, elsewhere = tmp_path / "unpacked", tmp_path / "elsewhere"
    elsewhere.mkdir()
    zipfile.ZipFile(wheel).extractall(unpacked)
    code = "import aura_study; print(aura_study.__file__); print(aura_study.reference().to_json())"
    place, table = python(code, elsewhere, unpacked).splitlines()
    assert Path(place).is_relative_to(unpacked)
    assert table == aura_study.reference().to_json()
    for name in ("claims.lock", "references.bib"):
        code = f"from aura_study.paths import carried; print(carried({name!r}).read_text(encoding='utf-8'))"
        assert python(code, elsewhere, unpacked) == (project_root() / name).read_text(encoding="utf-8").strip()


def test_importing_the_package_is_cheap(tmp_path: Path) -> None:
    """``import aura_study`` brings in none of the project's other modules, and no library."""
    code = "import sys, aura_study; print(sorted(m for m in sys.modules if m.partition('.')[0] in {0}))"
    heavy = "('aura_study', 'numpy', 'pandas', 'torch')"
    assert python(code.format(heavy), tmp_path, project_root()) == "['aura_study']"
