"""Fixtures shared by the test files."""

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import toy_study
from browsing import Visit, chromium
from made_run import make_run

from aura_study.data.encoders import encoder_folder
from aura_study.data.sources import MissingDataError
from aura_study.paths import DATA_VARIABLE
from aura_study.report import build_report


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that need real data, however they come by it, so that ``-m "not real_data"`` leaves them out."""
    for item in items:
        if "real_data" in getattr(item, "fixturenames", ()):
            item.add_marker("real_data")


@pytest.fixture(scope="session", autouse=True)
def _without_manual() -> Iterator[None]:
    """A manual that this checkout has built does not come with the reports that tests make."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("aura_study.report.building.MANUAL", "not-built")
        yield


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


@pytest.fixture
def minilm() -> Path:
    """Folder of the encoder ``minilm``; the test is skipped where it is not."""
    try:
        return encoder_folder("minilm")
    except MissingDataError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def toy_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy notebooks, ``notebooks``, and a finished run of them, ``run``: to be copied by who changes them."""
    folder = tmp_path_factory.mktemp("toy")
    toy_study.run(folder / "run", "steps=2", notebooks=toy_study.write_notebooks(folder / "notebooks"))
    return folder


@pytest.fixture
def mount() -> Iterator[Callable[[str], Path]]:
    """Mounts a file system of its own in memory, whose path is short enough for sockets; skipped where it may not."""
    mounted: list[Path] = []

    def make(options: str) -> Path:
        folder = Path(tempfile.mkdtemp(prefix="disk-", dir="/tmp"))
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True)
        if done.returncode:
            folder.rmdir()
            pytest.skip(f"mounting is not allowed here: {done.stderr.decode().strip()}")
        mounted.append(folder)
        return folder

    yield make
    for folder in mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)
        folder.rmdir()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Headless Chromium; the test is skipped where there is none."""
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def explorer_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Address of the explorer in the report of a run made for the tests."""
    return (build_report(make_run(tmp_path_factory.mktemp("explorer") / "made")).parent / "explorer.html").as_uri()


@pytest.fixture(scope="module")
def explorer_visit(browser: Any, explorer_url: str) -> Iterator[Visit]:
    """The explorer, open for all tests that only set it and read it."""
    with Visit(browser, explorer_url) as visit:
        yield visit
