"""Adam's memory after a spike, and theta driven by known losses, against ``torch.optim`` and against longhand."""

import numpy as np
import pytest
import torch

from aura_study.theory.driven import driven_path
from aura_study.theory.forms import FORMS, LOG_SIGMA
from aura_study.theory.optimizers import SGD, Adam
from aura_study.theory.poisoning import chance_shrinkage, clipped_part, shrinkage, spike_parts, steps_shrunk


def torch_memory(gradients, betas=(0.9, 0.999)):
    """Bias-corrected second moments after each step of torch's Adam; gradients ``(steps, parameters)``."""
    theta = torch.nn.Parameter(torch.zeros(gradients.shape[1], dtype=torch.float64))
    optimizer = torch.optim.Adam([theta], betas=betas)
    found = []
    for step, gradient in enumerate(gradients, start=1):
        theta.grad = torch.tensor(gradient)
        optimizer.step()
        found.append(optimizer.state[theta]["exp_avg_sq"].numpy() / (1 - betas[1] ** step))
    return np.array(found)


@pytest.mark.parametrize("b2", [0.9, 0.999])
@pytest.mark.parametrize("before", [3, 400])
def test_kappa_is_what_a_spike_adds_to_torchs_second_moment(b2, before):
    """Orthogonal gradients, so that squares add: v with the inflated task over v with the proper one is 1 + kappa q."""
    rng = np.random.default_rng(0)
    ratios = np.exp(rng.uniform(0, 5, 50))
    others, task = np.array([1.0, 1.0, 2.0]), np.array([0.0, 0.5, 1.0])
    proper = np.tile(np.sqrt(others**2 + task**2), (before + 50, 1))
    spiked = proper.copy()
    spiked[before:] = np.sqrt(others**2 + ratios[:, None] ** 2 * task**2)
    growth = torch_memory(spiked, (0.9, b2))[before:] / torch_memory(proper, (0.9, b2))[before:]
    q = task**2 / (others**2 + task**2)
    kappa = spike_parts(ratios, before, Adam(beta2=b2)).sum(1)
    np.testing.assert_allclose(growth, 1 + kappa[:, None] * q, rtol=1e-9)


def test_others_updates_shrink_by_the_closed_form_in_torchs_adam():
    """Random signs: with many parameters the norm of the others' part of the update is predicted to 2 %."""
    rng = np.random.default_rng(1)
    before, after, count = 200, 60, 4000
    q_of = np.repeat([0.0, 0.05, 0.5], count)
    others = rng.choice([-1.0, 1.0], (before + after, 3 * count)) * np.sqrt(1 - q_of)
    task = rng.choice([-1.0, 1.0], others.shape) * np.sqrt(q_of)
    ratios = np.concatenate([np.ones(before), 80 * 0.8 ** np.arange(after) + 1])
    v_proper, v = torch_memory(others + task), torch_memory(others + ratios[:, None] * task)
    m = 0.9 ** np.arange(before + after)[::-1] @ others
    measured = np.linalg.norm(m / np.sqrt(v[-1])) / np.linalg.norm(m / np.sqrt(v_proper[-1]))
    kappa = spike_parts(ratios[before:], before).sum(1)
    predicted = shrinkage(kappa, [0.0, 0.05, 0.5], [1.0, 0.95, 0.5])[-1]
    assert predicted < 0.75
    assert measured == pytest.approx(predicted, rel=0.02)


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.95])
def test_chance_spares_some_parameters_as_the_integral_says(decay):
    """Normal gradients: a spike of one, few or many steps leaves torch's Adam the updates of the form, to 5 %."""
    rng = np.random.default_rng(3)
    before, after, count, q = 20, 30, 20_000, 0.2
    ratios = np.concatenate([np.ones(before), 1 + 500 * decay ** np.arange(after)])
    others = rng.choice([-1.0, 1.0], (before + after, count)) * np.sqrt(1 - q)
    task = rng.normal(size=others.shape) * np.sqrt(q)
    v_proper, v = (torch_memory(others + r * task)[-1] for r in (1.0, ratios[:, None]))
    m = rng.normal(size=count)
    measured = np.linalg.norm(m / np.sqrt(v)) / np.linalg.norm(m / np.sqrt(v_proper))
    parts = spike_parts(ratios[before:], before)[-1]
    assert measured == pytest.approx(chance_shrinkage(parts, q).item(), rel=0.05)
    assert measured > 1.03 * shrinkage(parts.sum(), q)


def test_chance_averages_out_over_a_long_spike():
    """Many equal steps: every parameter gets its mean, and the two forms agree; classes add by their shares."""
    parts = np.full((1, 4000), 30 / 4000)
    q, shares = np.array([1e-8, 0.3, 5.0]), [1.0, 2.0, 3.0]
    np.testing.assert_allclose(chance_shrinkage(parts, q, shares), shrinkage([30.0], q, shares), rtol=2e-3)
    assert chance_shrinkage(np.zeros((1, 3)), [0.5]) == pytest.approx(1, rel=1e-6)


