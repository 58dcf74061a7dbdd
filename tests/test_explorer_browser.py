"""The explorer in a real browser: its numbers are `aura_study.dynamics`', its address its state; all can use it."""

import itertools
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
from browsing import Visit, chromium
from made_run import make_run

from aura_study.dynamics import grid, micro_batches, simulate, trajectories
from aura_study.experiments import phase_diagram
from aura_study.report import build_report, explorer
from aura_study.theory.absence import absent_trajectory
from aura_study.theory.adam import AdamState
from aura_study.theory.fixed_points import fixed_point
from aura_study.theory.fluctuations import gradient_noise
from aura_study.theory.forms import FORMS
from aura_study.theory.optimizers import SGD, Adam

pytestmark = pytest.mark.browser

POLICIES = ("unmasked", "masked", "frozen")
USUAL = explorer.presets()[0]["setting"] | {"absent": 80, "after": 200}
CONTROLS = {control.name: control for control in explorer.controls()}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def page_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    return (build_report(make_run(tmp_path_factory.mktemp("explorer") / "made")).parent / "explorer.html").as_uri()


@pytest.fixture(scope="module")
def visit(browser: Any, page_url: str) -> Iterator[Visit]:
    """The explorer, open for all tests that only set it and read it."""
    with Visit(browser, page_url) as visit:
        yield visit


def state(visit: Visit) -> dict[str, Any]:
    """What the page says it shows; NaN and infinity arrive as ``None``."""
    return json.loads(visit.page.evaluate("JSON.stringify(window.explorer.state())"))


def go(visit: Visit, setting: dict[str, Any]) -> dict[str, Any]:
    """Show ``setting`` through the address, as a reader who was sent a link."""
    address = "&".join(f"{name}={value}" for name, value in setting.items())
    changed = (
        "hash => new Promise(done => { addEventListener('hashchange', done, {once: true}); location.hash = hash })"
    )
    if visit.page.evaluate("location.hash") != f"#{address}":
        visit.page.evaluate(changed, address)
    found = state(visit)
    assert found["setting"] == setting
    return found


def numbers(values: list[float | None]) -> np.ndarray:
    return np.array(values, float)


def cells_of(setting: dict[str, Any]) -> pd.DataFrame:
    """The grid's three cells, one a policy, that the page twins."""
    form = FORMS[setting["form"]]
    cells = grid(
        parameterization=setting["form"],
        policy=POLICIES,
        optimizer=explorer.OPTIMIZERS[setting["optimizer"]],
        presence=setting["p"],
        rate=setting["lr"],
        loss=setting["loss"],
        noise=setting["noise"],
        absent_start=phase_diagram.WARM_UP,
        absent_steps=setting["absent"],
    )
    cells["theta0"] = [
        float(fixed_point(form, setting["loss"], setting["p"] if policy == "unmasked" else 1.0)) for policy in POLICIES
    ]
    cells["stream"] = np.uint64(0)
    return cells


def assert_twin(found: dict[str, Any]) -> None:
    """Thetas, weights, sigmas, presences, what came of the run, its regime and the theory agree to 1e-6 relative."""
    setting, steps = found["setting"], found["steps"]
    form, cells = FORMS[setting["form"]], cells_of(setting)
    _, thetas = trajectories(cells, steps, seed=setting["seed"])
    outcomes = simulate(cells, steps, seed=setting["seed"], band=phase_diagram.BAND)
    present, _ = micro_batches(cells.iloc[[0]], steps, seed=setting["seed"])
    np.testing.assert_array_equal(found["present"], present[0, :, 0])
    for policy, theta, outcome in zip(POLICIES, thetas, outcomes.itertuples(), strict=True):
        path = found["paths"][policy]
        assert path["undefinedStep"] == outcome.undefined_step
        defined = slice(None if outcome.undefined_step < 0 else outcome.undefined_step)
        with np.errstate(over="ignore", divide="ignore"):
            weight, sigma = form.weight(theta), form.sigma(theta)
        for name, expected in (("theta", theta), ("weight", weight), ("sigma", sigma)):
            measured = numbers(path[name])
            finite = np.isfinite(expected[defined])
            np.testing.assert_allclose(measured[defined][finite], expected[defined][finite], rtol=1e-6, atol=1e-12)
            assert np.isnan(measured[defined][~finite]).all()
            assert defined.stop is None or np.isnan(measured[defined.stop :]).all()
    assert_conclusions(found, outcomes.iloc[0])


