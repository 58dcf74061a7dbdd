"""The explorer in a real browser: its address is its state, its words follow, and all can use it."""

import json
from typing import Any

import numpy as np
import pytest
from browsing import Visit
from explorer_page import POLICIES, USUAL, assert_twin, go, numbers, state

from aura_study.report import explorer

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_the_inputs_move_everything_at_once(explorer_visit: Visit) -> None:
    """Numbers, choices and sliders: the state, the charts, the table, the words and the address follow."""
    page = explorer_visit.page
    go(explorer_visit, USUAL)
    page.fill("#lr", "0.02")
    page.fill("#absent", "120")
    page.fill("#p", "0.5")
    page.select_option("#form", "log_variance")
    page.select_option("#optimizer", "SGD")
    found = state(explorer_visit)
    expected = USUAL | {"lr": 0.02, "absent": 120, "p": 0.5, "form": "log_variance", "optimizer": "SGD"}
    assert found["setting"] == expected
    assert_twin(found)
    assert "exp(Λ/2) = 3.32" in page.inner_text("#words")
    assert page.inner_text("#said-phantom") == "2.4"
    row = page.locator("#moments tr", has_text="the absence ends").locator("td").all_inner_texts()
    assert float(row[1]) == pytest.approx(found["paths"]["unmasked"]["weight"][found["back"]], rel=1e-3)
    assert float(row[6]) == pytest.approx(found["paths"]["frozen"]["sigma"][found["back"]], rel=1e-3)
    page.wait_for_function("() => location.hash.includes('absent=120')")
    page.reload()
    assert state(explorer_visit)["setting"] == expected


def test_what_is_plotted_is_the_run(explorer_visit: Visit) -> None:
    """The charts hold the run's own numbers, step for step, and the theory over the absence alone."""
    found = go(explorer_visit, USUAL | {"p": 0.4})
    plotted = json.loads(explorer_visit.page.evaluate("JSON.stringify(window.explorer.plotted())"))
    for quantity, rows in plotted.items():
        steps = np.array(rows[0])
        assert steps[0] < 0
        assert steps[-1] == USUAL["absent"] + USUAL["after"]
        for policy, row in zip(POLICIES, rows[1:4], strict=True):
            expected = numbers(found["paths"][policy][quantity])[steps + found["start"]]
            np.testing.assert_array_equal(numbers(row), expected)
        assert [y is not None for y in rows[4]] == [0 <= step <= USUAL["absent"] for step in steps]


def test_the_keyboard_moves_a_slider(explorer_visit: Visit) -> None:
    """A slider takes arrow keys and says its value; its number and the state follow."""
    page = explorer_visit.page
    go(explorer_visit, USUAL)
    page.focus("#lr-slider")
    page.keyboard.press("PageUp")
    found = state(explorer_visit)["setting"]["lr"]
    assert found > USUAL["lr"]
    assert float(page.input_value("#lr")) == found
    assert float(page.get_attribute("#lr-slider", "aria-valuetext")) == found
    page.focus("#p")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "p-slider"


def test_a_bad_value_in_the_address_is_named_and_the_standard_taken(browser: Any, explorer_url: str) -> None:
    """Words, values out of range and unknown names: one visible sentence each, nothing of it run as markup."""
    bad = "lr=fast&p=0&absent=2.5&form=%3Cimg%20src=x%20onerror=alert(1)%3E&speed=3&loss=2"
    with Visit(browser, f"{explorer_url}#{bad}") as visit:
        standard = explorer.presets()[0]["setting"]
        assert state(visit)["setting"] == standard | {"loss": 2}
        said = visit.page.inner_text("#complaints").splitlines()
        assert visit.page.locator("#complaints").is_visible()
        assert len(said) == 5
        for words in (
            "lr = “fast” is not a number from 0.000001 to 1; 0.01 is taken instead.",
            "p = “0” is not a number from 0.01 to 1; 1 is taken instead.",
            "absent = “2.5” is not a whole number from 1 to 10000; 300 is taken instead.",
            "form = “<img src=x onerror=alert(1)>” is not one of sigma, log_sigma,",
            "there is no setting “speed”; there are form, optimizer, gap, lr,",
        ):
            assert any(words in line for line in said), words
        assert visit.page.locator("#complaints img").count() == 0
        assert visit.complaints == []


def test_a_bad_value_in_an_input_is_named_and_taken_back_when_mended(explorer_visit: Visit) -> None:
    """The run stays as it was, the input is marked, and the sentence goes with the fault."""
    page = explorer_visit.page
    go(explorer_visit, USUAL)
    page.fill("#p", "1.5")
    assert "p = “1.5” is not a number from 0.01 to 1; 1 stays." in page.inner_text("#complaints")
    assert page.get_attribute("#p", "aria-invalid") == "true"
    assert state(explorer_visit)["setting"] == USUAL
    page.fill("#p", "0.5")
    assert state(explorer_visit)["setting"]["p"] == 0.5
    assert not page.locator("#complaints").is_visible()
    assert page.get_attribute("#p", "aria-invalid") == "false"


