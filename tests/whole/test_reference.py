"""The reference run's ledger is one call away, from a checkout and from an installed wheel."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import aura_study
from aura_study.paths import RunFolders, project_root
from aura_study.runs.ledger import Row, read_claims


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
