"""Learning-rate sequences against PyTorch's and transformers' own schedulers."""

import numpy as np
import pytest
import torch
from transformers import get_linear_schedule_with_warmup

from aura_study.theory.schedules import constant, linear_warmup_decay, one_cycle, one_cycle_momentum, phantom_number


def scheduled(steps: int, make) -> tuple[np.ndarray, np.ndarray]:
    """Rates and Adam's beta1 that a scheduler sets, step by step."""
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=3e-3)
    scheduler = make(optimizer)
    rates, betas = [], []
    for step in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        betas.append(optimizer.param_groups[0]["betas"][0])
        optimizer.step()
        if step < steps - 1:
            scheduler.step()
    return np.array(rates), np.array(betas)


def test_one_cycle_rises_as_long_as_pytorchs_unless_told() -> None:
    """The default share of both."""
    rates, betas = scheduled(50, lambda opt: torch.optim.lr_scheduler.OneCycleLR(opt, 3e-3, total_steps=50))
    np.testing.assert_allclose(one_cycle(3e-3, 50), rates, atol=1e-16, rtol=1e-12)
    np.testing.assert_allclose(one_cycle_momentum(50), betas, rtol=1e-12)


@pytest.mark.parametrize(("steps", "share"), [(50, 0.3), (151, 0.3), (200, 0.5)])
def test_one_cycle_is_pytorchs(steps: int, share: float) -> None:
    """Rates and beta1."""
    rates, betas = scheduled(
        steps, lambda opt: torch.optim.lr_scheduler.OneCycleLR(opt, 3e-3, total_steps=steps, pct_start=share)
    )
    np.testing.assert_allclose(one_cycle(3e-3, steps, share), rates, atol=1e-16, rtol=1e-12)
    np.testing.assert_allclose(one_cycle_momentum(steps, share), betas, rtol=1e-12)


@pytest.mark.parametrize(("steps", "warmup"), [(100, 10), (100, 0), (7, 7)])
def test_linear_schedule_is_transformers(steps: int, warmup: int) -> None:
    """The schedule of AURA's code."""
    rates, _ = scheduled(steps, lambda opt: get_linear_schedule_with_warmup(opt, warmup, steps))
    np.testing.assert_allclose(linear_warmup_decay(3e-3, steps, warmup), rates, atol=1e-18)


def test_phantom_number_sums_the_absent_rates() -> None:
    """Over all steps, or over those where the task was absent."""
    rates = one_cycle(1e-2, 100)
    absent = np.arange(100) % 4 == 0
    assert phantom_number(rates) == pytest.approx(rates.sum())
    assert phantom_number(rates, absent) == pytest.approx(rates[::4].sum())


def test_auras_budget_is_about_three_tenths() -> None:
    """5e-5, 12,390 steps, a tenth of them warm-up: the sum of all rates."""
    assert phantom_number(linear_warmup_decay(5e-5, 12_390, 1239)) == pytest.approx(0.31, abs=0.001)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: constant(-1.0, 3), "rate must be finite and >= 0, got -1"),
        (lambda: constant(1.0, 0), "steps must be at least 1, got 0"),
        (lambda: linear_warmup_decay(-1.0, 5, 0), "must be finite and >= 0, got -1"),
        (lambda: one_cycle_momentum(0), "steps must be at least 1, got 0"),
        (lambda: one_cycle(1.0, 50, 0.0), "rising_share must lie strictly between 0 and 1, got 0"),
        (lambda: linear_warmup_decay(1.0, 5, 6), r"warmup must lie in \[0, steps = 5\], got 6"),
        (lambda: one_cycle(1.0, 50, 1.0), "rising_share must lie strictly between 0 and 1, got 1"),
        (lambda: one_cycle(1.0, 3, 0.3), "leaves no step to rise in"),
        (lambda: phantom_number([1.0, 2.0], [1.0, 0.0]), "absent must be boolean"),
    ],
)
def test_bad_input_is_named(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