def assert_conclusions(found: dict[str, Any], outcome: pd.Series) -> None:
    """Regime, rule of thumb and foretold growth are the package's."""
    setting, unmasked = found["setting"], found["outcomes"]["unmasked"]
    form, optimizer = FORMS[setting["form"]], explorer.OPTIMIZERS[setting["optimizer"]]
    aim = float(form.weight(fixed_point(form, setting["loss"])))
    settled = outcome["settled_after"] if outcome["settled_after"] >= 0 else np.inf
    with np.errstate(invalid="ignore", divide="ignore"):  # a weight of 0 or of infinity has no ratio
        row = {
            "inflation": outcome["start_weight"] / aim,
            "growth": outcome["return_weight"] / outcome["start_weight"],
            "low": outcome["low_weight"] / aim,
            "recovery": settled / setting["absent"],
            "undefined": float(outcome["undefined_step"] >= 0),
        }
    assert found["regime"] == phase_diagram.PHASES[phase_diagram.classify(pd.DataFrame([row]))[0]]
    if not row["undefined"]:
        for name in ("inflation", "growth", "low"):
            expected = row[name] if np.isfinite(row[name]) else np.nan
            np.testing.assert_allclose(numbers([unmasked[name]]), expected, rtol=1e-6, atol=1e-300)
        assert unmasked["settled"] == (None if np.isinf(settled) else settled)
    adam = isinstance(optimizer, Adam)
    if setting["form"] == "log_sigma":
        said = phase_diagram.rule_of_thumb(setting["lr"], setting["absent"], setting["p"], adam=adam)
        assert found["ruleOfThumb"] == said
    filled = 1 - optimizer.beta2**phase_diagram.WARM_UP if isinstance(optimizer, Adam) else 0.0
    variance = float(gradient_noise(form, setting["loss"], setting["p"], setting["noise"]))
    memory = AdamState(0.0, filled * variance, phase_diagram.WARM_UP)
    theta = float(fixed_point(form, setting["loss"], setting["p"]))
    path = absent_trajectory(form, theta, np.full(setting["absent"], setting["lr"]), optimizer, memory)
    with np.errstate(over="ignore"):
        foretold = form.weight(path)
    finite = np.isfinite(foretold)
    np.testing.assert_allclose(numbers(found["foretold"]["weight"])[finite], foretold[finite], rtol=1e-6)
    assert np.isnan(numbers(found["foretold"]["weight"])[~finite]).all()
    assert found["phantom"] == pytest.approx(setting["lr"] * setting["absent"], rel=1e-12)


@pytest.mark.parametrize("optimizer", explorer.OPTIMIZERS)
@pytest.mark.parametrize("form", explorer.FORMS)
def test_every_form_optimiser_and_policy_equals_the_grid(visit: Visit, form: str, optimizer: str) -> None:
    """A task that comes and goes, absent for 80 steps: all three policies, through the address, step by step."""
    setting = USUAL | {"form": form, "optimizer": optimizer, "p": 0.35, "loss": 1.7, "seed": 4}
    found = go(visit, setting)
    assert not found["sensitive"]
    assert_twin(found)


def test_every_preset_equals_the_grid(visit: Visit) -> None:
    """The buttons set what they say, and are marked as pressed."""
    for number, preset in enumerate(explorer.presets()):
        visit.page.click(f"[data-preset='{number}']")
        found = state(visit)
        assert found["setting"] == preset["setting"]
        assert visit.page.get_attribute(f"[data-preset='{number}']", "aria-pressed") == "true"
        assert visit.page.locator("[aria-pressed='true'][data-preset]").count() == 1
        assert_twin(found)


def test_settings_drawn_at_random_equal_the_grid_unless_they_are_chaotic(visit: Visit) -> None:
    """Anywhere in the ranges; where rounding decides, the page says so, and that is rare."""
    random = np.random.default_rng(11)
    chaotic = 0
    for _ in range(24):
        setting = {"form": str(random.choice(list(FORMS))), "optimizer": str(random.choice(list(explorer.OPTIMIZERS)))}
        for name, control in CONTROLS.items():
            high = 1500 if name == "absent" else control.high
            value = float(np.exp(random.uniform(np.log(max(control.low, 1e-6)), np.log(high))))
            setting[name] = int(value) if control.whole else min(max(float(f"{value:.5g}"), control.low), high)
        found = go(visit, setting)
        assert visit.page.locator("#sensitive").is_visible() == found["sensitive"]
        chaotic += found["sensitive"]
        if not found["sensitive"]:
            assert_twin(found)
    assert chaotic <= 4


def test_a_chaotic_setting_is_called_chaotic(visit: Visit) -> None:
    """SGD far beyond its stability on log sigma: neighbouring paths part, and the page says so."""
    setting = USUAL | {"optimizer": "SGD", "lr": 1, "noise": 1, "p": 1, "absent": 1, "form": "log_one_plus_square"}
    assert go(visit, setting)["sensitive"]
    assert visit.page.locator("#sensitive").is_visible()