def test_the_address_survives_a_reload_and_an_anchor(explorer_visit: Visit) -> None:
    """Every value comes back exactly; a jump to the content does not reset the setting."""
    setting = USUAL | {"lr": 0.0123456789, "noise": 0.77, "seed": 42}
    go(explorer_visit, setting)
    explorer_visit.page.reload()
    assert state(explorer_visit)["setting"] == setting
    explorer_visit.page.focus(".skip")
    explorer_visit.page.keyboard.press("Enter")
    assert state(explorer_visit)["setting"] == setting


def test_a_solved_task_is_told_of_as_present(explorer_visit: Visit) -> None:
    """The choice reaches address, bars, table and sentences; under every policy the weight grows alike."""
    page = explorer_visit.page
    go(explorer_visit, USUAL)
    page.select_option("#gap", "solved")
    found = state(explorer_visit)
    assert found["setting"] == USUAL | {"gap": "solved"}
    assert all(found["present"][found["start"] : found["back"]])
    growths = {policy: found["outcomes"][policy]["growth"] for policy in POLICIES}
    assert min(growths.values()) == max(growths.values()) > 2
    words = page.inner_text("#words")
    assert "present and solved for 80 steps" in words
    assert "a mask has nothing to mask" in words
    assert "absen" not in words
    assert page.locator("#moments tr", has_text="the solved stretch ends").count() == 1
    page.wait_for_function("() => location.hash.includes('gap=solved')")
    page.select_option("#gap", "absent")
    assert_twin(state(explorer_visit))


def test_drawing_anew_changes_the_draws_and_nothing_else(explorer_visit: Visit) -> None:
    """The next seed: other presences, same setting otherwise."""
    before = go(explorer_visit, USUAL | {"p": 0.3})
    explorer_visit.page.click("#redraw")
    after = state(explorer_visit)
    assert after["setting"] == before["setting"] | {"seed": before["setting"]["seed"] + 1}
    assert after["present"] != before["present"]
    assert_twin(after)


def test_the_words_follow_the_numbers(explorer_visit: Visit) -> None:
    """Growth, regime and the ladder's mark say what the state holds."""
    found = go(explorer_visit, USUAL | {"optimizer": "SGD", "absent": 300, "seed": 3})
    words = explorer_visit.page.inner_text("#words")
    assert found["outcomes"]["unmasked"]["growth"] == pytest.approx(np.exp(6), rel=1e-9)
    assert "After 300 absent steps the unmasked weight has grown 403-fold." in words
    assert "exp(2Λ) = 403" in words
    assert explorer_visit.page.inner_text("#said-regime") == found["regime"]
    assert explorer_visit.page.locator("#ladder [aria-current] b").inner_text() == found["regime"]
    assert found["regime"] in explorer_visit.page.inner_text("#spoken")
    assert found["outcomes"]["masked"]["growth"] == found["outcomes"]["frozen"]["growth"] == 1
    assert "Masked and frozen, the weight has not moved at all." in words


@pytest.mark.parametrize("size", ["desktop", "phone"])
def test_extreme_settings_stay_readable(browser: Any, explorer_url: str, size: str) -> None:
    """Huge, tiny and missing numbers: no sideways scroll, nothing for axe-core, a silent console, no request."""
    extremes: list[dict[str, Any]] = [
        {"optimizer": "SGD", "lr": 1, "absent": 10_000, "p": 0.01},
        {"form": "sigma", "optimizer": "SGD", "lr": 0.3, "absent": 5000, "after": 5000},
        {"form": "aura_softplus", "lr": 1e-6, "p": 0.01, "loss": 100, "seed": 9999},
    ]
    with Visit(browser, explorer_url, size) as visit:
        visit.unfold()
        for extreme in extremes:
            go(visit, USUAL | extreme)
            assert visit.page.evaluate("document.documentElement.scrollWidth") == visit.page.viewport_size["width"]
        assert visit.complaints == []
        root = explorer_url.rsplit("/", 1)[0]
        assert [url for url in visit.requests if not url.startswith(f"{root}/")] == []
        assert visit.violations() == []


def test_charts_are_redrawn_for_the_dark_and_for_paper(browser: Any, explorer_url: str) -> None:
    """Ink follows the scheme: light on dark, dark on paper; the charts' own pixels tell."""
    ink = """() => {
      const canvas = document.querySelector("#plot-weight canvas");
      const pixels = canvas.getContext("2d").getImageData(0, 0, 60, canvas.height).data;
      let sum = 0, count = 0;
      for (let i = 0; i < pixels.length; i += 4) if (pixels[i + 3] > 200) { sum += pixels[i]; count += 1; }
      return count ? sum / count : -1;
    }"""  # the mean of the axis labels' ink
    with Visit(browser, explorer_url) as visit:
        assert 0 <= visit.page.evaluate(ink) < 120
        visit.page.emulate_media(color_scheme="dark")
        visit.page.wait_for_function(f"() => ({ink})() > 140")
        visit.page.emulate_media(color_scheme="dark", media="print")
        visit.page.wait_for_function(f"() => ({ink})() < 120")
        assert not visit.page.locator(".presets").is_visible()
        assert visit.page.locator("#plot-weight canvas").is_visible()


def test_a_reader_without_scripts_is_told(browser: Any, explorer_url: str) -> None:
    """The page explains itself and hides the dead controls."""
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(explorer_url)
    assert "it needs scripts" in page.inner_text("main")
    assert not page.locator(".controls").is_visible()
    context.close()
