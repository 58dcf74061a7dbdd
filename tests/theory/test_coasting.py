"""What moves a parameter without a gradient, in closed form: against loops written out and against torch."""

import math

import pytest
import torch

from aura_study.theory.adam import AdamState
from aura_study.theory.coasting import (
    coasting_distance,
    coasting_factor,
    coupled_decay,
    decoupled_decay,
    momentum_coasting,
)
from aura_study.theory.optimizers import Adam

LR = 0.01


def twin_coasting(m, v, steps, absent, beta1, beta2):
    """Adam's update written out, at a gradient of 0."""
    theta = 0.0
    for age in range(steps + 1, steps + absent + 1):
        m, v = beta1 * m, beta2 * v
        theta -= LR * (m / (1 - beta1**age)) / math.sqrt(v / (1 - beta2**age))
    return theta


@pytest.mark.parametrize(("beta1", "beta2"), [(0.9, 0.999), (0.9, 0.99), (0.5, 0.9), (0.0, 0.999)])
@pytest.mark.parametrize("m", [0.3, -1e-3])
def test_coasting_distance_is_the_sum_of_the_steps(beta1, beta2, m):
    """eta (m/sqrt v) r/(1-r) is where Adam's own loop ends, after a long past and a long absence."""
    state = AdamState(m, 0.2, 20_000)
    twin = twin_coasting(m, 0.2, 20_000, 3000, beta1, beta2)
    if beta1 == 0:
        assert twin == 0.0
        return
    assert coasting_distance(state, LR, Adam(beta1, beta2)) == pytest.approx(twin, rel=1e-6)


def test_coasting_starts_from_the_corrected_moments():
    """After a short past: what Adam's next step would have been, times the factor."""
    m, v, past = 0.3, 0.2, 10
    step = LR * (m / (1 - 0.9**past)) / math.sqrt(v / (1 - 0.999**past))
    assert coasting_distance(AdamState(m, v, past), LR) == pytest.approx(-step * coasting_factor(), rel=1e-12)


def test_coasting_never_ends_for_large_beta1():
    """At b1 >= sqrt(b2) the first moment outlives the root of the second: refused."""
    assert coasting_factor() == pytest.approx(9.045, abs=1e-3)
    with pytest.raises(ValueError, match="beta1 < sqrt"):
        coasting_factor(Adam(0.96, 0.9))


def test_momentum_coasting_is_the_geometric_sum():
    """SGD's buffer decays by mu a step."""
    velocity, theta, buffer = 0.4, 0.0, 0.4
    for _ in range(500):
        buffer *= 0.9
        theta -= LR * buffer
    assert momentum_coasting(velocity, LR, 0.9) == pytest.approx(theta, rel=1e-12)


@pytest.mark.parametrize("start", [1.5, -0.7])
def test_decays_are_torchs(start):
    """AdamW exactly; Adam's L2 decay at full speed for any lambda, while the way is short."""
    for weight_decay in (1e-3, 0.5):
        for make, predicted, tolerance in (
            (torch.optim.AdamW, decoupled_decay(start, 1e-3, weight_decay, 20), 1e-12),
            (torch.optim.Adam, coupled_decay(start, 1e-3, 20), 0.02),
        ):
            theta = torch.tensor(start, dtype=torch.float64, requires_grad=True)
            optimizer = make([theta], lr=1e-3, weight_decay=weight_decay)
            for _ in range(20):
                theta.grad = torch.zeros_like(theta)
                optimizer.step()
            assert theta.item() - start == pytest.approx(predicted[-1] - start, rel=tolerance)
