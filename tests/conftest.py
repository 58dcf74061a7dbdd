"""Fixtures shared by the test files."""

import os
from pathlib import Path

import pytest

from aura_study.paths import DATA_VARIABLE


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that need real data, however they come by it, so that ``-m "not real_data"`` leaves them out."""
    for item in items:
        if "real_data" in getattr(item, "fixturenames", ()):
            item.add_marker("real_data")


@pytest.fixture
def real_data(monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of AURA's public files, set as the data cache; the test is skipped where there is none."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    named = os.environ.get(DATA_VARIABLE)
    folders = [Path(named).expanduser().resolve()] if named else []
    folder = next((folder for folder in (*folders, beside) if folder.is_dir()), None)
    if folder is None:
        pytest.skip(f"no real data: neither ${DATA_VARIABLE} nor {beside} is a folder")
    monkeypatch.setenv(DATA_VARIABLE, str(folder))
    return folder
