"""The explorer in a real browser computes what `aura_study.dynamics` computes, step by step."""

import itertools

import numpy as np
import pytest
from browsing import Visit
from explorer_page import CONTROLS, USUAL, assert_twin, cells_of, go, state

from aura_study.dynamics import trajectories
from aura_study.experiments.phase_diagram import maps as phase_diagram
from aura_study.report import explorer
from aura_study.theory.forms import FORMS
from aura_study.theory.optimizers import SGD

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.mark.parametrize("optimizer", explorer.OFFERED_OPTIMIZERS)
@pytest.mark.parametrize("form", FORMS)
def test_every_form_optimiser_and_policy_equals_the_grid(explorer_visit: Visit, form: str, optimizer: str) -> None:
    """A task that comes and goes, absent for 80 steps: all three policies, through the address, step by step."""
    setting = USUAL | {"form": form, "optimizer": optimizer, "p": 0.35, "loss": 1.7, "seed": 4}
    found = go(explorer_visit, setting)
    assert not found["sensitive"]
    assert_twin(found)


@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
@pytest.mark.parametrize("form", FORMS)
def test_a_solved_stretch_equals_the_grid_under_its_profile(explorer_visit: Visit, form: str, optimizer: str) -> None:
    """Present, its loss falling to a hundred-millionth and then 0: all three policies, step by step, and the theory."""
    setting = USUAL | {"form": form, "optimizer": optimizer, "p": 0.6, "lr": 0.004, "gap": "solved", "seed": 2}
    found = go(explorer_visit, setting)
    assert_twin(found)
    assert found["ruleOfThumb"] is None


def test_every_preset_equals_the_grid(explorer_visit: Visit) -> None:
    """The buttons set what they say, and are marked as pressed."""
    for number, preset in enumerate(explorer.presets()):
        explorer_visit.page.click(f"[data-preset='{number}']")
        found = state(explorer_visit)
        assert found["setting"] == preset["setting"]
        assert explorer_visit.page.get_attribute(f"[data-preset='{number}']", "aria-pressed") == "true"
        assert explorer_visit.page.locator("[aria-pressed='true'][data-preset]").count() == 1
        assert_twin(found)


def test_settings_drawn_at_random_equal_the_grid_unless_they_are_chaotic(explorer_visit: Visit) -> None:
    """Anywhere in the ranges; where rounding decides, the page says so, and that is rare."""
    random = np.random.default_rng(11)
    chaotic = 0
    for _ in range(24):
        setting = {
            "form": str(random.choice(list(FORMS))),
            "optimizer": str(random.choice(list(explorer.OFFERED_OPTIMIZERS))),
            "gap": "absent",
        }
        for name, control in CONTROLS.items():
            high = 1500 if name == "absent" else control.high
            value = float(np.exp(random.uniform(np.log(max(control.low, 1e-6)), np.log(high))))
            setting[name] = int(value) if control.whole else min(max(float(f"{value:.5g}"), control.low), high)
        found = go(explorer_visit, setting)
        assert explorer_visit.page.locator("#sensitive").is_visible() == found["sensitive"]
        chaotic += found["sensitive"]
        if not found["sensitive"]:
            assert_twin(found)
    assert chaotic <= 4


def test_a_chaotic_setting_is_called_chaotic(explorer_visit: Visit) -> None:
    """SGD far beyond its stability on log sigma: neighbouring paths part, and the page says so."""
    setting = USUAL | {"optimizer": "SGD", "lr": 1, "noise": 1, "p": 1, "absent": 1, "form": "log_one_plus_square"}
    assert go(explorer_visit, setting)["sensitive"]
    assert explorer_visit.page.locator("#sensitive").is_visible()


def test_sigma_ends_where_the_grid_says_and_the_page_says_nan(explorer_visit: Visit) -> None:
    """SGD on sigma: the unmasked path stops at the first undefined step, the others go on."""
    found = go(explorer_visit, USUAL | {"form": "sigma", "optimizer": "SGD"})
    step = found["paths"]["unmasked"]["undefinedStep"]
    assert phase_diagram.WARM_UP < step < found["back"]
    assert found["regime"] == "NaN"
    assert_twin(found)
    assert f"σ ends after {step - phase_diagram.WARM_UP} absent steps" in explorer_visit.page.inner_text("#words")
    assert explorer_visit.page.inner_text("#said-growth") == "NaN"
    assert found["paths"]["masked"]["weight"][-1] is not None


def test_the_same_steps_for_all_policies_and_the_plain_formula() -> None:
    """SGD on log sigma over the absence: exactly -eta a step, in the grid that the page equals."""
    setting = USUAL | {"optimizer": "SGD"}
    _, thetas = trajectories(cells_of(setting), phase_diagram.WARM_UP + setting["absent"], seed=setting["seed"])
    start = phase_diagram.WARM_UP
    np.testing.assert_allclose(np.diff(thetas[0][start:]), -setting["lr"], rtol=1e-9)
    for one, other in itertools.combinations(thetas, 2):
        np.testing.assert_array_equal(one[: start + 1], other[: start + 1])
    assert isinstance(explorer.OFFERED_OPTIMIZERS["SGD"], SGD)