def test_sigma_ends_where_the_grid_says_and_the_page_says_nan(visit: Visit) -> None:
    """SGD on sigma: the unmasked path stops at the first undefined step, the others go on."""
    found = go(visit, USUAL | {"form": "sigma", "optimizer": "SGD"})
    step = found["paths"]["unmasked"]["undefinedStep"]
    assert phase_diagram.WARM_UP < step < found["back"]
    assert found["regime"] == "NaN"
    assert_twin(found)
    assert f"σ ends after {step - phase_diagram.WARM_UP} absent steps" in visit.page.inner_text("#words")
    assert visit.page.inner_text("#said-growth") == "NaN"
    assert found["paths"]["masked"]["weight"][-1] is not None


def test_the_inputs_move_everything_at_once(visit: Visit) -> None:
    """Numbers, choices and sliders: the state, the charts, the table, the words and the address follow."""
    page = visit.page
    go(visit, USUAL)
    page.fill("#lr", "0.02")
    page.fill("#absent", "120")
    page.fill("#p", "0.5")
    page.select_option("#form", "log_variance")
    page.select_option("#optimizer", "SGD")
    found = state(visit)
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
    assert state(visit)["setting"] == expected


def test_what_is_plotted_is_the_run(visit: Visit) -> None:
    """The charts hold the run's own numbers, step for step, and the theory over the absence alone."""
    found = go(visit, USUAL | {"p": 0.4})
    plotted = json.loads(visit.page.evaluate("JSON.stringify(window.explorer.plotted())"))
    for quantity, rows in plotted.items():
        steps = np.array(rows[0])
        assert steps[0] < 0
        assert steps[-1] == USUAL["absent"] + USUAL["after"]
        for policy, row in zip(POLICIES, rows[1:4], strict=True):
            expected = numbers(found["paths"][policy][quantity])[steps + found["start"]]
            np.testing.assert_array_equal(numbers(row), expected)
        assert [y is not None for y in rows[4]] == [0 <= step <= USUAL["absent"] for step in steps]


def test_the_keyboard_moves_a_slider(visit: Visit) -> None:
    """A slider takes arrow keys and says its value; its number and the state follow."""
    page = visit.page
    go(visit, USUAL)
    page.focus("#lr-slider")
    page.keyboard.press("PageUp")
    found = state(visit)["setting"]["lr"]
    assert found > USUAL["lr"]
    assert float(page.input_value("#lr")) == found
    assert float(page.get_attribute("#lr-slider", "aria-valuetext")) == found
    page.focus("#p")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "p-slider"


def test_a_bad_value_in_the_address_is_named_and_the_standard_taken(browser: Any, page_url: str) -> None:
    """Words, values out of range and unknown names: one visible sentence each, nothing of it run as markup."""
    bad = "lr=fast&p=0&absent=2.5&form=%3Cimg%20src=x%20onerror=alert(1)%3E&speed=3&loss=2"
    with Visit(browser, f"{page_url}#{bad}") as visit:
        standard = explorer.presets()[0]["setting"]
        assert state(visit)["setting"] == standard | {"loss": 2}
        said = visit.page.inner_text("#complaints").splitlines()
        assert visit.page.locator("#complaints").is_visible()
        assert len(said) == 5
        for words in (
            "lr = “fast” is not a number from 0.000001 to 1; 0.01 is taken instead.",
            "p = “0” is not a number from 0.01 to 1; 1 is taken instead.",
            "absent = “2.5” is not a whole number from 1 to 10000; 300 is taken instead.",
            "form = “<img src=x onerror=alert(1)>” is not one of log_sigma, sigma,",
            "there is no setting “speed”; there are form, optimizer, lr,",
        ):
            assert any(words in line for line in said), words
        assert visit.page.locator("#complaints img").count() == 0
        assert visit.complaints == []


def test_a_bad_value_in_an_input_is_named_and_taken_back_when_mended(visit: Visit) -> None:
    """The run stays as it was, the input is marked, and the sentence goes with the fault."""
    page = visit.page
    go(visit, USUAL)
    page.fill("#p", "1.5")
    assert "p = “1.5” is not a number from 0.01 to 1; 1 stays." in page.inner_text("#complaints")
    assert page.get_attribute("#p", "aria-invalid") == "true"
    assert state(visit)["setting"] == USUAL
    page.fill("#p", "0.5")
    assert state(visit)["setting"]["p"] == 0.5
    assert not page.locator("#complaints").is_visible()
    assert page.get_attribute("#p", "aria-invalid") == "false"


def test_the_address_survives_a_reload_and_an_anchor(visit: Visit) -> None:
    """Every value comes back exactly; a jump to the content does not reset the setting."""
    setting = USUAL | {"lr": 0.0123456789, "noise": 0.77, "seed": 42}
    go(visit, setting)
    visit.page.reload()
    assert state(visit)["setting"] == setting
    visit.page.focus(".skip")
    visit.page.keyboard.press("Enter")
    assert state(visit)["setting"] == setting


