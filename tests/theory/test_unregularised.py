"""Kendall's term without its log sigma, in closed form: against Adam written out."""

import math

import numpy as np
import pytest
from dynamics_twin import adam_without_log

from aura_study.theory.optimizers import Adam
from aura_study.theory.unregularised import adam_speed, unregularised_flow


def test_without_log_sgd_ends_at_kendalls_ratio_of_weights():
    """After a long time w1 L1 = w2 L2, the balance of the complete formula, though both weights die."""
    dose = 1e6
    weights = 0.5 * np.exp(-2 * unregularised_flow(0.0, [0.2 * dose, 5.0 * dose]))
    assert weights[0] * 0.2 == pytest.approx(weights[1] * 5.0, rel=1e-4)
    assert weights.max() < 1e-4


def test_without_log_adam_keeps_the_ratio_of_weights_of_the_start():
    """A loss a thousand times larger gives the same path of s, so that the weights stay alike, unlike Kendall's."""
    quiet, loud = (adam_without_log(0.02, 300, 0.9, 0.999, loss) for loss in (0.01, 10.0))
    np.testing.assert_allclose(quiet, loud, rtol=1e-9)


def test_without_log_adams_updates_fade_like_one_over_the_steps():
    """Between 1/eta and 1/(1-b2) steps the weight falls like t^-3/2, and so does the update over sqrt(v) like 1/t."""
    weights = np.exp(-2 * np.array(adam_without_log(0.02, 500, 0.9, 0.9999)))
    memory = np.sqrt(np.cumsum(weights**2) / np.arange(1, len(weights) + 1))
    spans = np.log([500, 250])
    assert np.diff(np.log(weights[[500, 250]]))[0] / np.diff(spans)[0] == pytest.approx(-1.5, abs=0.15)
    update = (weights / memory)[[500, 250]]
    assert np.diff(np.log(update))[0] / np.diff(spans)[0] == pytest.approx(-1, abs=0.15)


@pytest.mark.parametrize("rate", [1e-4, 1e-3, 1e-1])
def test_adams_speed_is_where_its_twin_settles(rate):
    """The closed form meets the slope of a written-out Adam at b2 = 0.99 after 4,000 steps, within 1 %."""
    path = adam_without_log(rate, 4000, 0.9, 0.99)
    assert (path[-1] - path[3500]) / 500 == pytest.approx(adam_speed(rate, Adam(beta2=0.99)), rel=0.01)


def test_adams_speed_is_eta_for_small_rates_and_bounded_for_large_ones():
    """x -> eta for eta -> 0, and x -> -log(b2)/4, about (1 - b2)/4, for large eta."""
    assert adam_speed(1e-7) == pytest.approx(1e-7, rel=1e-3)
    assert adam_speed(10.0) == pytest.approx(2.5e-4, rel=1e-2)
    assert adam_speed(1.0) < adam_speed(10.0) < -math.log(0.999) / 4


def test_adams_speed_refuses_what_it_cannot_know():
    """A rate of 0 and a beta2 below beta1 squared are named."""
    with pytest.raises(ValueError, match="rate must be > 0, got 0"):
        adam_speed(0)
    with pytest.raises(ValueError, match=r"beta2 must be .* got 0\.9 and 0\.5"):
        adam_speed(1e-3, Adam(beta2=0.5))
