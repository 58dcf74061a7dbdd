"""The explorer's page as the tests use it: set through its address, read through its state, held to the grid."""

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from browsing import Visit

from aura_study.dynamics import grid, micro_batches, simulate, trajectories
from aura_study.experiments.phase_diagram import maps as phase_diagram
from aura_study.report import explorer
from aura_study.theory.absence import absent_trajectory
from aura_study.theory.adam import AdamState
from aura_study.theory.driven import driven_path
from aura_study.theory.fixed_points import fixed_point
from aura_study.theory.fluctuations import gradient_noise
from aura_study.theory.forms import FORMS
from aura_study.theory.optimizers import Adam

POLICIES = ("unmasked", "masked", "frozen")
USUAL = explorer.presets()[0]["setting"] | {"absent": 80, "after": 200}
CONTROLS = {control.name: control for control in explorer.controls()}


def state(visit: Visit) -> dict[str, Any]:
    """What the page says it shows; NaN and infinity arrive as ``None``."""
    return json.loads(visit.page.evaluate("JSON.stringify(window.explorer.state())"))


def go(visit: Visit, setting: dict[str, Any]) -> dict[str, Any]:
    """Show ``setting`` through the address, as a reader who was sent a link; returns when the page has followed."""
    address = "&".join(f"{name}={value}" for name, value in setting.items())
    followed = "hash => { if (location.hash !== hash) location.hash = hash; else dispatchEvent(told()) }"
    told = "const told = () => new HashChangeEvent('hashchange', {newURL: location.href});"
    visit.page.evaluate(f"hash => {{ {told} ({followed})(hash) }}", f"#{address}")
    shown = "wanted => Object.entries(wanted).every(([name, value]) => explorer.state().setting[name] == value)"
    visit.page.wait_for_function(shown, arg=setting, polling=50)
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
        optimizer=explorer.OFFERED_OPTIMIZERS[setting["optimizer"]],
        presence=setting["p"],
        rate=setting["lr"],
        loss=setting["loss"],
        noise=setting["noise"],
        absent_start=phase_diagram.WARM_UP,
        absent_steps=setting["absent"] if setting["gap"] == "absent" else 0,
    )
    cells["theta0"] = [
        float(fixed_point(form, setting["loss"], setting["p"] if policy == "unmasked" else 1.0)) for policy in POLICIES
    ]
    cells["stream"] = np.uint64(0)
    return cells


def left(setting: dict[str, Any]) -> np.ndarray:
    """What is left of a solved task's loss in each step of the stretch."""
    step = np.arange(setting["absent"])
    return np.where(2 * step < setting["absent"], 1e-8 ** (2 * (step + 1) / setting["absent"]), 0.0)


def profile_of(setting: dict[str, Any], steps: int) -> np.ndarray:
    """Factor on the loss in each step of the run."""
    profile = np.ones(steps)
    if setting["gap"] == "solved":
        profile[phase_diagram.WARM_UP : phase_diagram.WARM_UP + setting["absent"]] = left(setting)
    return profile


def after_a_solved_stretch(weight: np.ndarray, found: dict[str, Any]) -> dict[str, float]:
    """What `simulate` says of an absence, of a stretch that is none to it."""
    before, later = weight[found["start"]], weight[found["back"] : -1]
    within = (later >= before / phase_diagram.BAND) & (later <= before * phase_diagram.BAND)
    outside = np.flatnonzero(~within).max(initial=-1)
    settled = -1 if outside == later.size - 1 else outside + 1
    return {"return_weight": weight[found["back"]], "low_weight": later.min(), "settled_after": settled}


def assert_twin(found: dict[str, Any]) -> None:
    """Thetas, weights, sigmas, presences, what came of the run, its regime and the theory agree to 1e-6 relative."""
    setting, steps = found["setting"], found["steps"]
    form, cells, profile = FORMS[setting["form"]], cells_of(setting), profile_of(setting, steps)
    _, thetas = trajectories(cells, steps, loss_profile=profile, seed=setting["seed"])
    outcomes = simulate(cells, steps, loss_profile=profile, seed=setting["seed"], band=phase_diagram.BAND)
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
    if setting["gap"] == "solved":
        outcomes = outcomes.assign(**after_a_solved_stretch(form.weight(thetas[0]), found))
    assert_conclusions(found, outcomes.iloc[0])


def assert_conclusions(found: dict[str, Any], outcome: pd.Series) -> None:
    """Regime, rule of thumb and foretold growth are the package's."""
    setting, unmasked = found["setting"], found["outcomes"]["unmasked"]
    form, optimizer = FORMS[setting["form"]], explorer.OFFERED_OPTIMIZERS[setting["optimizer"]]
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
    if setting["form"] == "log_sigma" and setting["gap"] == "absent":
        said = phase_diagram.rule_of_thumb(setting["lr"], setting["absent"], setting["p"], setting["noise"], adam=adam)
        assert found["ruleOfThumb"] == said
    filled = 1 - optimizer.beta2**phase_diagram.WARM_UP if isinstance(optimizer, Adam) else 0.0
    variance = float(gradient_noise(form, setting["loss"], setting["p"], setting["noise"]))
    memory = AdamState(0.0, filled * variance, phase_diagram.WARM_UP)
    theta = float(fixed_point(form, setting["loss"], setting["p"]))
    path = absent_trajectory(form, theta, np.full(setting["absent"], setting["lr"]), optimizer, memory)
    if setting["gap"] == "solved":
        mean = setting["p"] * setting["loss"] * left(setting)
        path = driven_path(form, theta, mean, setting["lr"], optimizer, state=memory)
        path[np.logical_or.accumulate(form.positive & (path <= 0))] = np.nan  # the page ends it there
    with np.errstate(over="ignore"):
        foretold = form.weight(path)
    finite = np.isfinite(foretold)
    np.testing.assert_allclose(numbers(found["foretold"]["weight"])[finite], foretold[finite], rtol=1e-6)
    assert np.isnan(numbers(found["foretold"]["weight"])[~finite]).all()
    assert found["phantom"] == pytest.approx(setting["lr"] * setting["absent"], rel=1e-12)