def test_drawing_anew_changes_the_draws_and_nothing_else(visit: Visit) -> None:
    """The next seed: other presences, same setting otherwise."""
    before = go(visit, USUAL | {"p": 0.3})
    visit.page.click("#redraw")
    after = state(visit)
    assert after["setting"] == before["setting"] | {"seed": before["setting"]["seed"] + 1}
    assert after["present"] != before["present"]
    assert_twin(after)


def test_the_words_follow_the_numbers(visit: Visit) -> None:
    """Growth, regime and the ladder's mark say what the state holds."""
    found = go(visit, USUAL | {"optimizer": "SGD", "absent": 300, "seed": 3})
    words = visit.page.inner_text("#words")
    assert found["outcomes"]["unmasked"]["growth"] == pytest.approx(np.exp(6), rel=1e-9)
    assert "After 300 absent steps the unmasked weight has grown 403-fold." in words
    assert "exp(2Λ) = 403" in words
    assert visit.page.inner_text("#said-regime") == found["regime"]
    assert visit.page.locator("#ladder [aria-current] b").inner_text() == found["regime"]
    assert found["regime"] in visit.page.inner_text("#spoken")
    assert found["outcomes"]["masked"]["growth"] == found["outcomes"]["frozen"]["growth"] == 1
    assert "Masked and frozen, the weight has not moved at all." in words


@pytest.mark.parametrize("size", ["desktop", "phone"])
def test_extreme_settings_stay_readable(browser: Any, page_url: str, size: str) -> None:
    """Huge, tiny and missing numbers: no sideways scroll, nothing for axe-core, a silent console, no request."""
    extremes: list[dict[str, Any]] = [
        {"optimizer": "SGD", "lr": 1, "absent": 10_000, "p": 0.01},
        {"form": "sigma", "optimizer": "SGD", "lr": 0.3, "absent": 5000, "after": 5000},
        {"form": "aura_softplus", "lr": 1e-6, "p": 0.01, "loss": 100, "seed": 9999},
    ]
    with Visit(browser, page_url, size) as visit:
        visit.unfold()
        for extreme in extremes:
            go(visit, USUAL | extreme)
            assert visit.page.evaluate("document.documentElement.scrollWidth") == visit.page.viewport_size["width"]
        assert visit.complaints == []
        root = page_url.rsplit("/", 1)[0]
        assert [url for url in visit.requests if not url.startswith(f"{root}/")] == []
        assert visit.violations() == []


def test_charts_are_redrawn_for_the_dark_and_for_paper(browser: Any, page_url: str) -> None:
    """Ink follows the scheme: light on dark, dark on paper; the charts' own pixels tell."""
    ink = """() => {
      const canvas = document.querySelector("#plot-weight canvas");
      const pixels = canvas.getContext("2d").getImageData(0, 0, 60, canvas.height).data;
      let sum = 0, count = 0;
      for (let i = 0; i < pixels.length; i += 4) if (pixels[i + 3] > 200) { sum += pixels[i]; count += 1; }
      return count ? sum / count : -1;
    }"""  # the mean of the axis labels' ink
    with Visit(browser, page_url) as visit:
        assert 0 <= visit.page.evaluate(ink) < 120
        visit.page.emulate_media(color_scheme="dark")
        visit.page.wait_for_function(f"() => ({ink})() > 140")
        visit.page.emulate_media(color_scheme="dark", media="print")
        visit.page.wait_for_function(f"() => ({ink})() < 120")
        assert not visit.page.locator(".presets").is_visible()
        assert visit.page.locator("#plot-weight canvas").is_visible()


def test_a_reader_without_scripts_is_told(browser: Any, page_url: str) -> None:
    """The page explains itself and hides the dead controls."""
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(page_url)
    assert "it needs scripts" in page.inner_text("main")
    assert not page.locator(".controls").is_visible()
    context.close()


def test_the_same_steps_for_all_policies_and_the_plain_formula() -> None:
    """SGD on log sigma over the absence: exactly -eta a step, in the grid that the page equals."""
    setting = USUAL | {"optimizer": "SGD"}
    _, thetas = trajectories(cells_of(setting), phase_diagram.WARM_UP + setting["absent"], seed=setting["seed"])
    start = phase_diagram.WARM_UP
    np.testing.assert_allclose(np.diff(thetas[0][start:]), -setting["lr"], rtol=1e-9)
    for one, other in itertools.combinations(thetas, 2):
        np.testing.assert_array_equal(one[: start + 1], other[: start + 1])
    assert isinstance(explorer.OPTIMIZERS["SGD"], SGD)
