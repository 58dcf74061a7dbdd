"""A notebook in JupyterLab, driven in a browser, outside a checkout, as if from a wheel."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import aura_study

pytestmark = [pytest.mark.slow, pytest.mark.browser]
NOTEBOOK = "01_focal_loss"
PATIENCE = 240_000
"""Milliseconds for a kernel to start, import and run the notebook on a busy machine."""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A JupyterLab whose kernel sees the package without its checkout: its address, and the folder it serves."""
    if find_spec("jupyterlab") is None:
        pytest.skip("JupyterLab is not installed; make notebooks installs it (extra jupyter)")
    folder = tmp_path_factory.mktemp("lab")
    package = Path(aura_study.__file__).parent
    shutil.copytree(package, folder / "site" / "aura_study", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "work").mkdir()
    shutil.copy(package.parent / "notebooks" / f"{NOTEBOOK}.ipynb", folder / "work")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = {"HOME": str(folder), "PYTHONPATH": str(folder / "site"), "JUPYTER_CONFIG_DIR": str(folder / "config")}
    options = ["--no-browser", "--allow-root", f"--port={port}", "--IdentityProvider.token=", "--ServerApp.password="]
    with (folder / "log.txt").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *options],
            cwd=folder / "work", env={**os.environ, **own}, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        _wait_for(f"http://127.0.0.1:{port}/api", server, folder / "log.txt")
        yield f"http://127.0.0.1:{port}/lab/tree/{NOTEBOOK}.ipynb", folder / "work"
    finally:
        server.terminate()
        try:
            server.wait(60)  # it ends its kernels first
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _wait_for(address: str, server: "subprocess.Popen[bytes]", log: Path) -> None:
    for _ in range(600):
        try:
            urllib.request.urlopen(address, timeout=5)
        except (urllib.error.URLError, OSError):
            assert server.poll() is None, log.read_text()
            time.sleep(0.2)
        else:
            return
    raise AssertionError(log.read_text())


def run_all(page: Any) -> None:
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_text("Run All Cells", exact=True).click()


def test_a_notebook_runs_says_where_and_refuses_a_slip(browser: Any, lab: tuple[str, Path]) -> None:
    """Run twice it leaves two runs and names them last; a name mistyped among the parameters is one line of error."""
    address, folder = lab
    page = browser.new_page(viewport={"width": 1400, "height": 3000})
    page.goto(address)
    parameters = page.locator(".jp-CodeCell", has_text="label_smoothing").first.locator(".cm-content")
    parameters.wait_for(timeout=PATIENCE)
    page.locator("[title='Switch kernel']", has_text="Python 3").wait_for(timeout=PATIENCE)
    for number in (1, 2):
        run_all(page)
        told = page.locator(".jp-OutputArea-output", has_text=f"aura-study claims {NOTEBOOK}-{number}")
        told.wait_for(timeout=PATIENCE)
        assert f"Results and figures: {folder}/results/{NOTEBOOK}-{number}" in told.inner_text()
        assert (folder / "results" / f"{NOTEBOOK}-{number}" / "evidence" / f"{NOTEBOOK}.json").is_file()
    parameters.click()
    page.keyboard.press("Control+End")
    page.keyboard.type("\npoint = 9")
    run_all(page)
    error = page.locator(".jp-OutputArea-output", has_text="unknown parameter 'point'")
    error.wait_for(timeout=PATIENCE)
    assert error.inner_text().strip().count("\n") <= 1
    assert "did you mean points" in error.inner_text()
    assert not (folder / "results" / f"{NOTEBOOK}-3").exists()
