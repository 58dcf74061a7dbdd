"""The explorer's settings: read from the package, complete, valid; and a report without its plotting library."""

import json
import shutil

import pytest
from bs4 import BeautifulSoup
from made_run import make_run

from aura_study.experiments.aura_log.run import V10_2
from aura_study.experiments.phase_diagram.maps import PHASES
from aura_study.figures.style import POLICY_LABELS
from aura_study.losses import PARAMETERIZATIONS
from aura_study.paths import RunFolders
from aura_study.report import build_report, explorer
from aura_study.theory.forms import FORMS


def test_every_parameterisation_policy_and_regime_is_on_the_page() -> None:
    """What the package knows and what the page offers are the same sets."""
    assert set(explorer.settings()["forms"]) == set(PARAMETERIZATIONS)
    assert list(explorer.REGIMES) == list(PHASES) == [regime["name"] for regime in explorer.regimes()]
    assert explorer.settings()["policies"] == list(POLICY_LABELS)


def test_every_preset_is_a_valid_setting() -> None:
    """Each names every control and choice once, with values that the inputs accept."""
    controls = {control.name: control for control in explorer.controls()}
    for preset in explorer.presets():
        setting = preset["setting"]
        assert set(setting) == {"form", "optimizer", "gap", *controls}, preset["label"]
        assert setting["form"] in FORMS
        assert setting["gap"] in explorer.GAPS
        assert setting["optimizer"] in explorer.OFFERED_OPTIMIZERS
        for name, control in controls.items():
            assert control.low <= setting[name] <= control.high, f"{preset['label']}: {name}"
            assert not control.whole or setting[name] == int(setting[name])


def test_auras_preset_is_auras_run() -> None:
    """Its rate, its epoch, its optimiser's decay and how often its rarest task is seen come from the run's settings."""
    aura = next(preset["setting"] for preset in explorer.presets() if "AURA’s own" in preset["label"])
    assert (aura["lr"], aura["absent"]) == (5e-5, 826)
    assert aura["p"] == pytest.approx(1 - (1 - 925 / 52_860) ** 16, abs=1e-4)
    assert explorer.OFFERED_OPTIMIZERS[aura["optimizer"]].weight_decay == V10_2.weight_decay == 0.01


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> RunFolders:
    return make_run(tmp_path_factory.mktemp("explorer") / "made")


def test_the_page_carries_the_settings_and_a_label_for_every_input(folders: RunFolders) -> None:
    """The JSON on the page is the package's; each input and choice has a label, each slider a name of its own."""
    soup = BeautifulSoup((build_report(folders).parent / "explorer.html").read_text(encoding="utf-8"), "html.parser")
    assert json.loads(soup.find(id="explorer-settings").string) == json.loads(json.dumps(explorer.settings()))
    labels = {label["for"] for label in soup.find_all("label")}
    for field in soup.find_all(["input", "select"]):
        assert field["id"] in labels or field.get("aria-label"), field["id"]
    assert (folders.report / "static" / "uPlot.iife.js").stat().st_size < 200_000


@pytest.mark.slow
def test_without_the_plotting_library_the_report_has_no_explorer_and_says_so(
    folders: RunFolders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No page, no link to it, one sentence that names the package; with the library back, the page is back."""
    shutil.rmtree(folders.report, ignore_errors=True)
    monkeypatch.setattr(explorer, "plotting_files", lambda: None)
    front = build_report(folders).read_text(encoding="utf-8")
    assert "uplot-python" in front
    assert "explorer.html" not in front
    assert not (folders.report / "explorer.html").exists()
    monkeypatch.undo()
    shutil.rmtree(folders.report)
    assert "explorer.html" in build_report(folders).read_text(encoding="utf-8")