def test_sizes_weigh_the_steps():
    """A spike that meets a gradient of twice its mean square counts twice; a weight below the proper one not at all."""
    spike = np.array([30.0, 1.0, 0.5])
    doubled = spike_parts(spike, 5, sizes=[2.0, 0.5, 0.5])
    np.testing.assert_allclose(doubled, 2 * spike_parts(spike, 5))
    assert (doubled[:, 1:] == 0).all()


@pytest.mark.parametrize(("ratio", "q"), [(100.0, 1.0), (1000.0, 0.03), (40.0, 0.5), (5.0, 1.0)])
def test_steps_shrunk_is_where_the_shrinkage_crosses(ratio, q):
    """A single spike in a steady memory; below R^2 q = 1/(1-b2) or so nothing is poisoned."""
    left = shrinkage(0.001 * 0.999 ** np.arange(9000) * (ratio**2 - 1), q)
    crossed = int((left < 0.9).sum())
    assert crossed == pytest.approx(steps_shrunk(ratio, q) + 1 if crossed else 0, abs=1)
    assert (crossed == 0) == (ratio**2 * q * 0.001 < 0.9**-2 - 1)


def test_a_large_spike_fades_by_e_in_twice_the_memory_of_v():
    """The docstring's 2/(1-b2): the shrinkage is a root of v."""
    ratios = np.ones(2001)
    ratios[0] = 1e4
    left = shrinkage(spike_parts(ratios, np.inf).sum(1), 1.0)
    assert left[2000] / left[0] == pytest.approx(np.e, rel=0.01)


def test_shrinkage_is_bounded_by_the_untouched_share():
    """A class with q = 0 keeps its updates whatever the spike; equal classes need no shares."""
    assert shrinkage(1e12, [0.0, 1.0], [0.25, 0.75]) == pytest.approx(0.5)
    assert shrinkage(3.0, 1.0) == pytest.approx(0.5)
    assert shrinkage([0.0, 3.0], [1.0, 1.0]).tolist() == pytest.approx([1.0, 0.5])


def test_what_is_shrunk_to_is_a_share():
    """One clear error."""
    with pytest.raises(ValueError, match="shrunk_to must lie in"):
        steps_shrunk(10.0, 1.0, 1.5)


def test_clipped_part_is_torchs_clipping():
    """Orthogonal vectors through ``clip_grad_norm_``, with proper and inflated weight; nothing without a bound."""
    others, task, ratio, bound = 3.0, 0.5, 40.0, 1.0
    kept = []
    for r in (1.0, ratio):
        parameter = torch.nn.Parameter(torch.zeros(2, dtype=torch.float64))
        parameter.grad = torch.tensor([others, r * task], dtype=torch.float64)
        torch.nn.utils.clip_grad_norm_([parameter], bound)
        kept.append(parameter.grad[0].item() / others)
    assert clipped_part(others, task, ratio, bound) == pytest.approx(kept[1] / kept[0], rel=1e-5)
    assert clipped_part(0.1, 0.1, 2.0, bound) == 1
    assert clipped_part(others, task, ratio, None) == 1


@pytest.mark.parametrize("name", ["log_sigma", "aura_softplus"])
@pytest.mark.parametrize("kind", ["sgd", "adam"])
@pytest.mark.parametrize("masked", [True, False])
def test_driven_path_is_torchs(name, kind, masked):
    """Random losses with an absence in the middle, through torch's optimiser and autograd-free gradients."""
    form, rate = FORMS[name], 0.05
    losses = np.random.default_rng(2).uniform(0.1, 2, 40)
    losses[15:25] = np.nan
    theta = torch.nn.Parameter(torch.tensor(0.3, dtype=torch.float64))
    optimizer = torch.optim.SGD([theta], lr=rate) if kind == "sgd" else torch.optim.Adam([theta], lr=rate)
    path = [0.3]
    for loss in losses:
        here = np.asarray(theta.item())
        absent = 0.0 if masked else float(form.absent_gradient(here))
        theta.grad = torch.tensor(absent if np.isnan(loss) else float(form.gradient(here, loss)), dtype=torch.float64)
        optimizer.step()
        path.append(theta.item())
    found = driven_path(form, 0.3, losses, rate, SGD() if kind == "sgd" else Adam(), masked=masked)
    np.testing.assert_allclose(found, path, rtol=1e-10, atol=1e-12)


def test_driven_path_refuses_what_it_does_not_know():
    """Decay and momentum are named."""
    with pytest.raises(ValueError, match="neither decay nor momentum"):
        driven_path(LOG_SIGMA, 0.0, [1.0], 0.1, SGD(momentum=0.9))
