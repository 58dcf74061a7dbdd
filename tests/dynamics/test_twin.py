"""The grid equals ``torch.optim`` on the real loss modules, step by step."""

import numpy as np
import pytest
from dynamics_twin import simulate_cell

from aura_study.dynamics import grid, simulate, trajectories
from aura_study.losses import PARAMETERIZATIONS
from aura_study.theory.optimizers import SGD, Adam
from aura_study.theory.schedules import one_cycle

OPTIMIZERS = {
    "sgd": SGD(),
    "momentum": SGD(momentum=0.9, weight_decay=0.1),
    "adam": Adam(),
    "adamw": Adam(beta1=0.8, beta2=0.99, weight_decay=0.5),
    "adam_l2": Adam(weight_decay=0.5, decoupled=False),
}
STEPS = 60
SCHEDULE = one_cycle(1.0, STEPS)
PROFILE = np.linspace(2.0, 0.5, STEPS)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("form", PARAMETERIZATIONS)
@pytest.mark.parametrize("policy", ["unmasked", "masked", "frozen"])
def test_every_step_equals_torch(form: str, optimizer: str, policy: str) -> None:
    """Same draws, same theta before every step, to 1e-12: accumulation, noise, a schedule and an absent stretch."""
    cells = grid(
        parameterization=form,
        policy=policy,
        optimizer=OPTIMIZERS[optimizer],
        presence=[0.2, 1.0],
        rate=0.01,
        noise=0.5,
        batch=2,
        accumulation=3,
        absent_start=20,
        absent_steps=15,
        theta0=0.9,
    )
    steps, thetas = trajectories(cells, STEPS, schedule=SCHEDULE, loss_profile=PROFILE, seed=7)
    assert steps.tolist() == list(range(STEPS + 1))
    for row, theta in enumerate(thetas):
        twin = simulate_cell(cells, row, STEPS, SCHEDULE, PROFILE, seed=7)
        np.testing.assert_allclose(theta, twin, rtol=1e-12, atol=1e-12)
        assert np.ptp(theta) > 1e-3


def test_sigma_after_its_collapse_equals_torch() -> None:
    """SGD throws sigma through 0 and back; the grid follows PyTorch there too and notes the first undefined step."""
    cells = grid(parameterization="sigma", rate=0.01, absent_start=0, absent_steps=80, theta0=1.0)
    _, thetas = trajectories(cells, 80)
    twin = simulate_cell(cells, 0, 80, np.ones(80), np.ones(80), seed=0)
    np.testing.assert_allclose(thetas[0], twin, rtol=1e-9)
    assert simulate(cells, 80)["undefined_step"].item() == np.argmax(twin <= 0) == 52
